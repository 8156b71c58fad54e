/**
 * The shapes that the page's modules pass on. No code.
 *
 * @typedef {"classify" | "multi-label" | "detect" | "segment"} Task
 *
 * @typedef {object} Model A model that can be chosen.
 * @property {string} name
 * @property {Task} task
 * @property {number} resolution height and width that enter the network
 * @property {string} precision
 * @property {number} bytes of its file
 * @property {boolean} browser whether the page may run it by itself
 * @property {string} address where `browser.json` and `model.onnx` lie, absolute, with a slash at the end
 *
 * @typedef {object} Contract `browser.json`: how an image becomes the input, and what comes out.
 * @property {string} name
 * @property {Task} task
 * @property {string[]} classes
 * @property {Preprocessing} preprocessing
 * @property {number} short_side what the short side would be resized to before the centre is cut out
 * @property {boolean} down_first whether tall images are resized down first, then across
 * @property {string} input
 * @property {string[]} outputs
 * @property {"inside" | "outside"} postprocess whether boxes or masks are made inside the file
 * @property {string | null} anchors
 * @property {string} model
 *
 * @typedef {object} Preprocessing
 * @property {number} resolution
 * @property {number[]} mean
 * @property {"bilinear" | "bicubic"} interpolation
 * @property {"crop" | "stretch"} shaping
 *
 * @typedef {object} Pixels `step` bytes a pixel, of which the first `channels` count.
 * @property {Uint8Array | Uint8ClampedArray} data
 * @property {number} width
 * @property {number} height
 * @property {number} step
 * @property {number} channels
 *
 * @typedef {{ label: string, score: number }} Likely
 * @typedef {{ label: string, number: number, score: number, box: number[] }} Detection `box` is x0 y0 x1 y1 in pixels of
 *   the upright image.
 * @typedef {{ label: string, number: number, part: number }} Region `part` is of the image's pixels.
 * @typedef {{ width: number, height: number, data: Uint8Array }} Mask the class of each place, row by row
 *
 * @typedef {object} Answer What a model says of an image; one of `top`, `detections` and `regions` is there.
 * @property {[number, number]} size width and height of the upright image, which boxes count in
 * @property {Likely[]} [top]
 * @property {Detection[]} [detections]
 * @property {Region[]} [regions] largest first
 * @property {Mask} [mask]
 * @property {Timing} timing
 *
 * @typedef {object} Timing
 * @property {number} decode_ms decoding and resizing
 * @property {number} infer_ms
 * @property {number} total_ms as the page waited for it
 * @property {string} [by] what computed it
 *
 * @typedef {Blob | ImageBitmap} Picture a file, or a frame of the camera
 *
 * @typedef {object} Backend Where a model runs.
 * @property {(model: Model) => Promise<void>} open makes the model ready
 * @property {(model: Model, picture: Picture) => Promise<Answer>} ask
 * @property {() => void} close
 */
export {};
