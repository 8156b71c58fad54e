/** The colour of a class: the same in every picture, far from those of the classes beside it. */

const GOLDEN = 0.618034;
const LEVELS = [[0.85, 1], [0.55, 1], [0.9, 0.7]]; // saturation and value, in turns

/**
 * @param {number} number of the class
 * @returns {[number, number, number]} red, green, blue
 */
export function colour(number) {
  const [saturation, value] = LEVELS[number % LEVELS.length];
  const hue = ((number * GOLDEN) % 1) * 6;
  return [5, 3, 1].map((shift) => {
    const k = (shift + hue) % 6;
    return Math.round(255 * value * (1 - saturation * Math.max(0, Math.min(k, 4 - k, 1))));
  });
}

/** @param {number[]} rgb */
export function css([red, green, blue]) {
  return `rgb(${red} ${green} ${blue})`;
}

/** Black or white, whichever is easier to read on a colour. */
export function ink([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "black" : "white";
}
