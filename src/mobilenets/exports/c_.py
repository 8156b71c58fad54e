"""C for microcontrollers: `.c` and `.h` with weights, a table of nodes, and a plain reference that walks it.

int8 holds kernels and matrices in 8 bits, a scale for each output channel; activations are float in both precisions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mobilenets.errors import CheckpointError, MisuseError
from mobilenets.exports import c_kernels
from mobilenets.exports.described import described
from mobilenets.metrics import Task
from mobilenets.model import MobileNet, arrays
from mobilenets.onnx.weights import Array, chains_of, deployed_weight, norm_of
from mobilenets.precision import Precision
from mobilenets.table.folding import folded_into
from mobilenets.table.lower import lower
from mobilenets.table.nodes import (
    INPUT,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Convolution,
    Flatten,
    FullyConnected,
    GlobalPool,
    Multiply,
    Node,
    PerAnchor,
    Resize,
    Scale,
    Shuffle,
    WindowPool,
    outputs,
)

IN_PLACE = (Activation, Add, Multiply, BatchNorm, Scale, Flatten)
"""What may write over its first input where nothing else needs it."""


def write(model: MobileNet, path: Path, *, precision: Precision) -> None:
    """Write a `.c` file, and the `.h` file of the same name.

    Raises:
        MisuseError: a network with operators that the table does not have (attention and the like).
    """
    header, source = sources(model, path.stem, precision)
    path.with_suffix(".h").write_text(header, encoding="utf-8")
    path.write_text(source, encoding="utf-8")


def identifier(stem: str) -> str:
    """A file's name as a name in C."""
    name = re.sub(r"\W", "_", stem, flags=re.ASCII).lower()
    return name if name[:1].isalpha() else f"net_{name}"


@dataclass
class _Table:
    """Nodes as C rows, arrays as C definitions, values' places in the arena."""

    name: str
    int8: bool
    numbers: dict[str, int] = field(default_factory=lambda: {INPUT: -1})
    offsets: Mapping[str, int] = field(default_factory=dict)
    inputs: int = 2
    rows: list[str] = field(default_factory=list)
    arrays: list[str] = field(default_factory=list)

    def array(self, kind: str, value: Array) -> str:
        name = f"{self.name}_{kind}_{len(self.rows)}"
        integers = np.issubdtype(value.dtype, np.integer)
        self.arrays.append(
            f"static const {'int8_t' if integers else 'float'} {name}[{value.size}] = {{{_numbers(value)}}};"
        )
        return name

    def weights(self, weight: Array, bias: Array) -> dict[str, str]:
        """The fields of a kernel or matrix."""
        fields = {"bias": self.array("bias", bias)}
        if not self.int8:
            return fields | {"weight": self.array("weight", weight)}
        quantized, scale = symmetric(weight)
        return fields | {"weight": self.array("weight", quantized), "scale": self.array("scale", scale)}

    def add(self, node: Node, output: str, kind: str, **fields: object) -> None:
        channels, height, width = (*node.shape, 1, 1)[:3] if len(node.shape) < 3 else node.shape
        upper = self.name.upper()
        inputs = ", ".join(str(self.numbers[i]) for i in node.inputs)
        known = {
            "name": json.dumps(output), "kind": f"{upper}_{kind}", "inputs_n": len(node.inputs),
            "inputs": f"{{{inputs}}}", "channels": channels, "height": height, "width": width,
            "offset": self.offsets[node.name],
        }  # fmt: skip
        shown = ", ".join(f".{key} = {value}" for key, value in (known | fields).items())
        self.numbers[node.name] = self.numbers[output] = len(self.rows)
        self.rows.append(f"    {{{shown}}}")


