/**
 * Pillow's antialiased resizing, to the bit, in uint8. A canvas resizes in its own way, which moves probabilities.
 *
 * @typedef {import("./types.js").Pixels} Pixels
 *
 * @typedef {object} Weights Of the pixels of a line that make one.
 * @property {number} first pixel that counts
 * @property {Float64Array} parts of it and of those after it; they sum to 1
 *
 * @typedef {object} Shape How an image becomes what a network sees.
 * @property {number} resolution
 * @property {number} shortSide
 * @property {"crop" | "stretch"} shaping
 * @property {"bilinear" | "bicubic"} interpolation
 * @property {boolean} downFirst whether tall images are resized down first, then across
 */

const BITS = 22; // weights are integers of so many binary places

/** Reach, in pixels of the smaller image, and form of each filter. */
const FILTERS = {
  bilinear: { reach: 1, form: (x) => (x < 1 ? 1 - x : 0) },
  bicubic: {
    reach: 2,
    form: (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0),
  },
};

/**
 * Which pixels of a line of `size`, and how much of each, make every one of `count` pixels that show [from, to].
 *
 * @param {number} size
 * @param {number} from
 * @param {number} to
 * @param {number} count
 * @param {"bilinear" | "bicubic"} interpolation
 * @returns {Weights[]}
 */
export function weights(size, from, to, count, interpolation) {
  const { reach, form } = FILTERS[interpolation];
  const begin = Math.fround(from); // Pillow holds the box in single precision
  const scale = Math.fround(Math.fround(to) - begin) / count;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: count }, (_, i) => {
    const centre = begin + (i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - reach * stretch + 0.5), 0);
    const end = Math.min(Math.trunc(centre + reach * stretch + 0.5), size);
    const parts = Float64Array.from({ length: end - first }, (_, j) =>
      form(Math.abs((j + first - centre + 0.5) * (1 / stretch))),
    );
    const sum = parts.reduce((a, b) => a + b, 0);
    return { first, parts: parts.map((part) => part / sum) };
  });
}

/** Weights as integers, rounded away from zero in the middle. */
function whole(table) {
  return table.map(({ first, parts }) => ({
    first,
    parts: Int32Array.from(parts, (part) => Math.trunc(part * 2 ** BITS + (part < 0 ? -0.5 : 0.5))),
  }));
}

/**
 * The part of an upright image that the network sees, left, top, right, bottom: all of it, or the centre square.
 *
 * @param {number} width
 * @param {number} height
 * @param {Shape} shape
 */
export function squareBox(width, height, { resolution, shortSide, shaping }) {
  if (shaping === "stretch") return [0, 0, width, height];
  const kept = (Math.min(width, height) * resolution) / shortSide;
  const [left, top] = [(width - kept) / 2, (height - kept) / 2];
  return [Math.max(left, 0), Math.max(top, 0), Math.min(left + kept, width), Math.min(top + kept, height)];
}

/**
 * What the network sees of an upright image: uint8 r r c.
 *
 * @param {Pixels} image
 * @param {Shape} shape
 * @returns {Uint8Array}
 */
export function square(image, shape) {
  const { width, height } = image;
  const { resolution: side, interpolation } = shape;
  if (width === side && height === side && side === shape.shortSide) return plain(image);
  const [left, top, right, bottom] = squareBox(width, height, shape);
  const columns = whole(weights(width, left, right, side, interpolation));
  const rows = whole(weights(height, top, bottom, side, interpolation));
  // A direction that shows all of the image at its own size is left alone.
  const isWide = width === side && left === 0 && right === width;
  const isTall = height === side && top === 0 && bottom === height;
  const passes = [(pixels) => (isWide ? pixels : across(pixels, columns, isTall ? null : rows))];
  passes.push((pixels) => (isTall ? pixels : down(pixels, rows)));
  if (shape.downFirst && height > side && height - side > 2 * (width - side)) passes.reverse();
  return plain(passes.reduce((pixels, pass) => pass(pixels), image));
}

/** Bytes without those between the pixels. */
function plain({ data, width, height, step, channels }) {
  if (step === channels) return data;
  const target = new Uint8Array(width * height * channels);
  for (let i = 0; i < width * height; i++)
    for (let c = 0; c < channels; c++) target[i * channels + c] = data[i * step + c];
  return target;
}

/** Every row to as many pixels as there are columns in the table; rows that nobody reads later stay empty. */
function across({ data, width, height, step, channels }, columns, rows) {
  const [begin, end] = rows && height > rows.length ? reads(rows) : [0, height];
  const count = columns.length;
  const target = new Uint8Array(height * count * channels);
  for (let y = begin; y < end; y++) {
    for (let i = 0, at = y * count * channels; i < count; i++, at += channels) {
      const { first, parts } = columns[i];
      mix(data, (y * width + first) * step, step, parts, target, at, channels);
    }
  }
  return { data: target, width: count, height, step: channels, channels };
}

/** Every column to as many pixels as there are rows in the table. */
function down({ data, width, step, channels }, rows) {
  const target = new Uint8Array(rows.length * width * channels);
  rows.forEach(({ first, parts }, i) => {
    for (let x = 0, at = i * width * channels; x < width; x++, at += channels)
      mix(data, (first * width + x) * step, width * step, parts, target, at, channels);
  });
  return { data: target, width, height: rows.length, step: channels, channels };
}

/** The first and one behind the last line that a table reads. */
function reads(table) {
  const last = table[table.length - 1];
  return [table[0].first, last.first + last.parts.length];
}

/** One pixel of several that lie `stride` apart. */
function mix(source, from, stride, parts, target, at, channels) {
  for (let c = 0; c < channels; c++) {
    let sum = 1 << (BITS - 1); // rounds
    for (let j = 0, k = from + c; j < parts.length; j++, k += stride) sum += source[k] * parts[j];
    const value = sum >> BITS;
    target[at + c] = value < 0 ? 0 : value > 255 ? 255 : value;
  }
}
