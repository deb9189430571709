// How long things took: the newest figure, and the median of the conversation.

const MOST_KEPT = 500;

export class Latency {
  #list;
  #note;
  /** @type {Map<string, number[]>} ms, the newest last */
  #figures = new Map();
  /** @type {number | null} */
  #begunAt = null;

  /**
   * @param {HTMLElement} list with an element for each figure
   * @param {HTMLElement} note
   */
  constructor(list, note) {
    this.#list = list;
    this.#note = note;
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

  /**
   * @param {"first" | "final" | "turn" | "cut"} name
   * @param {number} ms
   */
  add(name, ms) {
    if (name === "final") this.#begunAt = null;
    if (!Number.isFinite(ms)) return;
    const kept = this.#figures.get(name) ?? [];
    kept.push(ms);
    if (kept.length > MOST_KEPT) kept.shift();
    this.#figures.set(name, kept);
    const item = this.#list.querySelector(`[data-figure="${name}"]`);
    const figure = item?.querySelector("b");
    if (!item || !figure) throw new TypeError(`there is no place for the figure ${name}`);
    figure.textContent = String(Math.round(medianOf(kept)));
    item.setAttribute("title", `the last: ${Math.round(ms)} ms; ${kept.length} in all`);
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
