// A session over a WebSocket that outlives its connections. Part of alfred-voice.js, which has the public interface.

import { AudioClock } from "./alfred-voice-clock.js";
import { AlfredVoiceError, explainRefusal } from "./alfred-voice-errors.js";
import { Returns } from "./alfred-voice-return.js";
import { Tape } from "./alfred-voice-tape.js";

const BYTES_PER_MS = 32;
const PROTOCOL = "alfred.v1.json";
const CONNECT_MS = 10_000;
/** The daemon tells its health once a second: when nothing comes for so long, the connection is dead. */
const SILENCE_MS = 10_000;
const WATCH_MS = 1_000;
/** The most that waits in the browser's own queue; the rest waits on the tape. */
const SOCKET_BYTES = 128 * 1024;
const PUMP_MS = 20;
/** About a minute of audio at 16 kHz. */
const TAPE_BYTES = 2 * 1024 * 1024;
const NORMAL = 1000; // RFC 6455, section 7.4.1
const AWAY_CODES = new Set(["daemon_gone", "connection_lost"]);

/**
 * @typedef {import("./alfred-voice-events.js").DaemonEvent} DaemonEvent
 * @typedef {{wasOpen: boolean, wasSettled: boolean, code: number, livedMs: number}} Life one connection, looked back at
 * @typedef {{type: string, [field: string]: unknown}} Message a control message
 */

/** @typedef {{event(message: DaemonEvent): void, audio(speechId: number, samples: Int16Array): void,
 *   state(name: import("./alfred-voice.js").State): void, ended(error: AlfredVoiceError | null): void, dropped(bytes: number): void}} Sink */

export class SocketLink {
  #url;
  #key;
  #start;
  /** @type {Sink} */
  #sink;
  /** @type {WebSocket | null} */
  #socket = null;
  #tape = new Tape(TAPE_BYTES);
  #clock = new AudioClock();
  /** @type {{id: string, token: string | null} | null} */
  #session = null;
  #isOpen = false;
  #lastSeq = -1;
  #speechId = 0;
  #heardAt = 0;
  #isOver = false;
  /** @type {AlfredVoiceError | null} the daemon's last word, when it was fatal */
  #fatal = null;
  /** @type {ReturnType<typeof setTimeout> | null} */
  #pumping = null;
  #returns = new Returns();

  /**
   * @param {{url: URL, key: string | null, start: object}} settings
   * @param {Sink} sink
   */
  constructor({ url, key, start }, sink) {
    this.#url = url;
    this.#key = key;
    this.#start = start;
    this.#sink = sink;
  }

  /** How many milliseconds of audio have been handed to the browser: the session's clock, as far as we know it. */
  get sentMs() {
    return this.#tape.sent / BYTES_PER_MS;
  }

  /** When that millisecond was recorded. @param {number} ms on the session's clock */
  momentOf(ms) {
    return this.#clock.momentOf(ms);
  }

  /** Begins the session, and keeps it over lost connections until it ends; the sink is told everything. */
  open() {
    this.#run().catch((error) => this.#end(error));
  }

  /** @param {Message} message */
  send(message) {
    const socket = this.#ready;
    if (!socket) {
      throw new AlfredVoiceError("not_connected", `${message.type} needs a connection, and there is none now`);
    }
    socket.send(JSON.stringify(message));
  }

