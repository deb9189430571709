// How long things took: the newest figure, and the median of the conversation.

const MOST_KEPT = 500;

export class Latency {
  #list;
  #note;
  #waitNote;
  /** @type {Map<string, number[]>} ms, the newest last */
  #figures = new Map();
  /** @type {number | null} */
  #begunAt = null;

  /**
   * @param {HTMLElement} list with an element for each figure
   * @param {HTMLElement} note what the figures are of
   * @param {HTMLElement} waitNote how much of them is the daemon's own patience
   */
  constructor(list, note, waitNote) {
    this.#list = list;
    this.#note = note;
    this.#waitNote = waitNote;
  }

  /** Speech was told of: how long until the first words? */
  begin() {
    this.#begunAt ??= performance.now();
  }

  /** @param {{text: string}} partial */
  partial({ text }) {
    if (this.#begunAt === null || !text) return;
    this.add("first", performance.now() - this.#begunAt);
    this.#begunAt = Number.NaN; // until the utterance is over
  }

  /** So much silence the daemon wanted to hear before it took the turn for over: its decision, and no delay. @param {number} ms */
  wait(ms) {
    const waited = Math.round(medianOf(this.#keep("wait", ms)));
    this.#waitNote.textContent = `Both count from your last sound; ${waited} ms of that are waited for, in case you go on.`;
  }

  /** @param {string} name @param {number} ms @returns {number[]} what is kept of that figure */
  #keep(name, ms) {
    const kept = this.#figures.get(name) ?? [];
    kept.push(ms);
    if (kept.length > MOST_KEPT) kept.shift();
    this.#figures.set(name, kept);
    return kept;
  }

  /**
   * @param {"first" | "final" | "turn" | "cut"} name
   * @param {number} ms
   */
  add(name, ms) {
    if (name === "final") this.#begunAt = null;
    if (!Number.isFinite(ms)) return;
    const kept = this.#keep(name, ms);
    const item = this.#list.querySelector(`[data-figure="${name}"]`);
    const figure = item?.querySelector("b");
    if (!item || !figure) throw new TypeError(`there is no place for the figure ${name}`);
    figure.textContent = String(Math.round(medianOf(kept)));
    item.querySelector("dd")?.setAttribute("title", `the last: ${Math.round(ms)} ms; ${kept.length} in all`);
    const turns = this.#figures.get("final")?.length ?? 0;
    this.#note.textContent = turns ? `The median of ${turns} ${turns === 1 ? "utterance" : "utterances"}.` : "";
  }
}

/** @param {number[]} values */
function medianOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
