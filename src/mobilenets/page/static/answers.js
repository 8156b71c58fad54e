/**
 * What a model's outputs say of an image.
 *
 * @typedef {import("./types.js").Answer} Answer
 * @typedef {import("./types.js").Contract} Contract
 */
import { found, suppressed } from "./boxes.js";
import { maskIn, regionsOf } from "./masks.js";

export const TOP = 5;

/**
 * An answer without its times.
 *
 * @param {Contract} contract
 * @param {Record<string, any>} outputs by name
 * @param {[number, number]} size width and height of the upright image
 * @param {Float32Array | null} anchors
 * @returns {Omit<Answer, "timing">}
 */
export function read({ task, classes }, outputs, size, anchors) {
  const named = (number) => classes[number] ?? String(number);
  if (task === "detect") {
    const boxes = anchors ? suppressed(outputs, anchors) : found(outputs);
    const detections = boxes.map(({ box, score, class: number }) => ({
      label: named(number), number, score, box: box.map((part, i) => part * size[i % 2]),
    }));
    return { size, detections };
  }
  if (task === "segment") {
    const mask = maskIn(outputs, size);
    return { size, mask, regions: regionsOf(mask, classes) };
  }
  const { data } = outputs.probabilities;
  const order = Array.from(data.keys()).sort((a, b) => data[b] - data[a] || a - b);
  return { size, top: order.slice(0, TOP).map((number) => ({ label: named(number), score: data[number] })) };
}
