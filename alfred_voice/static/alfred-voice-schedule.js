/**
 * What plays pieces is told, and what it tells.
 * @typedef {{kind: "piece", speechId: number, samples: Int16Array} | {kind: "end", speechId: number} | {kind: "silence"}} PlayerMessage
 * @typedef {{speechId: number, playedMs: number, isEnd: boolean}} Played
 */

/**
 * Plays pieces of speech where there is no worklet, which browsers keep from addresses that are not secure: each piece is
 * put on the audio clock behind the one before. It takes the same messages as the worklet and tells the same.
 */
export class PieceSchedule {
  /** @type {Set<AudioBufferSourceNode>} */
  #sources = new Set();
  #context;
  #destination;
  #tell;
  #endsAt = 0;
  /** @type {Map<number, number>} ms by speech */
  #played = new Map();

  /**
   * @param {AudioContext} context
   * @param {AudioNode} destination
   * @param {(told: Played) => void} tell
   */
  constructor(context, destination, tell) {
    this.#context = context;
    this.#destination = destination;
    this.#tell = tell;
  }

  /** @param {PlayerMessage} message */
  receive(message) {
    if (message.kind === "piece") this.#play(message.speechId, message.samples);
    else if (message.kind === "end") this.#end(message.speechId);
    else this.#silence();
  }

  /** @param {number} speechId @param {Int16Array} samples */
  #play(speechId, samples) {
    const buffer = this.#context.createBuffer(1, samples.length, this.#context.sampleRate);
    buffer.getChannelData(0).set(Float32Array.from(samples, (value) => value / 32_768));
    this.#start(buffer, () => {
      const playedMs = (this.#played.get(speechId) ?? 0) + buffer.duration * 1000;
      this.#played.set(speechId, playedMs);
      this.#tell({ speechId, playedMs, isEnd: false });
    });
  }

  /** A sample of silence, whose end is the speech's. @param {number} speechId */
  #end(speechId) {
    this.#start(this.#context.createBuffer(1, 1, this.#context.sampleRate), () => {
      this.#tell({ speechId, playedMs: this.#played.get(speechId) ?? 0, isEnd: true });
      this.#played.delete(speechId);
    });
  }

  /** @param {AudioBuffer} buffer @param {() => void} onend */
  #start(buffer, onend) {
    const source = new AudioBufferSourceNode(this.#context, { buffer });
    source.connect(this.#destination);
    source.onended = () => {
      this.#sources.delete(source);
      onend();
    };
    this.#sources.add(source);
    const at = Math.max(this.#endsAt, this.#context.currentTime);
    source.start(at);
    this.#endsAt = at + buffer.duration;
  }

  #silence() {
    for (const source of this.#sources) {
      source.onended = null;
      source.stop();
    }
    this.#sources.clear();
    this.#played.clear();
    this.#endsAt = 0;
  }
}
