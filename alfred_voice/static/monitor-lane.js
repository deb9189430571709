// One session, watched: a dialog with its own stream, which is open only as long as the dialog is.

import { endSession, sure } from "./monitor-deeds.js";
import { at, clock, duration, list, make, milliseconds, number, put, set } from "./monitor-dom.js";
import { EventStream } from "./monitor-feed.js";
import { readColours } from "./monitor-pen.js";
import { percentiles } from "./monitor-sessions.js";
import { Lane, Timeline } from "./monitor-timeline.js";

const SILENT_MS = 3_000;
const MOST_TOLD = 200;
const FLOOR_DB = -60;
const LEVEL_TOLD_MS = 1_000; // a screen reader is told of the level no more often

export class LaneView {
  /** @type {EventStream | null} */
  #stream = null;
  #lane = new Lane();
  #timeline = new Timeline(at("timeline", HTMLCanvasElement));
  #id = "";
  #onClose;
  #levelToldAt = -Infinity;
  #isDue = false;

  /** @param {(id: string) => void} onClose the dialog has been closed */
  constructor(onClose) {
    this.#onClose = onClose;
    const dialog = at("lane", HTMLDialogElement);
    at("lane-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.#close());
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    sure(at("lane-end", HTMLButtonElement), "End session", "Really end it?", () => endSession(this.#id));
    new ResizeObserver(() => this.#resize()).observe(at("timeline-box"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#resize());
  }

  /** @param {string} id */
  open(id) {
    this.#id = id;
    this.#lane = new Lane();
    put(at("lane-title"), id);
    put(at("lane-note"), "connecting");
    put(at("lane-state"), "");
    at("lane-log").replaceChildren();
    at("lane-end").hidden = false;
    this.#drawText();
    at("lane", HTMLDialogElement).showModal();
    at("lane-close").focus({ preventScroll: true }); // on a telephone it stands below the session's name
    at("lane").scrollTop = 0;
    this.#resize();
    this.#stream = new EventStream(`/monitor/sessions/${encodeURIComponent(id)}/feed`, {
      silentMs: SILENT_MS,
      onEvent: (name, told) => this.#receivers[name]?.(told),
      onState: (state, detail) => this.#tellLink(state, detail),
    });
  }

  #close() {
    this.#stream?.close();
    this.#stream = null;
    this.#onClose(this.#id);
  }

  /** @param {import("./monitor-feed.js").LinkState} state @param {import("./monitor-feed.js").LinkDetail} detail */
  #tellLink(state, detail) {
    if (state === "lost") put(at("lane-note"), `no data, reconnecting (${detail.detail})`);
    else if (state === "refused") this.#over(detail.code === "session_unknown" ? "The session is over." : detail.detail ?? "The daemon refused.");
  }

