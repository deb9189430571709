// The monitor: reads the daemon's stream and hands what it tells to those who draw it.

import { Charts } from "./monitor-charts.js";
import { drawTest, openControls } from "./monitor-controls.js";
import { during } from "./monitor-deeds.js";
import { at, duration, put, set } from "./monitor-dom.js";
import { EventStream } from "./monitor-feed.js";
import { History } from "./monitor-history.js";
import { LaneView } from "./monitor-lane.js";
import { drawLanes, drawLog, drawNow, introduce, titleOf } from "./monitor-overview.js";
import { Sessions } from "./monitor-sessions.js";
import { followSettings, listenToSettings, openSettings } from "./monitor-settings.js";
import { leave, signOut } from "./sign-out.js";

const STALE_INTERVALS = 4; // so many messages that have not come are no accident
const SILENT_MS = 5_000;
const TICK_MS = 500;

const intervalMs = Number(document.body.dataset.intervalMs);
const history = new History();
const charts = new Charts(history);
const sessions = new Sessions((/** @type {string} */ id) => lane.open(id));
const lane = new LaneView((/** @type {string} */ id) => sessions.focus(id));

let lastAt = -Infinity;
let lost = "";
let refusal = "";
/** @type {import("./monitor-figures.js").Now | null} */
let newest = null;
let isDue = false;

/** @type {{[name: string]: (told: never) => void}} what comes, by its name */
const RECEIVE = {
  /** @param {import("./monitor-figures.js").Hello} told */
  hello(told) {
    introduce(told.rungs);
    history.replace(told.history);
    charts.tellLanes();
    drawLog(history);
    charts.draw();
    if (lost) openSettings(); // it may be another daemon, with other settings
    lost = "";
  },
  /** @param {import("./monitor-figures.js").Now} told */
  now(told) {
    newest = told;
    followSettings(told.settings_version);
    drawSoon();
  },
  /** @param {import("./monitor-figures.js").Table} told */
  sessions(told) {
    sessions.show(told);
  },
  /** @param {import("./monitor-figures.js").Rows} told */
  rows(told) {
    if (history.add(told)) drawLog(history);
    charts.draw();
  },
};

/** @param {string} name @param {never} told */
function receive(name, told) {
  lastAt = performance.now();
  RECEIVE[name]?.(told);
}

// What came while the page was in the background is drawn once.
function drawSoon() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    if (newest === null) return;
    drawNow(newest);
    drawLanes(newest);
    charts.tell(newest);
    charts.tellBusiest(newest);
    drawTest(newest.load_test);
    drawLink();
  });
}

function drawLink() {
  const silentMs = performance.now() - lastAt;
  const isLive = silentMs <= STALE_INTERVALS * intervalMs && !refusal;
  const state = isLive ? "live" : lastAt === -Infinity && !lost && !refusal ? "connecting" : "stale";
  document.body.dataset.link = state;
  put(at("link"), { live: "live", connecting: "connecting", stale: "not live" }[state]);
  at("stale").hidden = state !== "stale";
  drawTab(state);
  if (state === "stale") {
    const age = Number.isFinite(lastAt) ? `What you see is ${duration(silentMs / 1000)} old.` : "There is nothing to be seen yet.";
    put(at("stale"), refusal || `${age} The daemon does not answer; the page tries again by itself.`);
  }
}

/**
 * What a tab in the background says, in which nothing is drawn.
 * @param {string} state
 */
function drawTab(state) {
  const title = state === "stale" ? "✖ gone · Alfred Voice monitor" : newest ? titleOf(newest) : document.title;
  if (document.title !== title) document.title = title;
  set(at("icon", HTMLLinkElement), "href", state === "stale" ? "/static/favicon-gone.svg" : "/static/favicon.svg");
}

/** @param {import("./monitor-feed.js").LinkState} state @param {import("./monitor-feed.js").LinkDetail} detail */
function tellLink(state, detail) {
  if (state === "live") return;
  lost = detail.detail ?? "lost";
  if (state === "refused") {
    const isKey = detail.status === 401 || detail.status === 403;
    // The form is in this page's place now. Where it never was live, to load it again would not help.
    if (isKey && Number.isFinite(lastAt)) leave("gone");
    refusal = `The daemon refused: ${detail.detail}`;
  }
  drawLink();
}

openControls();
if (document.getElementById("sign-out")) {
  const button = at("sign-out", HTMLButtonElement);
  button.addEventListener("click", () => during(button, async () => {
    await signOut();
    leave("asked");
  }));
}
listenToSettings();
openSettings();
new EventStream("/monitor/feed", { silentMs: SILENT_MS, onEvent: receive, onState: tellLink });
setInterval(drawLink, TICK_MS);
