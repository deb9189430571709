/** Differences below this are the browser's hesitation, and no gap. */
const GAP_MS = 250;
const MOST_STRETCHES = 1_000;

/**
 * When each millisecond of a session's audio was recorded, on the clock of `performance.now()`. The session's own clock counts
 * audio, and stands still while there is none.
 */
export class AudioClock {
  /** @type {{ms: number, at: number}[]} audio without a gap, and when it began */
  #stretches = [];

  /**
   * Audio flows.
   * @param {number} ms where it is on the session's clock
   * @param {number} at when it is recorded
   */
  flow(ms, at) {
    const last = this.#stretches.at(-1);
    if (last && Math.abs(at - last.at - (ms - last.ms)) < GAP_MS) return;
    this.#stretches.push({ ms, at });
    if (this.#stretches.length > MOST_STRETCHES) this.#stretches.shift();
  }

  /** Another session begins: its first millisecond is this one of the session before. @param {number} ms */
  restart(ms) {
    for (const stretch of this.#stretches) stretch.ms -= ms;
  }

  /** When that was recorded; null while nothing has been. @param {number} ms @returns {number | null} */
  momentOf(ms) {
    const [first] = this.#stretches;
    if (!first) return null;
    const { ms: begin, at } = this.#stretches.findLast((stretch) => stretch.ms <= ms) ?? first;
    return at + ms - begin;
  }
}
