// A session over WebRTC: audio on tracks, messages on a data channel. Part of alfred-voice.js, which has the public interface.

import { AlfredVoiceError, errorOfAnswer } from "./alfred-voice-errors.js";

const CHANNEL = "alfred";
const ANSWER_MS = 10_000;
/** The browser's own addresses are known by then, or will not be. */
const GATHER_MS = 2_000;
const CONNECT_MS = 15_000;
/** The most that waits on the channel: messages are small, and come rarely. */
const CHANNEL_BYTES = 256 * 1024;

export class PeerLink {
  #url;
  #key;
  #start;
  #sink;
  #peer = new RTCPeerConnection({ iceServers: [] });
  #channel;
  #sender;
  /** @type {string | null} */
  #connectionId = null;
  #isOver = false;
  /** @type {AlfredVoiceError | null} */
  #fatal = null;
  #begunAt = performance.now();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #deadline;

  /**
   * @param {{url: URL, key: string | null, start: object}} settings
   * @param {import("./alfred-voice-socket.js").Sink & {stream(stream: MediaStream): void}} sink
   */
  constructor({ url, key, start }, sink) {
    this.#url = url;
    this.#key = key;
    this.#start = start;
    this.#sink = sink;
    // The sender is there from the beginning, so that a microphone can come and go without another offer.
    this.#sender = this.#peer.addTransceiver("audio", { direction: "sendrecv" }).sender;
    this.#channel = this.#peer.createDataChannel(CHANNEL);
    this.#channel.onmessage = ({ data }) => this.#receive(data);
    this.#channel.onclose = () => this.#finish(this.#fatal ?? lost("the data channel was closed"));
    this.#peer.ontrack = ({ track }) => sink.stream(new MediaStream([track]));
    this.#peer.onconnectionstatechange = () => this.#follow(this.#peer.connectionState);
  }

  /** How long the connection has stood, in ms: as near as we come to the session's clock. */
  get sentMs() {
    return performance.now() - this.#begunAt;
  }

  /** Begins the session; the sink is told everything. */
  open() {
    this.#sink.state("connecting");
    this.#deadline = setTimeout(() => this.#finish(failed("no way was found between browser and daemon")), CONNECT_MS);
    this.#offer().catch((error) => this.#finish(error));
  }

  /** @param {MediaStreamTrack | null} track the microphone's, or null to send nothing */
  async sendTrack(track) {
    if (!this.#isOver) await this.#sender.replaceTrack(track);
  }

  /** @param {import("./alfred-voice-socket.js").Message} message */
  send(message) {
    if (this.#channel.readyState !== "open" || this.#channel.bufferedAmount > CHANNEL_BYTES) {
      throw new AlfredVoiceError("not_connected", `${message.type} needs a connection, and there is none now`);
    }
    this.#channel.send(JSON.stringify(message));
  }

  /** Over, without waiting for anything. */
  close() {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#hangUp();
    this.#sayGoodbye();
  }

  async #offer() {
    await this.#peer.setLocalDescription(await this.#peer.createOffer());
    await this.#gathered();
    const offer = this.#peer.localDescription;
    const answer = await this.#ask("webrtc/offer", "POST", { sdp: offer?.sdp, type: offer?.type, start: this.#start });
    if (this.#isOver) return;
    this.#connectionId = answer.connection_id;
    await this.#peer.setRemoteDescription({ sdp: answer.sdp, type: answer.type });
  }

  async #gathered() {
    if (this.#peer.iceGatheringState === "complete") return;
    await new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
      this.#peer.onicegatheringstatechange = () => this.#peer.iceGatheringState === "complete" && resolve();
      setTimeout(resolve, GATHER_MS);
    });
  }

  /** @param {string} path @param {string} method @param {object} body @returns {Promise<{connection_id: string, sdp: string, type: "answer"}>} */
  async #ask(path, method, body) {
    const headers = { "Content-Type": "application/json", ...(this.#key ? { Authorization: `Bearer ${this.#key}` } : {}) };
    const signal = AbortSignal.timeout(ANSWER_MS);
    let answer;
    try {
      answer = await fetch(new URL(path, this.#url), { method, headers, signal, body: JSON.stringify(body) });
    } catch (cause) {
      throw new AlfredVoiceError("daemon_gone", `nothing answers at ${this.#url.origin}`, { cause });
    }
    const text = await answer.text();
    if (answer.ok) return JSON.parse(text);
    throw errorOfAnswer(answer.status, text, answer.headers.get("Retry-After"));
  }

  /** @param {RTCPeerConnectionState} state */
  #follow(state) {
    if (state === "connected") {
      clearTimeout(this.#deadline);
      if (this.#channel.readyState === "open") this.#sink.state("open");
    } else if (state === "disconnected") {
      this.#sink.state("reconnecting"); // the browser itself looks for another way
    } else if (state === "failed") {
      this.#finish(this.#connectionId === null ? failed("the connection failed") : lost("no way was left"));
    }
  }

  /** @param {string} data */
  #receive(data) {
    /** @type {import("./alfred-voice-events.js").DaemonEvent} */
    const event = JSON.parse(data);
    if (event.type === "sessionStarted") {
      this.#begunAt = performance.now();
      this.#sink.state("open");
    }
    if (event.type === "error" && event.fatal) {
      this.#fatal = new AlfredVoiceError(event.code, event.message, { retryAfterS: event.retry_after_s ?? null });
    }
    this.#sink.event(event);
    if (event.type === "sessionEnded") this.#finish(this.#fatal);
  }

  /** @param {AlfredVoiceError | null} error */
  #finish(error) {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#hangUp();
    this.#sink.ended(error);
  }

  #hangUp() {
    clearTimeout(this.#deadline);
    this.#channel.onclose = this.#peer.onconnectionstatechange = null;
    this.#peer.close();
  }

  /** The daemon notices by itself, too; this only spares it the wait. */
  #sayGoodbye() {
    if (this.#connectionId === null) return;
    const headers = new Headers(this.#key ? { Authorization: `Bearer ${this.#key}` } : {});
    fetch(new URL(`webrtc/${this.#connectionId}`, this.#url), { method: "DELETE", headers, keepalive: true }).catch(() => {});
  }
}

/** @param {string} message */
function failed(message) {
  return new AlfredVoiceError("webrtc_failed", message);
}

/** @param {string} message */
function lost(message) {
  return new AlfredVoiceError("connection_lost", message);
}
