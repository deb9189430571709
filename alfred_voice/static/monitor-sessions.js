// The table of sessions: one row each, kept while the session lives, in an order that is chosen.

import { endButton } from "./monitor-deeds.js";
import { at, clock, duration, make, milliseconds, number, put, set } from "./monitor-dom.js";

/**
 * @typedef {import("./monitor-figures.js").SessionRow} SessionRow
 * @typedef {{name: string, title: string, hint?: string, order(session: SessionRow): string | number, isText?: boolean, isNumber?: boolean}} Column
 * @typedef {{row: HTMLElement, cells: Record<string, HTMLElement>, opener: HTMLElement}} Made
 */

/** @param {"final" | "turn"} kind @returns {(session: SessionRow) => number} */
const latency = (kind) => (session) => {
  const found = session.latency_ms?.[kind];
  return found?.count ? found.p95 : -1;
};
const LONG_MS = 10_000;
const STATES = ["speaking", "stopping", "listening", "detached", "ended"];

// What a column shows, by what it sorts, and where it begins: with the largest, unless it is words.
/** @type {Column[]} */
const COLUMNS = [
  { name: "session", title: "Session", order: (session) => session.session_id, isText: true },
  { name: "state", title: "State", order: (session) => STATES.indexOf(session.state), isText: true },
  { name: "age", title: "Age", order: (session) => session.age_s, isNumber: true },
  { name: "transport", title: "Transport", order: (session) => session.transport, isText: true },
  { name: "language", title: "Language", order: (session) => session.language ?? "", isText: true },
  { name: "audio", title: "Audio", order: (session) => session.stream_ms, isNumber: true },
  { name: "buffered", title: "Buffered", order: (session) => session.buffered_ms, isNumber: true },
  { name: "dropped", title: "Dropped", order: (session) => session.frames_dropped, isNumber: true },
  { name: "final", title: "Final", hint: "From the end of speech to the final text: median, 95th percentile", order: latency("final"), isNumber: true },
  { name: "turn", title: "Turn", hint: "From the end of speech to the end of the turn: median, 95th percentile", order: latency("turn"), isNumber: true },
  { name: "words", title: "Last words", order: (session) => session.last_text ?? "", isText: true },
];

export class Sessions {
  /** @type {Map<string, Made>} */
  #rows = new Map();
  /** @type {import("./monitor-figures.js").Table} */
  #told = { total: 0, sessions: [] };
  /** @type {{column: Column, way: number} | null} null: the newest first, as they are told */
  #sort = null;
  #open;
  /** The one button of the table that Tab stops at. @type {HTMLElement | null} */
  #stop = null;

