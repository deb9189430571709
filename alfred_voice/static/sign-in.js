// The form at the door: a key goes in, a cookie comes out, and the page that was asked for is loaded again.

import { at } from "./element.js";
import { leaveReason } from "./sign-out.js";

/** @typedef {{detail?: string, code?: string}} Problem */

const PATH = "/sign-in";
const TRIED_ITEM = "alfred-voice-came-by-link";
const TRIED_MS = 10_000;
const SECOND_MS = 1_000;

const key = at("key", HTMLInputElement);
const submit = at("submit", HTMLButtonElement);
const reveal = at("reveal", HTMLButtonElement);
const wantsAdmin = "wantsAdmin" in document.body.dataset;

let waiting = 0;

/** @param {string} code @param {string} detail @param {number} waitS */
function wordsOf(code, detail, waitS) {
  switch (code) {
    case "key_needed": return "";
    case "key_refused": return "The daemon does not know this key.";
    case "not_allowed": return "This key does not open the monitor: it is no administrator's.";
    case "too_many_attempts": return `Too many wrong keys have come from your address. Try again in ${waitS} s.`;
    case "rate_limited": return `This key asks too often. Try again in ${waitS} s.`;
    case "origin_refused": return "The daemon does not take this address for its own; security.allowed_origins has to name it.";
    default: return `That did not work: ${detail}`;
  }
}

/** @param {string} text */
function tell(text) {
  at("problem").textContent = text;
  if (text) key.setAttribute("aria-invalid", "true");
  else key.removeAttribute("aria-invalid");
}

/** @param {string} code @param {string} detail @param {number} waitS how long nothing is to be tried */
function refuse(code, detail, waitS) {
  tell(wordsOf(code, detail, waitS));
  clearTimeout(waiting); // what is left of an earlier refusal
  submit.disabled = waitS > 0;
  if (!waitS) return;
  waiting = setTimeout(() => {
    submit.disabled = false;
    tell("");
    key.focus();
  }, waitS * SECOND_MS);
}

// Without a key that came in the query: it is to stay in no address bar and no history.
function cleanAddress() {
  const address = new URL(location.href);
  address.searchParams.delete("token");
  return `${address.pathname}${address.search}${address.hash}`;
}

async function signIn() {
  const said = key.value.trim();
  if (!said) {
    tell("Type or paste a key.");
    key.focus();
    return;
  }
  submit.setAttribute("aria-busy", "true");
  submit.disabled = true;
  try {
    const answer = await fetch(PATH, {
      method: "POST", cache: "no-store", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ key: said, admin: wantsAdmin }),
    });
    if (!answer.ok) {
      const problem = /** @type {Problem} */ (await answer.json().catch(() => ({})));
      refuse(problem.code ?? "", problem.detail ?? `the daemon answered ${answer.status}`, Number(answer.headers.get("Retry-After")));
      key.select();
    } else if (await isSignedIn()) location.replace(cleanAddress());
    else refuse("", "this browser keeps no cookies for this address.", 0);
  } catch {
    refuse("", "the daemon does not answer. Is it running?", 0);
  } finally {
    submit.removeAttribute("aria-busy");
  }
}

async function isSignedIn() {
  const answer = await fetch(PATH, { cache: "no-store" });
  if (!answer.ok) return false;
  const { admin } = /** @type {{admin: boolean}} */ (await answer.json());
  return admin || !wantsAdmin;
}

// Who has followed a link of another site is signed in and yet came without the cookie. From here it goes along.
async function comeBack() {
  const triedAt = Number(sessionStorage.getItem(TRIED_ITEM));
  if (Date.now() - triedAt < TRIED_MS || !(await isSignedIn().catch(() => false))) return;
  sessionStorage.setItem(TRIED_ITEM, String(Date.now()));
  location.replace(cleanAddress());
}

history.replaceState(null, "", cleanAddress());
const { code = "", retryAfterS = "" } = document.body.dataset;
refuse(code, "", Number(retryAfterS));
const reason = code === "key_needed" ? leaveReason() : "";
at("before").hidden = !reason;
at("before").textContent = reason;
at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!submit.disabled) signIn();
});
key.addEventListener("input", () => { if (!submit.disabled) tell(""); });
reveal.addEventListener("click", () => {
  const isShown = key.type === "password";
  key.type = isShown ? "text" : "password";
  reveal.textContent = isShown ? "Hide" : "Show";
  reveal.setAttribute("aria-pressed", String(isShown));
  key.focus();
});
if (code === "key_needed") comeBack();
