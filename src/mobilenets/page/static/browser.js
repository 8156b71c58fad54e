/**
 * The backend in this browser: onnxruntime-web in a worker, so that the page stays responsive.
 *
 * @typedef {import("./types.js").Backend} Backend
 * @typedef {import("./types.js").Model} Model
 * @typedef {import("./types.js").Picture} Picture
 */
import { Trouble } from "./trouble.js";

/** Whether this browser has a GPU that pages may use. */
export async function hasGpu() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && !adapter.info?.isFallbackAdapter;
}

/** Whether the files of onnxruntime-web came with the page. */
export async function hasRuntime() {
  const answer = await fetch(new URL("./ort/ort.wasm.min.mjs", import.meta.url), { method: "HEAD" }).catch(() => null);
  return Boolean(answer?.ok);
}

/**
 * @param {"webgpu" | "wasm"} provider
 * @param {() => Record<string, string>} headers of the requests for a model's files
 * @returns {Backend}
 */
export function browserBackend(provider, headers) {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const waiting = new Map();
  let number = 0;
  worker.onmessage = ({ data: { id, value, trouble } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (trouble) reject(new Trouble(trouble.message, trouble.hint));
    else resolve(value);
  };
  worker.onerror = () => {
    const trouble = new Trouble("The page's worker stopped.", "Load the page again, or let the server do the work.");
    for (const { reject } of waiting.values()) reject(trouble);
    waiting.clear();
  };

  /** @returns {Promise<any>} */
  function tell(message, moved = []) {
    return new Promise((resolve, reject) => {
      waiting.set(++number, { resolve, reject });
      worker.postMessage({ id: number, ...message }, moved);
    });
  }

  return {
    open: (/** @type {Model} */ { name, address }) =>
      tell({ verb: "open", name, address, provider, headers: headers() }),
    ask: async (/** @type {Model} */ { name }, /** @type {Picture} */ picture) => {
      const begin = performance.now();
      const answer = await tell({ verb: "ask", name, picture }, picture instanceof Blob ? [] : [picture]);
      answer.timing.total_ms = performance.now() - begin;
      return answer;
    },
    close: () => worker.terminate(),
  };
}
