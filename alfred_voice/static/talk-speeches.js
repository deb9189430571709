// What Alfred is to say, from the moment it is asked until the loudspeaker is done with it.

/**
 * @typedef {import("./talk-captions.js").Captions} Captions
 * @typedef {{text: string, line: HTMLElement, hasBegun: boolean, heardMs: number, endedAt: number, isDropped: boolean}} Speech
 * @typedef {{said(text: string, startAt: number, heardMs: number, isCut: boolean): void, changed(): void}} Hooks `said`: that much
 * of it has been heard, from a moment of `performance.now()` on
 */

export class Speeches {
  /** @type {Set<Speech>} those that are not over, in their order */
  #flight = new Set();
  /** @type {Map<number, Speech>} those that the daemon knows, by `speech_id` */
  #known = new Map();
  #captions;
  #hooks;
  #isSpeaking = false;

  /** @param {Captions} captions @param {Hooks} hooks */
  constructor(captions, hooks) {
    this.#captions = captions;
    this.#hooks = hooks;
  }

  /** Whether anything is being said or waits to be. */
  get isBusy() {
    return this.#flight.size > 0;
  }

  /** Whether Alfred has begun to speak, and is not done with all of it. */
  get isSpeaking() {
    return this.#isSpeaking;
  }

  /** It is to be said; the daemon need not know of it yet. @param {string} text @returns {Speech} */
  ask(text) {
    const line = this.#captions.addSaid(text, "queued");
    const speech = { text, line, hasBegun: false, heardMs: 0, endedAt: 0, isDropped: false };
    this.#flight.add(speech);
    this.#hooks.changed();
    return speech;
  }

  /** The daemon has been told. @param {Speech} speech @param {number} speechId */
  sent(speech, speechId) {
    this.#known.set(speechId, speech);
  }

  /** It will not be said: its line goes. @param {Speech} speech */
  takeBack(speech) {
    speech.line.remove();
    this.#forget(speech);
  }

  /** The one that was asked for last and has not begun: what the daemon refuses. @returns {Speech | undefined} */
  get newest() {
    return [...this.#known.values()].filter((speech) => !speech.hasBegun).at(-1);
  }

  /** @param {{speech_id: number, text: string}} start */
  begin({ speech_id, text }) {
    let speech = this.#known.get(speech_id);
    if (!speech) this.sent((speech = this.ask(text)), speech_id);
    speech.hasBegun = this.#isSpeaking = true;
    this.#captions.noteSaid(speech.line, "speaking");
    this.#hooks.changed();
  }

  /** The loudspeaker is done with it, or was silenced. @param {{speech_id: number, heard_ms: number, cancelled: boolean}} spoken */
  heard({ speech_id, heard_ms, cancelled }) {
    const speech = this.#known.get(speech_id);
    if (!speech) return;
    speech.heardMs = heard_ms;
    speech.endedAt = performance.now();
    if (!cancelled) this.#end(speech, `${(heard_ms / 1000).toFixed(1)} s`, false);
  }

  /** It was talked over. @param {{speech_id: number, heard_ms: number}} cut */
  interrupted({ speech_id, heard_ms }) {
    const speech = this.#known.get(speech_id);
    if (!speech) return;
    if (!speech.heardMs) this.heard({ speech_id, heard_ms, cancelled: true });
    this.#end(speech, `you interrupted after ${(heard_ms / 1000).toFixed(1)} s`, true);
  }

  /** The daemon says no more of it. @param {{speech_id: number, cancelled: boolean}} end */
  ended({ speech_id, cancelled }) {
    const speech = this.#known.get(speech_id);
    if (speech && cancelled) this.#end(speech, speech.hasBegun ? "stopped" : "dropped", true);
  }

  /** Those of which the daemon does not know are not to be said any more. */
  drop() {
    const known = new Set(this.#known.values());
    for (const speech of [...this.#flight].filter((one) => !known.has(one))) {
      speech.isDropped = true;
      this.#end(speech, "dropped", true);
    }
  }

  /** The session is over, and with it all that it was to say. */
  lost() {
    for (const speech of [...this.#known.values()]) this.#end(speech, speech.hasBegun ? "cut off" : "dropped", true);
  }

  /** @param {Speech} speech @param {string} note @param {boolean} isCut */
  #end(speech, note, isCut) {
    this.#captions.noteSaid(speech.line, note, isCut ? "cut" : "whole");
    if (speech.heardMs > 0) this.#hooks.said(speech.text, speech.endedAt - speech.heardMs, speech.heardMs, isCut);
    this.#forget(speech);
  }

  /** @param {Speech} speech */
  #forget(speech) {
    this.#flight.delete(speech);
    for (const [id, one] of this.#known) if (one === speech) this.#known.delete(id);
    if (this.#known.size === 0) this.#isSpeaking = false;
    this.#hooks.changed();
  }
}
