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
   * @param {(told: {speechId: number, playedMs: number, isEnd: boolean}) => void} tell
   */
  constructor(context, destination, tell) {
    this.#context = context;
    this.#destination = destination;
    this.#tell = tell;
  }

  /** @param {{kind: "piece" | "end" | "silence", speechId?: number, samples?: Int16Array}} message */
  receive({ kind, speechId, samples }) {
    if (kind === "piece") this.#play(speechId, samples);
    else if (kind === "end") this.#end(speechId);
    else this.#silence();
  }

  #play(speechId, samples) {
    const buffer = this.#context.createBuffer(1, samples.length, this.#context.sampleRate);
    buffer.getChannelData(0).set(Float32Array.from(samples, (value) => value / 32_768));
    this.#start(buffer, () => {
      this.#played.set(speechId, (this.#played.get(speechId) ?? 0) + buffer.duration * 1000);
      this.#tell({ speechId, playedMs: this.#played.get(speechId), isEnd: false });
    });
  }

  /** A sample of silence, whose end is the speech's. */
  #end(speechId) {
    this.#start(this.#context.createBuffer(1, 1, this.#context.sampleRate), () => {
      this.#tell({ speechId, playedMs: this.#played.get(speechId) ?? 0, isEnd: true });
      this.#played.delete(speechId);
    });
  }

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
