/**
 * Runs models with onnxruntime-web, one at a time. Messages: open, then ask.
 *
 * @typedef {import("./types.js").Contract} Contract
 */
import { read } from "./answers.js";
import { decode } from "./decode.js";
import { square } from "./resize.js";
import { NOT_AN_IMAGE, NOT_AN_IMAGE_HINT, Trouble } from "./trouble.js";

const ORT = new URL("./ort/", import.meta.url);
const MODULE = { wasm: "ort.wasm.min.mjs", webgpu: "ort.webgpu.min.mjs" };
const TITLE = { wasm: "WebAssembly", webgpu: "WebGPU" };

/** @type {{ name: string, ort: any, session: any, contract: Contract, anchors: Float32Array | null, by: string } | null} */
let opened = null;
let last = Promise.resolve(); // one message after the other

const verbs = { open, ask };
onmessage = ({ data }) => {
  last = last.then(async () => {
    try {
      postMessage({ id: data.id, value: await verbs[data.verb](data) });
    } catch (error) {
      const { message, hint = "" } = error;
      postMessage({ id: data.id, trouble: { message: message ?? String(error), hint } });
    }
  });
};

async function open({ name, address, provider, headers }) {
  await opened?.session.release();
  opened = null;
  const get = (file) => fetched(new URL(file, address), headers);
  const [ort, contract] = await Promise.all([runtime(provider), get("browser.json").then((answer) => answer.json())]);
  const [model, anchors] = await Promise.all([contract.model, contract.anchors].map((file) => file && bytes(get(file))));
  try {
    const session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: [provider] });
    opened = { name, ort, session, contract, anchors: anchors && new Float32Array(anchors), by: TITLE[provider] };
  } catch (error) {
    throw new Trouble(`${TITLE[provider]} cannot run this model: ${firstLine(error)}`, "Choose another place to run it, or another model.");
  }
}

async function ask({ name, picture }) {
  if (opened?.name !== name) throw new Trouble("The model is not loaded.", "Choose it again.");
  const { ort, session, contract, anchors, by } = opened;
  const { resolution, mean, interpolation, shaping } = contract.preprocessing;
  const begin = performance.now();
  const image = await decode(picture, mean.length).catch((error) => {
    throw new Trouble(mean.length === 4 ? firstLine(error) : NOT_AN_IMAGE, mean.length === 4 ? "" : NOT_AN_IMAGE_HINT);
  });
  const shape = { resolution, interpolation, shaping, shortSide: contract.short_side, downFirst: contract.down_first };
  const pixels = new ort.Tensor("uint8", square(image, shape), [1, resolution, resolution, mean.length]);
  const decoded = performance.now();
  const outputs = await session.run({ [contract.input]: pixels }).catch((error) => {
    throw new Trouble(`${by} failed on this model: ${firstLine(error)}`, "Choose another place to run it.");
  });
  const inferred = performance.now();
  const timing = { decode_ms: decoded - begin, infer_ms: inferred - decoded, total_ms: 0, by };
  return { ...read(contract, outputs, [image.width, image.height], anchors), timing };
}

async function runtime(provider) {
  try {
    const ort = await import(new URL(MODULE[provider], ORT).href);
    ort.env.wasm.wasmPaths = ORT.href;
    ort.env.wasm.numThreads = 1; // with more, a run now and then never ends
    ort.env.logLevel = "error";
    return ort;
  } catch (error) {
    throw new Trouble(`onnxruntime-web cannot be loaded: ${firstLine(error)}`, "Let the server do the work.");
  }
}

async function fetched(address, headers) {
  const answer = await fetch(address, { headers }).catch(() => null);
  if (answer?.ok) return answer;
  const why = answer ? ` (${answer.status})` : "";
  throw new Trouble(`The model cannot be loaded: ${address.pathname.split("/").pop()} does not come${why}.`, "Try again, or choose another model.");
}

async function bytes(answer) {
  return (await answer).arrayBuffer();
}

function firstLine(error) {
  return String(error?.message ?? error).trim().split("\n", 1)[0];
}
