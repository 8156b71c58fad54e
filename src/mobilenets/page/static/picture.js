/**
 * The picture with what was found in it.
 *
 * @typedef {import("./types.js").Answer} Answer
 * @typedef {import("./types.js").Detection} Detection
 * @typedef {import("./types.js").Mask} Mask
 */
import { colour, css, ink } from "./colours.js";

const SIDES = [1200, 1600]; // longest side of the canvas: text is sharp on small photos, too, and large ones are quick
const TINT = 0.55; // how much of a pixel is its class's colour
const BACKGROUND = "background"; // a class of masks that is left as it is

/**
 * Draws an image or a frame, and an answer over it.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {ImageBitmap | HTMLVideoElement} source
 * @param {Answer | null} answer
 * @param {{ least: number, only: number | null, overlay: OffscreenCanvas | null }} look `only`: which of the boxes is
 *   shown alone
 */
export function draw(canvas, source, answer, { least, only, overlay }) {
  const [width, height] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
  const longest = Math.max(width, height);
  const scale = Math.min(Math.max(longest, SIDES[0]), SIDES[1]) / longest;
  const [w, h] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // what transparent pixels lie on
  context.fillRect(0, 0, w, h);
  context.drawImage(source, 0, 0, w, h);
  if (overlay) context.drawImage(overlay, 0, 0, w, h);
  const shown = (answer?.detections ?? []).filter(({ score }, i) => score >= least && (only ?? i) === i);
  if (shown.length) drawBoxes(context, shown, w / answer.size[0], h / answer.size[1]);
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

/**
 * Boxes, the best ones on top, then their labels.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {Detection[]} detections best first
 * @param {number} across pixels of the canvas for one of the image
 * @param {number} down
 */
function drawBoxes(context, detections, across, down) {
  const { canvas } = context;
  // one pixel of the screen, so that lines and letters have the same size in every picture
  const px = Math.max(canvas.width / (canvas.clientWidth || canvas.width), canvas.height / (canvas.clientHeight || canvas.height));
  const placed = detections.map((one) => ({ ...one, box: one.box.map((side, i) => side * (i % 2 ? down : across)) }));
  for (const { number, box: [x0, y0, x1, y1] } of [...placed].reverse()) {
    for (const [line, style] of [[4 * px, "rgb(0 0 0 / 55%)"], [2.5 * px, css(colour(number))]]) { // seen on light photos, too
      Object.assign(context, { lineWidth: line, strokeStyle: style });
      context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
  }
  context.font = `600 ${14 * px}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const taken = [];
  for (const one of placed) taken.push(tag(context, one, px, taken));
}

/** A label on its class's colour; gives the rectangle that it takes. */
function tag(context, { label, score, number, box }, px, taken) {
  const words = `${spaced(label)} ${percent(score)}`;
  const ground = colour(number);
  const [width, height] = [context.measureText(words).width + 10 * px, 21 * px];
  const [left, top] = freePlace(box, width, height, context.canvas, taken);
  context.fillStyle = css(ground);
  context.fillRect(left, top, width, height);
  context.fillStyle = ink(ground);
  context.fillText(words, left + 5 * px, top + height / 2 + px);
  return [left, top, left + width, top + height];
}

/** Above a box, inside its upper edge, below it, inside its lower edge: the first in the picture that is free. */
function freePlace([x0, y0, x1, y1], width, height, canvas, taken) {
  const inside = (x) => Math.max(0, Math.min(x, canvas.width - width));
  const spots = [y0 - height, y0, y1, y1 - height].flatMap((y) => [[inside(x0), y], [inside(x1 - width), y]]);
  const seen = spots.filter(([, y]) => y >= 0 && y <= canvas.height - height);
  const meets = ([x, y]) => taken.some((other) => x < other[2] && other[0] < x + width && y < other[3] && other[1] < y + height);
  return seen.find((spot) => !meets(spot)) ?? seen[0] ?? [inside(x0), Math.max(0, y0)];
}

/** A class's name as people write it. */
export function spaced(label) {
  return label.replaceAll("_", " ");
}

/** @param {number} part */
export function percent(part) {
  if (part > 0 && part < 0.01) return "<1 %";
  return `${Math.round(100 * part)} %`;
}
