import { AlfredVoiceError } from "./alfred-voice-errors.js";
import { PieceSchedule } from "./alfred-voice-schedule.js";

/**
 * @typedef {import("./alfred-voice-schedule.js").PlayerMessage} PlayerMessage
 * @typedef {import("./alfred-voice-schedule.js").Played} Played
 */

const RATE = 16_000;
/** What Opus is inside. */
const STREAM_RATE = 48_000;
const WORKLETS = new URL("alfred-voice-worklets.js", import.meta.url);
/** What `level` says of silence. */
const QUIETEST_DB = -100;

/**
 * What the browser calls its refusals of a microphone, and what we call them.
 * @type {Map<string, string[]>}
 */
const REFUSALS = new Map([
  ["NotAllowedError", ["permission_denied", "the browser was not allowed to use the microphone"]],
  ["SecurityError", ["permission_denied", "the browser does not let this page use the microphone"]],
  ["NotFoundError", ["no_microphone", "no microphone was found"]],
  ["OverconstrainedError", ["no_microphone", "the microphone that was chosen is not there"]],
  ["NotReadableError", ["microphone_busy", "the microphone is there, but gives no sound: another program may hold it"]],
  ["AbortError", ["microphone_busy", "the microphone was taken away while it was being opened"]],
]);

/** A microphone as frames of 20 ms, 320 samples at 16 kHz, for as long as it is open. Its `lost` event says that it is gone. */
export class Microphone extends EventTarget {
  #context;
  #stream;
  #analyser;
  #samples;

