// Label images with {{ artifact }} in a browser: onnxruntime-web (its global `ort`), nothing else.
// Written by mobilenets {{ version }} from the model's metadata; loader.html shows how it is used.
//
// The contract: decode to {{ mode_name }} as EXIF says, transparent pixels on white; resize the centre square with an
// antialiased {{ interpolation }} filter; give the bytes to the file as they are: scaling and normalising lie inside it.
// A canvas resizes in its own way, which moves probabilities. Below is Pillow's way, across and then down (Pillow from 13.0
// on goes down first where an image is tall, which changes a pixel by 2 levels at most).

const RESOLUTION = {{ resolution }}; // height and width that enter the network
const SHORT_SIDE = {{ short_side }}; // what the image's short side would be resized to, before the centre is cut out
const CHANNELS = {{ channels }};
const SUPPORT = {{ support }}; // of the filter, in pixels of the smaller image
const BITS = 22; // weights are integers of so many binary places

// {{ interpolation }}
function weight(x) {
  x = Math.abs(x);
{% if interpolation == "bilinear" %}
  return x < 1 ? 1 - x : 0;
{% else %}
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
{% endif %}
}

// Which pixels of `size`, and how much of each, make every pixel of the square that shows [from, to].
function weights(size, from, to) {
  [from, to] = [Math.fround(from), Math.fround(to)]; // Pillow holds the box in single precision
  const scale = Math.fround(to - from) / RESOLUTION, stretch = Math.max(scale, 1), reach = SUPPORT * stretch;
  return Array.from({ length: RESOLUTION }, (_, i) => {
    const centre = from + (i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - reach + 0.5), 0), end = Math.min(Math.trunc(centre + reach + 0.5), size);
    const parts = Array.from({ length: end - first }, (_, j) => weight((j + first - centre + 0.5) * (1 / stretch)));
    const sum = parts.reduce((a, b) => a + b, 0);
    return [first, parts.map((p) => { const v = (p / sum) * 2 ** BITS; return Math.trunc(v < 0 ? v - 0.5 : v + 0.5); })];
  });
}

// Pixels along one direction: `count` lines that lie `line` apart, their pixels `step` apart, RGB together.
function resizeLines(source, table, count, line, step, target, toLine, toStep) {
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < RESOLUTION; i++) {
      const [first, parts] = table[i];
      for (let c = 0; c < CHANNELS; c++) {
        let sum = 2 ** (BITS - 1); // rounds
        for (let j = 0; j < parts.length; j++) sum += source[n * line + (first + j) * step + c] * parts[j];
        target[n * toLine + i * toStep + c] = Math.min(Math.max(Math.floor(sum / 2 ** BITS), 0), 255);
      }
    }
  }
}

// The centre square of an upright image, h w c, resized from its exact place: uint8 r r c.
function square({ data, width, height }) {
  if (width === height && width === RESOLUTION && RESOLUTION === SHORT_SIDE) return data;
  const kept = (Math.min(width, height) * RESOLUTION) / SHORT_SIDE, left = (width - kept) / 2, top = (height - kept) / 2;
  const [x0, x1] = [Math.max(left, 0), Math.min(left + kept, width)], [y0, y1] = [Math.max(top, 0), Math.min(top + kept, height)];
  let rows = data; // first across: h r c; then down: r r c. A direction that shows all of it at its own size is left alone.
  if (width !== RESOLUTION || x0 !== 0 || x1 !== width) {
    rows = new Uint8Array(height * RESOLUTION * CHANNELS);
    resizeLines(data, weights(width, x0, x1), height, width * CHANNELS, CHANNELS, rows, RESOLUTION * CHANNELS, CHANNELS);
  }
  if (height === RESOLUTION && y0 === 0 && y1 === height) return rows;
  const result = new Uint8Array(RESOLUTION * RESOLUTION * CHANNELS);
  const across = RESOLUTION * CHANNELS;
  resizeLines(rows, weights(height, y0, y1), RESOLUTION, CHANNELS, across, result, CHANNELS, across);
  return result;
}

// An image file (a Blob) as { data: uint8 h w c, width, height }, upright, transparent pixels on white.
async function decode(blob) {
  if (CHANNELS === 4) throw new Error("a canvas cannot hold four channels as they are: decode the file another way");
  const bitmap = await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, width, height).data;
  const data = new Uint8Array(width * height * CHANNELS);
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = [rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2]];
    if (CHANNELS === 3) data.set([r, g, b], 3 * i);
    else data[i] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16; // luma, as Pillow rounds it
  }
  return { data, width, height };
}

const here = new URL(".", document.currentScript.src);
const get = async (name) => fetch(new URL(name, here));

// The artifact, loaded, with its class names.
async function load() {
  ort.env.wasm.numThreads = 1;
  const [bytes, labels] = await Promise.all([get({{ artifact | tojson }}), get("labels.json")]);
  return { session: await ort.InferenceSession.create(await bytes.arrayBuffer()), classes: await labels.json() };
}

// Probabilities of one square.
async function classify({ session }, pixels) {
  const image = new ort.Tensor("uint8", pixels, [1, RESOLUTION, RESOLUTION, CHANNELS]);
  return (await session.run({ [{{ input | tojson }}]: image }))[{{ output | tojson }}].data;
}

// The most probable classes of an image file, best first.
async function label(model, blob, count = 5) {
  const probabilities = await classify(model, square(await decode(blob)));
  const order = Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a]);
  return order.slice(0, count).map((i) => ({ label: model.classes[i], score: probabilities[i] }));
}

// The parity pack: every image's largest difference, first of pixels, then of probabilities.
async function check() {
  const [model, pack] = [await load(), await (await get("parity/parity.json")).json()];
  const images = [];
  for (const one of pack.images) {
    const pixels = square(await decode(await (await get(`parity/${one.file}`)).blob()));
    const expected = (await decode(await (await get(`parity/${one.square}`)).blob())).data;
    const found = await classify(model, pixels);
    const largest = (a, b) => a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i])), 0);
    const off = largest(pixels, expected), difference = largest(found, one.probabilities);
    const allowed = off === 0 ? pack.tolerance : one.tolerance_other_pixels;
    images.push({ file: one.file, off, difference, agrees: off <= pack.pixel_tolerance && difference <= allowed });
  }
  return { images, agrees: images.every((one) => one.agrees) };
}