def sources(model: MobileNet, stem: str, precision: Precision) -> tuple[str, str]:
    """The header and the source of files with a name."""
    name = identifier(stem)
    network, weights = model.network, arrays(model)
    nodes = lower(network)
    image = network.in_channels * network.resolution**2
    offsets, arena = arena_of(nodes, image)
    table = _Table(name, precision == "int8", offsets=offsets, inputs=max(2, *(len(node.inputs) for node in nodes)))
    folded, chains = folded_into(nodes), chains_of(nodes)
    for node in nodes:
        if node.name in folded:
            table.numbers[node.name] = table.numbers[folded[node.name]]
        else:
            _add(table, node, chains.get(node.name, ()), weights)
    metadata = described(model, precision)
    values = {
        "title": f"{network.label}, {precision}", "name": name, "NAME": name.upper(), "size": network.resolution,
        "channels": network.in_channels, "classes": network.classes, "nodes": len(table.rows), "arena": arena,
        "weight": "int8_t" if table.int8 else "float", "inputs": table.inputs, "input": offsets[INPUT],
        "about": _about(metadata), "gives": GIVES[model.info.task],
        "outputs": sum(int(np.prod(node.shape)) for node in outputs(nodes)),
    }  # fmt: skip
    run = c_kernels.RUN.format(**values, ending=_ending(model, table, values))
    parts = [
        f'#include "{stem}.h"\n', *table.arrays, *_constants(model, name, network.classes),
        f"const {name}_node {name}_nodes[{len(table.rows)}] = {{", ",\n".join(table.rows), "};\n", run,
    ]  # fmt: skip
    return c_kernels.HEADER.format(**values), "\n".join(parts)


GIVES: dict[Task, str] = {
    "classify": "class probabilities",
    "multi-label": "class probabilities",
    "segment": "class probabilities of every pixel, c h w",
    "detect": "box codes of every anchor, then its class probabilities",
}
"""What comes out."""


def _ending(model: MobileNet, table: _Table, values: Mapping[str, object]) -> str:
    """From the last values in the arena to what the file gives."""
    match model.info.task:
        case "classify":
            template = c_kernels.SOFTMAX
        case "multi-label":
            template = c_kernels.SIGMOID
        case "segment":
            template = c_kernels.PIXELS
        case "detect":
            template = c_kernels.ANCHORS
    boxes, *_ = outputs(model.nodes)
    return template.format(**values, boxes=table.offsets[boxes.name], codes=int(np.prod(boxes.shape)))


def _about(metadata: Mapping[str, str]) -> str:
    """The metadata as one line of a comment that JSON reads again."""
    return "mobilenets: " + json.dumps(dict(metadata), ensure_ascii=False).replace("*/", "*\\/")


def prefix_of(path: Path) -> str:
    """What every name of a `.c` file begins with; its header says so."""
    found = re.search(r"#ifndef (\w+)_H", _header(path))
    return found[1].lower() if found else identifier(path.stem)


def metadata_of(path: Path) -> dict[str, str]:
    """What the header beside a `.c` file says of it; empty where it says nothing.

    Raises:
        CheckpointError: no header, or no text.
    """
    lines = _header(path).splitlines()
    marked = next((line for line in lines if line.strip().startswith("mobilenets: ")), "mobilenets: {}")
    try:
        values = json.loads(marked.strip().removeprefix("mobilenets: ").removesuffix("*/"))
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in values.items()}


def kinds_of(path: Path) -> list[tuple[str, bool, str | None]]:
    """(kind, whether its weights are int8, address) of each row of the table."""
    int8 = metadata_of(path).get("precision") == "int8"
    rows = re.findall(r'\{\.name = "([^"]*)", \.kind = (\w+),', path.read_text(encoding="utf-8"))
    upper = f"{prefix_of(path).upper()}_"
    kinds = [(name, kind.removeprefix(upper)) for name, kind in rows]
    return [(kind, int8 and kind in ("CONVOLUTION", "LINEAR"), name) for name, kind in kinds if kind != "FLATTEN"]


def _header(path: Path) -> str:
    header = path.with_suffix(".h")
    try:
        return header.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{header}: cannot be read: {error}.") from error


def _constants(model: MobileNet, name: str, classes: int) -> list[str]:
    preprocessing = model.info.preprocessing
    mean, std = np.asarray(preprocessing.mean, np.float64), np.asarray(preprocessing.std, np.float64)
    names = model.info.classes or tuple(str(i) for i in range(classes))
    quoted = ", ".join(_quoted(text) for text in names)
    return [
        f"const float {name}_factor[{mean.size}] = {{{_numbers((1 / (255 * std)).astype(np.float32))}}};",
        f"const float {name}_shift[{mean.size}] = {{{_numbers((-mean / std).astype(np.float32))}}};",
        f"const char *const {name}_classes[{classes}] = {{{quoted}}};",
    ]


def _quoted(text: str) -> str:
    """A C string: what is not plain goes as octal bytes of UTF-8, which no following digit can lengthen."""
    plain = (chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode())
    return '"' + "".join(plain) + '"'


def _numbers(value: Array) -> str:
    """Every value with as many digits as bring it back to the bit."""
    flat = value.reshape(-1)
    if np.issubdtype(flat.dtype, np.integer):
        return ",".join(map(str, flat.tolist()))
    return ",".join(_float(v) for v in np.char.mod("%.9g", flat.astype(np.float32)).tolist())


