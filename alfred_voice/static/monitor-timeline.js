// The last half minute of one session on one time line: level, probability, speech, text, turns, the daemon's own speech.

import { clock, number } from "./monitor-dom.js";
import { roomBeside } from "./monitor-marks.js";
import { penOf } from "./monitor-pen.js";

/**
 * @typedef {import("./monitor-pen.js").Colours} Colours
 * @typedef {import("./monitor-figures.js").ToldEvent} ToldEvent
 * @typedef {import("./alfred-voice-events.js").DaemonEvents} DaemonEvents
 * @typedef {{y: number, height: number}} Place
 * @typedef {{from: number, to: number | null}} Span speech; without an end as long as it lasts
 * @typedef {{utterance: number, from: number, to: number, text: string, stable: string, isFinal: boolean}} Text
 * @typedef {{at: number, probability: number, isComplete: boolean, reason: string}} Turn
 * @typedef {{id: number, from: number, to: number | null, text: string, isCut: boolean}} Speech the daemon's own
 */

const SPAN_MS = 30_000;
const NARROW_SPAN_MS = 12_000;
const NARROW = 560;
const BAR = 7; // of a text: how long it took to say
const WINDOW_MS = 32;
const KEPT_MS = 60_000;
const LABELS = 84;
const FLOOR_DB = -60;
const ROWS = [
  { name: "level", label: "level", height: 54 },
  { name: "probability", label: "probability", height: 46 },
  { name: "speech", label: "speech", height: 22 },
  { name: "text", label: "text", height: 40 },
  { name: "turns", label: "turns", height: 32 },
  { name: "daemon", label: "daemon says", height: 26 },
];
const GAP = 6;
const AXIS = 20;
export const HEIGHT = ROWS.reduce((sum, row) => sum + row.height + GAP, AXIS);

// What has happened in the session, by its own clock; events come in order.
export class Lane {
  clockMs = 0;
  /** @type {[number, number, number][]} ms, dBFS, probability */
  windows = [];
  /** @type {Span[]} */
  spans = [];
  /** @type {Text[]} */
  texts = [];
  /** @type {Turn[]} */
  turns = [];
  /** @type {Speech[]} */
  speeches = [];
  /** @type {{at: number}[]} */
  interruptions = [];

  /** @param {import("./monitor-figures.js").Glimpse} glimpse */
  add({ clock_ms, windows, events }) {
    this.clockMs = clock_ms;
    this.windows.push(...windows);
    for (const event of events) this.#receive(event);
    this.#forget();
  }

  /** @param {ToldEvent} event */
  #receive(event) {
    switch (event.type) {
      case "speechStart":
        this.spans.push({ from: event.at_ms, to: null });
        break;
      case "speechEnd": {
        const open = this.spans[this.spans.length - 1];
        if (open && open.to === null) open.to = event.at_ms;
        else this.spans.push({ from: event.at_ms - event.duration_ms, to: event.at_ms });
        break;
      }
      case "partialTranscription":
      case "finalTranscription":
        this.#receiveText(event);
        break;
      case "turnPending":
        this.turns.push({ at: event.clock_ms, probability: event.probability, isComplete: false, reason: "" });
        break;
      case "turnComplete":
        this.turns.push({ at: event.at_ms, probability: event.probability, isComplete: true, reason: event.reason });
        break;
      case "ttsStart":
        this.speeches.push({ id: event.speech_id, from: event.clock_ms, to: null, text: event.text, isCut: false });
        break;
      case "ttsEnd":
        for (const speech of this.speeches) {
          if (speech.id === event.speech_id && speech.to === null) Object.assign(speech, { to: event.clock_ms, isCut: event.cancelled });
        }
        break;
      case "interruption":
        this.interruptions.push({ at: event.at_ms });
        break;
      default:
    }
  }

  /** @param {DaemonEvents["partialTranscription"] | DaemonEvents["finalTranscription"]} event */
  #receiveText(event) {
    const isFinal = event.type === "finalTranscription";
    const stable = event.type === "partialTranscription" ? event.stable_text : event.text;
    const text = { utterance: event.utterance, from: event.start_ms, to: event.end_ms, text: event.text, stable, isFinal };
    const place = this.texts.findIndex((known) => known.utterance === event.utterance);
    this.texts.splice(place < 0 ? this.texts.length : place, 1, text);
  }

  #forget() {
    const before = this.clockMs - KEPT_MS;
    forget(this.windows, ([ms]) => ms < before);
    forget(this.spans, ({ to }) => to !== null && to < before);
    forget(this.texts, ({ to }) => to < before);
    forget(this.speeches, ({ to }) => to !== null && to < before);
    forget(this.turns, ({ at }) => at < before);
    forget(this.interruptions, ({ at }) => at < before);
  }

  get level() {
    return this.windows.length ? this.windows[this.windows.length - 1][1] : null;
  }

  // What is being said, if anything.
  get openText() {
    const newest = this.texts[this.texts.length - 1];
    return newest && !newest.isFinal ? newest : null;
  }
}

