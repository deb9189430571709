// Which charts there are, what each shows of the daemon's figures, and the one cursor that they share.

import { Chart } from "./monitor-chart.js";
import { at, duration, make, number } from "./monitor-dom.js";
import { readColours } from "./monitor-pen.js";

/**
 * @typedef {import("./monitor-chart.js").Limit} Limit
 * @typedef {import("./monitor-chart.js").Definition} Definition
 * @typedef {import("./monitor-pen.js").Colours} Colours
 * @typedef {import("./monitor-figures.js").Limits} Limits
 * @typedef {import("./monitor-figures.js").Now} Now
 */

export class Charts {
  #history;
  /** @type {Chart[]} */
  #charts = [];
  /** @type {Chart | null} */
  #lanes = null;
  #seconds = 900;
  /** @type {Limits | null} */
  #limits = null;
  /** @type {Colours | null} */
  #colours = null;
  #isDue = false;
  /** @type {number | null} */
  #cursor = null;

  /** @param {import("./monitor-history.js").History} history */
  constructor(history) {
    this.#history = history;
    const on = { onCursor: (/** @type {number | null} */ time) => this.#point(time) };
    this.#charts = this.#definitions().map((definition) => new Chart(definition, on));
    at("charts").append(...this.#charts.map((chart) => chart.element));
    at("range").addEventListener("change", ({ target }) => {
      if (target instanceof HTMLInputElement) this.#seconds = Number(target.value);
      this.draw();
    });
    for (const query of ["(prefers-color-scheme: dark)", "(prefers-contrast: more)"]) {
      matchMedia(query).addEventListener("change", () => {
        this.#colours = null;
        this.draw();
      });
    }
  }

  /** @returns {Definition[]} */
  #definitions() {
    /** @param {(limits: Limits) => Limit[]} pick @returns {() => Limit[]} */
    const limit = (pick) => () => (this.#limits ? pick(this.#limits) : []);
    /** @param {string} column */
    const one = (column, colour = 0, scale = 1) => [{ column, colour, scale, label: "" }];
    const none = () => [];
    return [
      {
        name: "load", title: "Load", unit: "%", lines: one("load", 0, 100), least: 100, top: 100, text: (v) => number(v, 0),
        limits: limit((l) => [
          { value: l.threshold * 100, label: "degrades", level: "bad" }, { value: l.recovery * 100, label: "recovers", level: "good", isBelow: true },
        ]),
      },
      {
        name: "frame_time", title: "Frame time", unit: "ms", lines: one("frame_time_ms"), least: 2, text: (v) => number(v),
        limits: limit((l) => [{ value: l.frame_target_ms, label: `target ${l.frame_target_ms} ms`, level: "warn", isAlwaysShown: true }]),
      },
      { name: "throughput", title: "Frames", unit: "per second", brief: "/s", lines: one("throughput", 1), least: 50, text: (v) => number(v, 0), limits: none },
      {
        name: "sessions", title: "Sessions", unit: "open", lines: one("sessions", 1), least: 4, text: (v) => number(v, 0), isStepped: true,
        limits: limit((l) => [{ value: l.sessions, label: `limit ${l.sessions}`, level: "warn" }]),
      },
      { name: "queue", title: "Queue", unit: "frames", lines: one("queue_frames", 2), least: 10, text: (v) => number(v, 0), limits: none },
      { name: "queue_age", title: "Oldest frame", unit: "ms", lines: one("queue_age_ms", 2), least: 20, text: (v) => number(v), limits: none },
      {
        name: "memory", title: "Memory", unit: "MB", lines: one("memory_mb", 3), least: 50, text: (v) => number(v, 0),
        limits: limit((l) => [
          { value: l.memory_mb, label: `limit ${l.memory_mb} MB`, level: "bad", isAlwaysShown: true },
          { value: l.gc_trigger_mb, label: `collects at ${l.gc_trigger_mb}`, level: "warn", isAlwaysShown: true, isBelow: true },
        ]),
      },
      { name: "cpu", title: "Processor", unit: "% of a core", brief: "%", lines: one("cpu_percent", 3), least: 20, text: (v) => number(v, 0), limits: none },
      {
        name: "lag", title: "Event loop lag", unit: "ms", lines: one("loop_lag_ms", 2), least: 5, text: (v) => number(v),
        limits: limit(() => [{ value: 100, label: "full load", level: "bad" }]),
      },
    ];
  }

  /** What a chart shows beside its line: the figure of this moment. @param {Now} now */
  tell(now) {
    this.#limits = now.limits;
    const state = now.pipelineState;
    /** @type {Record<string, [number, string]>} */
    const figures = {
      load: [state.processingLoad, "of what it can do"],
      frame_time: [now.performanceMetrics.averageFrameTime, `mean of 10 s · target ${now.limits.frame_target_ms} ms`],
      throughput: [now.performanceMetrics.throughput, `${number(now.performanceMetrics.errorRate, 1)} % of requests failed`],
      sessions: [state.sessionsActive, `of ${now.limits.sessions} at most`],
      queue: [state.framesInQueue, `${number(state.framesInQueue / 50, 1)} s of audio wait`],
      queue_age: [now.queue.age_ms, "wait of the oldest one"],
      memory: [state.memoryUsage, `limits ${now.limits.gc_trigger_mb} and ${now.limits.memory_mb} MB`],
      cpu: [now.cpu_percent, `all threads · up ${duration(now.uptime_s)}`],
      lag: [now.load.event_loop_lag_ms, `99th percentile ${number(now.load.event_loop_lag_p99_ms, 1)} ms`],
    };
    const alerts = new Set(now.alerts.filter((alert) => alert.beyond).map((alert) => alert.code));
    for (const { definition, value, note, element } of this.#charts) {
      if (!(definition.name in figures)) continue;
      const [figure, said] = figures[definition.name];
      const text = definition.text(figure);
      if (value.textContent !== text) value.textContent = text;
      if (note.textContent !== said) note.textContent = said;
      element.dataset.level = alerts.has(definition.name) ? "bad" : "ok";
    }
  }

  // The lanes are known when the history is.
  tellLanes() {
    const columns = this.#history.names.filter((name) => name.startsWith("lane."));
    const known = this.#lanes?.definition.lines.map((line) => line.column).join() ?? "";
    if (columns.join() === known) return;
    this.#lanes?.element.remove();
    this.#charts = this.#charts.filter((chart) => chart !== this.#lanes);
    const lines = columns.map((column, index) => ({ column, label: column.slice(5), colour: index }));
    const lanes = (this.#lanes = new Chart({
      name: "lanes", title: "Lanes", unit: "s of computing a second", brief: "", lines, least: 0.2, text: (v) => number(v, 2),
      limits: () => [{ value: 1, label: "falls behind", level: "bad" }],
    }, { onCursor: (time) => this.#point(time) }));
    const legend = make("p", { class: "legend small" }, ...lines.map(({ label }, index) => (
      make("span", { class: "legend-item", "data-series": index % 6 }, label))));
    lanes.note.replaceWith(legend);
    lanes.element.classList.add("wide");
    this.#charts.push(lanes);
    at("charts").append(lanes.element);
  }

  /** @param {Now} now */
  tellBusiest(now) {
    const [busiest] = Object.entries(now.lanes).sort(([, a], [, b]) => b.real_time_factor - a.real_time_factor);
    if (!this.#lanes || !busiest) return;
    const [name, lane] = busiest;
    const text = `${name} ${number(lane.real_time_factor, 2)}`;
    if (this.#lanes.value.textContent !== text) this.#lanes.value.textContent = text;
  }

  draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      const colours = (this.#colours ??= readColours());
      for (const chart of this.#charts) chart.show(this.#history, this.#seconds, colours);
    });
  }

  /** @param {number | null} time */
  #point(time) {
    if (this.#cursor === time) return;
    this.#cursor = time;
    for (const chart of this.#charts) chart.cursor = time;
  }
}
