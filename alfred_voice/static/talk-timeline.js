// The last seconds as a picture: how loud it was, where speech was heard, and what the daemon made of it.

const COLUMN = 5; // pixels, the gap included
const BAR = 3;
export const COLUMN_MS = 50;
const MOST_COLUMNS = 600;
const FLOOR_DB = -60;

/**
 * @typedef {"turn" | "pause" | "cut"} Mark
 * @typedef {{level: number, voice: number, isSpeech: boolean, mark: Mark | null}} Column
 * @typedef {Record<"quiet" | "speech" | "voice" | Mark, string>} Colours
 */

export class Timeline {
  /** @type {Column[]} */
  #columns = [];
  #canvas;
  #brush;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    const brush = canvas.getContext("2d");
    if (brush === null) throw new Error("this browser cannot draw");
    this.#brush = brush;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /**
   * One more column.
   * @param {number} levelDb the microphone's
   * @param {number} voiceDb the daemon's
   * @param {boolean} isSpeech whether somebody is being heard
   */
  push(levelDb, voiceDb, isSpeech) {
    this.#columns.push({ level: heightOf(levelDb), voice: heightOf(voiceDb), isSpeech, mark: null });
    if (this.#columns.length > MOST_COLUMNS) this.#columns.shift();
    this.draw();
  }

  /** What was heard since then was speech after all, or was none. @param {number} agoMs @param {boolean} isSpeech */
  recolour(agoMs, isSpeech) {
    const first = Math.max(0, this.#columns.length - Math.round(agoMs / COLUMN_MS));
    for (const column of this.#columns.slice(first)) column.isSpeech = isSpeech;
  }

  /** @param {Mark} kind */
  mark(kind) {
    const last = this.#columns.at(-1);
    if (last) last.mark = kind;
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const scale = window.devicePixelRatio;
    if (!width) return;
    if (this.#canvas.width !== Math.round(width * scale) || this.#canvas.height !== Math.round(height * scale)) {
      this.#canvas.width = Math.round(width * scale);
      this.#canvas.height = Math.round(height * scale);
    }
    const colours = coloursOf(this.#canvas);
    this.#brush.setTransform(scale, 0, 0, scale, 0, 0);
    this.#brush.clearRect(0, 0, width, height);
    const shown = this.#columns.slice(-Math.ceil(width / COLUMN));
    shown.forEach((column, i) => this.#drawColumn(column, width - (shown.length - i) * COLUMN, height, colours));
    this.#drawRest(width - shown.length * COLUMN, height, colours);
  }

  /** Where nothing has been yet: a quiet line. @param {number} width @param {number} height @param {Colours} colours */
  #drawRest(width, height, colours) {
    for (let x = width - COLUMN; x > -COLUMN; x -= COLUMN) this.#bar(x, height / 2, 2, colours.quiet);
  }

  /** @param {Column} column @param {number} x @param {number} height @param {Colours} colours */
  #drawColumn({ level, voice, isSpeech, mark }, x, height, colours) {
    const middle = height / 2;
    const room = height - 18;
    this.#bar(x, middle, Math.max(2, level * room), isSpeech ? colours.speech : colours.quiet);
    if (voice > 0.02) this.#bar(x, middle, Math.max(2, voice * room), colours.voice);
    if (mark) this.#drawMark(x + BAR / 2, height, colours[mark]);
  }

  /** @param {number} x @param {number} middle @param {number} length @param {string} colour */
  #bar(x, middle, length, colour) {
    this.#brush.fillStyle = colour;
    this.#brush.beginPath();
    this.#brush.roundRect(x, middle - length / 2, BAR, length, BAR / 2);
    this.#brush.fill();
  }

  /** @param {number} x @param {number} height @param {string} colour */
  #drawMark(x, height, colour) {
    this.#brush.fillStyle = colour;
    this.#brush.fillRect(x - 0.75, 8, 1.5, height - 8);
    this.#brush.beginPath();
    this.#brush.arc(x, 6, 4, 0, 2 * Math.PI);
    this.#brush.fill();
  }
}

/** @param {number} db */
function heightOf(db) {
  return Math.min(1, Math.max(0, (db - FLOOR_DB) / -FLOOR_DB));
}

/** @param {Element} element @returns {Colours} */
function coloursOf(element) {
  const style = getComputedStyle(element);
  /** @param {string} name */
  const of = (name) => style.getPropertyValue(name).trim();
  return { quiet: of("--quiet"), speech: of("--speech"), voice: of("--voice"), turn: of("--good"), pause: of("--warn"), cut: of("--bad") };
}
