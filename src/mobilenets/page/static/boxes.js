/**
 * A detector's outputs to boxes.
 *
 * @typedef {object} Found
 * @property {number[]} box x0 y0 x1 y1 in parts of width and height
 * @property {number} score
 * @property {number} class
 */

const CANDIDATES = 400; // pairs of anchor and class that are looked at, the best ones
const POSITION = 10; // the box coder's
const SIZE = 5;

/**
 * What a file with suppression inside gives, best first; what comes behind `count` is zeros.
 *
 * @param {Record<string, any>} outputs tensors by name
 * @returns {Found[]}
 */
export function found({ boxes, scores, classes, count }) {
  return Array.from({ length: Number(count.data[0]) }, (_, i) => ({
    box: Array.from(boxes.data.subarray(4 * i, 4 * i + 4), clip),
    score: scores.data[i],
    class: Number(classes.data[i]),
  })).filter(hasArea);
}

/**
 * Raw outputs decoded and suppressed, best first: each stays unless a better one of its class overlaps it.
 *
 * @param {Record<string, any>} outputs tensors by name
 * @param {Float32Array} anchors centre x, centre y, width and height of each
 * @param {object} [thresholds] `score`, `overlap` and `most`
 * @returns {Found[]}
 */
export function suppressed({ boxes, scores }, anchors, { score = 0.05, overlap = 0.6, most = 100 } = {}) {
  const kinds = scores.dims[2];
  const values = scores.data;
  const likely = [];
  for (let i = 0; i < values.length; i++) if (values[i] >= score) likely.push(i);
  const best = likely.sort((a, b) => values[b] - values[a] || a - b).slice(0, Math.max(CANDIDATES, most));
  const kept = [];
  for (const i of best) {
    const place = 4 * Math.floor(i / kinds);
    const one = { box: decoded(boxes.data, anchors, place), score: values[i], class: i % kinds };
    if (!kept.some((other) => other.class === one.class && iou(other.box, one.box) > overlap)) kept.push(one);
  }
  return kept.slice(0, most).filter(hasArea);
}

/** Intersection over union; 0 without area. */
export function iou(a, b) {
  const area = (box) => Math.max(box[2] - box[0], 0) * Math.max(box[3] - box[1], 0);
  const shared = area([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
  return shared / Math.max(area(a) + area(b) - shared, 1e-12);
}

function decoded(codes, anchors, at) {
  const [x, y, width, height] = anchors.subarray(at, at + 4);
  const [cx, cy] = [(codes[at] / POSITION) * width + x, (codes[at + 1] / POSITION) * height + y];
  const [rx, ry] = [(Math.exp(codes[at + 2] / SIZE) * width) / 2, (Math.exp(codes[at + 3] / SIZE) * height) / 2];
  return [cx - rx, cy - ry, cx + rx, cy + ry].map(clip);
}

function clip(value) {
  return Math.min(Math.max(value, 0), 1);
}

/** Boxes outside the image, of which clipping left a line, are none. */
function hasArea({ box }) {
  return box[2] > box[0] && box[3] > box[1];
}
