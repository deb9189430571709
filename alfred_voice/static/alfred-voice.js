/**
 * A client of the Alfred Voice daemon for browsers, without dependencies; docs/protocol.md says how a page of your own uses it:
 *
 *     import { AlfredVoice } from "http://127.0.0.1:8015/static/alfred-voice.js";
 *
 *     const voice = new AlfredVoice();
 *     voice.addEventListener("finalTranscription", ({ detail }) => console.log(detail.text));
 *     button.onclick = async () => {
 *       await voice.listen();                   // asks for the microphone, connects, and sends what it hears
 *       voice.speak("I am listening.");         // talk over it, and it stops
 *     };
 *
 * It is an EventTarget. Each event of the daemon comes as a CustomEvent of its `type`, with its fields in `detail`
 * (docs/protocol.md lists them), and once more as `message`, whatever its type. Of its own it tells
 *
 * - `state`: `detail` is `{state}`: `connecting`, `open`, `reconnecting` or `closed`;
 * - `fault`: `detail` is an {@link AlfredVoiceError}: the session is over for that reason;
 * - `spoken`: `{speech_id, heard_ms, cancelled}`: a speech has come to its end in the loudspeaker;
 * - `audioDropped`: `{ms}`: so much of what was said while the connection was away is lost. By WebSocket that is what there
 *   was no room for; by WebRTC all of it, as tracks keep nothing.
 *
 * A session outlives its connection: events that were missed come, each once, and by WebSocket no audio is lost. When the daemon
 * has it no more, another one begins: another `sessionStarted`.
 */

import { Microphone, Speaker } from "./alfred-voice-audio.js";
import { AlfredVoiceError } from "./alfred-voice-errors.js";
import { SocketLink } from "./alfred-voice-socket.js";
import { PeerLink } from "./alfred-voice-webrtc.js";

export { AlfredVoiceError, Microphone, Speaker };

const STOP_MS = 15_000;
const BYTES_PER_MS = 32;
const TRANSPORTS = new Set(["websocket", "webrtc"]);

/**
 * @typedef {import("./alfred-voice-events.js").DaemonEvent} DaemonEvent
 * @typedef {import("./alfred-voice-events.js").DaemonEvents} DaemonEvents
 * @typedef {import("./alfred-voice-socket.js").Message} Message
 * @typedef {"closed" | "connecting" | "open" | "reconnecting"} State
 * @typedef {{speech_id: number, heard_ms: number, cancelled: boolean}} Spoken
 *
 * What an instance tells of its own.
 * @typedef {{state: {state: State}, fault: AlfredVoiceError, spoken: Spoken, audioDropped: {ms: number}, message: DaemonEvent}} OwnEvents
 *
 * All that it tells: `detail` by the event's type. `interruption` has `heard_ms`, what had been heard of the speech here.
 * @typedef {Omit<DaemonEvents, "interruption"> & {interruption: DaemonEvents["interruption"] & {heard_ms: number}} & OwnEvents} Events
 */

/**
 * @typedef {object} Options
 * @property {string | URL} [url] the daemon's address; by default where this module came from
 * @property {string | null} [key] the daemon's key for this client, where it wants one
 * @property {"websocket" | "webrtc"} [transport] `websocket` unless given
 * @property {object} [start] fields of the message `start`, such as `{language: "de", turns: false}`
 * @property {boolean} [playsSpeech] whether the daemon's voice is played; true unless given
 */

export class AlfredVoice extends EventTarget {
  #url;
  #key;
  #transport;
  #start;
  #playsSpeech;
  /** @type {SocketLink | PeerLink | null} */
  #link = null;
  /** @type {Promise<DaemonEvent> | null} */
  #opening = null;
  /** @type {Promise<DaemonEvent> | null} */
  #listening = null;
  /** How often the microphone was taken back, and everything ended: an opening that began before that comes too late. */
  #rests = 0;
  #closes = 0;
  /** @type {{resolve(event: DaemonEvent): void, reject(error: Error): void} | null} */
  #waiting = null;
  /** @type {Microphone | null} */
  #microphone = null;
  /** @type {Speaker | null} */
  #speaker = null;
  /** @type {State} */
  #state = "closed";
  #nextSpeech = 1;

  /** @param {Options} [options] */
  constructor({ url = new URL("..", import.meta.url), key = null, transport = "websocket", start = {}, playsSpeech = true } = {}) {
    super();
    if (!TRANSPORTS.has(transport)) throw new TypeError(`transport: expected "websocket" or "webrtc", got ${JSON.stringify(transport)}`);
    const address = new URL(url, location.href);
    this.#url = new URL("/", address);
    this.#key = key;
    this.#transport = transport;
    this.#start = start;
    this.#playsSpeech = playsSpeech;
  }

  /** `closed`, `connecting`, `open` or `reconnecting`. */
  get state() {
    return this.#state;
  }

  /** The microphone while it is open, for its level. @returns {Microphone | null} */
  get microphone() {
    return this.#microphone;
  }

  /** What plays the daemon's voice, for its level. @returns {Speaker | null} */
  get speaker() {
    return this.#speaker;
  }

