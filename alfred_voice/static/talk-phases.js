// What the page says that it is doing.

/** @type {Record<import("./alfred-voice.js").State, string>} */
export const LINKS = { closed: "not connected", connecting: "connecting", open: "connected", reconnecting: "connection lost, coming back" };
/** What is going on, and what to do. */
export const PHASES = {
  idle: ["Press and talk", "Your words appear as you say them. Talk over Alfred, and it stops."],
  asking: ["Connecting", "The browser may ask whether this page may use the microphone."],
  connecting: ["Connecting", "You can begin: what you say is kept, and sent when the connection stands."],
  listening: ["Listening", "Say something. Press again when you are done."],
  hearing: ["I hear you", "Go on; nothing is sent anywhere but to the daemon."],
  pending: ["Go on", "A pause, but it sounds as if more will come."],
  speaking: ["Alfred speaks", "Talk over it, and it stops."],
  reconnecting: ["Coming back", "The connection was lost. What you say is kept, and sent when it is back."],
};
/** The same where nothing is kept, as by WebRTC. */
export const UNHEARD = {
  connecting: ["Connecting", "One moment: what you say now is not heard yet."],
  reconnecting: ["Coming back", "The connection was lost. What you say now is not heard until it is back."],
};
