// One session, watched: a dialog with its own stream, which is open only as long as the dialog is.

import { readColours } from "./monitor-charts.js";
import { endSession, sure } from "./monitor-deeds.js";
import { at, clock, duration, list, make, milliseconds, number, put, set } from "./monitor-dom.js";
import { EventStream } from "./monitor-feed.js";
import { percentiles } from "./monitor-sessions.js";
import { Lane, Timeline } from "./monitor-timeline.js";

const SILENT_MS = 3_000;
const MOST_TOLD = 200;
const FLOOR_DB = -60;
const LEVEL_TOLD_MS = 1_000; // a screen reader is told of the level no more often

export class LaneView {
  #stream = null;
  #lane = new Lane();
  #timeline = new Timeline(at("timeline"));
  #id = "";
  #onClose;
  #levelToldAt = -Infinity;
  #isDue = false;

  // onClose(id): the dialog has been closed.
  constructor(onClose) {
    this.#onClose = onClose;
    const dialog = at("lane");
    at("lane-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.#close());
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    sure(at("lane-end"), "End session", "Really end it?", () => endSession(this.#id));
    new ResizeObserver(() => this.#resize()).observe(at("timeline-box"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#resize());
  }

  open(id) {
    this.#id = id;
    this.#lane = new Lane();
    put(at("lane-title"), id);
    put(at("lane-note"), "connecting");
    put(at("lane-state"), "");
    at("lane-log").replaceChildren();
    at("lane-end").hidden = false;
    this.#drawText();
    at("lane").showModal();
    at("lane-close").focus();
    this.#resize();
    this.#stream = new EventStream(`/monitor/sessions/${encodeURIComponent(id)}/feed`, {
      silentMs: SILENT_MS,
      onEvent: (name, told) => this.#receive(name, told),
      onState: (state, detail) => this.#tellLink(state, detail),
    });
  }

  #close() {
    this.#stream?.close();
    this.#stream = null;
    this.#onClose(this.#id);
  }

  #tellLink(state, detail) {
    if (state === "lost") put(at("lane-note"), `no data, reconnecting (${detail.detail})`);
    else if (state === "refused") this.#over(detail.code === "session_unknown" ? "The session is over." : detail.detail);
  }

  #over(sentence) {
    put(at("lane-note"), sentence);
    if (document.activeElement === at("lane-end") || document.activeElement === document.body) at("lane-close").focus();
    at("lane-end").hidden = true;
    put(at("lane-state"), "ended");
    set(at("lane-state"), "data-state", "ended");
    this.#stream?.close();
  }

  #receive(name, told) {
    if (name === "hello") {
      this.#timeline.thresholds = told.thresholds;
      this.#drawStatus(told.status);
    } else if (name === "status") this.#drawStatus(told);
    else if (name === "end") this.#over(`The session is over: ${told.reason ?? "ended"}.`);
    else if (name === "lane") {
      this.#lane.add(told);
      for (const event of told.events) this.#log(event);
      this.#drawText();
      this.#drawLevel();
      this.#draw();
    }
  }

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
    list(at("lane-figures"), facts, () => make("div", {}, make("dt"), make("dd")), (item, [label, value]) => {
      put(item.firstChild, label);
      put(item.lastChild, value);
    });
  }

  #drawLevel() {
    const level = this.#lane.level;
    if (level === null) return;
    const share = Math.max(0, 1 - Math.max(FLOOR_DB, level) / FLOOR_DB);
    at("level").style.setProperty("--share", share);
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

  #log(event) {
    const said = sentence(event);
    if (!said) return;
    const log = at("lane-log");
    const box = log.parentElement;
    const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    log.append(make("li", { "data-kind": event.type }, make("time", {}, clock(event.at_ms ?? event.end_ms ?? event.clock_ms)), make("span", {}, said)));
    while (log.children.length > MOST_TOLD) log.firstElementChild.remove();
    if (isAtEnd) box.scrollTop = box.scrollHeight;
  }

  #resize() {
    if (!at("lane").open) return;
    this.#timeline.resize(readColours());
    this.#draw();
  }

  #draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (at("lane").open) this.#timeline.draw(this.#lane);
    });
  }
}

// An event as people say it; nothing for those that are drawn anyway.
function sentence(event) {
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
