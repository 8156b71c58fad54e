/**
 * The classes of an image's pixels.
 *
 * @typedef {import("./types.js").Mask} Mask
 * @typedef {import("./types.js").Region} Region
 */
import { weights } from "./resize.js";

const LARGEST = 1 << 20; // places of a mask that is made here: a photo's own pixels are more than a screen shows

/**
 * A segmenter's outputs as a mask in the image's shape: at its size, or smaller where it is large.
 *
 * @param {Record<string, { data: any, dims: readonly number[] }>} outputs
 * @param {[number, number]} size width and height of the image
 * @returns {Mask}
 */
export function maskIn({ mask, probabilities }, size) {
  const smaller = Math.min(1, Math.sqrt(LARGEST / (size[0] * size[1])));
  const [width, height] = size.map((side) => Math.max(1, Math.round(side * smaller)));
  if (mask) return nearest(mask.data, mask.dims[2], mask.dims[1], width, height);
  return mostProbable(probabilities.data, probabilities.dims, width, height);
}

/** The class at the nearest place. */
function nearest(source, fromWidth, fromHeight, width, height) {
  const data = new Uint8Array(width * height);
  const columns = Int32Array.from({ length: width }, (_, x) => Math.floor(((x + 0.5) * fromWidth) / width));
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * fromHeight) / height) * fromWidth;
    for (let x = 0; x < width; x++) data[y * width + x] = source[row + columns[x]];
  }
  return { width, height, data };
}

/** Probabilities resized (bilinear), class by class, then the most probable one of each place. */
function mostProbable(values, [, classes, fromHeight, fromWidth], width, height) {
  const [columns, rows] = [
    weights(fromWidth, 0, fromWidth, width, "bilinear"),
    weights(fromHeight, 0, fromHeight, height, "bilinear"),
  ];
  const data = new Uint8Array(width * height);
  const best = new Float32Array(width * height).fill(-1);
  const area = fromHeight * fromWidth;
  for (let label = 0; label < classes; label++) {
    const plane = values.subarray(label * area, (label + 1) * area);
    if (!plane.some((value) => value >= 0.5 / classes)) continue; // the winner has 1 / classes or more everywhere
    keepBetter(plane, fromWidth, columns, rows, label, best, data);
  }
  return { width, height, data };
}

function keepBetter(plane, fromWidth, columns, rows, label, best, data) {
  const width = columns.length;
  const line = new Float32Array(fromWidth);
  rows.forEach(({ first, parts }, y) => {
    line.fill(0);
    parts.forEach((part, j) => {
      for (let x = 0; x < fromWidth; x++) line[x] += part * plane[(first + j) * fromWidth + x];
    });
    for (let x = 0, at = y * width; x < width; x++, at++) {
      const column = columns[x];
      let value = 0;
      for (let j = 0; j < column.parts.length; j++) value += column.parts[j] * line[column.first + j];
      if (value > best[at]) [best[at], data[at]] = [value, label];
    }
  });
}

/**
 * The classes of a mask, most pixels first.
 *
 * @param {Mask} mask
 * @param {string[]} classes
 * @returns {Region[]}
 */
export function regionsOf({ data }, classes) {
  const counts = new Map();
  for (const number of data) counts.set(number, (counts.get(number) ?? 0) + 1);
  return [...counts]
    .sort((a, b) => b[1] - a[1] || a[0] - b[0])
    .map(([number, count]) => ({ label: classes[number] ?? String(number), number, part: count / data.length }));
}

/**
 * The mask that COCO's compressed run lengths make: columns first, five bits a character, from the third run on as the
 * difference from the one before the last.
 *
 * @param {{ number: number, counts: string }[]} regions
 * @param {[number, number]} size
 * @returns {Mask}
 */
export function maskOf(regions, [width, height]) {
  const data = new Uint8Array(width * height);
  for (const { number, counts } of regions) {
    let at = 0;
    runs(counts).forEach((length, i) => {
      for (const end = at + length; at < end; at++)
        if (i % 2) data[(at % height) * width + Math.floor(at / height)] = number;
    });
  }
  return { width, height, data };
}

function runs(counts) {
  const lengths = [];
  for (let at = 0; at < counts.length; ) {
    let value = 0;
    let shift = 0;
    let code;
    do {
      code = counts.charCodeAt(at++) - 48;
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32);
    if (code & 16) value |= -1 << shift;
    lengths.push(lengths.length > 2 ? value + lengths[lengths.length - 2] : value);
  }
  return lengths;
}
