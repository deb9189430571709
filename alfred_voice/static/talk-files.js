// Recordings that come in, and transcripts that go out.

import { transcribe } from "./talk-recording.js";
import { FORMATS, Transcript } from "./transcript.js";
import { AlfredVoiceError } from "./alfred-voice-errors.js";
import { at } from "./element.js";

const TALK = "conversation";
/** @type {[keyof typeof FORMATS, string][]} */
const DOWNLOADS = [["txt", "take-txt"], ["srt", "take-srt"], ["vtt", "take-vtt"], ["json", "take-json"]];
const BUTTONS = [...DOWNLOADS.map(([, name]) => name), "copy-text", "clear"];

export class Files {
  #captions;
  #hooks;
  /** @type {Map<string, Transcript>} by what they are called on the page */
  #transcripts = new Map();
  /** @type {AbortController | null} */
  #work = null;
  #hasSession = false;

  /**
   * @param {import("./talk-captions.js").Captions} captions
   * @param {{key(): string | null, fail(error: unknown): void, tell(text: string): void}} hooks
   */
  constructor(captions, hooks) {
    this.#captions = captions;
    this.#hooks = hooks;
    this.#show();
    for (const [format, name] of DOWNLOADS) at(name, HTMLButtonElement).addEventListener("click", () => this.#download(format));
    if (document.getElementById("file")) this.#takeFiles(); // not every daemon takes recordings
  }

  /** A session has begun. */
  begin() {
    if (this.#hasSession) this.#transcriptOf(TALK).continueWithNewSession();
    this.#hasSession = true;
  }

  /** @param {import("./transcript.js").Heard} final */
  addHeard(final) {
    return this.#add(TALK, final);
  }

  /** @param {string} text what the daemon says @param {number} nowMs about when, on the session's clock */
  addSaid(text, nowMs) {
    this.#add(TALK, { text, start_ms: nowMs, end_ms: nowMs + 60 * text.length, speaker: "daemon" });
  }

  clear() {
    this.#work?.abort();
    this.#transcripts.clear();
    this.#hasSession = false;
    this.#captions.clear();
    this.#show();
  }

  /** @param {string} name */
  #transcriptOf(name) {
    const known = this.#transcripts.get(name);
    if (known) return known;
    const transcript = new Transcript(name.replace(/\.[^.]{1,5}$/, ""));
    this.#transcripts.set(name, transcript);
    return transcript;
  }

  /** @param {string} name @param {import("./transcript.js").Heard} entry */
  #add(name, entry) {
    const added = this.#transcriptOf(name).add(entry);
    this.#show(name);
    return added;
  }

  /** Offer what there is; what has grown last is chosen. */
  #show(newest = "") {
    const names = [...this.#transcripts.keys()].filter((name) => this.#transcripts.get(name)?.entries.length);
    const select = at("source", HTMLSelectElement);
    if (names.length !== select.options.length) {
      select.replaceChildren(...names.map((name) => new Option(name, name)));
    }
    if (newest) select.value = newest;
    select.hidden = names.length < 2;
    for (const name of BUTTONS) at(name, HTMLButtonElement).disabled = names.length === 0;
  }

  /** @param {keyof typeof FORMATS} format */
  #download(format) {
    const transcript = this.#transcripts.get(at("source", HTMLSelectElement).value);
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
      const [file] = field.files ?? [];
      field.value = ""; // the same one may be chosen again
      if (file) this.#upload(file);
    });
    at("work-cancel").addEventListener("click", () => this.#work?.abort());
    const drop = at("drop");
    /** @param {boolean} isOver @returns {(event: Event) => void} */
    const show = (isOver) => (event) => {
      event.preventDefault();
      drop.classList.toggle("over", isOver);
    };
    drop.addEventListener("dragover", show(true));
    drop.addEventListener("dragleave", show(false));
    drop.addEventListener("drop", (event) => {
      show(false)(event);
      const [file] = event.dataTransfer?.files ?? [];
      if (file) this.#upload(file);
    });
  }

  /** @param {File} file */
  async #upload(file) {
    if (this.#work) return;
    const limit = Number(document.body.dataset.maxRecordingBytes);
    if (file.size > limit) {
      this.#hooks.fail(new AlfredVoiceError("too_large", `it takes recordings of at most ${Math.round(limit / 1e6)} MB`));
      return;
    }
    this.#work = new AbortController();
    this.#transcripts.delete(file.name);
    this.#captions.addHeading(file.name);
    at("work-name").textContent = file.name;
    at("work").hidden = false;
    at("drop").hidden = true;
    try {
      await transcribe(file, { key: this.#hooks.key(), signal: this.#work.signal }, this.#listener(file.name));
      this.#hooks.tell(`${file.name} has been transcribed.`);
    } catch (error) {
      if (!(error instanceof AlfredVoiceError && error.code === "cancelled")) this.#hooks.fail(error);
    } finally {
      this.#work = null;
      at("work").hidden = true;
      at("drop").hidden = false;
    }
  }

  /** @param {string} name @returns {import("./talk-recording.js").Listener} */
  #listener(name) {
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
      segment: (segment) => this.#captions.addHeard(this.#add(name, segment)),
      result: ({ real_time_factor }) => {
        const pace = real_time_factor ? `, ${Math.round(1 / real_time_factor)} times faster than it was spoken` : "";
        this.#captions.addHeading(`${name}: done${pace}`);
      },
    };
  }
}
