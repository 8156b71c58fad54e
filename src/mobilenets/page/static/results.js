/**
 * The answer in words, beside the picture.
 *
 * @typedef {import("./types.js").Answer} Answer
 * @typedef {import("./types.js").Timing} Timing
 */
import { colour, css } from "./colours.js";
import { isBackground, percent, spaced } from "./picture.js";

const MOST = 20; // lines of boxes

/**
 * What stands above an answer: the best of it, in a few words.
 *
 * @param {Answer} answer
 * @param {number} least score of boxes that are shown
 */
export function headline({ top, detections, regions }, least) {
  if (top) return spaced(top[0].label);
  if (detections) return counted(detections.filter(({ score }) => score >= least));
  const seen = regions.filter(({ label }) => !isBackground(label));
  return seen.length ? seen.map(({ label }) => spaced(label)).slice(0, 3).join(", ") : "Nothing but background";
}

/** `2 × dog, cat` */
function counted(detections) {
  if (!detections.length) return "Nothing found";
  const counts = new Map();
  for (const label of detections.map((one) => spaced(one.label))) counts.set(label, (counts.get(label) ?? 0) + 1);
  const parts = [...counts].map(([label, count]) => (count > 1 ? `${count} × ${label}` : label));
  return parts.length > 4 ? `${parts.slice(0, 4).join(", ")} and more` : parts.join(", ");
}

/**
 * The answer for those who hear it.
 *
 * @param {Answer} answer
 * @param {number} least
 */
export function spoken(answer, least) {
  const { top, regions } = answer;
  if (top) return `Most likely: ${top.map(({ label, score }) => `${spaced(label)} ${percent(score)}`).join(", ")}`;
  if (regions) return `In the picture: ${regions.map(({ label, part }) => `${spaced(label)} ${percent(part)}`).join(", ")}`;
  return `Found: ${headline(answer, least)}`;
}

/**
 * Fills the list of an answer.
 *
 * @param {HTMLElement} place
 * @param {Answer | null} answer
 * @param {{ least: number, only: number | null, onPick: (key: number) => void }} look
 */
export function show(place, answer, look) {
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  place.replaceChildren(...(answer ? [list(answer, look)] : []));
  if (focused) place.querySelector(`[data-key="${focused}"]`)?.focus();
}

function list({ top, detections, regions }, look) {
  if (top) return element("ol", { className: "list" }, top.map(bar));
  const items = detections
    ? detections.map((one, key) => ({ ...one, key, share: one.score })).filter(({ share }) => share >= look.least)
    : regions.map((one) => ({ ...one, key: one.number, share: one.part }));
  return element("ul", { className: "list tight" }, items.slice(0, MOST).map((item) => pick(item, look)));
}

function bar({ label, score }) {
  const fill = element("div", { className: "fill" });
  fill.style.width = `${100 * score}%`;
  const track = element("div", { className: "track" }, [fill]);
  track.setAttribute("aria-hidden", "true"); // the figure beside it says the same
  return element("li", { className: "one" }, [
    element("b", { textContent: spaced(label) }), element("span", { className: "share", textContent: percent(score) }), track,
  ]);
}

/** A box, or a class of pixels: pressed, it is shown alone. */
function pick({ label, number, share, key }, { only, onPick }) {
  const swatch = element("span", { className: "swatch" });
  if (!isBackground(label)) swatch.style.background = css(colour(number));
  const button = element("button", { type: "button", className: "button pick", title: `show ${spaced(label)} alone` }, [
    swatch, element("span", { textContent: spaced(label) }), element("span", { className: "share", textContent: percent(share) }),
  ]);
  button.dataset.key = String(key);
  button.setAttribute("aria-pressed", String(only === key));
  button.onclick = () => onPick(key);
  return element("li", {}, [button]);
}

/**
 * Times as they were measured.
 *
 * @param {HTMLElement} place
 * @param {Timing | null} timing
 */
export function showTimes(place, timing) {
  const rows = timing ? [["decode", timing.decode_ms], ["inference", timing.infer_ms], ["total", timing.total_ms]] : [];
  place.replaceChildren(
    ...rows.map(([name, value]) =>
      element("div", {}, [element("dt", { textContent: name }), element("dd", { textContent: milliseconds(value) })]),
    ),
  );
}

function milliseconds(value) {
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ms`;
}

/** @returns {HTMLElement} */
export function element(name, properties = {}, children = []) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
