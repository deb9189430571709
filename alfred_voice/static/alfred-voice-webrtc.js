// A session over WebRTC that outlives its connections. Part of alfred-voice.js, which has the public interface.

import { AudioClock } from "./alfred-voice-clock.js";
import { AlfredVoiceError, errorOfAnswer, explainRefusal } from "./alfred-voice-errors.js";
import { Peer } from "./alfred-voice-peer.js";
import { Returns } from "./alfred-voice-return.js";

const ANSWER_MS = 10_000;
/** Of the daemon's side of the track: 48 kHz, 16 bit. */
const BYTES_PER_MS = 96;
/** As much as a millisecond of audio has elsewhere: 16 kHz, 16 bit. */
const DROPPED_BYTES_PER_MS = 32;
const AWAY_CODES = new Set(["daemon_gone", "connection_lost", "webrtc_failed"]);

/** @typedef {{connection_id: string, sdp: string}} Answer */

export class PeerLink {
  #url;
  #key;
  #start;
  #sink;
  /** @type {Peer | null} the connection that has the session, or had it last */
  #peer = null;
  /** @type {string | null} */
  #connectionId = null;
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** @type {{id: string, token: string | null} | null} */
  #session = null;
  #lastSeq = -1;
  #isOpen = false;
  /** Whether the browser has lost the way of a connection that may come back by itself. */
  #isAway = false;
  #isOver = false;
  /** @type {Promise<unknown>} what the daemon answers when we leave */
  #goodbye = Promise.resolve();
  /** @type {AlfredVoiceError | null} the daemon's last word, when it was fatal */
  #fatal = null;
  /** How long it had been heard when the track came or went last, in ms, and when that was. */
  #heard = { ms: 0, at: performance.now() };
  #clock = new AudioClock();
  /** When something came last; the daemon tells its health once a second. */
  #toldAt = 0;
  #lostAt = 0;
  #returns = new Returns();

  /**
   * @param {{url: URL, key: string | null, start: object}} settings
   * @param {import("./alfred-voice-socket.js").Sink & {stream(stream: MediaStream): void}} sink
   */
  constructor({ url, key, start }, sink) {
    this.#url = url;
    this.#key = key;
    this.#start = start;
    this.#sink = sink;
  }

  /** How long the session has been heard, in ms: as near as we come to its clock. */
  get sentMs() {
    return this.#heard.ms + (this.#track && this.#isOpen ? performance.now() - this.#heard.at : 0);
  }

  /** About when that millisecond was recorded. @param {number} ms on the session's clock */
  momentOf(ms) {
    return this.#clock.momentOf(ms);
  }

  /** Begins the session, and keeps it over lost connections until it ends; the sink is told everything. */
  open() {
    this.#run().catch((error) => this.#end(error));
  }

