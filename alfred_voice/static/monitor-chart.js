// One chart on a canvas: lines over time with axes, limits, marks, and a cursor that pointer and keyboard move.

import { make, put, set, timeOfDay } from "./monitor-dom.js";
import { drawSign, gather } from "./monitor-marks.js";
import { penOf } from "./monitor-pen.js";

const LEFT = 40;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 20;
const GAP_S = 5; // rows further apart are not joined: nobody knows what was between
const NICE = [1, 2, 2.5, 5, 10];
const DASHES = [[], [5, 3], [2, 2], [8, 3, 2, 3], [1, 3], [10, 4]];
const TIME_STEPS = [10, 15, 30, 60, 120, 180, 300];
const LEAST_SPAN_S = 60;
const FAR_KEY_ROWS = 30;
const LABEL = 12; // px that a limit's name is tall

/** @param {number} span @param {number} most */
export function niceStep(span, most) {
  const rough = span / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * (NICE.find((factor) => factor * power >= rough * 0.999) ?? 10);
}

/**
 * @typedef {import("./monitor-history.js").History} History
 * @typedef {"good" | "warn" | "bad"} Level
 * @typedef {{column: string, label: string, colour?: number, scale?: number}} Line
 * @typedef {{value: number, label: string, level: Level, isBelow?: boolean, isAlwaysShown?: boolean}} Limit
 * @typedef {import("./monitor-pen.js").Colours} Colours
 *
 * What a chart is of. `least` is the top of its scale at the least, `top` the top whatever comes.
 * @typedef {object} Definition
 * @property {string} name
 * @property {string} title
 * @property {string} unit
 * @property {string} [brief] the unit where there is little room
 * @property {Line[]} lines
 * @property {number} least
 * @property {number} [top]
 * @property {boolean} [isStepped]
 * @property {() => Limit[]} limits
 * @property {(value: number) => string} text
 */

export class Chart {
  value = make("b", {}, "–");
  note = make("p", { class: "muted small note" });
  #onCursor;
  #canvas = make("canvas", { "aria-hidden": "true" });
  #pen;
  #readout = make("p", { class: "readout small", "aria-hidden": "true" });
  #slider;
  #size = { width: 0, height: 0 };
  #view = { from: 0, start: 0, end: 1, top: 1, step: 1 };
  /** @type {History | null} */
  #history = null;
  /** @type {Colours | null} */
  #colours = null;
  #seconds = 900;
  /** @type {number | null} */
  #cursor = null;

