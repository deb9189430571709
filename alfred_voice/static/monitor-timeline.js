// The last half minute of one session on one time line: level, probability, speech, text, turns, the daemon's own speech.

import { clock, number } from "./monitor-dom.js";

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
  windows = []; // [ms, dBFS, probability]
  spans = []; // speech: { from, to }
  texts = []; // { utterance, from, to, text, stable, isFinal }
  turns = []; // { at, probability, isComplete, reason }
  speeches = []; // { id, from, to, text, isCut }
  interruptions = []; // { at }

  add({ clock_ms, windows, events }) {
    this.clockMs = clock_ms;
    this.windows.push(...windows);
    for (const event of events) this.#receive(event);
    this.#forget();
  }

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

  #receiveText(event) {
    const isFinal = event.type === "finalTranscription";
    let known = this.texts.find((text) => text.utterance === event.utterance);
    if (!known) this.texts.push((known = { utterance: event.utterance }));
    Object.assign(known, { from: event.start_ms, to: event.end_ms, text: event.text, stable: event.stable_text ?? event.text, isFinal });
  }

  #forget() {
    const before = this.clockMs - KEPT_MS;
    while (this.windows.length && this.windows[0][0] < before) this.windows.shift();
    for (const kept of [this.spans, this.texts, this.speeches]) {
      while (kept.length && kept[0].to !== null && kept[0].to < before) kept.shift();
    }
    for (const kept of [this.turns, this.interruptions]) {
      while (kept.length && kept[0].at < before) kept.shift();
    }
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

