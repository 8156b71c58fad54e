"""The C that every `.c` file carries: a table of nodes and a plain reference that walks it. C99, libm, nothing else."""

from __future__ import annotations

HEADER = """\
/* {title}: weights and nodes as constants, written by mobilenets.
   One image at a time: uint8 h w c in, {gives} out. Values lie in the arena as float c h w.
   {about} */
#ifndef {NAME}_H
#define {NAME}_H

#include <stdint.h>

#define {NAME}_SIZE {size}        /* height and width of the image, in pixels */
#define {NAME}_CHANNELS {channels}
#define {NAME}_CLASSES {classes}
#define {NAME}_NODES {nodes}
#define {NAME}_OUTPUTS {outputs}   /* floats that {name}_run writes */
#define {NAME}_ARENA {arena}      /* floats that {name}_run works in */

enum {{ {NAME}_CONVOLUTION, {NAME}_LINEAR, {NAME}_SCALE, {NAME}_ACTIVATION, {NAME}_GLOBAL_POOL, {NAME}_MAX_POOL,
       {NAME}_MEAN_POOL, {NAME}_ADD, {NAME}_MULTIPLY, {NAME}_CONCAT, {NAME}_SHUFFLE, {NAME}_RESIZE,
       {NAME}_PER_ANCHOR, {NAME}_FLATTEN }};
enum {{ {NAME}_NONE, {NAME}_RELU, {NAME}_RELU6, {NAME}_HSWISH, {NAME}_HSIGMOID, {NAME}_SIGMOID, {NAME}_GELU }};

typedef {weight} {name}_weight;

typedef struct {{
    const char *name;                 /* the node's address */
    uint8_t kind, function;           /* of the first and the second list above; of RESIZE, 1: corners are aligned */
    uint8_t inputs_n;
    int16_t inputs[{inputs}];              /* nodes by number; -1 is the normalised image */
    int32_t channels, height, width;  /* of the output */
    int32_t kernel, stride, dilation, groups;
    int32_t top, left, bottom, right; /* padding, in pixels */
    uint32_t offset;                  /* of the output in the arena */
    const {name}_weight *weight;   /* out, in / groups, kernel, kernel */
    const float *scale;               /* of each output channel's weights; or the factors of SCALE */
    const float *bias;
}} {name}_node;

extern const {name}_node {name}_nodes[{NAME}_NODES];
extern const char *const {name}_classes[{NAME}_CLASSES];
extern const float {name}_factor[{NAME}_CHANNELS], {name}_shift[{NAME}_CHANNELS]; /* pixel * factor + shift */

/* Reads an image, works in `arena` ({NAME}_ARENA floats), writes {NAME}_OUTPUTS floats: {gives}. */
void {name}_run(const uint8_t *image, float *arena, float *outputs);

#endif
"""