  /**
   * @param {Definition} definition
   * @param {{onCursor(time: number | null): void}} on
   */
  constructor(definition, { onCursor }) {
    this.definition = definition;
    this.#onCursor = onCursor;
    this.#pen = penOf(this.#canvas);
    const { name, title, unit } = definition;
    this.#slider = make("div", {
      class: "plot", tabindex: 0, role: "slider", "aria-label": `${title} over time`, "aria-valuemin": 0, "aria-valuemax": 0,
      "aria-valuenow": 0, "aria-valuetext": "no data yet",
    }, this.#canvas);
    this.element = make("article", { class: "card chart", "data-figure": name, "aria-label": title },
      make("div", { class: "card-head" }, make("h3", {}, title), this.#readout),
      make("p", { class: "value" }, this.value, make("span", {}, unit)), this.note, this.#slider);
    this.#slider.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.#slider.addEventListener("pointerdown", (event) => this.#point(event.offsetX));
    this.#slider.addEventListener("pointerleave", () => this.#onCursor(null));
    this.#slider.addEventListener("keydown", (event) => this.#key(event));
    this.#slider.addEventListener("blur", () => this.#onCursor(null));
    new ResizeObserver(() => this.#resize()).observe(this.#slider);
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.#slider;
    const ratio = Math.min(3, window.devicePixelRatio || 1);
    this.#size = { width, height };
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    this.#pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.draw();
  }

  /** @param {History} history @param {number} seconds @param {Colours} colours */
  show(history, seconds, colours) {
    this.#history = history;
    this.#seconds = seconds;
    this.#colours = colours;
    this.draw();
  }

  /** The moment that all charts look at, in seconds since 1970; null for none. @param {number | null} time */
  set cursor(time) {
    this.#cursor = time;
    this.draw();
  }

  // Cursor

  /** @param {number} x */
  #point(x) {
    if (!this.#history?.length) return;
    const share = (x - LEFT) / Math.max(1, this.#size.width - LEFT - RIGHT);
    const { start, end } = this.#view;
    const row = this.#history.nearest(start + share * (end - start));
    this.#onCursor(this.#history.at[row]);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const history = this.#history;
    if (!history?.length) return;
    const last = history.length - 1;
    const now = this.#cursor === null ? last : history.nearest(this.#cursor);
    /** @type {Record<string, number>} */
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -FAR_KEY_ROWS, PageUp: FAR_KEY_ROWS };
    let row = now + (steps[event.key] ?? 0);
    if (event.key === "Home") row = this.#view.from;
    else if (event.key === "End") row = last;
    else if (event.key === "Escape") {
      this.#onCursor(null);
      return;
    } else if (!(event.key in steps)) return;
    event.preventDefault();
    this.#onCursor(history.at[Math.min(last, Math.max(this.#view.from, row))]);
  }

  /** @param {History} history @param {number} row @param {string} [unit] */
  #tell(history, row, unit = this.definition.unit) {
    const { lines, text } = this.definition;
    const said = lines.map(({ column, label, scale = 1 }) => {
      const value = text((history.values(column)[row] ?? 0) * scale);
      return lines.length > 1 ? `${label} ${value}` : value;
    });
    return `${said.join(", ")}${unit && ` ${unit}`}`;
  }

  /** @param {History} history @param {number} row */
  #drawReadout(history, row) {
    const time = timeOfDay(history.at[row]);
    const marks = history.marksNear(history.at[row], 1).map((mark) => mark.text);
    set(this.#slider, "aria-valuemin", this.#view.from);
    set(this.#slider, "aria-valuemax", history.length - 1);
    set(this.#slider, "aria-valuenow", row);
    set(this.#slider, "aria-valuetext", [`${time}: ${this.#tell(history, row)}`, ...marks].join("; "));
    put(this.#readout, this.#cursor === null ? "" : `${time} · ${this.#tell(history, row, this.definition.brief)}`);
    this.#slider.title = this.#cursor === null ? "" : marks.join("\n");
  }

  // Drawing

  draw() {
    const history = this.#history;
    const { width, height } = this.#size;
    const colours = this.#colours;
    if (!history || !colours || !width) return;
    const pen = this.#pen;
    pen.clearRect(0, 0, width, height);
    if (!history.length) {
      this.#drawNothing(colours);
      return;
    }
    this.#look(history);
    this.#drawAxes(colours);
    this.#drawLimits(colours);
    this.#drawMarks(history, colours);
    this.definition.lines.forEach((line, index) => this.#drawLine(history, line, index, colours));
    const row = this.#cursor === null ? history.length - 1 : history.nearest(this.#cursor);
    if (this.#cursor !== null) this.#drawCursor(history, row, colours);
    this.#drawReadout(history, row);
  }

  /** What is there before the first second is over. @param {Colours} colours */
  #drawNothing(colours) {
    const { width, height } = this.#size;
    const middle = Math.round(height / 2);
    const pen = this.#pen;
    pen.font = `12px ${colours.font}`;
    pen.textAlign = "center";
    pen.textBaseline = "bottom";
    pen.strokeStyle = colours.grid;
    pen.fillStyle = colours.muted;
    pen.beginPath();
    pen.moveTo(0, middle + 0.5);
    pen.lineTo(width, middle + 0.5);
    pen.stroke();
    pen.fillText("no data yet", width / 2, middle - 6);
  }

  /** @param {History} history */
  #look(history) {
    const end = history.at[history.length - 1];
    const from = history.from(this.#seconds);
    let top = this.definition.least;
    for (const { column, scale = 1 } of this.definition.lines) {
      const values = history.values(column);
      for (let row = from; row < values.length; row += 1) top = Math.max(top, values[row] * scale);
    }
    for (const { value, isAlwaysShown } of this.definition.limits()) {
      if (isAlwaysShown || top > value * 0.7) top = Math.max(top, value * 1.06);
    }
    top = this.definition.top ?? top;
    const step = niceStep(top, 3);
    // A daemon that is young has no quarter of an hour to show.
    const span = Math.min(this.#seconds, Math.max(LEAST_SPAN_S, end - history.at[from]));
    this.#view = { from, start: end - span, end, top: Math.ceil((top / step) * 0.999) * step, step };
  }

  /** @param {number} time */
  #x(time) {
    const { start, end } = this.#view;
    return LEFT + ((time - start) / (end - start)) * (this.#size.width - LEFT - RIGHT);
  }

  /** @param {number} value */
  #y(value) {
    return TOP + (1 - value / this.#view.top) * (this.#size.height - TOP - BOTTOM);
  }

  /** @param {Colours} colours */
  #drawAxes(colours) {
    const pen = this.#pen;
    const { width, height } = this.#size;
    const { start, end, top, step } = this.#view;
    pen.font = `11px ${colours.font}`;
    pen.lineWidth = 1;
    pen.strokeStyle = colours.grid;
    pen.fillStyle = colours.muted;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (let value = 0; value <= top + step / 2; value += step) {
      const y = Math.round(this.#y(value)) + 0.5;
      pen.beginPath();
      pen.moveTo(LEFT, y);
      pen.lineTo(width - RIGHT, y);
      pen.stroke();
      pen.fillText(Number(value.toPrecision(3)).toLocaleString("en"), LEFT - 6, y);
    }
    const room = Math.max(2, Math.floor((width - LEFT - RIGHT) / 64));
    const every = TIME_STEPS.find((seconds) => (end - start) / seconds <= room) ?? 300;
    pen.textAlign = "center";
    pen.textBaseline = "alphabetic";
    const zone = new Date().getTimezoneOffset() * 60;
    for (let time = Math.ceil((start - zone) / every) * every + zone; time <= end; time += every) {
      const x = this.#x(time);
      if (x < LEFT + 14 || x > width - RIGHT - 14) continue;
      const told = timeOfDay(time);
      pen.fillText(every % 60 ? told : told.slice(0, 5), x, height - 5);
    }
  }

  /** @param {Colours} colours */
  #drawLimits(colours) {
    const pen = this.#pen;
    const { width } = this.#size;
    /** @type {number[]} */
    const taken = [];
    for (const { value, label, level, isBelow } of this.definition.limits()) {
      if (value > this.#view.top) continue;
      const y = Math.round(this.#y(value)) + 0.5;
      pen.strokeStyle = pen.fillStyle = colours[level];
      pen.setLineDash([4, 4]);
      pen.beginPath();
      pen.moveTo(LEFT, y);
      pen.lineTo(width - RIGHT, y);
      pen.stroke();
      pen.setLineDash([]);
      pen.textBaseline = isBelow || y < TOP + 14 ? "top" : "bottom";
      const told = y + (pen.textBaseline === "top" ? 3 : -2);
      const middle = pen.textBaseline === "top" ? told + LABEL / 2 : told - LABEL / 2;
      // Two limits may be close to each other: the second one is named at the other side.
      const isTaken = taken.some((other) => Math.abs(other - middle) < LABEL);
      taken.push(middle);
      pen.textAlign = isTaken ? "right" : "left";
      pen.fillText(label, isTaken ? width - RIGHT - 4 : LEFT + 4, told);
    }
  }

  /** @param {History} history @param {Colours} colours */
  #drawMarks(history, colours) {
    const pen = this.#pen;
    const bottom = this.#size.height - BOTTOM;
    const seen = history.marks.filter((mark) => mark.at >= this.#view.start && mark.at <= this.#view.end);
    for (const sign of gather(seen, (at) => this.#x(at))) drawSign(pen, sign, { top: TOP, bottom }, colours);
  }

  /** The stretches of a line without gaps, as points. @param {History} history @param {Line} line */
  #stretches(history, { column, scale = 1 }) {
    const { at } = history;
    const values = history.values(column);
    /** @type {[number, number][][]} */
    const found = [];
    /** @type {[number, number][]} */
    let points = [];
    for (let row = Math.max(0, this.#view.from - 1); row < at.length; row += 1) {
      if (points.length && at[row] - at[row - 1] > GAP_S) {
        found.push(points);
        points = [];
      }
      const x = Math.max(LEFT, this.#x(at[row]));
      const y = this.#y(Math.min(values[row] * scale, this.#view.top));
      if (this.definition.isStepped && points.length) points.push([x, points[points.length - 1][1]]);
      points.push([x, y]);
    }
    return points.length ? [...found, points] : found;
  }

  /** @param {History} history @param {Line} line @param {number} index @param {Colours} colours */
  #drawLine(history, line, index, colours) {
    const pen = this.#pen;
    const colour = colours.series[line.colour ?? index];
    const bottom = this.#y(0);
    const isOnly = this.definition.lines.length === 1;
    for (const points of this.#stretches(history, line)) {
      pen.beginPath();
      points.forEach(([x, y], place) => (place ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.strokeStyle = colour;
      pen.lineWidth = 1.6;
      pen.lineJoin = "round";
      pen.setLineDash(DASHES[index % DASHES.length]);
      pen.stroke();
      pen.setLineDash([]);
      if (isOnly) {
        pen.lineTo(points[points.length - 1][0], bottom);
        pen.lineTo(points[0][0], bottom);
        pen.fillStyle = colour;
        pen.globalAlpha = 0.12;
        pen.fill();
        pen.globalAlpha = 1;
      }
    }
  }

  /** @param {History} history @param {number} row @param {Colours} colours */
  #drawCursor(history, row, colours) {
    const pen = this.#pen;
    const x = Math.round(this.#x(history.at[row])) + 0.5;
    pen.strokeStyle = colours.ink;
    pen.lineWidth = 1;
    pen.globalAlpha = 0.55;
    pen.beginPath();
    pen.moveTo(x, TOP);
    pen.lineTo(x, this.#size.height - BOTTOM);
    pen.stroke();
    pen.globalAlpha = 1;
    this.definition.lines.forEach((line, index) => {
      const value = (history.values(line.column)[row] ?? 0) * (line.scale ?? 1);
      pen.beginPath();
      pen.arc(x, this.#y(Math.min(value, this.#view.top)), 3.2, 0, 2 * Math.PI);
      pen.fillStyle = colours.series[line.colour ?? index];
      pen.strokeStyle = colours.surface;
      pen.lineWidth = 1.5;
      pen.fill();
      pen.stroke();
    });
  }
}
