/**
 * The page: what is looked at, by which model, where it runs.
 *
 * @typedef {import("./types.js").Answer} Answer
 * @typedef {import("./types.js").Backend} Backend
 * @typedef {import("./types.js").Model} Model
 * @typedef {"server" | "webgpu" | "wasm"} Where
 */
import { browserBackend, hasGpu, hasRuntime } from "./browser.js";
import { openCamera } from "./camera.js";
import { AS_STORED } from "./decode.js";
import { isStatic, listModels } from "./models.js";
import { draw, tinted } from "./picture.js";
import { element, headline, show, showTimes, spoken } from "./results.js";
import { serverBackend } from "./server.js";
import { NOT_AN_IMAGE, NOT_AN_IMAGE_HINT, Trouble } from "./trouble.js";

const LARGEST_BYTES = 64 << 20;
const LARGEST_PIXELS = 100e6;
const SPEAK_MS = 4000; // between what is said of a camera's frames
const PLACES = { server: "on the server", webgpu: "in this browser, GPU", wasm: "in this browser" };

const $ = (id) => document.getElementById(id);
const state = {
  /** @type {Model[]} */ models: [],
  /** @type {Model | null} */ model: null,
  /** @type {Where} */ where: "server",
  /** @type {Backend | null} */ backend: null,
  /** @type {Where | null} */ backendAt: null, // where it runs: other models there have the same one
  ready: Promise.resolve(), // the backend holds the model
  /** @type {{ blob: Blob, bitmap: ImageBitmap, name: string } | null} */ photo: null,
  /** @type {Awaited<ReturnType<typeof openCamera>> | null} */ camera: null,
  /** @type {Answer | null} */ answer: null,
  /** @type {OffscreenCanvas | null} */ overlay: null,
  /** @type {number | null} */ only: null, // which box, or which class of pixels, is shown alone
  able: { server: !isStatic, webgpu: false, wasm: false },
  turn: 0, // answers of former turns are dropped
  spokenAt: 0,
};

const token = () => sessionStorage.getItem("mobilenets-token");
const headers = () => (token() ? { Authorization: `Bearer ${token()}` } : {});
const least = () => Number($("least").value) / 100;

/** Does something, and tells of what goes wrong unless something else has begun since. */
async function attempt(work) {
  const turn = ++state.turn;
  try {
    await work(() => turn === state.turn);
  } catch (error) {
    if (turn === state.turn) fail(error);
  }
}

function fail(error) {
  const { message, hint = "", code = "" } = error;
  if (!(error instanceof Trouble)) console.error(error);
  $("trouble").replaceChildren(element("strong", { textContent: message }), element("span", { textContent: hint }));
  $("trouble").hidden = false;
  $("token").hidden = code !== "token";
  busy("");
}

function busy(words) {
  $("stage").classList.toggle("busy", words !== "");
  $("answer").setAttribute("aria-busy", String(words !== ""));
  if (words) $("note").textContent = words;
  $("note").hidden = !words && (state.answer !== null || !$("trouble").hidden);
}

function calm() {
  $("trouble").hidden = true;
  $("token").hidden = true;
}

// ---- where and by which model ----

