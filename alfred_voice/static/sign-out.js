// The way out, and a word for the form that is seen next.

const PATH = "/sign-in";
const REASON_ITEM = "alfred-voice-left";
/** @type {Record<string, string>} */
const REASONS = {
  asked: "You have signed out.",
  gone: "The daemon does not let this browser in any more: the key was revoked, twelve hours are over, you signed out in another tab, or it was started anew.",
};

/** Give the cookie back. Raises where the daemon cannot be reached: then the browser is still signed in. */
export async function signOut() {
  const answer = await fetch(PATH, { method: "DELETE", cache: "no-store" });
  if (!answer.ok) throw new Error(`the daemon answered ${answer.status}`);
}

/**
 * Load the page anew, which is the form now.
 * @param {"asked" | "gone"} why
 */
export function leave(why) {
  sessionStorage.setItem(REASON_ITEM, why);
  location.replace(location.pathname);
}

/** What the form says of it, once. @returns {string} */
export function leaveReason() {
  const why = sessionStorage.getItem(REASON_ITEM) ?? "";
  sessionStorage.removeItem(REASON_ITEM);
  return REASONS[why] ?? "";
}
