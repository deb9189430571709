// The settings that an operator changes while the daemon runs. The daemon checks them; its words stand beside the field.

import { ask, hush, notify, Refused } from "./monitor-deeds.js";
import { at, make, put } from "./monitor-dom.js";

/**
 * @typedef {string | number | boolean} Value
 * @typedef {{value: Value, applies_to: string}} Setting as the daemon tells it
 * @typedef {{label: string, input: HTMLInputElement | HTMLSelectElement, problem: HTMLElement, value: Value}} Field
 */

/** @type {[string, [string, string][]][]} */
const GROUPS = [
  ["Speech", [["vad.threshold", "Speech from probability"], ["vad.min_silence_ms", "Silence that ends speech, ms"], ["stt.partial_interval_ms", "Between partials, ms"]]],
  ["Turns", [["turn.threshold", "Complete from probability"], ["turn.silence_ms", "Asked after silence of, ms"], ["turn.max_silence_ms", "Over after silence of, ms"], ["interruption.enabled", "Users may interrupt"]]],
  ["Degradation", [["backpressure.threshold", "Up from load"], ["backpressure.recovery", "Down below load"], ["backpressure.step_up_s", "Stay before a step up, s"], ["backpressure.step_down_s", "Calm before a step down, s"]]],
  ["Limits", [["sessions.max_concurrent", "Sessions at most"], ["sessions.idle_timeout_s", "Idle sessions end after, s"], ["memory.limit_mb", "Memory limit, MB"], ["memory.gc_trigger_mb", "Memory is freed from, MB"], ["pipeline.batch_deadline_ms", "A window waits at most, ms"]]],
  ["Alerts", [["alerts.load_percent", "Load, %"], ["alerts.frame_time_ms", "Frame time, ms"], ["alerts.queued_frames", "Frames waiting"], ["alerts.memory_mb", "Memory, MB"], ["log.level", "Level of the log"]]],
];
/** @type {Record<string, string[]>} */
const CHOICES = { "log.level": ["debug", "info", "warning", "error"] };
/** @type {Record<string, string>} */
const REACHES = { now: "at once", "new sessions": "new sessions", model: "with the model" };

/** @type {Map<string, Field>} */
const fields = new Map();

const NOTE = "They hold until the daemon ends or reads its files again.";
/** @type {number | null} */
let version = null;

/** Read again what somebody else has changed. @param {number | null} newest as the feed tells it */
export function followSettings(newest) {
  if (newest === null || newest === version) return;
  version = newest;
  openSettings();
}

// Draws the panel; without live settings the daemon has none to show.
export async function openSettings() {
  const form = at("settings");
  /** @type {{keys: Record<string, Setting>, version: number}} */
  let told;
  try {
    told = await ask("GET", "/config");
  } catch (error) {
    const isAbsent = error instanceof Refused && error.status === 404;
    put(at("settings-note"), isAbsent ? "This daemon's settings cannot change while it runs." : `They cannot be read: ${wordsOf(error)}`);
    return;
  }
  version = told.version;
  if (fields.size) {
    refresh(told.keys);
    return;
  }
  put(at("settings-note"), NOTE);
  form.replaceChildren();
  for (const [title, keys] of GROUPS) {
    const known = keys.filter(([key]) => key in told.keys);
    if (known.length) form.append(make("fieldset", {}, make("legend", {}, title), ...known.map(([key, label]) => makeField(key, label, told.keys[key]))));
  }
  form.append(make("p", { class: "form-error", id: "settings-error", role: "alert" }),
    make("p", { class: "actions" }, make("button", { type: "submit", id: "settings-apply", disabled: true }, "Apply"),
      make("button", { type: "reset", id: "settings-reset", disabled: true }, "As they are")));
}

/** What stands in a field that nobody has touched is what holds now. @param {Record<string, Setting>} keys */
function refresh(keys) {
  const changed = [];
  for (const [key, field] of fields) {
    const { value } = keys[key] ?? field;
    if (value === field.value) continue;
    changed.push(`${field.label} ${field.value} → ${value}`);
    const isTouched = wanted(field) !== field.value;
    field.value = value;
    if (!isTouched) fill(field);
  }
  put(at("settings-note"), changed.length ? `Changed elsewhere just now: ${changed.join(", ")}.` : NOTE);
  drawChanged();
}

/** @param {string} key @param {string} label @param {Setting} setting */
function makeField(key, label, { value, applies_to: reach }) {
  const id = `set-${key}`;
  const problem = make("span", { class: "field-error", id: `${id}-error` });
  const hint = make("span", { class: "hint", id: `${id}-hint` }, REACHES[reach] ?? reach);
  const attributes = { id, name: key, "aria-describedby": `${id}-hint ${id}-error` };
  /** @type {HTMLInputElement | HTMLSelectElement} */
  let input;
  if (typeof value === "boolean") input = make("input", { ...attributes, type: "checkbox" });
  else if (typeof value === "number") input = make("input", { ...attributes, type: "text", inputmode: "decimal", autocomplete: "off" });
  else {
    const choices = new Set([...(CHOICES[key] ?? []), value]);
    input = make("select", attributes, ...[...choices].map((choice) => make("option", { value: choice }, choice)));
  }
  const field = { label, input, problem, value };
  fields.set(key, field);
  fill(field);
  return make("div", { class: "setting" }, make("label", { for: id }, label), input, hint, problem);
}