  /** How much audio has been sent, in ms: about where the session's clock is. */
  get sentMs() {
    return this.#link?.sentMs ?? 0;
  }

  /** When audio was recorded, on the clock of `performance.now()`; null while none was. @param {number} ms on the session's clock */
  momentOf(ms) {
    return this.#link?.momentOf(ms) ?? null;
  }

  /**
   * Open a session, unless there is one.
   * @returns {Promise<DaemonEvent>} its `sessionStarted`
   * @throws {AlfredVoiceError} the daemon is not there, or refuses
   */
  connect() {
    if (this.#opening) return this.#opening;
    const opening = this.#connect().catch((error) => {
      if (this.#opening === opening) this.#opening = null;
      throw error;
    });
    return (this.#opening = opening);
  }

  async #connect() {
    const closes = this.#closes;
    await this.#openSpeaker();
    await this.#speaker?.wake();
    if (closes !== this.#closes) throw cancelled();
    const settings = { url: this.#url, key: this.#key, start: this.#start };
    const { owner, sink } = this.#sink();
    const link = this.#transport === "webrtc" ? new PeerLink(settings, sink) : new SocketLink(settings, sink);
    this.#link = owner.link = link;
    /** @type {Promise<DaemonEvent>} */
    const started = new Promise((resolve, reject) => (this.#waiting = { resolve, reject }));
    link.open();
    await this.#route();
    return started;
  }

  /** What plays the daemon's voice, unless it is there or not wanted. */
  async #openSpeaker() {
    if (!this.#playsSpeech || this.#speaker) return;
    const closes = this.#closes;
    const speaker = await Speaker.open();
    if (closes === this.#closes && this.#speaker === null) {
      speaker.addEventListener("spoken", (event) => event instanceof CustomEvent && this.#tell("spoken", event.detail));
      this.#speaker = speaker;
      return;
    }
    await speaker.close(); // another call was quicker, or nobody wants it any more
    if (closes !== this.#closes) throw cancelled();
  }

  /**
   * Open the microphone and a session, and send what is heard. Call it as an answer to a click or a key. A further call
   * before the first is done waits for the same.
   * @param {MediaTrackConstraints} [constraints] for the microphone
   * @returns {Promise<DaemonEvent>} the session's `sessionStarted`
   * @throws {AlfredVoiceError} no microphone, no permission, no daemon: its `code` says which; `cancelled` when `rest()` or
   * `close()` came first
   */
  listen(constraints = {}) {
    if (this.#listening) return this.#listening;
    const listening = this.#listen(constraints).finally(() => {
      if (this.#listening === listening) this.#listening = null;
    });
    return (this.#listening = listening);
  }

  /** @param {MediaTrackConstraints} constraints */
  async #listen(constraints) {
    const rests = this.#rests;
    try {
      await this.#openSpeaker(); // first what takes time, so that nothing said into the microphone has to wait for it
      await this.#openMicrophone(constraints, rests);
      await this.#route();
      const started = await this.connect();
      if (rests === this.#rests) return started;
    } catch (error) {
      if (rests === this.#rests) {
        await this.#closeMicrophone();
        throw error;
      }
    }
    throw cancelled(); // the microphone may be another one's by now
  }

  /** @param {MediaTrackConstraints} constraints @param {number} rests how many there were when it was wanted */
  async #openMicrophone(constraints, rests) {
    if (rests !== this.#rests) throw cancelled();
    if (this.#microphone) return;
    const microphone = await Microphone.open(constraints);
    if (rests !== this.#rests) {
      await microphone.close();
      throw cancelled();
    }
    this.#microphone = microphone;
    microphone.addEventListener("lost", () => {
      this.#tell("fault", new AlfredVoiceError("no_microphone", "the microphone has gone"));
      this.rest();
    });
  }

  /** Close the microphone, also one that is being opened; what was said is finished. The session stays open for speech. */
  async rest() {
    this.#forgetListening();
    await this.#closeMicrophone();
    if (this.#state === "open") this.flush();
  }

  /** Samples of your own instead of a microphone's, by WebSocket only. @param {Int16Array} samples 16 kHz, mono */
  sendAudio(samples) {
    if (!(this.#link instanceof SocketLink)) {
      throw new AlfredVoiceError("not_connected", "samples can be sent once a session is open by WebSocket");
    }
    this.#link.sendAudio(samples);
  }

  /**
   * Have the daemon say something, after what it is saying already.
   * @param {string} text
   * @param {{voice?: string, speed?: number}} [how]
   * @returns {number} the `speech_id` by which events speak of it
   */
  speak(text, how = {}) {
    const speech_id = this.#nextSpeech++;
    this.send({ type: "speak", text, speech_id, ...how });
    return speech_id;
  }

  /** Be silent now: at once here, and then there. */
  stopSpeaking() {
    this.#speaker?.silence();
    if (this.#state === "open") this.send({ type: "stopSpeaking" });
  }

  /** End the utterance that is open now. */
  flush() {
    this.send({ type: "flush" });
  }

  /** Any control message as it is. @param {Message} message @throws {AlfredVoiceError} `not_connected` */
  send(message) {
    if (this.#link === null) throw new AlfredVoiceError("not_connected", `${message.type} needs a session: call connect() first`);
    this.#link.send(message);
  }

  /** End the session when everything that is owed has come. */
  async stop() {
    this.#forgetListening();
    await this.#closeMicrophone();
    if (this.#link === null) return;
    if (this.#state === "open") {
      this.send({ type: "stop" });
      await this.#closed(STOP_MS);
    }
    this.close();
  }

  /** Returns when the session is over, or the time is. @param {number} withinMs */
  #closed(withinMs) {
    return new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
      const done = () => {
        clearTimeout(limit);
        this.removeEventListener("state", look);
        resolve();
      };
      const look = () => this.#state === "closed" && done();
      const limit = setTimeout(done, withinMs);
      this.addEventListener("state", look);
    });
  }

  /** End everything now: session, microphone and voice. */
  close() {
    this.#forgetListening();
    this.#closes++;
    this.#link?.close();
    this.#closeMicrophone();
    this.#speaker?.close();
    this.#speaker = null;
    this.#ended(null);
  }

  /** What a link tells, as long as it is the one in use. */
  #sink() {
    const owner = { link: /** @type {SocketLink | PeerLink | null} */ (null) };
    /** @template {unknown[]} V @param {(...values: V) => void} act @returns {(...values: V) => void} */
    const guarded = (act) => (...values) => owner.link !== null && owner.link === this.#link && act(...values);
    /** @type {import("./alfred-voice-socket.js").Sink & {stream(stream: MediaStream): void}} */
    const sink = {
      event: guarded((event) => this.#receive(event)),
      audio: guarded((speechId, samples) => this.#speaker?.play(speechId, samples)),
      stream: guarded((stream) => this.#play(stream)),
      state: guarded((state) => this.#change(state)),
      ended: guarded((error) => this.#ended(error)),
      dropped: guarded((bytes) => this.#tell("audioDropped", { ms: bytes / BYTES_PER_MS })),
    };
    return { owner, sink };
  }

  /** @param {DaemonEvent} event */
  #receive(event) {
    if (event.type === "interruption" || event.type === "ttsEnd") this.#hush(event);
    if (event.type === "sessionStarted") this.#waiting?.resolve(event);
    if (event.type === "error" && this.#waiting && !event.fatal && event.session_id === "") {
      // A `start` that cannot be served: no session will come of it.
      this.#link?.close();
      this.#ended(new AlfredVoiceError(event.code, event.message));
    }
    if (event.type === "sessionStarted") this.#waiting = null;
    this.#tell("message", event);
    this.dispatchEvent(new CustomEvent(event.type, { detail: event }));
  }

  /** A speech has come to its end. By WebRTC the browser plays what comes as it comes, and nothing can be taken back. @param {DaemonEvents["interruption"] | DaemonEvents["ttsEnd"]} event */
  #hush(event) {
    const isPeer = this.#link instanceof PeerLink;
    if (event.type === "interruption") {
      Object.assign(event, { heard_ms: isPeer ? event.spoken_ms : (this.#speaker?.silence() ?? 0) });
    } else if (isPeer) {
      this.#tell("spoken", { speech_id: event.speech_id, heard_ms: event.duration_ms, cancelled: event.cancelled });
    } else if (event.cancelled) {
      this.#speaker?.silence();
    } else {
      this.#speaker?.end(event.speech_id);
    }
  }

  /** @param {MediaStream} stream */
  #play(stream) {
    this.#speaker?.playStream(stream).catch((cause) => {
      this.#tell("fault", new AlfredVoiceError("unsupported", `the daemon's voice cannot be played: ${cause.message}`, { cause }));
    });
  }

  /** @param {State} state */
  #change(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#tell("state", { state });
  }

  /** @param {AlfredVoiceError | null} error */
  #ended(error) {
    const waiting = this.#waiting;
    this.#waiting = this.#link = this.#opening = null;
    this.#speaker?.silence();
    this.#speaker?.stopStream();
    this.#change("closed");
    waiting?.reject(error ?? new AlfredVoiceError("not_connected", "the session was closed before it had begun"));
    if (error && !waiting) {
      this.#closeMicrophone();
      this.#tell("fault", error);
    }
  }

  /** What is being opened for `listen()` is wanted no more. */
  #forgetListening() {
    this.#rests++;
    this.#listening = null;
  }

  /** Lead the microphone to the link, whichever of the two came first. */
  async #route() {
    if (this.#microphone === null || this.#link === null) return;
    if (this.#link instanceof PeerLink) await this.#link.sendTrack(this.#microphone.track);
    else this.#microphone.onframe = (frame) => {
      if (this.#link instanceof SocketLink) this.#link.sendAudio(frame);
    };
  }

  async #closeMicrophone() {
    const microphone = this.#microphone;
    this.#microphone = null;
    if (this.#link instanceof PeerLink) await this.#link.sendTrack(null);
    await microphone?.close();
  }

  /** @template {keyof Events} T @param {T} type @param {Events[T]} detail */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

const cancelled = () => new AlfredVoiceError("cancelled", "it was taken back before it was done");
