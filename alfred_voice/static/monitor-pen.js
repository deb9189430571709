// What charts and time lines are drawn with.

/**
 * The page's colours and letters as a canvas wants them.
 * @typedef {Record<"ink" | "muted" | "grid" | "surface" | "good" | "warn" | "bad" | "accent" | "font", string> & {series: string[]}} Colours
 */

/**
 * What draws on a canvas.
 * @param {HTMLCanvasElement} canvas
 */
export function penOf(canvas) {
  const pen = canvas.getContext("2d");
  if (pen === null) throw new Error("this browser cannot draw");
  return pen;
}

/** @returns {Colours} */
export function readColours() {
  const style = getComputedStyle(document.documentElement);
  /** @param {string} name */
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: read("ink"), muted: read("muted"), grid: read("grid"), surface: read("surface"),
    good: read("good"), warn: read("warn"), bad: read("bad"), accent: read("accent"),
    series: [0, 1, 2, 3, 4, 5].map((index) => read(`series-${index}`)),
    font: getComputedStyle(document.body).fontFamily,
  };
}