/** @param {Field} field */
function fill({ input, value }) {
  if (typeof value === "boolean" && input instanceof HTMLInputElement) input.checked = value;
  else input.value = String(value);
}

/**
 * What stands in the field, of the type that the setting has; words where it is no number, which the daemon refuses.
 * @param {Field} field
 */
function wanted({ input, value }) {
  if (typeof value === "boolean" && input instanceof HTMLInputElement) return input.checked;
  if (typeof value !== "number") return input.value;
  const text = input.value.trim().replace(",", ".");
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : input.value;
}

function changes() {
  return Object.fromEntries([...fields].filter(([, field]) => wanted(field) !== field.value).map(([key, field]) => [key, wanted(field)]));
}

function drawChanged() {
  const changed = changes();
  for (const [key, { input }] of fields) input.closest(".setting")?.classList.toggle("changed", key in changed);
  const isNone = Object.keys(changed).length === 0;
  if (!fields.size) return; // none could be read, and so there are no buttons
  for (const name of ["settings-apply", "settings-reset"]) at(name, HTMLButtonElement).disabled = isNone;
}

/**
 * The fields that a sentence is about: that of the key, or those of a room that it names, as they do not go together.
 * @param {string} key @param {string} words
 */
function fieldsOf(key, words) {
  const field = fields.get(key);
  if (field) return [field];
  return [...fields].filter(([known]) => known.startsWith(`${key}.`) && names(known, words)).map(([, found]) => found);
}

/** @param {string} key @param {string} words */
function names(key, words) {
  return new RegExp(`\\b${key.slice(key.indexOf(".") + 1)}\\b`).test(words);
}

/** A room's sentence in the words that stand on the page. @param {string} room @param {string} words */
function inLabels(room, words) {
  if (fields.has(room)) return words;
  let said = words;
  for (const [key, { label }] of fields) {
    if (key.startsWith(`${room}.`)) said = said.replace(new RegExp(`\\b${key.slice(room.length + 1)}\\b`), `“${label}”`);
  }
  return said;
}

/** @param {string} text */
function showProblems(text) {
  const lines = text.split("\n").map((line) => line.replace(/^- /, ""));
  /** @type {Field[]} */
  const wrong = [];
  /** @type {string[]} */
  const rest = [];
  for (const { input, problem } of fields.values()) {
    put(problem, "");
    input.removeAttribute("aria-invalid");
  }
  for (const line of lines) {
    const [key, ...said] = line.split(": ");
    const words = said.join(": ").replace(/ \([^()]*\)$/, ""); // without where the values come from
    const meant = fieldsOf(key, words);
    if (!meant.length && !/^\d+ settings are wrong:$/.test(line) && line) rest.push(line);
    for (const field of meant) {
      put(field.problem, inLabels(key, words));
      field.input.setAttribute("aria-invalid", "true");
      wrong.push(field);
    }
  }
  if (fields.size) put(at("settings-error"), rest.join(" "));
  (wrong.find((field) => wanted(field) !== field.value) ?? wrong[0])?.input.focus();
}

/** @param {unknown} error */
function wordsOf(error) {
  return error instanceof Error ? error.message : String(error);
}

async function apply() {
  const asked = changes();
  if (!Object.keys(asked).length) return;
  at("settings-apply", HTMLButtonElement).disabled = true;
  try {
    /** @type {{changes: Record<string, {from: Value, to: Value, applies_to: string}>}} */
    const answer = await ask("PATCH", "/config", asked);
    for (const [key, { to }] of Object.entries(answer.changes)) {
      const field = fields.get(key);
      if (field) {
        field.value = to;
        fill(field);
      }
    }
    showProblems("");
    const told = Object.entries(answer.changes).map(([key, { from, to, applies_to: reach }]) => `${key} ${from} → ${to} (${REACHES[reach] ?? reach})`);
    notify(told.length ? `Changed: ${told.join(", ")}.` : "Nothing has changed.");
  } catch (error) {
    hush(); // what was told before is over, and may lie upon the words that are told now
    showProblems(wordsOf(error));
    if (!(error instanceof Refused)) notify(`That did not reach the daemon: ${wordsOf(error)}`, "bad");
  }
  drawChanged();
}

export function listenToSettings() {
  const form = at("settings");
  form.addEventListener("input", drawChanged);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    for (const field of fields.values()) fill(field);
    showProblems("");
    drawChanged();
  });
}