RUN = """\
#include <math.h>
#include <string.h>

static float activated(int function, float x) {{
    const float gate = fminf(fmaxf(x + 3.0f, 0.0f), 6.0f) / 6.0f;
    switch (function) {{
    case {NAME}_RELU: return fmaxf(x, 0.0f);
    case {NAME}_RELU6: return fminf(fmaxf(x, 0.0f), 6.0f);
    case {NAME}_HSWISH: return x * gate;
    case {NAME}_HSIGMOID: return gate;
    case {NAME}_SIGMOID: return 1.0f / (1.0f + expf(-x));
    case {NAME}_GELU: return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    default: return x;
    }}
}}

static void convolution(const {name}_node *n, const float *x, int height, int width, int channels, float *y) {{
    const int depth = channels / n->groups, k = n->kernel, per_group = n->channels / n->groups;
    for (int c = 0; c < n->channels; c++) {{
        const {name}_weight *w = n->weight + (size_t)c * depth * k * k;
        const float *source = x + (size_t)(c / per_group) * depth * height * width;
        const float scale = n->scale ? n->scale[c] : 1.0f, bias = n->bias ? n->bias[c] : 0.0f;
        for (int i = 0; i < n->height; i++)
            for (int j = 0; j < n->width; j++) {{
                float sum = 0.0f;
                for (int d = 0; d < depth; d++)
                    for (int a = 0; a < k; a++) {{
                        const int row = i * n->stride - n->top + a * n->dilation;
                        if (row < 0 || row >= height) continue;
                        for (int b = 0; b < k; b++) {{
                            const int column = j * n->stride - n->left + b * n->dilation;
                            if (column < 0 || column >= width) continue;
                            sum += (float)w[(d * k + a) * k + b] * source[((size_t)d * height + row) * width + column];
                        }}
                    }}
                *y++ = sum * scale + bias;
            }}
    }}
}}

static void window(const {name}_node *n, const float *x, int height, int width, float *y) {{
    for (int c = 0; c < n->channels; c++, x += (size_t)height * width)
        for (int i = 0; i < n->height; i++)
            for (int j = 0; j < n->width; j++) {{
                float most = -INFINITY, sum = 0.0f;
                int count = 0;
                for (int a = 0; a < n->kernel; a++)
                    for (int b = 0; b < n->kernel; b++) {{
                        const int row = i * n->stride - n->top + a, column = j * n->stride - n->left + b;
                        if (row < 0 || row >= height || column < 0 || column >= width) continue;
                        const float value = x[(size_t)row * width + column];
                        most = fmaxf(most, value);
                        sum += value;
                        count++;
                    }}
                *y++ = n->kind == {NAME}_MAX_POOL ? most : sum / (float)count;
            }}
}}

static void resize(const {name}_node *n, const float *x, int height, int width, float *y) {{
    const float tall = n->function ? (n->height > 1 ? (float)(height - 1) / (float)(n->height - 1) : 0.0f)
                                   : (float)height / (float)n->height;
    const float wide = n->function ? (n->width > 1 ? (float)(width - 1) / (float)(n->width - 1) : 0.0f)
                                   : (float)width / (float)n->width;
    for (int c = 0; c < n->channels; c++, x += (size_t)height * width)
        for (int i = 0; i < n->height; i++) {{
            const float row = fmaxf(n->function ? i * tall : (i + 0.5f) * tall - 0.5f, 0.0f);
            const int top = (int)row, below = top + 1 < height ? top + 1 : top;
            const float down = row - (float)top;
            for (int j = 0; j < n->width; j++) {{
                const float column = fmaxf(n->function ? j * wide : (j + 0.5f) * wide - 0.5f, 0.0f);
                const int left = (int)column, right = left + 1 < width ? left + 1 : left;
                const float across = column - (float)left;
                const float *one = x + (size_t)top * width, *two = x + (size_t)below * width;
                const float upper = one[left] + (one[right] - one[left]) * across;
                const float lower = two[left] + (two[right] - two[left]) * across;
                *y++ = upper + (lower - upper) * down;
            }}
        }}
}}

void {name}_run(const uint8_t *image, float *arena, float *outputs) {{
    const int pixels = {NAME}_SIZE * {NAME}_SIZE;
    for (int c = 0; c < {NAME}_CHANNELS; c++)
        for (int i = 0; i < pixels; i++)
            arena[{input} + c * pixels + i] =
                (float)image[i * {NAME}_CHANNELS + c] * {name}_factor[c] + {name}_shift[c];
    const float *y = arena;
    for (int index = 0; index < {NAME}_NODES; index++) {{
        const {name}_node *n = &{name}_nodes[index], *before = n->inputs[0] < 0 ? 0 : &{name}_nodes[n->inputs[0]];
        const int channels = before ? before->channels : {NAME}_CHANNELS;
        const int height = before ? before->height : {NAME}_SIZE, width = before ? before->width : {NAME}_SIZE;
        const float *x = arena + (before ? before->offset : {input});
        const int area = n->height * n->width, length = n->channels * area;
        float *out = arena + n->offset;
        switch (n->kind) {{
        case {NAME}_CONVOLUTION:
            convolution(n, x, height, width, channels, out);
            break;
        case {NAME}_LINEAR: {{
            const int depth = channels * height * width;
            for (int c = 0; c < n->channels; c++) {{
                float sum = 0.0f;
                for (int d = 0; d < depth; d++) sum += (float)n->weight[(size_t)c * depth + d] * x[d];
                out[c] = sum * (n->scale ? n->scale[c] : 1.0f) + n->bias[c];
            }}
            break;
        }}
        case {NAME}_SCALE:
            for (int i = 0; i < length; i++) out[i] = x[i] * n->scale[i / area] + n->bias[i / area];
            break;
        case {NAME}_ACTIVATION:
            for (int i = 0; i < length; i++) out[i] = activated(n->function, x[i]);
            break;
        case {NAME}_GLOBAL_POOL:
            for (int c = 0; c < n->channels; c++) {{
                float sum = 0.0f;
                for (int i = 0; i < height * width; i++) sum += x[(size_t)c * height * width + i];
                out[c] = sum / (float)(height * width);
            }}
            break;
        case {NAME}_MAX_POOL:
        case {NAME}_MEAN_POOL:
            window(n, x, height, width, out);
            break;
        case {NAME}_ADD:
            if (out != x) memcpy(out, x, sizeof(float) * (size_t)length);
            for (int k = 1; k < n->inputs_n; k++) {{
                const float *other = arena + (n->inputs[k] < 0 ? {input} : {name}_nodes[n->inputs[k]].offset);
                for (int i = 0; i < length; i++) out[i] += other[i];
            }}
            break;
        case {NAME}_MULTIPLY: {{
            const {name}_node *gate = &{name}_nodes[n->inputs[1]];
            const float *g = arena + gate->offset;
            const int whole = gate->height * gate->width == area;
            for (int i = 0; i < length; i++) out[i] = x[i] * g[whole ? i : i / area];
            break;
        }}
        case {NAME}_CONCAT:
            for (int k = 0; k < n->inputs_n; k++) {{
                const {name}_node *part = n->inputs[k] < 0 ? 0 : &{name}_nodes[n->inputs[k]];
                const size_t count = (size_t)(part ? part->channels : {NAME}_CHANNELS) * area;
                memcpy(out, arena + (part ? part->offset : {input}), sizeof(float) * count);
                out += count;
            }}
            break;
        case {NAME}_SHUFFLE: {{
            const int per_group = n->channels / n->groups;
            for (int c = 0; c < n->channels; c++)
                memcpy(out + (size_t)((c % per_group) * n->groups + c / per_group) * area, x + (size_t)c * area,
                       sizeof(float) * (size_t)area);
            break;
        }}
        case {NAME}_RESIZE:
            resize(n, x, height, width, out);
            break;
        case {NAME}_PER_ANCHOR: /* c h w to h w c */
            for (int c = 0; c < channels; c++)
                for (int i = 0; i < height * width; i++)
                    out[(size_t)i * channels + c] = x[(size_t)c * height * width + i];
            break;
        default: /* FLATTEN: the values lie as they should */
            if (out != x) memmove(out, x, sizeof(float) * (size_t)length);
        }}
        y = arena + n->offset;
    }}
    {ending}
}}
"""

