// One glance: health in a word, load and its parts, the ladder, alerts, and what has happened.

import { at, duration, list, make, number, put, set, timeOfDay, words } from "./monitor-dom.js";

const PARTS = {
  queue: "waiting audio", frame_time: "late windows", finals: "waiting finals", turns: "waiting turns", partials: "waiting partials",
  real_time: "busiest engine", loop: "event loop", memory: "memory",
};
const MOST_LOGGED = 50;
const MOST_TOLD = 10; // times full load: beyond that the figure means nothing more

/** @type {import("./monitor-figures.js").Rung[]} */
let rungs = [];

/** @param {import("./monitor-figures.js").Rung[]} told */
export function introduce(told) {
  rungs = told;
  at("ladder").replaceChildren(...[...rungs].reverse().map((rung) => make("li", { "data-rung": rung.rung },
    make("span", { class: "rung-number" }, String(rung.rung)),
    make("span", { class: "rung-text" }, make("b", {}, rung.rung ? rung.name : "all is done"), make("span", { class: "rung-measures" }, measures(rung))))));
}

/** What a rung gives up, in words; the daemon tells the figures. @param {import("./monitor-figures.js").Rung} rung */
function measures({ measures: m }) {
  const said = [];
  if (m.partial_factor === 0) said.push("no partials");
  else if (m.partial_share < 1) said.push(`partials get ${Math.round(m.partial_share * 100)} % of the recogniser`);
  else if (m.partial_factor > 1) said.push(`partials ${m.partial_factor} times as rarely`);
  if (m.drops_frames) said.push("waiting silence is dropped");
  if (!m.admits) said.push("no new sessions");
  if (m.smaller_model && m.partial_share === 1) said.push("finals by the smaller model");
  if (!m.prefetches && !m.drops_frames && m.admits) said.push("no finals ahead of time");
  return said.join(", ") || "as configured";
}

/** @param {import("./monitor-figures.js").Now} now */
export function drawNow(now) {
  drawHealth(now);
  drawLoad(now);
  drawLadder(now);
  list(at("alerts"), now.alerts, () => make("li", {}, make("b"), make("span"), make("span")), (item, alert) => {
    const [code, message, age] = item.children;
    set(item, "data-level", alert.beyond ? "bad" : "warn");
    put(code, `${words(alert.code)} `);
    put(message, `${alert.message} `);
    put(age, `· for ${duration(alert.for_s)}`);
  });
  at("no-alerts").hidden = now.alerts.length > 0;
}

/** @param {import("./monitor-figures.js").Now} now */
function drawHealth(now) {
  const health = healthOf(now);
  put(at("health"), health);
  set(at("health-card"), "data-level", health);
  put(at("health-why"), reason(now, health));
  list(at("checks"), Object.entries(now.checks), () => make("li"), (item, [name, state]) => {
    put(item, `${name} ${state === "pass" ? "up" : state}`);
    set(item, "data-level", state === "pass" ? "good" : "bad");
  });
  put(at("uptime"), `Up for ${duration(now.uptime_s)} · ${now.resourceOptimization.backpressureEvents} changes of rung`);
  drawAdmission(now);
}

/** @param {import("./monitor-figures.js").Now} now */
function healthOf(now) {
  return now.ready ? now.pipelineState.health : now.pipelineState.health === "failed" ? "failed" : "not ready";
}

/** What a tab that nobody looks at says. @param {import("./monitor-figures.js").Now} now */
export function titleOf(now) {
  const health = healthOf(now);
  const isShut = now.ready && !now.admission.admits;
  return `${health === "healthy" && !isShut ? "" : "⚠ "}${health}${isShut ? ", refuses newcomers" : ""} · Alfred Voice monitor`;
}

/** @param {import("./monitor-figures.js").Now} now */
function drawAdmission({ admission, ready }) {
  const line = at("admission");
  line.hidden = !ready; // why it is not ready is said above
  set(line, "data-level", admission.admits ? "good" : "warn");
  const [word, why] = line.children;
  put(word, admission.admits ? "New sessions are let in." : "New sessions are refused:");
  put(why, admission.admits ? "" : `${admission.reason}.`);
}

/** @param {import("./monitor-figures.js").Now} now @param {string} health */
function reason(now, health) {
  if (health === "failed") return "An engine is gone. Its lane below says which; the daemon tries to make it anew.";
  if (health === "not ready") return Object.values(now.checks).join(", ");
  const rung = rungs[now.pipelineState.degradationRung];
  if (rung?.rung) return `Rung ${rung.rung}, ${rung.name}: ${measures(rung)}.`;
  if (health === "stressed") return "Load is beyond the threshold.";
  if (now.alerts.some((alert) => alert.beyond)) return "It keeps up, and yet a figure is beyond its limit.";
  if (now.alerts.length) return "It keeps up; a figure was beyond its limit a moment ago.";
  return "It keeps up, and does all that is configured.";
}