async function start() {
  await attempt(async () => {
    calm();
    const [models, runtime, gpu] = await Promise.all([listModels({ headers: headers() }), isStatic || hasRuntime(), hasGpu()]);
    if (!models.length) throw new Trouble("There is no model here.", "Name one: mobilenets serve MODEL.");
    state.models = models;
    Object.assign(state.able, { wasm: runtime, webgpu: runtime && gpu });
    state.where = !isStatic ? "server" : gpu ? "webgpu" : "wasm";
    $("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
    state.model = models[0];
  });
  if (state.model) await changed();
}

/** After another model or place: makes it ready, then asks it anew. */
function changed() {
  if (state.where !== "server" && !state.model.browser) state.where = isStatic ? "wasm" : "server";
  offerPlaces();
  return attempt(async (isLast) => {
    forget();
    calm();
    busy(state.where === "server" ? "" : "Loading the model …");
    const ready = (state.ready = prepare(state.model, state.where));
    await ready;
    if (!isLast()) return;
    busy("");
    await look();
  });
}

/** Opens a model; what the GPU cannot run, the processor does. */
async function prepare(model, where) {
  if (state.backendAt !== where) {
    state.backend?.close();
    state.backend = where === "server" ? serverBackend(headers) : browserBackend(where, headers);
    state.backendAt = where;
  }
  try {
    await state.backend.open(model);
  } catch (error) {
    if (where !== "webgpu" || state.backendAt !== where) throw error;
    Object.assign(state, { where: "wasm", able: { ...state.able, webgpu: false } });
    offerPlaces();
    await prepare(model, "wasm");
  }
}

function offerPlaces() {
  const { browser } = state.model;
  const places = Object.keys(PLACES).filter((place) => state.able[place] && (place === "server" || browser));
  $("where").replaceChildren(...places.map((place) => new Option(PLACES[place], place, false, place === state.where)));
  $("place").textContent =
    state.where !== "server" ? "The photo stays in this browser." : `The photo is sent to this server.${whyServerOnly()}`;
}

function whyServerOnly() {
  if (!state.able.wasm) return " It was started without onnxruntime-web, so models run there only.";
  return state.model.browser ? "" : " This model is no .onnx file, so it runs there only.";
}

// ---- what is looked at ----

/** @param {File | undefined} file */
function choose(file) {
  if (!file) return undefined;
  stopCamera();
  return attempt(async (isLast) => {
    calm();
    if (file.size > LARGEST_BYTES) throw tooLarge(`${Math.round(file.size / 1e6)} MB`);
    const bitmap = await createImageBitmap(file, AS_STORED).catch(() => {
      throw new Trouble(NOT_AN_IMAGE, NOT_AN_IMAGE_HINT);
    });
    if (bitmap.width * bitmap.height > LARGEST_PIXELS) throw tooLarge(`${bitmap.width} × ${bitmap.height} pixels`);
    if (!isLast()) return;
    state.photo?.bitmap.close();
    state.photo = { blob: file, bitmap, name: file.name || "the photo" };
    $("name").textContent = file.name;
    forget();
    await look();
  });
}

function tooLarge(size) {
  return new Trouble(`This picture is too large: ${size}.`, "Choose one of at most 64 MB and 100 million pixels.");
}

async function toggleCamera() {
  if (state.camera) return stopCamera();
  return attempt(async (isLast) => {
    calm();
    const camera = await openCamera();
    if (!isLast()) return camera.stop();
    forget();
    state.photo?.bitmap.close();
    Object.assign(state, { photo: null, camera });
    $("camera").textContent = "Stop the camera";
    $("name").textContent = "camera";
    follow();
    return look();
  });
}

function stopCamera() {
  if (!state.camera) return;
  state.camera.stop();
  state.camera = null;
  state.turn++;
  $("camera").textContent = "Use the camera";
  busy("");
}

/** Draws every frame of the camera while it runs. */
function follow() {
  if (!state.camera) return;
  paint();
  requestAnimationFrame(follow);
}

/** Asks the model about the photo, or about one frame after the other. */
function look() {
  if (!state.backend || !(state.photo || state.camera)) return undefined;
  return attempt(async (isLast) => {
    busy(state.answer ? "" : "Looking …");
    await state.ready;
    do {
      const picture = state.camera ? await state.camera.frame() : state.photo.blob;
      const answer = await state.backend.ask(state.model, picture);
      if (!isLast()) return;
      tell(answer);
      if (state.camera) await new Promise(requestAnimationFrame);
    } while (state.camera && isLast());
  });
}

// ---- what is shown ----

function forget() {
  Object.assign(state, { answer: null, overlay: null, only: null, spokenAt: 0 });
  $("headline").textContent = "What is in it?";
  $("status").textContent = "";
  $("threshold").hidden = true;
  show($("answer"), null, {});
  showTimes($("times"), null);
  paint();
}

/** @param {Answer} answer */
function tell(answer) {
  state.answer = answer;
  calm();
  busy("");
  $("threshold").hidden = !answer.detections;
  const { by } = answer.timing;
  showTimes($("times"), answer.timing);
  $("times").title = by ? `computed by ${by}` : "";
  restyle();
}

/** After another answer, or another look at the same one. */
function restyle() {
  const { answer } = state;
  if (!answer) return;
  state.overlay = tinted(answer, state.only);
  $("headline").textContent = headline(answer, least());
  show($("answer"), answer, { least: least(), only: state.only, onPick });
  paint();
  const now = performance.now();
  if (state.camera && now - state.spokenAt < SPEAK_MS) return;
  state.spokenAt = now;
  $("status").textContent = spoken(answer, least());
}

function onPick(key) {
  state.only = state.only === key ? null : key;
  restyle();
}

function paint() {
  const source = state.camera?.video ?? state.photo?.bitmap;
  $("picture").hidden = !source;
  $("empty").hidden = Boolean(source);
  if (!source) return;
  draw($("picture"), source, state.answer, { least: least(), only: state.only, overlay: state.overlay });
  const what = state.camera ? "the camera" : state.photo.name;
  $("picture").ariaLabel = state.answer ? `${what}: ${headline(state.answer, least())}` : what;
}

// ---- wiring ----

$("model").onchange = ({ target }) => {
  state.model = state.models.find(({ name }) => name === target.value);
  changed();
};
$("where").onchange = ({ target }) => {
  state.where = target.value;
  changed();
};
$("file").onchange = ({ target }) => {
  choose(target.files[0]);
  target.value = ""; // the same file may be chosen again
};
$("camera").onclick = toggleCamera;
$("least").oninput = () => {
  $("least-shown").value = `${$("least").value} %`;
  restyle();
};
$("token").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem("mobilenets-token", new FormData($("token")).get("token"));
  start();
};
addEventListener("resize", paint); // labels keep their size on the screen
addEventListener("paste", ({ clipboardData }) => choose(clipboardData.files[0]));
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    $("stage").classList.toggle("over", kind === "dragover");
    if (kind === "drop") choose(event.dataTransfer.files[0]);
  });
}
start();