SOFTMAX = """\
float most = y[0], sum = 0.0f;
    for (int i = 1; i < {NAME}_CLASSES; i++) most = fmaxf(most, y[i]);
    for (int i = 0; i < {NAME}_CLASSES; i++) sum += outputs[i] = expf(y[i] - most);
    for (int i = 0; i < {NAME}_CLASSES; i++) outputs[i] /= sum;"""

SIGMOID = "for (int i = 0; i < {NAME}_CLASSES; i++) outputs[i] = 1.0f / (1.0f + expf(-y[i]));"

PIXELS = """\
for (int p = 0; p < pixels; p++) {{
        float most = y[p], sum = 0.0f;
        for (int i = 1; i < {NAME}_CLASSES; i++) most = fmaxf(most, y[(size_t)i * pixels + p]);
        for (int i = 0; i < {NAME}_CLASSES; i++)
            sum += outputs[(size_t)i * pixels + p] = expf(y[(size_t)i * pixels + p] - most);
        for (int i = 0; i < {NAME}_CLASSES; i++) outputs[(size_t)i * pixels + p] /= sum;
    }}"""

ANCHORS = """\
memcpy(outputs, arena + {boxes}, sizeof(float) * {codes});
    for (int i = 0; i < {NAME}_OUTPUTS - {codes}; i++) outputs[{codes} + i] = 1.0f / (1.0f + expf(-y[i]));"""

MAIN = """\
#include <stdio.h>
#include <stdlib.h>
#include "{header}"

/* Images from stdin to outputs on stdout, both raw. */
int main(void) {{
    static uint8_t image[{NAME}_SIZE * {NAME}_SIZE * {NAME}_CHANNELS];
    static float outputs[{NAME}_OUTPUTS];
    float *arena = malloc(sizeof(float) * {NAME}_ARENA);
    if (!arena) return 1;
    while (fread(image, sizeof image, 1, stdin) == 1) {{
        {name}_run(image, arena, outputs);
        fwrite(outputs, sizeof outputs, 1, stdout);
    }}
    return 0;
}}
"""
