// Runs in the browser's audio thread: the microphone's samples come out as frames, and the daemon's speech goes in.

import { Resampler } from "./alfred-voice-resampler.js";

/** @typedef {import("./alfred-voice-schedule.js").PlayerMessage} PlayerMessage */

const RATE = 16_000;
const FRAME = 320; // 20 ms
/** The most speech that waits to be played; the daemon sends 200 ms ahead. */
const MOST_WAITING = 10 * RATE;
const REPORT = RATE / 10;

/** Cuts what the microphone gives into frames of 20 ms at 16 kHz, 16 bit, one channel. */
class FrameCutter extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(Math.round(sampleRate), RATE);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
  }

  /** @param {Float32Array[][]} inputs */
  process([channels]) {
    if (channels.length === 0) return true;
    for (const value of this.resampler.process(mix(channels))) {
      this.frame[this.filled++] = Math.round(Math.max(-1, Math.min(1, value)) * 32_767);
      if (this.filled === FRAME) {
        this.port.postMessage(this.frame, [this.frame.buffer]);
        this.frame = new Int16Array(FRAME);
        this.filled = 0;
      }
    }
    return true;
  }
}

/** @param {Float32Array[]} channels */
function mix(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
}

/** Plays pieces of speech one after the other, and tells how much of which has gone to the loudspeaker. */
class PiecePlayer extends AudioWorkletProcessor {
  constructor() {
    super();
    /** @type {{speechId: number, samples: Int16Array | null}[]} */
    this.pieces = [];
    /** @type {number | null} */
    this.speechId = null;
    this.offset = 0;
    this.waiting = 0;
    this.played = 0;
    this.told = 0;
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  /** @param {PlayerMessage} message */
  receive(message) {
    if (message.kind === "silence") {
      this.pieces = [];
      this.offset = this.waiting = 0;
    } else if (message.kind === "end") {
      this.pieces.push({ speechId: message.speechId, samples: null });
    } else if (this.waiting + message.samples.length <= MOST_WAITING) {
      this.pieces.push(message);
      this.waiting += message.samples.length;
    }
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, [[output]]) {
    let filled = 0;
    while (filled < output.length && this.pieces.length) {
      const { speechId, samples } = this.pieces[0];
      if (samples === null) {
        this.tell(speechId, true);
        this.pieces.shift();
        continue;
      }
      const count = Math.min(output.length - filled, samples.length - this.offset);
      for (let i = 0; i < count; i++) output[filled + i] = samples[this.offset + i] / 32_768;
      filled += count;
      this.offset += count;
      this.waiting -= count;
      this.count(speechId, count);
      if (this.offset === samples.length) {
        this.pieces.shift();
        this.offset = 0;
      }
    }
    return true;
  }

  /** @param {number} speechId @param {number} samples */
  count(speechId, samples) {
    if (speechId !== this.speechId) {
      this.speechId = speechId;
      this.played = this.told = 0;
    }
    this.played += samples;
    if (this.played - this.told >= REPORT) this.tell(speechId, false);
  }

  /** @param {number} speechId @param {boolean} isEnd */
  tell(speechId, isEnd) {
    this.told = this.played;
    this.port.postMessage({ speechId, playedMs: speechId === this.speechId ? (this.played / RATE) * 1000 : 0, isEnd });
  }
}

registerProcessor("alfred-voice-frame-cutter", FrameCutter);
registerProcessor("alfred-voice-piece-player", PiecePlayer);
