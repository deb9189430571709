// The page on which a person talks with the daemon. It is put together from alfred-voice.js, which knows nothing of the page.

import { AlfredVoice, AlfredVoiceError } from "./alfred-voice.js";
import { at } from "./element.js";
import { Captions } from "./talk-captions.js";
import { exampleIn, makeTabs } from "./talk-code.js";
import { Files } from "./talk-files.js";
import { TabKey } from "./talk-key.js";
import { Latency } from "./talk-latency.js";
import { sayingOf } from "./talk-messages.js";
import { COLUMN_MS, Timeline } from "./talk-timeline.js";

/**
 * @typedef {import("./alfred-voice.js").Events} Events
 * @typedef {import("./alfred-voice.js").State} State
 */

const SILENT_DB = -100;
const METER_FLOOR_DB = -60;
const SHOWN_MS = 2_000;
/** Less than this is not worth a word. */
const MISSED_MS = 500;

/** @type {Record<State, string>} */
const LINKS = { closed: "not connected", connecting: "connecting", open: "connected", reconnecting: "connection lost, coming back" };
const PHASES = {
  idle: ["Press and talk", "Your words appear as you say them. Talk over Alfred, and it stops."],
  asking: ["Connecting", "The browser may ask whether this page may use the microphone."],
  connecting: ["Connecting", "You can begin: what you say is kept, and sent when the connection stands."],
  listening: ["Listening", "Say something. Press again when you are done."],
  hearing: ["I hear you", "Go on; nothing is sent anywhere but to the daemon."],
  pending: ["Go on", "A pause, but it sounds as if more will come."],
  speaking: ["Alfred speaks", "Talk over it, and it stops."],
  reconnecting: ["Coming back", "The connection was lost. What you say is kept, and sent when it is back."],
};
/** By WebRTC nothing is kept. */
const UNHEARD = {
  connecting: ["Connecting", "One moment: what you say now is not heard yet."],
  reconnecting: ["Coming back", "The connection was lost. What you say now is not heard until it is back."],
};

const captions = new Captions(at("transcript"), at("live"), at("empty"));
const timeline = new Timeline(at("timeline", HTMLCanvasElement));
const latency = new Latency(at("latency"), at("latency-note"));
const files = new Files(captions, { key: () => tabKey.value, fail: showError, tell });

const tabKey = new TabKey({
  changed: () => {
    hangUp();
    hideNotice();
    makeCode();
  },
  fail: showError,
  tell,
});

/** @type {AlfredVoice | null} */
let voice = null;
let isTalking = false;
let isHearing = false;
let isPending = false;
let isSpeaking = false;
let hasSession = false;
/** What was said and lost while the connection was away, in ms. */
let missingMs = 0;
let shownPhase = "idle";
/** @type {ReturnType<typeof setInterval> | null} */
let ticking = null;

// The conversation

function conversation() {
  if (voice) return voice;
  const transport = transports().find((radio) => radio.checked)?.value === "webrtc" ? "webrtc" : "websocket";
  const opened = (voice = new AlfredVoice({ url: location.origin, key: tabKey.value, transport }));
  /** @template {keyof Events} T @param {T} type @param {(detail: Events[T]) => void} act */
  const on = (type, act) => opened.addEventListener(type, (event) => event instanceof CustomEvent && act(event.detail));
  on("state", ({ state }) => showState(state));
  on("fault", (error) => fail(error));
  on("sessionStarted", begin);
  on("speechStart", heardSpeech);
  on("speechEnd", heardSilence);
  on("partialTranscription", (partial) => {
    latency.partial(partial);
    captions.showPartial(partial);
  });
  on("finalTranscription", (final) => settle(final));
  on("turnPending", () => markPhase("pause", { pending: true }));
  on("turnComplete", (turn) => {
    latency.add("turn", turn.latency_ms);
    markPhase("turn", { pending: false });
    echo(turn.utterance);
  });
  on("ttsStart", startSaying);
  on("interruption", interrupted);
  on("ttsEnd", ({ speech_id, cancelled }) => {
    if (cancelled) endSaying(speech_id, "stopped", true);
  });
  on("spoken", ({ speech_id, heard_ms, cancelled }) => {
    if (!cancelled) endSaying(speech_id, `${(heard_ms / 1000).toFixed(1)} s`, false);
  });
  on("audioDropped", ({ ms }) => (missingMs += ms));
  on("error", (error) => error.fatal || showError(new AlfredVoiceError(error.code, error.message, { retryAfterS: error.retry_after_s ?? null })));
  on("sessionEnded", ended);
  return opened;
}

/** What may be chosen between. */
function transports() {
  return [...document.querySelectorAll("[name=transport]")].filter((radio) => radio instanceof HTMLInputElement);
}