  /** @param {string} sentence */
  #over(sentence) {
    put(at("lane-note"), sentence);
    if (document.activeElement === at("lane-end") || document.activeElement === document.body) at("lane-close").focus();
    at("lane-end").hidden = true;
    put(at("lane-state"), "ended");
    set(at("lane-state"), "data-state", "ended");
    this.#stream?.close();
  }

  /** @type {{[name: string]: (told: never) => void}} what comes, by its name */
  #receivers = {
    /** @param {{thresholds: import("./monitor-figures.js").Thresholds, status: import("./monitor-figures.js").SessionStatus}} told */
    hello: ({ thresholds, status }) => {
      this.#timeline.thresholds = thresholds;
      this.#drawStatus(status);
    },
    /** @param {import("./monitor-figures.js").SessionStatus} told */
    status: (told) => this.#drawStatus(told),
    /** @param {{reason: string | null}} told */
    end: ({ reason }) => this.#over(`The session is over: ${reason ?? "ended"}.`),
    /** @param {import("./monitor-figures.js").Glimpse} told */
    lane: (told) => {
      this.#lane.add(told);
      for (const event of told.events) this.#log(event);
      this.#drawText();
      this.#drawLevel();
      this.#draw();
    },
  };

  /** @param {import("./monitor-figures.js").SessionStatus} session */
  #drawStatus(session) {
    put(at("lane-state"), session.state);
    set(at("lane-state"), "data-state", session.state);
    put(at("lane-note"), `${session.transport.replaceAll("_", " ")} · ${session.sample_rate / 1000} kHz ${session.encoding} · ${session.language ?? "default language"}`);
    const { final, turn } = session.latency_ms;
    const facts = [
      ["Age", duration(session.age_s)],
      ["Audio", clock(session.stream_ms)],
      ["Of it speech", clock(session.speech_ms)],
      ["Utterances", session.utterances],
      ["Frames dropped", session.frames_dropped],
      ["Buffered", milliseconds(session.buffered_ms)],
      ["Final, median · 95 %", percentiles(final)],
      ["Turn, median · 95 %", percentiles(turn)],
      ["Events unread", session.events_waiting],
    ];
    list(at("lane-figures"), facts, () => make("div", {}, make("dt"), make("dd")), ({ children: [name, figure] }, [label, value]) => {
      put(name, label);
      put(figure, value);
    });
  }

  #drawLevel() {
    const level = this.#lane.level;
    if (level === null) return;
    const share = Math.max(0, 1 - Math.max(FLOOR_DB, level) / FLOOR_DB);
    at("level").style.setProperty("--share", String(share));
    const text = level <= FLOOR_DB ? "silent" : `${number(level, 0)} dB`;
    put(at("level-text"), text);
    if (performance.now() - this.#levelToldAt < LEVEL_TOLD_MS) return;
    this.#levelToldAt = performance.now();
    set(at("level"), "aria-valuenow", Math.round(Math.min(0, Math.max(FLOOR_DB, level))));
    set(at("level"), "aria-valuetext", text);
  }

  #drawText() {
    const open = this.#lane.openText;
    const box = at("live-text");
    if (!open) {
      if (box.dataset.text !== "") box.replaceChildren(make("span", { class: "quiet" }, "Nothing is being said."));
      box.dataset.text = "";
      return;
    }
    if (box.dataset.text === open.text) return;
    box.dataset.text = open.text;
    const stable = open.text.startsWith(open.stable) ? open.stable : "";
    box.replaceChildren(make("span", { class: "stable" }, stable), make("span", { class: "unstable" }, open.text.slice(stable.length)));
  }

  /** @param {import("./monitor-figures.js").ToldEvent} event */
  #log(event) {
    const said = sentence(event);
    if (!said) return;
    const log = at("lane-log");
    const box = at("lane-log-box");
    const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    const moment = momentOf(event);
    const line = make("li", { "data-kind": event.type, "data-ms": moment }, make("time", {}, clock(moment)), make("span", {}, said));
    // A final is told after the pause that followed its words, and yet comes before it.
    let later = log.lastElementChild;
    while (later && Number(later.getAttribute("data-ms")) > moment) later = later.previousElementSibling;
    if (later) later.after(line);
    else log.prepend(line);
    while (log.children.length > MOST_TOLD) log.firstElementChild?.remove();
    if (isAtEnd) box.scrollTop = box.scrollHeight;
  }

  #resize() {
    if (!at("lane", HTMLDialogElement).open) return;
    this.#timeline.resize(readColours());
    this.#draw();
  }

  #draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (at("lane", HTMLDialogElement).open) this.#timeline.draw(this.#lane);
    });
  }
}

/** When it was, by the session's clock. @param {import("./monitor-figures.js").ToldEvent} event */
function momentOf(event) {
  if ("at_ms" in event) return event.at_ms;
  return "end_ms" in event ? event.end_ms : event.clock_ms;
}

/** An event as people say it; nothing for those that are drawn anyway. @param {import("./monitor-figures.js").ToldEvent} event */
function sentence(event) {
  /** @param {number} value */
  const percent = (value) => `${number(value * 100, 0)} %`;
  switch (event.type) {
    case "speechStart": return "speech begins";
    case "speechEnd": return `speech ends after ${milliseconds(event.duration_ms)}`;
    case "finalTranscription": return event.text ? `“${event.text}” (${milliseconds(event.latency_ms)} after the last word)` : "no words in it";
    case "turnPending": return `a pause, not the end of the turn (${percent(event.probability)})`;
    case "turnComplete": return `the turn is over: ${event.reason}, ${percent(event.probability)}, ${milliseconds(event.latency_ms)}`;
    case "ttsStart": return `the daemon says “${event.text}”`;
    case "ttsEnd": return event.cancelled ? `its speech was cut off after ${milliseconds(event.duration_ms)}` : `it has spoken for ${milliseconds(event.duration_ms)}`;
    case "interruption": return `interrupted: ${milliseconds(event.spoken_ms)} of the speech had been heard, stopped within ${milliseconds(event.latency_ms)}`;
    case "backpressureTriggered":
    case "backpressureRecovered": return `rung ${event.rung} (${event.step.replaceAll("_", " ")})`;
    case "warning":
    case "error": return `${event.type} ${event.code}: ${event.message}`;
    case "sessionResumed": return "its client has come back";
    case "sessionEnded": return `session ended: ${event.reason}`;
    default: return "";
  }
}