  /** @param {Int16Array} samples 16 kHz, mono; kept until the daemon has them */
  sendAudio(samples) {
    const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
    this.#clock.flow(this.#tape.end / BYTES_PER_MS, performance.now() - bytes.byteLength / BYTES_PER_MS);
    if (!this.#tape.append(bytes)) this.#sink.dropped(bytes.byteLength);
    this.#pump();
  }

  /** Over, without waiting for anything. */
  close() {
    this.#isOver = true;
    this.#socket?.close(NORMAL);
    this.#returns.wake();
  }

  async #run() {
    while (!this.#isOver) {
      this.#sink.state(this.#session === null ? "connecting" : "reconnecting");
      const was = await this.#live();
      if (this.#isOver || this.#fatal || was.code === NORMAL) break;
      this.#returns.lost(was);
      const reason = was.wasOpen ? null : await explainRefusal(this.#url, this.#key);
      const isHopeless = reason !== null && !AWAY_CODES.has(reason.code) && reason.retryAfterS === null;
      if (this.#session === null || isHopeless || this.#returns.isTooLate) throw reason ?? lost(was.code);
      await this.#returns.pause(reason?.retryAfterS ?? null);
    }
    this.#end(this.#fatal);
  }

  /** One connection, from its beginning to its end. @returns {Promise<Life>} */
  #live() {
    return new Promise((resolve) => {
      const socket = this.#dial();
      this.#socket = socket;
      const begunAt = (this.#heardAt = performance.now());
      let wasOpen = false;
      /** @param {number} code */
      const finish = (code) => {
        clearInterval(watch);
        socket.onopen = socket.onmessage = socket.onclose = null;
        if (socket.readyState < WebSocket.CLOSING) socket.close();
        const wasSettled = this.#isOpen;
        this.#isOpen = false;
        this.#socket = null;
        resolve({ wasOpen, wasSettled, code, livedMs: performance.now() - begunAt });
      };
      const watch = setInterval(() => {
        const limit = wasOpen ? SILENCE_MS : CONNECT_MS;
        if (performance.now() - this.#heardAt > limit) finish(0);
        else this.#pump();
      }, WATCH_MS);
      socket.onopen = () => {
        wasOpen = true;
        socket.send(JSON.stringify(this.#opening()));
      };
      socket.onmessage = ({ data }) => this.#receive(data);
      socket.onclose = ({ code }) => finish(code);
    });
  }

  #dial() {
    const address = new URL("ws", this.#url);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    if (this.#session) address.searchParams.set("session_id", this.#session.id);
    let socket;
    try {
      socket = new WebSocket(address, this.#key ? [PROTOCOL, `bearer.${this.#key}`] : [PROTOCOL]);
    } catch (cause) {
      throw new AlfredVoiceError("key_refused", "the key has characters that a browser cannot send", { cause });
    }
    socket.binaryType = "arraybuffer";
    return socket;
  }

  /** The first message: a new session, or the one that we were cut off from. */
  #opening() {
    if (this.#session?.token) {
      const { id, token } = this.#session;
      return { type: "start", session_id: id, resume_token: token, last_seq: this.#lastSeq };
    }
    this.#clock.restart(this.#tape.begin / BYTES_PER_MS);
    this.#tape.restart();
    return { type: "start", ...this.#start, sample_rate: 16_000, encoding: "pcm_s16le", channels: 1, resumable: true };
  }

  /** @param {string | ArrayBuffer} data */
  #receive(data) {
    this.#heardAt = performance.now();
    if (typeof data !== "string") {
      this.#sink.audio(this.#speechId, new Int16Array(data));
      return;
    }
    /** @type {DaemonEvent} */
    const event = JSON.parse(data);
    if (event.type === "error" && event.code === "resume_refused") {
      this.#renew(event);
      return;
    }
    if (event.session_id !== "" && event.seq <= this.#lastSeq) return; // known from before the loss
    this.#lastSeq = event.seq;
    this.#note(event);
    this.#sink.event(event);
  }

  /** What an event means for the connection. @param {DaemonEvent} event */
  #note(event) {
    if (event.type === "sessionStarted") {
      this.#session = { id: event.session_id, token: event.resume?.token ?? null };
      this.#settle();
    } else if (event.type === "sessionResumed") {
      this.#tape.rewind(event.audio_bytes);
      this.#settle();
    } else if (event.type === "audioAcknowledged") {
      this.#tape.acknowledge(event.audio_bytes);
    } else if (event.type === "ttsStart") {
      this.#speechId = event.speech_id;
    } else if (event.type === "error" && event.fatal) {
      const retryAfterS = event.retry_after_s ?? null;
      this.#fatal = new AlfredVoiceError(event.code, event.message, { retryAfterS });
    } else if (event.type === "sessionEnded") {
      this.#isOver = true;
    }
  }

  /** The session is gone, with a daemon that was started anew perhaps: another one begins with what it has not heard. @param {DaemonEvent} event */
  #renew(event) {
    if (this.#session) this.#session.token = null;
    this.#lastSeq = event.seq;
    this.#socket?.send(JSON.stringify(this.#opening()));
  }

  /** The socket, where the session is there and the connection is not on its way out. */
  get #ready() {
    return this.#isOpen && this.#socket?.readyState === WebSocket.OPEN ? this.#socket : null;
  }

  #settle() {
    this.#isOpen = true;
    this.#sink.state("open");
    this.#pump();
  }

  /** Hand on as much audio as the browser's queue should hold. */
  #pump() {
    let socket = this.#ready;
    while (socket && socket.bufferedAmount < SOCKET_BYTES) {
      const bytes = this.#tape.next();
      if (bytes === null) break;
      socket.send(bytes);
      socket = this.#ready;
    }
    if (this.#session?.token === null) this.#tape.acknowledge(this.#tape.sent); // nobody would ask for it again
    if (!socket || !this.#tape.waiting || this.#pumping !== null) return;
    this.#pumping = setTimeout(() => {
      this.#pumping = null;
      this.#pump();
    }, PUMP_MS);
  }

  /** @param {AlfredVoiceError | null} error */
  #end(error) {
    this.#isOver = true;
    this.#sink.ended(error);
  }
}

/** @param {number} code */
function lost(code) {
  return new AlfredVoiceError("connection_lost", `the connection was lost (close code ${code}) and did not come back`);
}