async function talk() {
  if (isTalking) {
    isTalking = false;
    showTalk();
    await voice?.rest(); // also while the browser still asks
    return;
  }
  hideNotice();
  isTalking = true;
  showTalk();
  const isClean = at("clean", HTMLInputElement).checked;
  const constraints = { echoCancellation: isClean, noiseSuppression: isClean, autoGainControl: isClean };
  try {
    await conversation().listen(constraints);
  } catch (error) {
    if (!isCancelled(error)) fail(error);
  }
}

/** Whether something ended because the user wanted it to. @param {unknown} error */
function isCancelled(error) {
  return error instanceof AlfredVoiceError && error.code === "cancelled";
}

/** A session is there; the daemon may have been started anew, and know nothing of the one before. */
function begin() {
  if (hasSession) {
    isHearing = isPending = isSpeaking = false;
    captions.clearPartial();
    captions.addHeading("The daemon no longer had this conversation; a new one goes on from here.");
  }
  hasSession = true;
  files.begin();
}

/** The daemon has ended the session by itself, or because we asked. @param {Events["sessionEnded"]} end */
function ended({ reason }) {
  if (reason === "idle") tell("The session ended, as nothing was heard for a while.");
  if (reason === "shutdown") showError(new AlfredVoiceError("draining", ""));
  if (reason === "max_duration") showError(new AlfredVoiceError("session_over", ""));
}

/** @param {string} text */
async function say(text) {
  hideNotice();
  const how = at("voice", HTMLSelectElement).value ? { voice: at("voice", HTMLSelectElement).value } : {};
  const talking = conversation();
  await talking.connect();
  talking.speak(text, how);
}

/** @type {Map<number, string>} finals whose turn is not over */
const finals = new Map();

/** @param {Events["finalTranscription"]} final */
function settle(final) {
  latency.add("final", final.latency_ms);
  captions.clearPartial();
  if (!final.text) return;
  finals.set(final.utterance, final.text);
  const entry = files.addHeard(final);
  captions.addHeard(entry, `${Math.round(final.latency_ms)} ms`);
}

/** @param {number} utterance */
function echo(utterance) {
  const text = finals.get(utterance);
  finals.delete(utterance);
  if (text && at("echo", HTMLInputElement).checked && voice?.state === "open") voice.speak(text);
}

/** About where the session's clock is. */
function sentMs() {
  return voice?.sentMs ?? 0;
}

/** @param {Events["speechStart"]} start */
function heardSpeech({ at_ms }) {
  latency.begin();
  isHearing = true;
  isPending = false;
  timeline.recolour(sentMs() - at_ms, true);
  showTalk();
}

/** @param {Events["speechEnd"]} end */
function heardSilence({ at_ms }) {
  isHearing = false;
  timeline.recolour(sentMs() - at_ms, false);
  showTalk();
}

/** @param {"turn" | "pause" | "cut"} mark @param {{pending: boolean}} how */
function markPhase(mark, { pending }) {
  isPending = pending;
  timeline.mark(mark);
  showTalk();
}

/** @param {Events["ttsStart"]} speech */
function startSaying({ speech_id, text }) {
  isSpeaking = true;
  captions.addSaid(speech_id, text);
  files.addSaid(text, sentMs());
  showTalk();
}

/** @param {number} speechId @param {string} note @param {boolean} isCut */
function endSaying(speechId, note, isCut) {
  isSpeaking = false;
  captions.endSaid(speechId, note, isCut);
  showTalk();
}

/** @param {Events["interruption"]} cut */
function interrupted({ speech_id, heard_ms, latency_ms }) {
  latency.add("cut", latency_ms);
  timeline.mark("cut");
  endSaying(speech_id, `you interrupted after ${(heard_ms / 1000).toFixed(1)} s`, true);
}

// What is shown

/** @param {State} state */
function showState(state) {
  const transport = state === "open" ? ` by ${document.querySelector("[name=transport]:checked + span")?.textContent}` : "";
  if (state === "open" && missingMs >= MISSED_MS) {
    captions.addHeading(`The connection was away: about ${Math.round(missingMs / 1000)} s of what you said are missing.`);
  }
  if (state === "open") missingMs = 0;
  at("link").textContent = LINKS[state] + transport;
  at("link").dataset.state = state;
  if (state === "closed") {
    if (isTalking) voice?.rest(); // the microphone is not to be left open
    isTalking = isHearing = isPending = isSpeaking = hasSession = false;
    missingMs = 0;
    captions.clearPartial();
  }
  showTalk();
}

/** Whether what is said now reaches nobody. @param {string} now @returns {now is keyof typeof UNHEARD} */
function isUnheard(now) {
  return now in UNHEARD && transports().find((radio) => radio.checked)?.value === "webrtc";
}

/** @returns {keyof typeof PHASES} */
function phase() {
  if (voice?.state === "reconnecting") return "reconnecting";
  if (isTalking && voice?.state !== "open") return voice?.microphone ? "connecting" : "asking";
  if (isHearing) return "hearing";
  if (isSpeaking) return "speaking";
  if (isTalking && isPending) return "pending";
  return isTalking ? "listening" : "idle";
}

