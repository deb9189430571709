// A recording goes up, its text comes down: `POST /transcribe`, whose answer is a line of JSON for each thing.

import { AlfredVoiceError, errorOfAnswer } from "./alfred-voice-errors.js";

/**
 * A line of the answer: docs/recordings.md says what it may have.
 * @typedef {import("./transcript.js").Heard & {type: "segment"}} Segment
 * @typedef {{type: "result", real_time_factor: number | null}} Result
 * @typedef {{type: "progress", share_read: number | null}} Progress
 * @typedef {{type: "error", code: string, detail: string, status: number}} Failure
 * @typedef {Segment | Result | Progress | Failure} Line
 * @typedef {{sent(share: number): void, heard(share: number): void, segment(segment: Segment): void, result(result: Result): void}} Listener
 */

/**
 * Have a recording transcribed.
 * @param {File} file
 * @param {{key: string | null, signal: AbortSignal}} how
 * @param {Listener} listener
 * @returns {Promise<void>} when all of it has come
 * @throws {AlfredVoiceError} `cancelled`, or what the daemon says
 */
export function transcribe(file, { key, signal }, listener) {
  return new Promise((resolve, reject) => {
    // fetch does not tell how much of a body has gone out.
    const request = new XMLHttpRequest();
    request.open("POST", "/transcribe");
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    const lines = new Lines((line) => take(line, listener, reject));
    request.upload.onprogress = ({ loaded, total }) => listener.sent(total ? loaded / total : 0);
    request.onprogress = () => request.status === 200 && lines.read(request.responseText);
    request.onerror = () => reject(new AlfredVoiceError("daemon_gone", "the upload was cut off"));
    request.onabort = () => reject(new AlfredVoiceError("cancelled", "the upload was cancelled"));
    request.onload = () => {
      if (request.status !== 200) {
        reject(errorOfAnswer(request.status, request.responseText, request.getResponseHeader("Retry-After")));
        return;
      }
      lines.read(request.responseText);
      if (lines.hasEnd) resolve();
      else reject(new AlfredVoiceError("connection_lost", "the answer broke off before its end"));
    };
    signal.addEventListener("abort", () => request.abort());
    const form = new FormData();
    form.append("audio_file", file);
    request.send(form);
  });
}

/** The lines of an answer that grows. */
class Lines {
  #read = 0;
  #tell;
  hasEnd = false;

  /** @param {(line: Line) => void} tell */
  constructor(tell) {
    this.#tell = tell;
  }

  /** @param {string} text */
  read(text) {
    for (let end = text.indexOf("\n", this.#read); end >= 0; end = text.indexOf("\n", this.#read)) {
      /** @type {Line} */
      const line = JSON.parse(text.slice(this.#read, end));
      this.#read = end + 1;
      if (line.type === "result") this.hasEnd = true;
      this.#tell(line);
    }
  }
}

/** @param {Line} line @param {Listener} listener @param {(error: Error) => void} reject */
function take(line, listener, reject) {
  if (line.type === "progress") listener.heard(line.share_read ?? 0);
  else if (line.type === "segment") listener.segment(line);
  else if (line.type === "result") listener.result(line);
  else if (line.type === "error") reject(new AlfredVoiceError(line.code, line.detail, { status: line.status }));
}
