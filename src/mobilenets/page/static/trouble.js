/** What can go wrong for a visitor: what happened, and what to do about it. */
export class Trouble extends Error {
  /**
   * @param {string} message what happened
   * @param {string} [hint] what to do
   * @param {string} [code] `token` where the server wants one
   */
  constructor(message, hint = "", code = "") {
    super(message);
    this.hint = hint;
    this.code = code;
  }
}

export const NOT_AN_IMAGE = "This file cannot be read as an image.";
export const NOT_AN_IMAGE_HINT = "Choose a photo: JPEG, PNG, WebP, GIF, BMP or AVIF.";
