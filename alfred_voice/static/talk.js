// The page on which a person talks with the daemon. It is put together from alfred-voice.js, which knows nothing of the page.

import { AlfredVoice, AlfredVoiceError } from "./alfred-voice.js";
import { at } from "./element.js";
import { Captions } from "./talk-captions.js";
import { exampleIn, makeTabs } from "./talk-code.js";
import { copy } from "./talk-copy.js";
import { Files } from "./talk-files.js";
import { TabKey } from "./talk-key.js";
import { Latency } from "./talk-latency.js";
import { Notice } from "./talk-notice.js";
import { LINKS, PHASES, UNHEARD } from "./talk-phases.js";
import { Speeches } from "./talk-speeches.js";
import { COLUMN_MS, Timeline } from "./talk-timeline.js";

/**
 * @typedef {import("./alfred-voice.js").Events} Events
 * @typedef {import("./alfred-voice.js").State} State
 */

const SILENT_DB = -100;
const METER_FLOOR_DB = -60;
/** Less than this is not worth a word. */
const MISSED_MS = 500;
/** What the daemon says of a speech that it does not take. */
const SPEECH_REFUSALS = new Set(["overloaded", "rate_limited", "text_unusable", "voice_unknown", "speech_invalid"]);

const notice = new Notice();
const captions = new Captions(at("transcript"), at("live"), at("empty"));
const timeline = new Timeline(at("timeline", HTMLCanvasElement));
const latency = new Latency(at("latency"), at("latency-note"), at("latency-wait"));
const files = new Files(captions, { key: () => tabKey.value, fail: showError, begin: hideNotice, tell });
const speeches = new Speeches(captions, { said: (...said) => files.addSaid(...said), changed: showTalk });

const tabKey = new TabKey({
  changed: () => {
    hangUp();
    if (tabKey.value === null) files.forget();
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
let hasSession = false;
/** The text of the open utterance, and when its first word was recorded. @type {{partial: Events["partialTranscription"], startAt: number} | null} */
let open = null;
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
    open = { partial, startAt: momentOf(partial.start_ms) };
  });
  on("finalTranscription", (final) => settle(final));
  on("turnPending", () => markPhase("pause", { pending: true }));
  on("turnComplete", (turn) => {
    latency.add("turn", turn.latency_ms);
    latency.wait(turn.silence_ms);
    markPhase("turn", { pending: false });
    echo(turn.utterance);
  });
  on("ttsStart", (speech) => speeches.begin(speech));
  on("interruption", interrupted);
  on("ttsEnd", (end) => speeches.ended(end));
  on("spoken", (spoken) => speeches.heard(spoken));
  on("audioDropped", ({ ms }) => (missingMs += ms));
  on("error", complained);
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
    isHearing = isPending = false;
    keepUnfinished();
    speeches.lost();
    captions.addHeading("The daemon no longer had this conversation; a new one goes on from here.");
  }
  hasSession = true;
  files.begin(momentOf(0));
}

/** When something was recorded; now, where nothing is known. @param {number} ms on the session's clock */
function momentOf(ms) {
  return voice?.momentOf(ms) ?? performance.now();
}

/** The session has gone, and its open utterance will have no final: what was understood of it stays. */
function keepUnfinished() {
  if (open?.partial.text) captions.addHeard("", files.addHeard({ ...open.partial, broken: "unfinished" }, open.startAt), "unfinished");
  open = null;
  captions.clearPartial();
}

/** The daemon has ended the session by itself, or because we asked. @param {Events["sessionEnded"]} end */
function ended({ reason }) {
  if (reason === "idle") tell("The session ended, as nothing was heard for a while.");
  if (reason === "shutdown") showError(new AlfredVoiceError("draining", ""));
  if (reason === "max_duration") showError(new AlfredVoiceError("session_over", ""));
  if (reason === "stop") showError(new AlfredVoiceError("ended_by_operator", "")); // this page never asks for that
}

/** Something did not work, and the session goes on. @param {Events["error"]} error */
function complained({ code, message, fatal, retry_after_s }) {
  if (fatal) return;
  const refused = SPEECH_REFUSALS.has(code) && speeches.newest;
  if (refused) giveBack(refused);
  showError(new AlfredVoiceError(refused && code === "overloaded" ? "too_much_to_say" : code, message, { retryAfterS: retry_after_s ?? null }));
}