export class Timeline {
  #canvas;
  #pen;
  #width = 0;
  #spanMs = SPAN_MS;
  #colours = {};
  thresholds = { vad: 0.5 };

  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext("2d");
  }

  resize(colours) {
    this.#colours = colours;
    const ratio = Math.min(3, window.devicePixelRatio || 1);
    this.#width = this.#canvas.parentElement.clientWidth;
    this.#spanMs = this.#width < NARROW ? NARROW_SPAN_MS : SPAN_MS;
    this.#canvas.width = Math.round(this.#width * ratio);
    this.#canvas.height = Math.round(HEIGHT * ratio);
    this.#canvas.style.height = `${HEIGHT}px`;
    this.#pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  #x(ms, end) {
    return LABELS + (1 - (end - ms) / this.#spanMs) * (this.#width - LABELS);
  }

  draw(lane) {
    const pen = this.#pen;
    const end = Math.max(this.#spanMs, lane.clockMs);
    pen.clearRect(0, 0, this.#width, HEIGHT);
    let y = 0;
    const places = {};
    pen.font = `12px ${this.#colours.font}`;
    pen.textBaseline = "middle";
    for (const row of ROWS) {
      places[row.name] = { y, height: row.height };
      pen.fillStyle = this.#colours.grid;
      pen.globalAlpha = 0.45;
      pen.fillRect(LABELS, y, this.#width - LABELS, row.height);
      pen.globalAlpha = 1;
      pen.fillStyle = this.#colours.muted;
      pen.textAlign = "left";
      pen.fillText(row.label, 0, y + row.height / 2);
      y += row.height + GAP;
    }
    this.#drawAxis(end, y);
    pen.save();
    pen.beginPath();
    pen.rect(LABELS, 0, this.#width - LABELS, y);
    pen.clip();
    this.#drawLevel(lane, end, places.level);
    this.#drawProbability(lane, end, places.probability);
    for (const { from, to } of lane.spans) this.#block(from, to ?? lane.clockMs, end, places.speech, this.#colours.good, "", to === null);
    lane.texts.forEach((text, index) => this.#drawText(text, lane.texts[index + 1]?.from ?? end, end, places.text));
    for (const turn of lane.turns) this.#drawTurn(turn, end, places.turns);
    for (const speech of lane.speeches) {
      this.#block(speech.from, speech.to ?? lane.clockMs, end, places.daemon, speech.isCut ? this.#colours.warn : this.#colours.accent, speech.text, speech.to === null);
    }
    for (const { at } of lane.interruptions) this.#drawInterruption(at, end, places.daemon);
    pen.restore();
  }

  #drawAxis(end, y) {
    const pen = this.#pen;
    pen.fillStyle = this.#colours.muted;
    pen.strokeStyle = this.#colours.grid;
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

  #drawLevel(lane, end, { y, height }) {
    const pen = this.#pen;
    const wide = Math.max(1, ((this.#width - LABELS) * WINDOW_MS) / this.#spanMs - 0.4);
    for (const [ms, level, probability] of lane.windows) {
      const tall = Math.max(0.02, 1 - Math.max(FLOOR_DB, level) / FLOOR_DB) * height;
      pen.fillStyle = probability >= this.thresholds.vad ? this.#colours.good : this.#colours.muted;
      pen.fillRect(this.#x(ms, end), y + (height - tall) / 2, wide, tall);
    }
  }

  #drawProbability(lane, end, { y, height }) {
    const pen = this.#pen;
    const line = Math.round(y + (1 - this.thresholds.vad) * height) + 0.5;
    pen.strokeStyle = this.#colours.warn;
    pen.setLineDash([4, 4]);
    pen.beginPath();
    pen.moveTo(LABELS, line);
    pen.lineTo(this.#width, line);
    pen.stroke();
    pen.setLineDash([]);
    pen.beginPath();
    let last = null;
    for (const [ms, , probability] of lane.windows) {
      const x = this.#x(ms + WINDOW_MS, end);
      const tall = y + (1 - probability) * (height - 2) + 1;
      if (last === null || ms - last > 2 * WINDOW_MS) pen.moveTo(x, tall);
      else pen.lineTo(x, tall);
      last = ms;
    }
    pen.strokeStyle = this.#colours.accent;
    pen.lineWidth = 1.5;
    pen.stroke();
    pen.lineWidth = 1;
  }

  #block(from, to, end, { y, height }, colour, text, isOpen) {
    const pen = this.#pen;
    const x = this.#x(from, end);
    const wide = Math.max(3, this.#x(to, end) - x);
    pen.fillStyle = colour;
    pen.globalAlpha = isOpen ? 0.45 : 0.85;
    pen.beginPath();
    pen.roundRect(x, y + 3, wide, height - 6, 4);
    pen.fill();
    pen.globalAlpha = 1;
    if (text) this.#write(text, x + 6, y + height / 2, wide - 12, this.#colours.surface);
  }

  // A bar as long as it took to say, and the words below it, which may go on until the next ones begin.
  #drawText({ from, to, text, stable, isFinal }, until, end, { y, height }) {
    const pen = this.#pen;
    const x = this.#x(from, end);
    pen.fillStyle = pen.strokeStyle = isFinal ? this.#colours.accent : this.#colours.muted;
    pen.beginPath();
    pen.roundRect(x + 0.5, y + 4.5, Math.max(3, this.#x(to, end) - x), BAR, 3);
    if (isFinal) pen.fill();
    else pen.stroke();
    const room = Math.max(this.#x(until, end), this.#x(to, end)) - x - 8;
    this.#write(text || "no words", x, y + BAR + (height - BAR) / 2 + 3, room, isFinal || stable === text ? this.#colours.ink : this.#colours.muted);
  }

  // Words from strangers are only ever drawn; what does not fit is left out.
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

  #drawTurn({ at, probability, isComplete, reason }, end, { y, height }) {
    const pen = this.#pen;
    const x = this.#x(at, end);
    const middle = y + height / 2;
    pen.strokeStyle = pen.fillStyle = isComplete ? this.#colours.accent : this.#colours.warn;
    pen.beginPath();
    pen.moveTo(x, middle - 6);
    pen.lineTo(x + 6, middle);
    pen.lineTo(x, middle + 6);
    pen.lineTo(x - 6, middle);
    pen.closePath();
    if (isComplete) pen.fill();
    else pen.stroke();
    const said = `${number(probability * 100, 0)} %${isComplete && reason !== "model" ? ` ${reason}` : ""}`;
    pen.fillStyle = this.#colours.ink;
    // Near the right edge there is room on the left only.
    pen.textAlign = x > this.#width - 60 ? "right" : "left";
    pen.fillText(said, x + (pen.textAlign === "right" ? -10 : 10), middle);
  }

  #drawInterruption(at, end, { y, height }) {
    const pen = this.#pen;
    const x = this.#x(at, end);
    pen.strokeStyle = this.#colours.bad;
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