/**
 * Those at the beginning that are over; in place.
 * @template T
 * @param {T[]} kept in order
 * @param {(one: T) => boolean} isOver
 */
function forget(kept, isOver) {
  const first = kept.findIndex((one) => !isOver(one));
  kept.splice(0, first < 0 ? kept.length : first);
}

export class Timeline {
  #canvas;
  #pen;
  #width = 0;
  #spanMs = SPAN_MS;
  /** @type {Colours | null} */
  #colours = null;
  /** @type {import("./monitor-figures.js").Thresholds} */
  thresholds = { vad: 0.5 };

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = penOf(canvas);
  }

  /** @param {Colours} colours */
  resize(colours) {
    this.#colours = colours;
    const ratio = Math.min(3, window.devicePixelRatio || 1);
    this.#width = this.#canvas.parentElement?.clientWidth ?? 0;
    this.#spanMs = this.#width < NARROW ? NARROW_SPAN_MS : SPAN_MS;
    this.#canvas.width = Math.round(this.#width * ratio);
    this.#canvas.height = Math.round(HEIGHT * ratio);
    this.#canvas.style.height = `${HEIGHT}px`;
    this.#pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  /** @param {number} ms @param {number} end */
  #x(ms, end) {
    return LABELS + (1 - (end - ms) / this.#spanMs) * (this.#width - LABELS);
  }

  /** @param {Lane} lane */
  draw(lane) {
    const pen = this.#pen;
    const colours = this.#colours;
    if (colours === null) return;
    const end = Math.max(this.#spanMs, lane.clockMs);
    pen.clearRect(0, 0, this.#width, HEIGHT);
    let y = 0;
    /** @type {Record<string, Place>} */
    const places = {};
    pen.font = `12px ${colours.font}`;
    pen.textBaseline = "middle";
    for (const row of ROWS) {
      places[row.name] = { y, height: row.height };
      pen.fillStyle = colours.grid;
      pen.globalAlpha = 0.45;
      pen.fillRect(LABELS, y, this.#width - LABELS, row.height);
      pen.globalAlpha = 1;
      pen.fillStyle = colours.muted;
      pen.textAlign = "left";
      pen.fillText(row.label, 0, y + row.height / 2);
      y += row.height + GAP;
    }
    this.#drawAxis(end, y, colours);
    pen.save();
    pen.beginPath();
    pen.rect(LABELS, 0, this.#width - LABELS, y);
    pen.clip();
    this.#drawLevel(lane, end, places.level, colours);
    this.#drawProbability(lane, end, places.probability, colours);
    for (const { from, to } of lane.spans) {
      const speech = { from, to: to ?? lane.clockMs, colour: colours.good, ink: colours.surface, text: "", isOpen: to === null };
      this.#block(speech, end, places.speech);
    }
    lane.texts.forEach((text, index) => this.#drawText(text, lane.texts[index + 1]?.from ?? end, end, places.text, colours));
    this.#drawTurns(lane.turns, end, places.turns, colours);
    for (const { from, to, isCut, text } of lane.speeches) {
      const colour = isCut ? colours.warn : colours.accent;
      this.#block({ from, to: to ?? lane.clockMs, colour, ink: colours.surface, text, isOpen: to === null }, end, places.daemon);
    }
    for (const { at } of lane.interruptions) this.#drawInterruption(at, end, places.daemon, colours);
    pen.restore();
  }

  /** @param {number} end @param {number} y @param {Colours} colours */
  #drawAxis(end, y, colours) {
    const pen = this.#pen;
    pen.fillStyle = colours.muted;
    pen.strokeStyle = colours.grid;
    pen.textAlign = "center";
    const every = 5_000;
    for (let ms = Math.ceil((end - this.#spanMs) / every) * every; ms <= end; ms += every) {
      const x = this.#x(ms, end);
      if (x < LABELS) continue;
      pen.beginPath();
      pen.moveTo(Math.round(x) + 0.5, 0);
      pen.lineTo(Math.round(x) + 0.5, y);
      pen.stroke();
      if (x > LABELS + 14 && x < this.#width - 14) pen.fillText(clock(ms).replace(".0", ""), x, y + AXIS / 2 - 2);
    }
  }

  /** @param {Lane} lane @param {number} end @param {Place} place @param {Colours} colours */
  #drawLevel(lane, end, { y, height }, colours) {
    const pen = this.#pen;
    const wide = Math.max(1, ((this.#width - LABELS) * WINDOW_MS) / this.#spanMs - 0.4);
    for (const [ms, level, probability] of lane.windows) {
      const tall = Math.max(0.02, 1 - Math.max(FLOOR_DB, level) / FLOOR_DB) * height;
      pen.fillStyle = probability >= this.thresholds.vad ? colours.good : colours.muted;
      pen.fillRect(this.#x(ms, end), y + (height - tall) / 2, wide, tall);
    }
  }

  /** @param {Lane} lane @param {number} end @param {Place} place @param {Colours} colours */
  #drawProbability(lane, end, { y, height }, colours) {
    const pen = this.#pen;
    const line = Math.round(y + (1 - this.thresholds.vad) * height) + 0.5;
    pen.strokeStyle = colours.warn;
    pen.setLineDash([4, 4]);
    pen.beginPath();
    pen.moveTo(LABELS, line);
    pen.lineTo(this.#width, line);
    pen.stroke();
    pen.setLineDash([]);
    pen.beginPath();
    let last = -Infinity;
    for (const [ms, , probability] of lane.windows) {
      const x = this.#x(ms + WINDOW_MS, end);
      const tall = y + (1 - probability) * (height - 2) + 1;
      if (ms - last > 2 * WINDOW_MS) pen.moveTo(x, tall);
      else pen.lineTo(x, tall);
      last = ms;
    }
    pen.strokeStyle = colours.accent;
    pen.lineWidth = 1.5;
    pen.stroke();
    pen.lineWidth = 1;
  }

  /**
   * @param {{from: number, to: number, colour: string, ink: string, text: string, isOpen: boolean}} block
   * @param {number} end
   * @param {Place} place
   */
  #block({ from, to, colour, ink, text, isOpen }, end, { y, height }) {
    const pen = this.#pen;
    const x = this.#x(from, end);
    const wide = Math.max(3, this.#x(to, end) - x);
    pen.fillStyle = colour;
    pen.globalAlpha = isOpen ? 0.45 : 0.85;
    pen.beginPath();
    pen.roundRect(x, y + 3, wide, height - 6, 4);
    pen.fill();
    pen.globalAlpha = 1;
    if (text) this.#write(text, x + 6, y + height / 2, wide - 12, ink);
  }

  /**
   * A bar as long as it took to say, and the words below it, which may go on until the next ones begin.
   * @param {Text} text
   * @param {number} until
   * @param {number} end
   * @param {Place} place
   * @param {Colours} colours
   */
  #drawText({ from, to, text, stable, isFinal }, until, end, { y, height }, colours) {
    const pen = this.#pen;
    const x = this.#x(from, end);
    pen.fillStyle = pen.strokeStyle = isFinal ? colours.accent : colours.muted;
    pen.beginPath();
    pen.roundRect(x + 0.5, y + 4.5, Math.max(3, this.#x(to, end) - x), BAR, 3);
    if (isFinal) pen.fill();
    else pen.stroke();
    const room = Math.max(this.#x(until, end), this.#x(to, end)) - x - 8;
    this.#write(text || "no words", x, y + BAR + (height - BAR) / 2 + 3, room, isFinal || stable === text ? colours.ink : colours.muted);
  }

  /**
   * Words from strangers are only ever drawn; what does not fit is left out.
   * @param {string} text
   * @param {number} x
   * @param {number} y
   * @param {number} room
   * @param {string} colour
   */
  #write(text, x, y, room, colour) {
    const pen = this.#pen;
    if (room < 12) return;
    const from = Math.max(x, LABELS + 4);
    const space = room - (from - x);
    let told = text;
    if (pen.measureText(told).width > space) {
      let low = 0;
      let high = told.length;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (pen.measureText(`${text.slice(0, middle)}…`).width <= space) low = middle;
        else high = middle - 1;
      }
      told = low ? `${text.slice(0, low)}…` : "";
    }
    pen.textAlign = "left";
    pen.fillStyle = colour;
    pen.fillText(told, from, y);
  }

  /**
   * Signs first; then the words of each that have room, those of complete turns before the others.
   * @param {Turn[]} turns
   * @param {number} end
   * @param {Place} place
   * @param {Colours} colours
   */
  #drawTurns(turns, end, { y, height }, colours) {
    const pen = this.#pen;
    const middle = y + height / 2;
    /** @type {[number, number][]} */
    const taken = turns.map(({ at }) => [this.#x(at, end) - 7, this.#x(at, end) + 7]);
    for (const turn of turns) this.#drawTurn(turn, this.#x(turn.at, end), middle, colours);
    pen.fillStyle = colours.ink;
    for (const { at, probability, isComplete, reason } of [...turns].reverse().sort((a, b) => Number(b.isComplete) - Number(a.isComplete))) {
      const said = `${number(probability * 100, 0)} %${isComplete && reason !== "model" ? ` ${reason}` : ""}`;
      const x = this.#x(at, end);
      const room = roomBeside(x, pen.measureText(said).width, taken, [LABELS, this.#width]);
      if (!room) continue; // the list tells it in words
      taken.push(room.span);
      pen.textAlign = room.side === "right" ? "left" : "right";
      pen.fillText(said, x + (room.side === "right" ? 10 : -10), middle);
    }
  }

  /** @param {Turn} turn @param {number} x @param {number} middle @param {Colours} colours */
  #drawTurn({ isComplete }, x, middle, colours) {
    const pen = this.#pen;
    pen.strokeStyle = pen.fillStyle = isComplete ? colours.accent : colours.warn;
    pen.beginPath();
    pen.moveTo(x, middle - 6);
    pen.lineTo(x + 6, middle);
    pen.lineTo(x, middle + 6);
    pen.lineTo(x - 6, middle);
    pen.closePath();
    if (isComplete) pen.fill();
    else pen.stroke();
  }

  /** @param {number} at @param {number} end @param {Place} place @param {Colours} colours */
  #drawInterruption(at, end, { y, height }, colours) {
    const pen = this.#pen;
    const x = this.#x(at, end);
    pen.strokeStyle = colours.bad;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x, y + height);
    pen.moveTo(x - 4, y + height / 2 - 4);
    pen.lineTo(x + 4, y + height / 2 + 4);
    pen.moveTo(x + 4, y + height / 2 - 4);
    pen.lineTo(x - 4, y + height / 2 + 4);
    pen.stroke();
    pen.lineWidth = 1;
  }
}
