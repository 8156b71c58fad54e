/**
 * Which models there are, and where they lie: beside the page, or on the server that gave it.
 *
 * @typedef {import("./types.js").Model} Model
 */
import { Trouble } from "./trouble.js";

/** Whether a server answers, or all there is are files. */
export const isStatic = document.querySelector('meta[name="mobilenets-mode"]').content === "static";

const home = new URL(".", document.baseURI);

/**
 * All models, in the order in which they were named.
 *
 * @param {RequestInit} [options] how a server is asked
 * @returns {Promise<Model[]>}
 */
export async function listModels(options) {
  const list = new URL(isStatic ? "models.json" : "v1/models", home);
  const { models } = await getJson(list, options);
  const folder = new URL(isStatic ? "models/" : "v1/models/", home);
  return models.map((model) => ({ ...model, address: new URL(`./${encodeURIComponent(model.name)}/`, folder).href }));
}

/**
 * @param {URL | string} address
 * @param {RequestInit} [options]
 */
async function getJson(address, options) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw gone();
  }
  if (answer.status === 401) throw new Trouble("This server asks for a token.", "Enter the one you were given.", "token");
  if (!answer.ok) throw new Trouble(`The list of models is not there (${answer.status}).`, "Load the page again later.");
  return answer.json();
}

/** Nobody answers. */
export function gone() {
  return isStatic
    ? new Trouble("The page's files cannot be had.", "Is the network there? Pages opened as a file:// do not work.")
    : new Trouble("The server does not answer.", "Is it still running? Try again in a moment.");
}