  /** @param {(id: string) => void} open shows one session's lane */
  constructor(open) {
    this.#open = open;
    at("sessions-head").append(...COLUMNS.map((column) => this.#makeHead(column)),
      make("th", { scope: "col" }, make("span", { class: "unseen" }, "Action")));
    at("filter").addEventListener("input", () => this.#draw());
    at("sessions").addEventListener("keydown", (event) => this.#key(event));
    at("sessions").addEventListener("focusin", ({ target }) => { if (target instanceof HTMLButtonElement) this.#stopAt(target); });
  }

  /** Tab stops once in the table: a hundred rows are no two hundred stops. @param {HTMLElement} button */
  #stopAt(button) {
    if (this.#stop === button) return;
    if (this.#stop) this.#stop.tabIndex = -1;
    this.#stop = button;
    button.tabIndex = 0;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (!(event.target instanceof HTMLButtonElement) || event.altKey || event.ctrlKey || event.metaKey) return;
    const row = event.target.closest("tr");
    const rows = at("sessions");
    const isEnd = event.target.classList.contains("danger");
    /** @type {Record<string, [Element | null | undefined, boolean]>} the row, and whether its end is meant */
    const steps = {
      ArrowDown: [row?.nextElementSibling, isEnd], ArrowUp: [row?.previousElementSibling, isEnd],
      Home: [rows.firstElementChild, isEnd], End: [rows.lastElementChild, isEnd], ArrowRight: [row, true], ArrowLeft: [row, false],
    };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    /** @type {HTMLElement | null | undefined} */
    const next = step[0]?.querySelector(step[1] ? ".danger" : ".open");
    next?.focus();
  }

  /** @param {import("./monitor-figures.js").Table} told */
  show(told) {
    this.#told = told;
    this.#draw();
  }

  /** @param {string} id */
  find(id) {
    return this.#told.sessions.find((session) => session.session_id === id);
  }

  /** @param {string} id */
  focus(id) {
    (this.#rows.get(id)?.opener ?? at("sessions-title")).focus();
  }

  /** @param {Column} column */
  #makeHead(column) {
    const button = make("button", { type: "button", class: "sort", title: column.hint ?? null }, column.title);
    const head = make("th", { scope: "col", "data-column": column.name, "aria-sort": "none", class: column.isNumber ? "number" : null }, button);
    button.addEventListener("click", () => this.#sortBy(column));
    return head;
  }

  /** Down, up, and back to the newest first. @param {Column} column */
  #sortBy(column) {
    const first = column.isText ? 1 : -1;
    if (this.#sort?.column !== column) this.#sort = { column, way: first };
    else this.#sort = this.#sort.way === first ? { column, way: -first } : null;
    for (const head of at("sessions-head").children) {
      const name = head.getAttribute("data-column");
      if (!name) continue;
      const way = name === this.#sort?.column.name ? this.#sort.way : 0;
      head.setAttribute("aria-sort", way ? (way > 0 ? "ascending" : "descending") : "none");
    }
    this.#draw();
  }

  #listed() {
    const wanted = at("filter", HTMLInputElement).value.trim().toLowerCase();
    const found = this.#told.sessions.filter((session) => !wanted
      || session.session_id.toLowerCase().includes(wanted) || (session.last_text ?? "").toLowerCase().includes(wanted));
    if (!this.#sort) return found;
    const { column: { order }, way } = this.#sort;
    return found.sort((a, b) => {
      const [x, y] = [order(a), order(b)];
      return (x < y ? -1 : x > y ? 1 : 0) * way;
    });
  }

  #draw() {
    const { total, sessions } = this.#told;
    const listed = this.#listed();
    const names = new Set(listed.map((session) => session.session_id));
    let isLost = false;
    for (const [name, { row }] of this.#rows) {
      if (!names.has(name)) {
        isLost ||= row.contains(document.activeElement);
        row.remove();
        this.#rows.delete(name);
      }
    }
    const body = at("sessions");
    let place = body.firstElementChild;
    for (const session of listed) {
      let made = this.#rows.get(session.session_id);
      if (!made) {
        made = this.#makeRow(session);
        this.#rows.set(session.session_id, made);
      }
      if (made.row === place) place = made.row.nextElementSibling;
      else body.insertBefore(made.row, place);
      drawRow(made.cells, session);
    }
    const first = body.querySelector("button");
    if (first && !this.#stop?.isConnected) this.#stopAt(first);
    if (isLost) (first ?? at("sessions-title")).focus();
    put(at("sessions-count"), total);
    put(at("sessions-note"), noteOf(total, sessions, listed));
    at("sessions-table").hidden = listed.length === 0;
    const wanted = at("filter", HTMLInputElement).value.trim();
    at("no-match").hidden = sessions.length === 0 || listed.length > 0;
    put(at("no-match"), at("no-match").hidden ? "" : `Neither name nor words of a session contain “${wanted}”.`);
    at("no-sessions").hidden = sessions.length > 0;
  }

  /** @param {SessionRow} session */
  #makeRow(session) {
    const id = session.session_id;
    const opener = make("button", { type: "button", class: "open", tabindex: -1, "aria-haspopup": "dialog", "aria-label": `Watch session ${id}`, title: id }, id);
    opener.addEventListener("click", () => this.#open(id));
    const ender = endButton(id);
    ender.tabIndex = -1;
    const state = make("span", { class: "state" });
    /** @type {Record<string, HTMLElement>} */
    const cells = { state };
    const row = make("tr", {}, make("th", { scope: "row", class: "name" }, opener), make("td", {}, state));
    for (const { name, isNumber } of COLUMNS.slice(2)) {
      cells[name] = make("td", { class: isNumber ? "number" : name, "data-column": name });
      row.append(cells[name]);
    }
    row.append(make("td", { class: "action" }, ender));
    return { row, cells, opener };
  }
}

/** @param {number} total @param {SessionRow[]} sessions @param {SessionRow[]} listed */
function noteOf(total, sessions, listed) {
  const speaking = sessions.filter((session) => session.state === "speaking").length;
  const said = total ? [`${speaking} speaking`] : [];
  if (total > sessions.length) said.push(`the newest ${sessions.length} of ${total}`);
  if (listed.length < sessions.length) said.push(`${listed.length} shown`);
  return said.join(" · ");
}

/** @param {Record<string, HTMLElement>} cells @param {SessionRow} session */
function drawRow(cells, session) {
  put(cells.state, session.state);
  set(cells.state, "data-state", session.state);
  put(cells.age, duration(session.age_s));
  put(cells.transport, session.transport.replaceAll("_", " "));
  put(cells.language, session.language ?? "default");
  put(cells.audio, clock(session.stream_ms));
  put(cells.buffered, session.buffered_ms ? milliseconds(session.buffered_ms) : "0");
  put(cells.dropped, number(session.frames_dropped, 0));
  cells.dropped.classList.toggle("bad", session.frames_dropped > 0);
  put(cells.final, percentiles(session.latency_ms.final));
  put(cells.turn, percentiles(session.latency_ms.turn));
  put(cells.words, session.last_text || "–");
  if (cells.words.title !== session.last_text) cells.words.title = session.last_text;
}

/** @param {import("./monitor-figures.js").Summary} summary */
export function percentiles(summary) {
  if (!summary.count) return "–";
  const isLong = summary.p95 >= LONG_MS;
  const [middle, high] = [summary.p50, summary.p95].map((ms) => (isLong ? number(ms / 1000, 1) : number(ms, 0)));
  return `${middle} · ${high} ${isLong ? "s" : "ms"}`;
}