function showTalk() {
  const now = phase();
  const isDeaf = isUnheard(now);
  const [title, hint] = isUnheard(now) ? UNHEARD[now] : PHASES[now];
  at("phase").textContent = title;
  at("hint").textContent = hint;
  if (now !== shownPhase && isTalking && (now in UNHEARD || shownPhase in UNHEARD)) tell(`${title}. ${hint}`);
  shownPhase = now;
  document.body.dataset.phase = now;
  document.body.toggleAttribute("data-unheard", isDeaf);
  at("talk").setAttribute("aria-pressed", String(isTalking));
  const isConnecting = now === "connecting" || now === "asking";
  at("talk").setAttribute("aria-busy", String(isConnecting));
  at("talk-label").textContent = isConnecting ? "Connecting…" : isTalking ? "Stop" : "Talk";
  at("quiet", HTMLButtonElement).disabled = !isSpeaking;
  for (const radio of transports()) {
    radio.disabled = isTalking || radio.matches(":not([data-offered])");
  }
  at("clean", HTMLInputElement).disabled = isTalking;
  const isMoving = isTalking || isSpeaking;
  if (isMoving && ticking === null) ticking = setInterval(tick, COLUMN_MS);
  if (!isMoving && ticking !== null) {
    clearInterval(ticking);
    ticking = null;
    showLevel(SILENT_DB);
  }
}

function tick() {
  const level = voice?.microphone?.level ?? SILENT_DB;
  timeline.push(level, isSpeaking ? (voice?.speaker?.level ?? SILENT_DB) : SILENT_DB, isHearing);
  showLevel(level);
}

/** @param {number} db */
function showLevel(db) {
  const shown = Math.max(METER_FLOOR_DB, Math.min(0, db));
  const share = 1 - shown / METER_FLOOR_DB;
  document.body.style.setProperty("--level", share.toFixed(3));
  at("meter").setAttribute("aria-valuenow", String(Math.round(shown)));
  at("meter").setAttribute("aria-valuetext", db <= METER_FLOOR_DB ? "silent" : `${Math.round(shown)} decibels`);
}

/** The conversation is over. @param {unknown} error */
function fail(error) {
  isTalking = isHearing = isPending = isSpeaking = false;
  showTalk();
  showError(error);
}

/** @param {unknown} error */
function showError(error) {
  const { what, advice } = sayingOf(error);
  at("notice-what").textContent = what;
  at("notice-advice").textContent = advice;
  const code = error instanceof AlfredVoiceError ? error.code : "unknown";
  at("notice").dataset.code = code;
  at("notice").hidden = false;
  if (code === "key_needed" || code === "key_refused") tabKey.ask();
}

function hideNotice() {
  at("notice").hidden = true;
}

/** Something that a screen reader should say, too. @param {string} text */
function tell(text) {
  at("said").textContent = text;
}

/** @param {HTMLElement} button @param {string} text */
async function copy(button, text) {
  const was = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "The browser refused"; // on an address that is not secure there is no clipboard
  }
  tell(button.textContent);
  setTimeout(() => (button.textContent = was), SHOWN_MS);
}

/** Another way, or another key: the session by the old one is over. */
function hangUp() {
  isTalking = false;
  voice?.close();
  voice = null;
  showTalk();
}

/** @param {string} name */
function showCode(name) {
  at("code-text").textContent = exampleIn(name, { address: location.origin, hasKey: Boolean(tabKey.value || document.body.dataset.key) });
  at("code").setAttribute("aria-labelledby", `tab-${name}`);
}

at("address").textContent = location.host;
for (const radio of transports()) if (!radio.disabled) radio.dataset.offered = "";
at("talk").addEventListener("click", talk);
at("notice-close").addEventListener("click", hideNotice);
at("quiet").addEventListener("click", () => voice?.stopSpeaking());
at("copy-text").addEventListener("click", () => copy(at("copy-text"), captions.text));
at("copy-code").addEventListener("click", () => copy(at("copy-code"), at("code").textContent ?? ""));
at("clear").addEventListener("click", () => {
  files.clear();
  at("talk").focus();
});
at("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = at("sentence", HTMLInputElement).value.trim();
  if (!text) return;
  try {
    await say(text);
    at("sentence", HTMLInputElement).value = "";
  } catch (error) {
    showError(error);
  }
});
for (const radio of document.querySelectorAll("[name=transport]")) radio.addEventListener("change", hangUp);
document.addEventListener("keydown", (event) => event.key === "Escape" && isSpeaking && voice?.stopSpeaking());
window.addEventListener("pagehide", hangUp);

function makeCode() {
  const chosen = document.querySelector("[role=tab][aria-selected=true]");
  showCode(chosen?.getAttribute("data-name") ?? "python");
}

makeTabs(at("languages"), showCode);
showTalk();
showLevel(SILENT_DB);
document.body.dataset.ready = "";