def _float(text: str) -> str:
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def symmetric(weight: Array) -> tuple[Array, Array]:
    """A weight as int8 with a scale for each output channel: weight = quantized * scale, largest value at 127."""
    flat = weight.reshape(weight.shape[0], -1)
    scale = np.maximum(np.abs(flat).max(1), 1e-12).astype(np.float32) / np.float32(127)
    return np.rint(flat / scale[:, None]).astype(np.int8).reshape(weight.shape), scale


def _add(table: _Table, node: Node, chain: Sequence[BatchNorm | Scale], weights: Mapping[str, Array]) -> None:
    match node:
        case Convolution():
            weight, bias, output = deployed_weight(node, chain, weights)
            top, left, bottom, right = node.pads
            table.add(
                node, output, "CONVOLUTION", kernel=node.kernel, stride=node.stride, dilation=node.dilation,
                groups=node.groups, top=top, left=left, bottom=bottom, right=right, **table.weights(weight, bias),
            )  # fmt: skip
        case FullyConnected() if len(node.shape) == 1:
            weight, bias, output = deployed_weight(node, chain, weights)
            table.add(node, output, "LINEAR", **table.weights(weight, bias))
        case BatchNorm():
            norm = norm_of(weights, node.name)
            factor = norm["weight"] / np.sqrt(norm["running_var"] + node.eps)
            shift = norm["bias"] - norm["running_mean"] * factor
            table.add(node, node.name, "SCALE", scale=table.array("scale", factor), bias=table.array("bias", shift))
        case Scale():
            factor = weights[f"{node.name}.weight"]
            zeros = table.array("bias", np.zeros_like(factor))
            table.add(node, node.name, "SCALE", scale=table.array("scale", factor), bias=zeros)
        case Activation():
            table.add(node, node.name, "ACTIVATION", function=f"{table.name.upper()}_{node.function.name}")
        case GlobalPool():
            table.add(node, node.name, "GLOBAL_POOL")
        case WindowPool():
            top, left, bottom, right = node.pads
            kind = "MAX_POOL" if node.mode == "max" else "MEAN_POOL"
            table.add(
                node, node.name, kind, kernel=node.kernel, stride=node.stride, top=top, left=left, bottom=bottom,
                right=right,
            )  # fmt: skip
        case Flatten() | Multiply() | Add() | Concat():
            table.add(node, node.name, type(node).__name__.upper())
        case Shuffle():
            table.add(node, node.name, "SHUFFLE", groups=node.groups)
        case Resize():
            table.add(node, node.name, "RESIZE", function=int(node.align))
        case PerAnchor():
            table.add(node, node.name, "PER_ANCHOR")
        case _:
            raise MisuseError(
                f"{node.name}: C files have no {type(node).__name__} (attention and tokens); export this network in "
                "another format."
            )


def arena_of(nodes: Sequence[Node], image: int) -> tuple[dict[str, int], int]:
    """Where each value lies in one block of floats, and how long it is: first place that is free while it is needed."""
    folded = folded_into(nodes)
    owner = {INPUT: INPUT} | {node.name: folded.get(node.name, node.name) for node in nodes}
    last = {owner[i]: number for number, node in enumerate(nodes) for i in _read(node)}
    last |= {owner[node.name]: len(nodes) for node in outputs(nodes)}
    taken = {INPUT: (0, image)}
    offsets, most = {INPUT: 0}, image
    for number, node in enumerate(nodes):
        if node.name in folded:
            offsets[node.name] = offsets[folded[node.name]]
            continue
        size = int(np.prod(node.shape))
        first = owner[node.inputs[0]] if node.inputs else ""
        if isinstance(node, IN_PLACE) and last[first] == number and taken[first][1] == size:
            offset = taken.pop(first)[0]
        else:
            offset = _free(sorted(taken.values()), size)
        taken[node.name] = (offset, size)
        offsets[node.name], most = offset, max(most, offset + size)
        taken = {name: place for name, place in taken.items() if last.get(name, -1) > number}
    return offsets, most


def _read(node: Node) -> tuple[str, ...]:
    """Inputs whose values are read."""
    return node.inputs[:1] if isinstance(node, Resize) else node.inputs


def _free(taken: Sequence[tuple[int, int]], size: int) -> int:
    at = 0
    for offset, length in taken:
        if offset - at >= size:
            break
        at = max(at, offset + length)
    return at
