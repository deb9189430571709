// Recordings that come in, and transcripts that go out.

import { transcribe } from "./talk-recording.js";
import { copy } from "./talk-copy.js";
import { FORMATS, toText, Transcript } from "./transcript.js";
import { AlfredVoiceError } from "./alfred-voice-errors.js";
import { at } from "./element.js";

const TALK = "talk";
/** @type {[keyof typeof FORMATS, string][]} */
const DOWNLOADS = [["txt", "take-txt"], ["srt", "take-srt"], ["vtt", "take-vtt"], ["json", "take-json"]];
const BUTTONS = [...DOWNLOADS.map(([, name]) => name), "copy-text", "clear"];
const MOST_WAITING = 100;
const KEPT = "alfred-voice-conversation";
/** Of what sessionStorage takes, which is 5 million in most browsers. */
const MOST_KEPT_CHARS = 1_000_000;

/** @typedef {{key(): string | null, fail(error: unknown): void, begin(): void, tell(text: string): void}} Hooks `begin`: what failed before is past */
/** @typedef {import("./transcript.js").Entry} Entry */
/** @typedef {{key: string, name: string, transcript: Transcript}} Recording `name` as the page calls it; files of one name have several */

export class Files {
  #captions;
  #hooks;
  /** @type {Map<string, Transcript>} by what nothing else is called: names of files may be any */
  #transcripts = new Map();
  /** @type {Map<string, string>} what the page calls them */
  #names = new Map();
  /** @type {File[]} recordings that wait for the one that is being transcribed */
  #waiting = [];
  #serial = 0;
  /** @type {AbortController | null} */
  #work = null;
  /** @type {number | null} when the conversation began, on the clock of `performance.now()` */
  #begunAt = null;

