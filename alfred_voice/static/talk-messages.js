// What went wrong, in words for the person before the page: what it is, and what to do.

import { AlfredVoiceError } from "./alfred-voice-errors.js";

/** @type {Record<string, [string, string]>} what is wrong, and what to do; by the error's code */
const SAYINGS = {
  insecure_context: [
    "This address is not secure, so the browser gives no microphone.",
    "Open the page by https, or on the machine itself as http://localhost. Typing, uploading and listening work here, too.",
  ],
  no_microphone: ["No microphone was found.", "Plug one in, or choose another one in your browser's settings, and press Talk again."],
  permission_denied: [
    "The browser was not allowed to use the microphone.",
    "Click the symbol beside the address, allow the microphone for this page, and press Talk again.",
  ],
  microphone_busy: ["The microphone gives no sound.", "Another program may hold it. Close that one, and press Talk again."],
  unsupported: ["This browser cannot do that.", "Any Chrome, Edge, Firefox or Safari of the last years can."],
  daemon_gone: ["The daemon does not answer.", "Is it still running? The page tries again when you press Talk."],
  connection_lost: ["The connection was lost, and did not come back.", "Press Talk to begin a new conversation; what was said stays here."],
  not_offered: ["This daemon does not offer WebRTC.", "Choose WebSocket instead."],
  webrtc_failed: ["WebRTC could not connect.", "Choose WebSocket instead: it needs no way but that of this page."],
  websocket_failed: ["The daemon answers, but not by WebSocket.", "A proxy in between has to pass WebSockets on; docs/security.md shows how."],
  key_needed: ["This daemon wants a key.", "Enter yours above. It stays in this tab."],
  key_refused: ["The daemon does not know this key.", "Enter another one above."],
  too_many_attempts: ["Too many wrong keys have come from your address.", "Wait a minute, and enter the right one above."],
  draining: ["The daemon is shutting down.", "Try again when it has been started anew."],
  session_over: ["The session has lasted as long as one may.", "Press Talk to begin the next; what was said stays here."],
  ended_by_operator: ["The session was ended by the daemon's operator.", "Press Talk to begin a new one; what was said stays here."],
  too_much_to_say: ["Alfred has too much to say already.", "Your sentence is in its field again: send it when some of the others have been said."],
  origin_refused: ["The daemon does not let this page in.", "Its operator can name this address in security.allowed_origins."],
  not_connected: ["There is no connection at the moment.", "Wait for it to come back, or press Talk."],
};

/**
 * @param {unknown} thrown
 * @returns {{what: string, advice: string}}
 */
export function sayingOf(thrown) {
  if (!(thrown instanceof AlfredVoiceError)) return { what: "That did not work.", advice: `The page says: ${thrown}` };
  const error = thrown;
  const known = SAYINGS[error.code];
  if (known) return { what: known[0], advice: withDetail(known[1], error) };
  if (error.retryAfterS !== null) {
    const seconds = Math.max(1, Math.round(error.retryAfterS));
    return {
      what: "The daemon has no room at the moment.",
      advice: `Try again in ${seconds} ${seconds === 1 ? "second" : "seconds"}. It says: ${error.message}.`,
    };
  }
  return { what: "That did not work.", advice: `The daemon says: ${error.message || error}` };
}

/** The browser's or the proxy's own words help where ours are general. @param {string} advice @param {AlfredVoiceError} error */
function withDetail(advice, error) {
  return error.code === "unsupported" ? `${advice} (${error.message})` : advice;
}