/** What could not be said goes back to where it was typed, unless something else is there. @param {import("./talk-speeches.js").Speech} speech */
function giveBack(speech) {
  speeches.takeBack(speech);
  const field = at("sentence", HTMLInputElement);
  field.value ||= speech.text;
}

/** @param {string} text */
async function say(text) {
  hideNotice();
  const how = at("voice", HTMLSelectElement).value ? { voice: at("voice", HTMLSelectElement).value } : {};
  const talking = conversation();
  const speech = speeches.ask(text);
  try {
    await talking.connect();
    if (!speech.isDropped) speeches.sent(speech, talking.speak(text, how));
  } catch (error) {
    giveBack(speech);
    if (!isCancelled(error)) showError(error);
  }
}

/** @type {Map<number, string>} finals whose turn is not over */
const finals = new Map();

/** @param {Events["finalTranscription"]} final */
function settle(final) {
  latency.add("final", final.latency_ms);
  captions.clearPartial();
  open = null;
  if (!final.text) return;
  finals.set(final.utterance, final.text);
  const entry = files.addHeard(final, momentOf(final.start_ms));
  captions.addHeard("", entry, `${Math.round(final.latency_ms)} ms`);
}

/** @param {number} utterance */
function echo(utterance) {
  const text = finals.get(utterance);
  finals.delete(utterance);
  if (text && at("echo", HTMLInputElement).checked && voice?.state === "open") say(text);
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

/** @param {Events["interruption"]} cut */
function interrupted(cut) {
  latency.add("cut", cut.latency_ms);
  timeline.mark("cut");
  speeches.interrupted(cut);
}

/** Silence, now: also of what waits. */
function beQuiet() {
  speeches.drop();
  voice?.stopSpeaking();
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
    if (isTalking && hasSession) voice?.rest(); // the microphone is not to be left open; where none began, listen() closes it
    isTalking = isHearing = isPending = hasSession = false;
    missingMs = 0;
    keepUnfinished();
    speeches.lost();
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
  if (speeches.isSpeaking) return "speaking";
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
  at("quiet", HTMLButtonElement).disabled = !speeches.isBusy;
  for (const radio of transports()) {
    radio.disabled = isTalking || radio.matches(":not([data-offered])");
  }
  at("clean", HTMLInputElement).disabled = isTalking;
  const isMoving = isTalking || speeches.isSpeaking;
  if (isMoving && ticking === null) ticking = setInterval(tick, COLUMN_MS);
  if (!isMoving && ticking !== null) {
    clearInterval(ticking);
    ticking = null;
    showLevel(SILENT_DB);
  }
}

function tick() {
  const level = voice?.microphone?.level ?? SILENT_DB;
  timeline.push(level, speeches.isSpeaking ? (voice?.speaker?.level ?? SILENT_DB) : SILENT_DB, isHearing);
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
  isTalking = isHearing = isPending = false;
  showTalk();
  showError(error);
}

/** @param {unknown} error */
function showError(error) {
  const code = notice.show(error);
  if (code === "key_needed" || code === "key_refused") tabKey.ask();
}

function hideNotice() {
  notice.hide();
}

/** Something that a screen reader should say, too. @param {string} text */
function tell(text) {
  at("said").textContent = text;
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
at("quiet").addEventListener("click", beQuiet);
at("copy-code").addEventListener("click", () => copy(at("copy-code"), at("code").textContent ?? "", tell));
at("clear").addEventListener("click", () => {
  files.clear();
  at("talk").focus();
});
at("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("sentence", HTMLInputElement).value.trim();
  at("sentence", HTMLInputElement).value = ""; // it stands in the list now; a second Enter is not to say it twice
  if (text) say(text);
});
for (const radio of document.querySelectorAll("[name=transport]")) radio.addEventListener("change", hangUp);
document.addEventListener("keydown", (event) => event.key === "Escape" && speeches.isBusy && beQuiet());
window.addEventListener("pagehide", () => {
  hangUp();
  files.keep();
});
at("bring-back").hidden = files.kept === null;
at("bring-back").addEventListener("click", () => {
  files.bringBack();
  at("talk").focus();
});

function makeCode() {
  const chosen = document.querySelector("[role=tab][aria-selected=true]");
  showCode(chosen?.getAttribute("data-name") ?? "python");
}

makeTabs(at("languages"), showCode);
showTalk();
showLevel(SILENT_DB);
document.body.dataset.ready = "";
