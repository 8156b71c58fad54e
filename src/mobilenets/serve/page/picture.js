/**
 * The picture with what was found in it.
 *
 * @typedef {import("./types.js").Answer} Answer
 * @typedef {import("./types.js").Detection} Detection
 * @typedef {import("./types.js").Mask} Mask
 */
import { colour, css, ink } from "./colours.js";

const LARGEST = 1600; // longest side of the canvas: more than a screen shows
const TINT = 0.55; // how much of a pixel is its class's colour
const BACKGROUND = "background"; // a class of masks that is left as it is

/**
 * Draws an image or a frame, and an answer over it.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {ImageBitmap | HTMLVideoElement} source
 * @param {Answer | null} answer
 * @param {{ least: number, only: number | null, overlay: OffscreenCanvas | null }} look `only`: the class that is
 *   shown alone
 */
export function draw(canvas, source, answer, { least, only, overlay }) {
  const [width, height] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
  const smaller = Math.min(1, LARGEST / Math.max(width, height));
  const [w, h] = [Math.round(width * smaller), Math.round(height * smaller)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // what transparent pixels lie on
  context.fillRect(0, 0, w, h);
  context.drawImage(source, 0, 0, w, h);
  if (overlay) context.drawImage(overlay, 0, 0, w, h);
  const shown = (answer?.detections ?? []).filter(({ score, number }) => score >= least && (only ?? number) === number);
  drawBoxes(context, shown, w / (answer?.size[0] || w), h / (answer?.size[1] || h));
}

/**
 * A mask in colours, to be laid over its picture.
 *
 * @param {Answer} answer
 * @param {number | null} only the class that is shown alone
 * @returns {OffscreenCanvas | null}
 */
export function tinted({ mask, regions }, only) {
  if (!mask) return null;
  const { width, height, data } = mask;
  const shown = regions.filter(({ label, number }) => !isBackground(label) && (only ?? number) === number);
  const colours = new Uint32Array(256);
  for (const { number } of shown) {
    const [red, green, blue] = colour(number);
    new Uint8Array(colours.buffer, 4 * number, 4).set([red, green, blue, Math.round(255 * TINT)]);
  }
  const canvas = new OffscreenCanvas(width, height);
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < data.length; i++) pixels[i] = colours[data[i]];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** @param {string} label */
export function isBackground(label) {
  return label.toLowerCase() === BACKGROUND;
}

/** Boxes with their labels, the best ones last, so that they lie on top. */
function drawBoxes(context, detections, across, down) {
  const { width, height } = context.canvas;
  const line = Math.max(2, Math.round(Math.min(width, height) / 200));
  const text = Math.max(13, Math.round(Math.min(width, height) / 30));
  context.font = `600 ${text}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const { label, score, number, box } of [...detections].reverse()) {
    const [x0, y0, x1, y1] = box.map((side, i) => side * (i % 2 ? down : across));
    const ground = colour(number);
    context.lineWidth = line + 2;
    context.strokeStyle = "rgb(0 0 0 / 55%)"; // light boxes on light photos are still seen
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.lineWidth = line;
    context.strokeStyle = css(ground);
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    tag(context, `${label} ${percent(score)}`, x0 - line / 2, y0, text, ground);
  }
}

function tag(context, words, x, y, text, ground) {
  const { width: wide } = context.measureText(words);
  const [w, h] = [wide + text * 0.7, text * 1.45];
  const left = Math.max(0, Math.min(x, context.canvas.width - w));
  const top = y - h >= 0 ? y - h : y;
  context.fillStyle = css(ground);
  context.fillRect(left, top, w, h);
  context.fillStyle = ink(ground);
  context.fillText(words, left + text * 0.35, top + h / 2 + 1);
}

/** @param {number} part */
export function percent(part) {
  if (part > 0 && part < 0.01) return "<1 %";
  return `${Math.round(100 * part)} %`;
}
