// What an operator can make the daemon do: free memory, end idle sessions, test itself under load.

import { ask, during, sure } from "./monitor-deeds.js";
import { at, number, put } from "./monitor-dom.js";

const PATH = "/monitor/load-test";
const STOPS = ["test-stop", "test-stop-above"]; // beside the form, and in the bar, which is always in sight
const GOING = new Set(["preparing", "running", "ending"]);

export function openControls() {
  at("optimise", HTMLButtonElement).addEventListener("click", () => during(at("optimise", HTMLButtonElement), optimise));
  sure(at("end-idle-go", HTMLButtonElement), "End idle sessions", "Really end them?", endIdle);
  at("end-idle").addEventListener("submit", (event) => event.preventDefault());
  at("test-form").addEventListener("submit", (event) => {
    event.preventDefault();
    during(at("test-start", HTMLButtonElement), startTest);
  });
  for (const name of STOPS) at(name).addEventListener("click", () => during(at(name, HTMLButtonElement), stopTest));
}

async function optimise() {
  const done = await ask("POST", "/optimize", {});
  return `Memory was ${number(done.memoryBefore, 1)} MB and is ${number(done.memoryAfter, 1)} MB; ${done.sessionsCleanedUp} sessions ended.`;
}

async function endIdle() {
  const { ended } = await ask("DELETE", `/sessions?idle_s=${encodeURIComponent(at("idle-s", HTMLInputElement).value)}`);
  return ended === 1 ? "One session was idle and ends." : `${ended || "No"} sessions were idle${ended ? " and end" : ""}.`;
}

async function startTest() {
  const told = await ask("POST", PATH, {
    sessions: Number(at("test-sessions", HTMLInputElement).value), seconds: Number(at("test-seconds", HTMLInputElement).value),
    speech: Number(at("test-speech", HTMLSelectElement).value),
  });
  drawTest(told.load_test);
}

async function stopTest() {
  drawTest((await ask("DELETE", PATH)).load_test);
}

/** @param {import("./monitor-figures.js").LoadTest | null} test */
export function drawTest(test) {
  const isGoing = test !== null && GOING.has(test.state);
  const start = at("test-start", HTMLButtonElement);
  const progress = at("test-progress", HTMLProgressElement);
  if (!start.hasAttribute("aria-busy")) start.disabled = isGoing;
  for (const name of STOPS) {
    const stop = at(name, HTMLButtonElement);
    if (!stop.hasAttribute("aria-busy")) stop.disabled = !isGoing;
  }
  at("test-strip").hidden = !isGoing;
  progress.hidden = !isGoing;
  if (test) {
    if (test.state === "preparing") progress.removeAttribute("value");
    else progress.value = test.state === "running" ? 1 - test.left_s / test.seconds : 1;
    put(at("test-state"), sentence(test));
    if (isGoing) put(at("test-brief"), brief(test));
  }
}

/** @param {import("./monitor-figures.js").LoadTest} test */
function brief(test) {
  if (test.state !== "running") return test.state === "preparing" ? "Load test: begins" : "Load test: ends";
  const waiting = test.refused ? `, ${test.refused} waiting` : "";
  return `Load test: ${test.opened} of ${test.sessions} in${waiting}, ${number(Math.ceil(test.left_s), 0)} s left`;
}

/** @param {import("./monitor-figures.js").LoadTest} test */
function sentence(test) {
  const where = test.state === "running" ? "waiting at the door" : "never let in";
  const refused = test.refused ? `, ${test.refused} ${where} (${test.reason})` : "";
  const done = `${test.opened} of ${test.sessions} sessions in${refused}; ${number(test.frames, 0)} frames sent, ${number(test.skipped, 0)} left out, ${test.finals} finals`;
  switch (test.state) {
    case "preparing": return "The clients are told what to say.";
    case "running": return `Running for another ${number(Math.ceil(test.left_s), 0)} s: ${done}.`;
    case "ending": return `The sessions are brought to their ends: ${done}.`;
    case "failed": return `It failed: ${test.reason}`;
    case "stopped": return `Stopped: ${done}.`;
    default: return `Done: ${done}.`;
  }
}
