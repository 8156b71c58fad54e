/**
 * The backend on the server: pictures go there, answers come back.
 *
 * @typedef {import("./types.js").Answer} Answer
 * @typedef {import("./types.js").Backend} Backend
 * @typedef {import("./types.js").Model} Model
 * @typedef {import("./types.js").Picture} Picture
 */
import { TOP } from "./answers.js";
import { maskOf } from "./masks.js";
import { gone } from "./models.js";
import { NOT_AN_IMAGE, NOT_AN_IMAGE_HINT, Trouble } from "./trouble.js";

const LEAST = 0.05; // score of boxes that are asked for: the page shows those above its own

/** What the page says of answers that are none, where it can say more than the server does. */
const SAID = {
  401: ["This server asks for a token.", "Enter the one you were given."],
  413: ["This picture is too large for the server.", "Choose a smaller one, or let this browser do the work."],
  415: [NOT_AN_IMAGE, NOT_AN_IMAGE_HINT],
  422: [NOT_AN_IMAGE, NOT_AN_IMAGE_HINT],
  429: ["The server is busy.", "Try again in a moment."],
  503: ["The server is not ready, or took too long.", "Try again in a moment."],
};

/**
 * @param {() => Record<string, string>} headers of every request
 * @returns {Backend}
 */
export function serverBackend(headers) {
  return { open: async () => {}, ask, close: () => {} };

  /**
   * @param {Model} model
   * @param {Picture} picture
   * @returns {Promise<Answer>}
   */
  async function ask(model, picture) {
    const begin = performance.now();
    const body = picture instanceof Blob ? picture : await encoded(picture);
    const type = body.type.startsWith("image/") ? body.type : "application/octet-stream";
    const options = { method: "POST", body, headers: { ...headers(), "Content-Type": type } };
    const answer = await fetch(predictAddress(model), options).catch(() => Promise.reject(gone()));
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw refused(answer.status, told.error);
    const [prediction] = told.predictions;
    if (prediction.error) throw new Trouble(NOT_AN_IMAGE, NOT_AN_IMAGE_HINT);
    const { decode_ms, infer_ms } = told.timing;
    const timing = { decode_ms, infer_ms, total_ms: performance.now() - begin, by: model.runtime };
    const { top, detections, regions, size } = prediction;
    const mask = regions && maskOf(regions, size);
    return { size: size ?? [0, 0], top, detections, regions, mask, timing };
  }
}

/** @param {Model} model */
function predictAddress(model) {
  const query = { classify: `?top=${TOP}`, "multi-label": `?top=${TOP}`, detect: `?score=${LEAST}`, segment: "" }[model.task];
  return `${model.address.slice(0, -1)}:predict${query}`;
}

/** @param {ImageBitmap} frame */
function encoded(frame) {
  const canvas = new OffscreenCanvas(frame.width, frame.height);
  canvas.getContext("2d").drawImage(frame, 0, 0);
  frame.close();
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

/**
 * @param {number} status
 * @param {{ message: string, hint: string } | undefined} error
 */
function refused(status, error) {
  const [message, hint] = SAID[status] ?? [error?.message ?? `The server failed (${status}).`, error?.hint ?? ""];
  return new Trouble(message, hint, status === 401 ? "token" : "");
}
