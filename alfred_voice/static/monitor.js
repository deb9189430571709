// Draws the daemon's live feed. All text goes through textContent: session names and words come from strangers.

const HISTORY = 120; // snapshots: a minute at two a second
const STALE_INTERVALS = 4; // this many missing snapshots are no accident
const RECONNECT_MS = 10_000; // a feed that is silent for so long is opened anew
const RETRY_MS = 2_000;
const SURE_MS = 3_000; // how long a second click ends a session
const NOTICE_MS = 6_000;
const SVG = "http://www.w3.org/2000/svg";

const intervalMs = Number(document.body.dataset.intervalMs);
const at = (id) => document.getElementById(id);
const put = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

// Figures: what each tile shows of a snapshot, and where its scale ends at least.
const FIGURES = {
  load: {
    value: (s) => s.status.pipelineState.processingLoad,
    text: (v) => v.toFixed(0),
    note: () => "of capacity",
    least: 100,
    alert: "load",
  },
  frame_time: {
    value: (s) => s.status.performanceMetrics.averageFrameTime,
    text: (v) => v.toFixed(v < 10 ? 2 : 1),
    note: () => "recent mean",
    least: 5,
    alert: "frame_time",
  },
  queue: {
    value: (s) => s.status.pipelineState.framesInQueue,
    text: (v) => String(v),
    note: (s) => `${(s.status.pipelineState.framesInQueue / 50).toFixed(1)} s of audio`,
    least: 10,
    alert: "queue",
  },
  throughput: {
    value: (s) => s.status.performanceMetrics.throughput,
    text: (v) => v.toFixed(0),
    note: (s) => `${s.status.performanceMetrics.errorRate.toFixed(1)} % errors`,
    least: 50,
    alert: "error_rate",
  },
  memory: {
    value: (s) => s.status.pipelineState.memoryUsage,
    text: (v) => v.toFixed(0),
    note: (s) => `${s.status.performanceMetrics.memoryEfficiency.toFixed(0)} % of the limit free`,
    least: 1,
    alert: "memory",
  },
  sessions: {
    value: (s) => s.sessions_total,
    text: (v) => String(v),
    note: (s) => `${s.sessions.filter((one) => one.state === "speaking").length} speaking`,
    least: 4,
    alert: null,
  },
};

const tiles = new Map(
  Object.keys(FIGURES).map((name) => {
    const tile = document.querySelector(`[data-figure="${name}"]`);
    return [name, { tile, value: tile.querySelector("b"), note: tile.querySelector(".note"), spark: makeSpark(tile), past: [] }];
  }),
);

function makeSpark(tile) {
  const svg = tile.querySelector(".spark");
  svg.setAttribute("viewBox", `0 0 ${HISTORY - 1} 40`);
  svg.setAttribute("preserveAspectRatio", "none");
  const shape = (kind, name) => {
    const element = document.createElementNS(SVG, kind);
    element.classList.add(name);
    svg.append(element);
    return element;
  };
  return { area: shape("polygon", "area"), line: shape("polyline", "line") };
}

function drawSpark({ spark, past }, least) {
  const most = Math.max(least, ...past) * 1.08;
  const first = HISTORY - past.length;
  const points = past.map((value, index) => `${first + index},${(40 - (38 * Math.max(0, value)) / most).toFixed(2)}`);
  spark.line.setAttribute("points", points.join(" "));
  spark.area.setAttribute("points", `${first},40 ${points.join(" ")} ${HISTORY - 1},40`);
}

function drawFigures(snapshot) {
  const alerts = new Set(snapshot.status.alerts.map((alert) => alert.code));
  for (const [name, figure] of Object.entries(FIGURES)) {
    const drawn = tiles.get(name);
    const value = figure.value(snapshot);
    drawn.past.push(value);
    if (drawn.past.length > HISTORY) drawn.past.shift();
    put(drawn.value, figure.text(value));
    put(drawn.note, figure.note(snapshot));
    drawn.tile.dataset.level = alerts.has(figure.alert) ? "bad" : "ok";
    drawSpark(drawn, figure.least);
  }
}

function drawState(snapshot) {
  const health = snapshot.ready ? snapshot.status.pipelineState.health : "not ready";
  put(at("health"), health);
  at("health").dataset.level = health;
  at("health").title = Object.entries(snapshot.checks).map(([name, state]) => `${name}: ${state}`).join("\n");
  put(at("version"), snapshot.version);
  for (const rung of at("ladder").children) {
    const isCurrent = rung.dataset.step === snapshot.status.pipelineState.degradationStep;
    if (isCurrent) rung.setAttribute("aria-current", "step");
    else rung.removeAttribute("aria-current");
  }
  const list = at("alerts");
  const alerts = snapshot.status.alerts.map((alert) => alert.message ?? String(alert));
  while (list.children.length > alerts.length) list.lastChild.remove();
  while (list.children.length < alerts.length) list.append(document.createElement("li"));
  alerts.forEach((message, index) => put(list.children[index], message));
  at("no-alerts").hidden = alerts.length > 0;
}

// Sessions: one row each, kept while the session lives, so that a button does not vanish under the pointer.
const rows = new Map();