  /**
   * Ask for the microphone, as an answer to a click or a key: browsers start no sound otherwise.
   * @param {MediaTrackConstraints} [constraints] such as `{ deviceId, noiseSuppression: false }`
   * @returns {Promise<Microphone>}
   * @throws {AlfredVoiceError} `insecure_context`, `permission_denied`, `no_microphone`, `microphone_busy`, `microphone_failed`
   */
  static async open(constraints = {}) {
    if (!window.isSecureContext) {
      const message = "browsers give the microphone to pages by https, or of this machine (localhost, 127.0.0.1), only";
      throw new AlfredVoiceError("insecure_context", message);
    }
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new AlfredVoiceError("unsupported", "this browser has no microphone for pages");
    }
    const wanted = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: { ...wanted, ...constraints } });
    } catch (cause) {
      const known = cause instanceof Error ? REFUSALS.get(cause.name) : undefined;
      const [code, message] = known ?? ["microphone_failed", `the microphone failed: ${wordsOf(cause)}`];
      throw new AlfredVoiceError(code, message, { cause });
    }
    const context = new AudioContext({ latencyHint: "interactive" });
    try {
      await addWorklets(context);
      await context.resume();
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      throw error;
    }
    return new Microphone(context, stream);
  }

  /** Use {@link Microphone.open}. @param {AudioContext} context @param {MediaStream} stream */
  constructor(context, stream) {
    super();
    this.#context = context;
    this.#stream = stream;
    const source = context.createMediaStreamSource(stream);
    this.#analyser = context.createAnalyser();
    this.#analyser.fftSize = 1024;
    this.#samples = new Float32Array(this.#analyser.fftSize);
    const cutter = new AudioWorkletNode(context, "alfred-voice-frame-cutter");
    // Some browsers run only what leads to the loudspeaker; the cutter itself gives nothing but silence.
    source.connect(this.#analyser).connect(cutter).connect(context.destination);
    cutter.port.onmessage = ({ data }) => this.onframe(data);
    this.track.onended = () => this.dispatchEvent(new Event("lost"));
  }

  /** Called with each frame. @type {(frame: Int16Array) => void} */
  onframe = () => {};

  /** For WebRTC. @returns {MediaStreamTrack} */
  get track() {
    return this.#stream.getAudioTracks()[0];
  }

  /** How loud it is now, in dBFS: 0 is the loudest there is. */
  get level() {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return levelOf(this.#samples);
  }

  /** Give the microphone back. */
  async close() {
    this.onframe = () => {};
    this.track.onended = null;
    for (const track of this.#stream.getTracks()) track.stop();
    if (this.#context.state !== "closed") await this.#context.close();
  }
}

/**
 * The daemon's voice. Its `spoken` event tells how much of a speech has been heard when that has come to its end:
 * `detail` is `{speech_id, heard_ms, cancelled}`.
 */
export class Speaker extends EventTarget {
  #context;
  /** To what plays the pieces. @type {(message: PlayerMessage, transfer: Transferable[]) => void} */
  #post;
  #analyser;
  #samples;
  /** @type {HTMLAudioElement | null} */
  #element = null;
  /** @type {{context: AudioContext, analyser: AnalyserNode} | null} beside what plays a stream of WebRTC */
  #ear = null;
  /** @type {{speechId: number | null, playedMs: number}} */
  #now = { speechId: null, playedMs: 0 };
  /** The speech that was cut off: what comes of it all the same is late. @type {number | null} */
  #cutOff = null;

  /** @returns {Promise<Speaker>} */
  static async open() {
    const context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    if (context.audioWorklet) await addWorklets(context);
    return new Speaker(context);
  }

  /** Use {@link Speaker.open}. @param {AudioContext} context */
  constructor(context) {
    super();
    this.#context = context;
    this.#analyser = context.createAnalyser();
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#analyser.connect(context.destination);
    this.#post = this.#makePlayer();
  }

  /** @returns {(message: PlayerMessage, transfer: Transferable[]) => void} */
  #makePlayer() {
    if (!this.#context.audioWorklet) {
      const schedule = new PieceSchedule(this.#context, this.#analyser, (told) => this.#hear(told));
      return (message) => schedule.receive(message);
    }
    const options = { numberOfInputs: 0, outputChannelCount: [1] };
    const node = new AudioWorkletNode(this.#context, "alfred-voice-piece-player", options);
    node.connect(this.#analyser);
    node.port.onmessage = ({ data }) => this.#hear(data);
    return (message, transfer) => node.port.postMessage(message, transfer);
  }

  /** How loud it is now, in dBFS. */
  get level() {
    (this.#ear?.analyser ?? this.#analyser).getFloatTimeDomainData(this.#samples);
    return levelOf(this.#samples);
  }

  /** Browsers that wait for a click before there is sound are told that there was one. */
  async wake() {
    if (this.#context.state === "suspended") await this.#context.resume();
  }

  /**
   * @param {number} speechId
   * @param {Int16Array} samples 16 kHz
   */
  play(speechId, samples) {
    if (speechId === this.#cutOff) return;
    this.#post({ kind: "piece", speechId, samples }, [samples.buffer]);
  }

  /** Nothing more comes of this speech; what has come is played. @param {number} speechId */
  end(speechId) {
    this.#post({ kind: "end", speechId }, []);
  }

  /**
   * Stop at once.
   * @returns {number} how much of the speech had been heard, in ms
   */
  silence() {
    this.#post({ kind: "silence" }, []);
    const { speechId, playedMs } = this.#now;
    this.#now = { speechId: null, playedMs: 0 };
    if (speechId === null) return 0;
    this.#cutOff = speechId;
    const heardMs = this.#heard(playedMs);
    this.#tell(speechId, heardMs, true);
    return heardMs;
  }

  /**
   * Play what comes by WebRTC.
   * @param {MediaStream} stream
   */
  async playStream(stream) {
    this.stopStream();
    const context = new AudioContext({ sampleRate: STREAM_RATE });
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(stream).connect(analyser);
    this.#ear = { context, analyser };
    // Played by an element, and not by the graph: echo is taken out of the microphone for elements in every browser.
    const element = (this.#element ??= new Audio());
    element.srcObject = stream;
    await element.play();
  }

  /** Over with what came by WebRTC. */
  stopStream() {
    this.#ear?.context.close();
    this.#ear = null;
    if (this.#element) this.#element.srcObject = null;
  }

  async close() {
    this.stopStream();
    if (this.#context.state !== "closed") await this.#context.close();
  }

  /** @param {Played} told */
  #hear({ speechId, playedMs, isEnd }) {
    if (speechId === this.#cutOff) return;
    if (!isEnd) {
      this.#now = { speechId, playedMs };
      return;
    }
    this.#now = { speechId: null, playedMs: 0 };
    this.#tell(speechId, playedMs, false);
  }

  /** What has left the page is on its way to the ear for a moment. @param {number} playedMs */
  #heard(playedMs) {
    return Math.max(0, playedMs - (this.#context.outputLatency ?? 0) * 1000);
  }

  /** @param {number} speech_id @param {number} heard_ms @param {boolean} cancelled */
  #tell(speech_id, heard_ms, cancelled) {
    this.dispatchEvent(new CustomEvent("spoken", { detail: { speech_id, heard_ms, cancelled } }));
  }
}

/** What runs beside the page; a context that cannot have it is closed. @param {AudioContext} context */
async function addWorklets(context) {
  try {
    await context.audioWorklet.addModule(WORKLETS);
  } catch (cause) {
    await context.close();
    // The browser does not tell a file that did not come from one that it does not understand.
    const answer = await fetch(WORKLETS).catch(() => null);
    if (answer?.ok) throw new AlfredVoiceError("unsupported", `this browser cannot work on sound: ${wordsOf(cause)}`, { cause });
    throw new AlfredVoiceError("daemon_gone", `${WORKLETS.href} does not come`, { cause });
  }
}

/** @param {Float32Array} samples */
function levelOf(samples) {
  let sum = 0;
  for (const value of samples) sum += value * value;
  return sum === 0 ? QUIETEST_DB : Math.max(QUIETEST_DB, 10 * Math.log10(sum / samples.length));
}

/** What went wrong, in words. @param {unknown} cause */
function wordsOf(cause) {
  return cause instanceof Error ? cause.message : String(cause);
}
