/**
 * Image files and frames to pixels.
 *
 * @typedef {import("./types.js").Pixels} Pixels
 * @typedef {import("./types.js").Picture} Picture
 */

/** How files are decoded: upright as EXIF says, their numbers as they are. */
export const AS_STORED = { imageOrientation: "from-image", colorSpaceConversion: "none" };

/**
 * An image upright, transparent pixels on white.
 *
 * @param {Picture} picture
 * @param {number} channels 3, or 1 for grey
 * @returns {Promise<Pixels>}
 */
export async function decode(picture, channels) {
  if (channels === 4) throw new Error("a canvas cannot hold four channels as they are: decode the file another way");
  const bitmap = picture instanceof Blob ? await createImageBitmap(picture, AS_STORED) : picture;
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  if (channels === 1) return { data: luma(data), width, height, step: 1, channels };
  return { data, width, height, step: 4, channels };
}

/** Grey as Pillow rounds it. */
function luma(rgba) {
  const grey = new Uint8Array(rgba.length / 4);
  for (let i = 0, at = 0; i < grey.length; i++, at += 4)
    grey[i] = (rgba[at] * 19595 + rgba[at + 1] * 38470 + rgba[at + 2] * 7471 + 0x8000) >> 16;
  return grey;
}
