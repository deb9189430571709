// One WebRTC connection, from its offer until it is over. Part of alfred-voice.js, which has the public interface.

import { AlfredVoiceError } from "./alfred-voice-errors.js";

const CHANNEL = "alfred";
/** The browser's own addresses are known by then, or will not be. */
const GATHER_MS = 2_000;
const CONNECT_MS = 15_000;
/** So long the browser may look for another way by itself. */
const AWAY_MS = 3_000;
/** The most that waits on the channel: messages are small, and come rarely. */
const CHANNEL_BYTES = 256 * 1024;

/** @typedef {{message(data: string): void, stream(stream: MediaStream): void, away(isAway: boolean): void}} PeerHooks */

export class Peer {
  #peer = new RTCPeerConnection({ iceServers: [] });
  #channel;
  #sender;
  /** @type {(error: AlfredVoiceError | null) => void} */
  #finish = () => {};
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #deadline;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #awayTimer;

  /** @param {PeerHooks} hooks */
  constructor(hooks) {
    /**
     * Resolves when the connection is over: with what was wrong with it, or null when it was closed here.
     * @type {Promise<AlfredVoiceError | null>}
     */
    this.over = new Promise((resolve) => (this.#finish = resolve));
    // The sender is there from the beginning, so that a microphone can come and go without another offer.
    this.#sender = this.#peer.addTransceiver("audio", { direction: "sendrecv" }).sender;
    this.#channel = this.#peer.createDataChannel(CHANNEL);
    this.#channel.onmessage = ({ data }) => hooks.message(data);
    this.#channel.onclose = () => this.#finish(lost("the data channel was closed"));
    this.#peer.ontrack = ({ track }) => hooks.stream(new MediaStream([track]));
    this.#peer.onconnectionstatechange = () => this.#follow(this.#peer.connectionState, hooks);
  }

  /**
   * What is to be offered.
   * @param {MediaStreamTrack | null} track the microphone's, where it is open
   */
  async describe(track) {
    await this.sendTrack(track);
    await this.#peer.setLocalDescription(await this.#peer.createOffer());
    await this.#gathered();
    return this.#peer.localDescription?.sdp ?? "";
  }

  /** @param {string} sdp the daemon's answer; from here on there is a limit until {@link settle} */
  async accept(sdp) {
    this.#deadline = setTimeout(() => this.#finish(failed("no way was found between browser and daemon")), CONNECT_MS);
    await this.#peer.setRemoteDescription({ sdp, type: "answer" });
  }

  /** The session is there: it goes on for as long as the connection does. */
  settle() {
    clearTimeout(this.#deadline);
  }

  /** @param {MediaStreamTrack | null} track the microphone's, or null to send nothing */
  async sendTrack(track) {
    if (this.#peer.connectionState !== "closed") await this.#sender.replaceTrack(track);
  }

  /** Whether a message can be sent now. */
  get canSend() {
    return this.#channel.readyState === "open" && this.#channel.bufferedAmount <= CHANNEL_BYTES;
  }

  /** @param {string} text */
  send(text) {
    this.#channel.send(text);
  }

  /** Nothing more is told of it; the other side still takes it for open. */
  mute() {
    clearTimeout(this.#deadline);
    clearTimeout(this.#awayTimer);
    this.#channel.onmessage = this.#channel.onclose = this.#peer.ontrack = this.#peer.onconnectionstatechange = null;
    this.#finish(null);
  }

  close() {
    this.mute();
    this.#peer.close();
  }

  /** @param {RTCPeerConnectionState} state @param {PeerHooks} hooks */
  #follow(state, hooks) {
    clearTimeout(this.#awayTimer);
    if (state === "connected") {
      hooks.away(false);
    } else if (state === "disconnected") {
      hooks.away(true);
      this.#awayTimer = setTimeout(() => this.#finish(lost("the way to the daemon was lost")), AWAY_MS);
    } else if (state === "failed") {
      this.#finish(failed("no way was left between browser and daemon"));
    }
  }

  async #gathered() {
    if (this.#peer.iceGatheringState === "complete") return;
    await new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
      this.#peer.onicegatheringstatechange = () => this.#peer.iceGatheringState === "complete" && resolve();
      setTimeout(resolve, GATHER_MS);
    });
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