  /**
   * @param {import("./talk-captions.js").Captions} captions
   * @param {Hooks} hooks
   */
  constructor(captions, hooks) {
    this.#captions = captions;
    this.#hooks = hooks;
    this.#show();
    for (const [format, name] of DOWNLOADS) at(name, HTMLButtonElement).addEventListener("click", () => this.#download(format));
    at("copy-text").addEventListener("click", () => this.#copy());
    this.#catchDrops();
    if (document.getElementById("file")) this.#takeFiles(); // not every daemon takes recordings
  }

  /** The conversation begins, unless it goes on. @param {number} now on the clock of `performance.now()`, as are all moments here */
  begin(now) {
    this.#begunAt ??= now;
  }

  /** @param {import("./transcript.js").Heard} final @param {number} startAt when its first word was recorded */
  addHeard(final, startAt) {
    return this.#addTalk(final, startAt);
  }

  /** @param {string} text what the daemon has said @param {number} startAt @param {number} heardMs @param {boolean} isCut */
  addSaid(text, startAt, heardMs, isCut) {
    this.#addTalk({ text, start_ms: 0, end_ms: heardMs, speaker: "daemon", broken: isCut ? "cut" : undefined }, startAt);
  }

  /** What the conversation of this tab was before it was loaded again; null where there was none. @returns {Entry[] | null} */
  get kept() {
    return JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  }

  /** Keep the conversation for when the tab is loaded again. */
  keep() {
    let entries = this.#transcripts.get(TALK)?.entries ?? [];
    if (!entries.length) return;
    for (; JSON.stringify(entries).length > MOST_KEPT_CHARS; entries = entries.slice(Math.ceil(entries.length / 4)));
    sessionStorage.setItem(KEPT, JSON.stringify(entries));
  }

  /** Whoever comes next to this tab is not to read it. */
  forget() {
    sessionStorage.removeItem(KEPT);
    at("bring-back").hidden = true;
  }

  /** The conversation goes on behind what was kept. */
  bringBack() {
    const entries = this.kept ?? [];
    this.forget();
    this.#begunAt = performance.now() - Math.max(0, ...entries.map(({ end_ms }) => end_ms));
    const transcript = this.#make(TALK, "conversation", "Conversation");
    for (const entry of entries) {
      const added = transcript.add(entry);
      if (entry.speaker === "user") this.#captions.addHeard("", added, entry.broken);
      else this.#captions.noteSaid(this.#captions.addSaid(entry.text, ""), "", entry.broken ? "cut" : "whole");
    }
    this.#show(TALK);
  }

  clear() {
    this.forget();
    this.#waiting = [];
    this.#work?.abort();
    this.#transcripts.clear();
    this.#names.clear();
    this.#begunAt = null;
    this.#captions.clear();
    this.#show();
  }

  /** @param {import("./transcript.js").Heard} entry @param {number} startAt */
  #addTalk(entry, startAt) {
    this.begin(startAt);
    const transcript = this.#transcripts.get(TALK) ?? this.#make(TALK, "conversation", "Conversation");
    const added = transcript.add(entry, startAt - (this.#begunAt ?? startAt));
    this.#show(TALK);
    return added;
  }

  /** @param {string} key @param {string} stem what its files are called @param {string} name what the page calls it */
  #make(key, stem, name) {
    const transcript = new Transcript(stem);
    this.#transcripts.set(key, transcript);
    this.#names.set(key, name);
    return transcript;
  }

  /** Offer what there is; what has grown last is chosen. */
  #show(newest = "") {
    const keys = [...this.#transcripts].filter(([, { entries }]) => entries.length).map(([key]) => key);
    const select = at("source", HTMLSelectElement);
    const chosen = newest || select.value;
    if (keys.join() !== [...select.options].map(({ value }) => value).join()) {
      select.replaceChildren(...keys.map((key) => new Option(this.#names.get(key), key)));
    }
    if (keys.includes(chosen)) select.value = chosen;
    select.hidden = keys.length < 2;
    for (const name of BUTTONS) at(name, HTMLButtonElement).disabled = keys.length === 0;
  }

  get #chosen() {
    return this.#transcripts.get(at("source", HTMLSelectElement).value);
  }

  #copy() {
    if (this.#chosen) copy(at("copy-text"), toText(this.#chosen), this.#hooks.tell);
  }

  /** @param {keyof typeof FORMATS} format */
  #download(format) {
    const transcript = this.#chosen;
    if (!transcript) return;
    const { type, render } = FORMATS[format];
    const address = URL.createObjectURL(new Blob([render(transcript)], { type: `${type};charset=utf-8` }));
    const link = document.createElement("a");
    link.href = address;
    link.download = `${transcript.name}.${format}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000); // the browser may take its time
  }

  #takeFiles() {
    const field = at("file", HTMLInputElement);
    field.addEventListener("change", () => {
      const files = [...(field.files ?? [])];
      field.value = ""; // the same one may be chosen again
      this.#take(files);
    });
    at("work-cancel").addEventListener("click", () => this.#work?.abort());
  }

  /** Files that fall onto the page, wherever: a browser leaves it for one that nobody takes, and the conversation is lost. */
  #catchDrops() {
    const drop = document.getElementById("drop");
    document.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      drop?.classList.add("over");
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget ?? drop?.classList.remove("over"));
    document.addEventListener("drop", (event) => {
      drop?.classList.remove("over");
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      if (drop) this.#take([...event.dataTransfer.files]);
    });
  }

  /** One after the other. @param {File[]} files */
  async #take(files) {
    this.#waiting.push(...files.slice(0, MOST_WAITING - this.#waiting.length));
    if (this.#work) return;
    for (let file = this.#waiting.shift(); file; file = this.#waiting.shift()) await this.#upload(file);
  }

  /** @param {File} file */
  async #upload(file) {
    this.#hooks.begin();
    const limit = Number(document.body.dataset.maxRecordingBytes);
    if (file.size > limit) {
      this.#hooks.fail(new AlfredVoiceError("too_large", `it takes recordings of at most ${Math.round(limit / 1e6)} MB`));
      return;
    }
    this.#work = new AbortController();
    const recording = this.#name(file);
    this.#captions.addHeading(recording.name, recording.name);
    at("work-name").textContent = file.name;
    at("work").hidden = false;
    at("drop").hidden = true;
    try {
      await transcribe(file, { key: this.#hooks.key(), signal: this.#work.signal }, this.#listener(recording));
      this.#hooks.tell(`${file.name} has been transcribed.`);
    } catch (error) {
      const isCancelled = error instanceof AlfredVoiceError && error.code === "cancelled";
      // Unless the page has been cleared meanwhile.
      if (this.#names.has(recording.key)) this.#captions.addHeading(`${recording.name}: ${isCancelled ? "cancelled" : "failed"}`, recording.name);
      if (!recording.transcript.entries.length) this.#names.delete(recording.key); // another try has the name itself
      if (!isCancelled) this.#hooks.fail(error);
    } finally {
      this.#work = null;
      at("work").hidden = true;
      at("drop").hidden = false;
    }
  }

  /** @param {File} file @returns {Recording} */
  #name({ name }) {
    const same = [...this.#names.values()].filter((known) => known === name || known.startsWith(`${name} (`)).length;
    const key = `recording-${++this.#serial}`;
    const shown = same ? `${name} (${same + 1})` : name;
    return { key, name: shown, transcript: this.#make(key, name.replace(/\.[^.]{1,5}$/, ""), shown) };
  }

  /** @param {Recording} recording @returns {import("./talk-recording.js").Listener} */
  #listener({ key, name, transcript }) {
    const progress = at("work-progress", HTMLProgressElement);
    /** @param {number} share */
    const percent = (share) => `${Math.round(100 * share)} %`;
    return {
      sent: (share) => {
        progress.value = share;
        at("work-state").textContent = share < 1 ? `uploading, ${percent(share)}` : "being read";
      },
      heard: (share) => {
        progress.value = share;
        at("work-state").textContent = `being transcribed, ${percent(share)}`;
      },
      segment: (segment) => {
        this.#captions.addHeard(name, transcript.add(segment));
        this.#show(key);
      },
      result: ({ real_time_factor }) => {
        const pace = real_time_factor ? `, ${Math.round(1 / real_time_factor)} times faster than it was spoken` : "";
        const end = transcript.entries.length ? `done${pace}` : "no speech found";
        this.#captions.addHeading(`${name}: ${end}`, name);
      },
    };
  }
}