  /** @param {MediaStreamTrack | null} track the microphone's, or null to send nothing */
  async sendTrack(track) {
    this.#hear(this.sentMs);
    this.#track = track;
    this.#hear(this.sentMs);
    if (!this.#isOver) await this.#peer?.sendTrack(track);
  }

  /** @param {import("./alfred-voice-socket.js").Message} message */
  send(message) {
    if (!this.#isOpen || this.#isAway || !this.#peer?.canSend) {
      throw new AlfredVoiceError("not_connected", `${message.type} needs a connection, and there is none now`);
    }
    this.#peer.send(JSON.stringify(message));
  }

  /** Over, without waiting for anything. */
  close() {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#peer?.mute();
    this.#sayGoodbye();
    this.#part(this.#peer);
    this.#returns.wake();
  }

  async #run() {
    while (!this.#isOver) {
      this.#sink.state(this.#session === null ? "connecting" : "reconnecting");
      const was = await this.#live();
      if (this.#isOver || this.#fatal) break;
      this.#returns.lost(was);
      const retryAfterS = was.error?.retryAfterS ?? null;
      const isHopeless = !AWAY_CODES.has(was.error?.code ?? "") && retryAfterS === null;
      if (this.#session === null || isHopeless || this.#returns.isTooLate) throw was.error;
      await this.#returns.pause(retryAfterS);
    }
    this.#end(this.#fatal);
  }

  /** One connection, from its offer to its end. */
  async #live() {
    const begunAt = performance.now();
    const peer = new Peer({
      message: (data) => this.#receive(data),
      stream: (stream) => this.#sink.stream(stream),
      away: (isAway) => this.#drift(isAway),
    });
    /** @type {AlfredVoiceError | null} */
    let error;
    try {
      const answer = await this.#offer(await peer.describe(this.#track));
      await this.#adopt(peer, answer);
      error = await peer.over;
    } catch (cause) {
      error = asError(cause);
    }
    peer.mute();
    // What had the session stays until the daemon has given it to another one: to close it would be to leave.
    if (peer !== this.#peer) peer.close();
    else if (this.#isOver) this.#part(peer);
    const wasSettled = this.#isOpen;
    if (wasSettled) this.#lostAt = this.#toldAt;
    this.#isOpen = this.#isAway = false;
    return { error, wasSettled, livedMs: performance.now() - begunAt };
  }

  /** Ask for the session that we were cut off from, or for a new one. @param {string} sdp */
  async #offer(sdp) {
    if (this.#session?.token) {
      const { id, token } = this.#session;
      try {
        return await this.#ask({ sdp, start: { session_id: id, resume_token: token, last_seq: this.#lastSeq } });
      } catch (error) {
        if (asError(error).code !== "resume_refused") throw error;
      }
      // It is gone, with a daemon that was started anew perhaps.
      this.#session.token = null;
      this.#lastSeq = -1;
    }
    return this.#ask({ sdp, start: { ...this.#start, resumable: true } });
  }

  /** @param {{sdp: string, start: object}} body @returns {Promise<Answer>} */
  async #ask(body) {
    const headers = { "Content-Type": "application/json", ...this.#authorization };
    const signal = AbortSignal.timeout(ANSWER_MS);
    let answer, text;
    try {
      answer = await fetch(new URL("webrtc/offer", this.#url), { method: "POST", headers, signal, body: JSON.stringify(body) });
      text = await answer.text();
    } catch (cause) {
      const reason = await explainRefusal(this.#url, this.#key);
      if (reason.code === "origin_refused") throw reason;
      throw new AlfredVoiceError("daemon_gone", `nothing answers at ${this.#url.origin}`, { cause });
    }
    if (answer.ok) return JSON.parse(text);
    throw errorOfAnswer(answer.status, text, answer.headers.get("Retry-After"));
  }

  /** The daemon has given the session to this connection. @param {Peer} peer @param {Answer} answer */
  async #adopt(peer, answer) {
    this.#peer?.close();
    this.#peer = peer;
    this.#connectionId = answer.connection_id;
    if (this.#isOver) {
      this.#sayGoodbye();
      peer.mute();
      return;
    }
    await peer.sendTrack(this.#track); // it may have come or gone meanwhile
    await peer.accept(answer.sdp);
  }

  /** The browser has lost the way, and looks for another one; or has found it. @param {boolean} isAway */
  #drift(isAway) {
    if (this.#isOver || !this.#isOpen) return;
    this.#isAway = isAway;
    this.#sink.state(isAway ? "reconnecting" : "open");
  }

  /** @param {string} data */
  #receive(data) {
    /** @type {import("./alfred-voice-events.js").DaemonEvent} */
    const event = JSON.parse(data);
    this.#toldAt = performance.now();
    if (event.seq <= this.#lastSeq) return; // known from before the loss
    this.#lastSeq = event.seq;
    if (event.type === "sessionStarted") {
      this.#session = { id: event.session_id, token: event.resume?.token ?? null };
      this.#settle(0);
    } else if (event.type === "sessionResumed") {
      this.#settle(event.audio_bytes / BYTES_PER_MS);
    } else if (event.type === "error" && event.fatal) {
      this.#fatal = new AlfredVoiceError(event.code, event.message, { retryAfterS: event.retry_after_s ?? null });
    }
    this.#sink.event(event);
    if (event.type === "sessionEnded") {
      this.#isOver = true;
      this.#peer?.close();
    }
  }

  /** @param {number} heardMs */
  #settle(heardMs) {
    const now = performance.now();
    // A track keeps nothing: what was said meanwhile has gone nowhere.
    if (this.#lostAt && this.#track) this.#sink.dropped((now - this.#lostAt) * DROPPED_BYTES_PER_MS);
    if (heardMs === 0) this.#clock = new AudioClock();
    this.#isOpen = true;
    this.#hear(heardMs);
    this.#peer?.settle();
    this.#sink.state("open");
  }

  /** So much has been heard by now. @param {number} ms */
  #hear(ms) {
    this.#heard = { ms, at: performance.now() };
    if (this.#track && this.#isOpen) this.#clock.flow(ms, this.#heard.at);
  }

  /** @param {AlfredVoiceError | null} error */
  #end(error) {
    this.#isOver = true;
    if (error && this.#session === null) this.#sayGoodbye(); // it would wait for a connection that does not come
    this.#part(this.#peer);
    this.#sink.ended(error);
  }

  /** @returns {Record<string, string>} */
  get #authorization() {
    return this.#key ? { Authorization: `Bearer ${this.#key}` } : {};
  }

  /** The daemon notices by itself, too; this only spares it the wait. */
  #sayGoodbye() {
    if (this.#connectionId === null) return;
    const path = this.#isOpen || this.#session === null ? `webrtc/${this.#connectionId}` : `session/${this.#session.id}`;
    const request = { method: "DELETE", headers: this.#authorization, keepalive: true };
    this.#goodbye = fetch(new URL(path, this.#url), request).catch(() => {});
  }

  /** Close a connection, behind the goodbye: the daemon would find nothing to say goodbye to. @param {Peer | null} peer */
  #part(peer) {
    this.#goodbye.then(() => peer?.close());
  }
}

/** What went wrong, as our own kind of error. @param {unknown} cause */
function asError(cause) {
  if (cause instanceof AlfredVoiceError) return cause;
  return new AlfredVoiceError("webrtc_failed", cause instanceof Error ? cause.message : String(cause), { cause });
}