/** @param {import("./monitor-figures.js").Now} now */
function drawLoad(now) {
  const parts = Object.entries(PARTS).map(([name, label]) => ({ name, label, value: now.load[name] ?? 0 }));
  const worst = parts.reduce((a, b) => (b.value > a.value ? b : a));
  put(at("load"), number(now.pipelineState.processingLoad, 0));
  put(at("load-worst"), worst.value >= 0.01 ? `most of it: ${worst.label}` : "nothing weighs on it");
  put(at("load-limits"), `degrades from ${number(now.limits.threshold * 100, 0)} %, recovers below ${number(now.limits.recovery * 100, 0)} %`);
  put(at("load-demand"), demandOf(now));
  const scale = at("load-scale");
  scale.style.setProperty("--share", String(Math.min(1, now.pipelineState.processingLoad / 100)));
  scale.style.setProperty("--threshold", String(now.limits.threshold));
  scale.style.setProperty("--recovery", String(now.limits.recovery));
  set(scale, "data-level", worst.value >= now.limits.threshold ? "bad" : worst.value >= now.limits.recovery ? "warn" : "good");
  list(at("parts"), parts, makePart, (item, part) => {
    const [label, , value] = item.children;
    put(label, part.label);
    put(value, part.value < MOST_TOLD ? `${number(part.value * 100, 0)} %` : `> ${MOST_TOLD * 100 - 1} %`);
    item.style.setProperty("--share", String(Math.min(1, part.value)));
    set(item, "data-level", part.value >= now.limits.threshold ? "bad" : part.value >= now.limits.recovery ? "warn" : "good");
    item.classList.toggle("worst", part === worst && part.value >= 0.01);
  });
}

/** @param {import("./monitor-figures.js").Now} now */
function demandOf({ admission: { demand, most } }) {
  if (!demand) return "Too little has been said of late to tell what one more session would ask for.";
  return `With one more session, going by who speaks: ${number(demand * 100, 0)} % of the busiest engine; new ones are let in up to ${number(most * 100, 0)} %.`;
}

function makePart() {
  return make("li", {}, make("span", { class: "part-name" }), make("span", { class: "part-bar", "aria-hidden": "true" }, make("span", { class: "fill" })),
    make("span", { class: "part-value" }));
}

/** @param {import("./monitor-figures.js").Now} now */
function drawLadder(now) {
  const current = now.pipelineState.degradationRung;
  for (const item of at("ladder").children) {
    const rung = Number(item.getAttribute("data-rung"));
    if (rung === current) set(item, "aria-current", "step");
    else item.removeAttribute("aria-current");
    item.classList.toggle("passed", rung < current);
  }
  put(at("rung-note"), current ? `rung ${current} of ${rungs.length - 1}` : "nothing is given up");
}

/** @param {import("./monitor-history.js").History} history */
export function drawLog(history) {
  const newest = history.marks.slice(-MOST_LOGGED).reverse();
  list(at("log"), newest, () => make("li", {}, make("time"), make("span")), (item, mark) => {
    const [time, text] = item.children;
    put(time, timeOfDay(mark.at));
    put(text, mark.text);
    set(item, "data-kind", mark.kind);
  });
  at("no-log").hidden = newest.length > 0;
  at("log-box").hidden = newest.length === 0;
}

/** @param {import("./monitor-figures.js").Now} now */
export function drawLanes(now) {
  const lanes = Object.entries(now.lanes);
  list(at("lanes"), lanes, () => make("tr", {}, make("th", { scope: "row" }), make("td", {}, make("span", { class: "state" })),
    ...Array.from({ length: 6 }, () => make("td", { class: "number" }))), (row, [name, lane]) => {
    const [title, state, factor, batch, queue, wait, jobs, faults] = row.children;
    put(title, name);
    put(state.children[0], lane.state);
    set(state.children[0], "data-state", lane.state);
    put(factor, number(lane.real_time_factor, 2));
    put(batch, lane.batch_size.count ? `${number(lane.batch_size.p50, 0)} · ${number(lane.batch_size.max, 0)}` : "–");
    put(queue, `${lane.queued} · ${number(lane.queue_age_ms, 0)} ms`);
    put(wait, lane.wait_ms.count ? `${number(lane.wait_ms.p50)} · ${number(lane.wait_ms.p95)} ms` : "–");
    put(jobs, number(lane.jobs, 0));
    const worse = lane.failures + lane.restarts + lane.timeouts;
    put(faults, worse ? `${lane.failures} · ${lane.restarts} · ${lane.timeouts}` : "none");
    faults.classList.toggle("bad", worse > 0);
  });
}
