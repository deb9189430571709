// The past quarter of an hour, as the daemon keeps it: a row a second, and marks where something changed.

const KEPT = 900;
const MOST_MARKS = 200;

export class History {
  /** @type {number[]} s since 1970 */
  at = [];
  /** @type {Map<string, number[]>} */
  columns = new Map();
  /** @type {import("./monitor-figures.js").Mark[]} */
  marks = [];
  #first = 0;
  #marked = 0;

  /** All of it anew, as a stream begins with it. @param {import("./monitor-figures.js").Past} told */
  replace(told) {
    this.at = told.at;
    this.columns = new Map(Object.entries(told.columns));
    this.marks = told.marks;
    this.#first = told.first;
    this.#marked = told.marked;
  }

  /** Rows and marks that may have been told before. @param {import("./monitor-figures.js").Rows} told */
  add({ rows, marks, marked }) {
    for (const row of rows) {
      if (row.index < this.#first + this.at.length) continue;
      this.at.push(row.at);
      let column = 0;
      for (const values of this.columns.values()) values.push(row.values[column++]);
    }
    const over = this.at.length - KEPT;
    if (over > 0) {
      this.at.splice(0, over);
      for (const values of this.columns.values()) values.splice(0, over);
      this.#first += over;
    }
    const known = this.#marked - (marked - marks.length);
    const fresh = marks.slice(Math.max(0, known));
    this.marks.push(...fresh);
    this.marks.splice(0, this.marks.length - MOST_MARKS);
    this.#marked = marked;
    return fresh.length > 0;
  }

  get length() {
    return this.at.length;
  }

  /** @param {string} name @returns {number[]} */
  values(name) {
    return this.columns.get(name) ?? [];
  }

  get names() {
    return [...this.columns.keys()];
  }

  /** The first row that is not older than so many seconds before the newest. @param {number} seconds */
  from(seconds) {
    const since = this.at[this.at.length - 1] - seconds;
    let low = 0;
    let high = this.at.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.at[middle] < since) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {number} time */
  nearest(time) {
    let best = 0;
    for (let row = 1; row < this.at.length; row += 1) {
      if (Math.abs(this.at[row] - time) <= Math.abs(this.at[best] - time)) best = row;
    }
    return best;
  }

  /** @param {number} time @param {number} within */
  marksNear(time, within) {
    return this.marks.filter((mark) => Math.abs(mark.at - time) <= within);
  }
}
