/**
 * What can go wrong between a page and the daemon. Each error has a `code` that programs can rely on:
 *
 * - of the browser: `insecure_context`, `no_microphone`, `permission_denied`, `microphone_busy`, `microphone_failed`,
 *   `unsupported`;
 * - of your own: `cancelled`, what was being opened was taken back by `rest()`, `stop()` or `close()`;
 * - of the way to the daemon: `daemon_gone`, `connection_lost`, `websocket_failed`, `webrtc_failed`, `not_connected`;
 * - of the daemon itself: the codes of its `error` events and problem documents, such as `key_needed`, `key_refused`,
 *   `too_many_sessions`, `origin_refused`.
 */
export class AlfredVoiceError extends Error {
  /**
   * @param {string} code
   * @param {string} message what was expected and what came
   * @param {{status?: number, retryAfterS?: number | null, cause?: unknown}} [more]
   */
  constructor(code, message, { status = 0, retryAfterS = null, cause } = {}) {
    super(message, { cause });
    this.name = "AlfredVoiceError";
    this.code = code;
    /** The HTTP status, where there was one. */
    this.status = status;
    /** When it makes sense to try again, in seconds; null where the daemon did not say. */
    this.retryAfterS = retryAfterS;
  }
}

/**
 * The error in an HTTP answer that is none of the 2xx.
 * @param {number} status
 * @param {string} body a problem document (RFC 9457), or anything
 * @param {string | null} retryAfter the header
 */
export function errorOfAnswer(status, body, retryAfter) {
  /** @type {{code?: string, detail?: string}} */
  let problem = {};
  try {
    problem = JSON.parse(body) ?? {};
  } catch {
    problem = {}; // some proxy's page
  }
  const seconds = Number(retryAfter);
  return new AlfredVoiceError(problem.code ?? "refused", problem.detail ?? `the daemon answered with ${status}`, {
    status,
    retryAfterS: retryAfter !== null && Number.isFinite(seconds) ? seconds : null,
  });
}

/**
 * Why a WebSocket could not be opened, or a request went nowhere: browsers do not tell, but a plain request gets the same answer.
 * @param {URL} url the daemon's
 * @param {string | null} key
 * @returns {Promise<AlfredVoiceError>}
 */
export async function explainRefusal(url, key) {
  let answer;
  try {
    // A page of an origin that is not allowed may not even show a key: without one it is told why.
    answer = await ask(url, key).catch((cause) => (key ? ask(url, null) : Promise.reject(cause)));
  } catch (cause) {
    return new AlfredVoiceError("daemon_gone", `nothing answers at ${url.origin}`, { cause });
  }
  if (answer.status === 426) {
    const message = "the daemon answers, but not by WebSocket; a proxy in between may not pass them on";
    return new AlfredVoiceError("websocket_failed", message);
  }
  return errorOfAnswer(answer.status, await answer.text(), answer.headers.get("Retry-After"));
}

/** @param {URL} url @param {string | null} key */
function ask(url, key) {
  const headers = new Headers(key ? { Authorization: `Bearer ${key}` } : {});
  return fetch(new URL("ws", url), { headers, cache: "no-store", signal: AbortSignal.timeout(5_000) });
}