function duration(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function makeRow(session) {
  const row = document.createElement("tr");
  const cell = (name) => {
    const element = document.createElement("td");
    if (name) element.className = name;
    row.append(element);
    return element;
  };
  const cells = { name: cell("name"), state: document.createElement("span") };
  cell().append(cells.state);
  for (const name of ["age", "audio", "queued", "utterances", "latency"]) cells[name] = cell("number");
  cells.words = cell("words");
  cells.state.className = "state";
  cell().append(makeEndButton(session.session_id));
  put(cells.name, session.session_id);
  cells.name.title = `${session.session_id} (${session.transport}, ${session.sample_rate} Hz ${session.encoding})`;
  return { row, cells };
}

function drawRow({ cells }, session) {
  put(cells.state, session.state);
  cells.state.dataset.state = session.state;
  put(cells.age, duration(session.age_s));
  put(cells.audio, duration(session.stream_ms / 1000));
  put(cells.queued, String(session.frames_queued));
  put(cells.utterances, String(session.utterances));
  const final = session.latency_ms?.final;
  put(cells.latency, final?.count ? `${final.p50.toFixed(0)} ms` : "–");
  put(cells.words, session.last_text || "");
  cells.words.title = session.last_text || "";
}

function drawSessions(snapshot) {
  const open = new Set();
  // The snapshot has the newest first, and so has the table: the oldest row is made first.
  for (const session of [...snapshot.sessions].reverse()) {
    open.add(session.session_id);
    if (!rows.has(session.session_id)) {
      const made = makeRow(session);
      rows.set(session.session_id, made);
      at("sessions").prepend(made.row);
    }
    drawRow(rows.get(session.session_id), session);
  }
  for (const [name, { row }] of rows) {
    if (!open.has(name)) {
      row.remove();
      rows.delete(name);
    }
  }
  const more = snapshot.sessions_total - snapshot.sessions.length;
  put(at("sessions-note"), more > 0 ? `the newest ${snapshot.sessions.length} of ${snapshot.sessions_total}` : "");
  at("sessions-table").hidden = snapshot.sessions.length === 0;
  at("no-sessions").hidden = snapshot.sessions.length > 0;
}

// Deeds

let noticeTimer = 0;

function notify(message, level = "good") {
  clearTimeout(noticeTimer);
  put(at("notice"), message);
  at("notice").dataset.level = level;
  at("notice").hidden = false;
  noticeTimer = setTimeout(() => { at("notice").hidden = true; }, NOTICE_MS);
}

async function ask(method, path, body) {
  const response = await fetch(path, { method, body, headers: body ? { "Content-Type": "application/json" } : {} });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail || `${response.status} ${response.statusText}`);
  return answer;
}

async function during(button, deed) {
  button.disabled = true;
  try {
    notify(await deed());
  } catch (error) {
    notify(error.message, "bad");
  } finally {
    button.disabled = false;
  }
}

function makeEndButton(name) {
  const button = document.createElement("button");
  const calm = () => { button.classList.remove("sure"); put(button, "End"); };
  let timer = 0;
  button.type = "button";
  button.setAttribute("aria-label", `End session ${name}`);
  calm();
  button.addEventListener("click", () => {
    clearTimeout(timer);
    if (!button.classList.contains("sure")) {
      button.classList.add("sure");
      put(button, "Really?");
      timer = setTimeout(calm, SURE_MS);
      return;
    }
    calm();
    during(button, async () => {
      await ask("DELETE", `/session/${encodeURIComponent(name)}`);
      return `Session ${name} has ended.`;
    });
  });
  return button;
}

at("optimise").addEventListener("click", (event) => {
  during(event.currentTarget, async () => {
    const done = await ask("POST", "/optimize", "{}");
    const figure = (value) => (typeof value === "number" ? value.toFixed(1) : "?");
    return `Optimised: ${figure(done.memoryBefore)} MB before, ${figure(done.memoryAfter)} MB after.`;
  });
});

// The feed

let source = null;
let lastAt = -Infinity;
let openedAt = performance.now();

function connect() {
  source?.close();
  openedAt = performance.now();
  source = new EventSource("/monitor/feed");
  source.addEventListener("message", (event) => {
    const snapshot = JSON.parse(event.data);
    lastAt = performance.now();
    drawState(snapshot);
    drawFigures(snapshot);
    drawSessions(snapshot);
    drawLink();
  });
  source.addEventListener("error", () => {
    // The browser tries again by itself, but not after an answer such as 503.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  });
}

function drawLink() {
  const silentMs = performance.now() - Math.max(lastAt, openedAt);
  const isStale = performance.now() - lastAt > STALE_INTERVALS * intervalMs;
  const link = at("link");
  document.body.classList.toggle("stale", isStale);
  if (!isStale) {
    link.dataset.state = "live";
    put(link, "live");
  } else if (lastAt === -Infinity && silentMs < RETRY_MS) {
    link.dataset.state = "connecting";
    put(link, "connecting");
  } else {
    link.dataset.state = "stale";
    const age = Number.isFinite(lastAt) ? `no data for ${duration((performance.now() - lastAt) / 1000)}` : "no data yet";
    put(link, `${age}, reconnecting`);
  }
  if (silentMs > RECONNECT_MS) connect();
}

connect();
setInterval(drawLink, intervalMs);
