// What the page makes the daemon do, and how it tells what came of it.

import { at, make, put } from "./monitor-dom.js";

const NOTICE_MS = 8_000;
const SURE_MS = 4_000; // how long a second click does what the first one asked about

/** @type {ReturnType<typeof setTimeout> | undefined} */
let noticeTimer;

/** @param {string} message @param {"good" | "bad"} level */
export function notify(message, level = "good") {
  clearTimeout(noticeTimer);
  const notice = at("notice");
  // Above an open dialog nothing else is seen or read.
  (document.querySelector("dialog[open]") ?? document.body).append(notice);
  put(notice, message);
  notice.dataset.level = level;
  notice.hidden = false;
  noticeTimer = setTimeout(() => { notice.hidden = true; }, NOTICE_MS);
}

// Takes away what was told last.
export function hush() {
  clearTimeout(noticeTimer);
  at("notice").hidden = true;
}

export class Refused extends Error {
  /** @param {number} status @param {import("./monitor-figures.js").Problem} problem */
  constructor(status, problem) {
    super(problem.detail || `the daemon answered ${status}`);
    this.status = status;
    this.code = problem.code ?? "";
  }
}

/** @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>} what the daemon answers; each caller says what it expects */
export async function ask(method, path, body) {
  /** @type {RequestInit} */
  const options = { method, cache: "no-store" };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  const answer = await fetch(path, options);
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, told);
  return told;
}

/**
 * Does it, with the button at rest meanwhile; tells its sentence, or what went wrong.
 * @param {HTMLButtonElement} button
 * @param {() => Promise<string | void>} deed
 */
export async function during(button, deed) {
  const hadFocus = document.activeElement === button;
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  try {
    const sentence = await deed();
    if (sentence) notify(sentence);
  } catch (error) {
    notify(error instanceof Refused ? error.message : `That did not reach the daemon: ${error instanceof Error ? error.message : error}`, "bad");
  } finally {
    button.removeAttribute("aria-busy");
    button.disabled = false;
    // A button that is disabled loses the keyboard.
    if (hadFocus && !button.hidden && document.activeElement === document.body) button.focus();
  }
}

/**
 * A button that asks once more before it does what cannot be undone.
 * @param {HTMLButtonElement} button
 * @param {string} calmText
 * @param {string} sureText
 * @param {() => Promise<string | void>} deed
 */
export function sure(button, calmText, sureText, deed) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const label = button.getAttribute("aria-label");
  const calm = () => {
    button.classList.remove("sure");
    put(button, calmText);
    if (label) button.setAttribute("aria-label", label);
  };
  put(button, calmText);
  button.addEventListener("click", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    if (!button.classList.contains("sure")) {
      if (button.form && !button.form.reportValidity()) return;
      button.classList.add("sure");
      put(button, sureText);
      if (label) button.setAttribute("aria-label", `${label}: press again to be sure`);
      timer = setTimeout(calm, SURE_MS);
      return;
    }
    calm();
    during(button, deed);
  });
  return button;
}

/** @param {string} name */
export function endButton(name) {
  const button = make("button", { type: "button", class: "danger", "aria-label": `End session ${name}` });
  return sure(button, "End", "Really?", () => endSession(name));
}

/** @param {string} name */
export async function endSession(name) {
  await ask("DELETE", `/session/${encodeURIComponent(name)}`);
  return `Session ${name} has ended.`;
}
