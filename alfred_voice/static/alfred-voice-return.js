/** How often, and for how long, a lost connection is tried again. */

const BACK_OFF_MS = [0, 250, 500, 1_000, 2_000, 4_000];
/** How long to try to come back. */
const PATIENCE_MS = 60_000;
/** A connection that has lived for so long was none that breaks at once. */
const STEADY_MS = 5_000;

export class Returns {
  #lostAt = 0;
  #attempt = 0;
  /** @type {(value?: unknown) => void} */
  #wake = () => {};

  /**
   * A connection is over.
   * @param {{wasSettled: boolean, livedMs: number}} was whether the session was there, and for how long it stood
   */
  lost({ wasSettled, livedMs }) {
    if (wasSettled) this.#lostAt = performance.now();
    if (livedMs > STEADY_MS) this.#attempt = 0;
  }

  /** Whether it has been tried for long enough. */
  get isTooLate() {
    return performance.now() - this.#lostAt > PATIENCE_MS;
  }

  /**
   * Wait before the next attempt; whatever says that the network is back ends it early.
   * @param {number | null} retryAfterS what the daemon has asked for
   */
  async pause(retryAfterS) {
    const longest = BACK_OFF_MS[Math.min(this.#attempt++, BACK_OFF_MS.length - 1)];
    const ms = retryAfterS === null ? longest * (0.5 + Math.random() / 2) : retryAfterS * 1000;
    await new Promise((resolve) => {
      this.#wake = resolve;
      window.addEventListener("online", resolve, { once: true });
      setTimeout(resolve, ms);
    });
    window.removeEventListener("online", this.#wake);
  }

  /** Wait no longer. */
  wake() {
    this.#wake();
  }
}
