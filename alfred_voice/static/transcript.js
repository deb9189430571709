// What was said, as files. Values in, texts out.

const LINE_CHARS = 42;
const CUE_CHARS = 2 * LINE_CHARS;
/** The most that is kept of one conversation; beyond it the oldest go. */
const MOST_ENTRIES = 5_000;

/**
 * @typedef {{word: string, start_ms: number, end_ms: number}} Word
 * @typedef {"user" | "daemon"} Voice
 * @typedef {"cut" | "unfinished"} Broken why it is not whole: it was interrupted, or the connection was lost before its end
 * @typedef {{text: string, start_ms: number, end_ms: number, words?: Word[], confidence?: number, speaker?: Voice, broken?: Broken}} Heard by the user, unless it says otherwise
 * @typedef {{text: string, start_ms: number, end_ms: number, words: Word[], confidence?: number, speaker: Voice, broken?: Broken}} Entry
 * @typedef {{text: string, start_ms: number, end_ms: number}} Cue
 */

/** One conversation or one recording, on a clock of its own. */
export class Transcript {
  /** @type {Entry[]} */
  entries = [];

  /** @param {string} name what its files are called */
  constructor(name) {
    this.name = name;
  }

  /**
   * Put in where it belongs: what is said at the same time is not told in its order.
   * @param {Heard} entry on its session's clock
   * @param {number} [startMs] where it begins on the transcript's clock; as on the session's unless given
   * @returns {Entry} the same on the transcript's
   */
  add({ text, start_ms, end_ms, words = [], confidence, speaker = "user", broken }, startMs = start_ms) {
    const offset = Math.max(0, startMs) - start_ms;
    /** @template {{start_ms: number, end_ms: number}} T @param {T} one @returns {T} */
    const moved = (one) => ({ ...one, start_ms: one.start_ms + offset, end_ms: one.end_ms + offset });
    const entry = moved({ text, start_ms, end_ms, words: words.map(moved), confidence, speaker, broken });
    this.entries.splice(this.entries.findLastIndex((other) => other.start_ms <= entry.start_ms) + 1, 0, entry);
    if (this.entries.length > MOST_ENTRIES) this.entries.shift();
    return entry;
  }
}

/** The four kinds of files: what they end in, what they are, and what makes them. */
export const FORMATS = {
  txt: { type: "text/plain", render: toText },
  srt: { type: "application/x-subrip", render: toSrt },
  vtt: { type: "text/vtt", render: toVtt },
  json: { type: "application/json", render: toJson },
};

/** @param {Transcript} transcript */
export function toText({ entries }) {
  return entries.map((entry) => `${isMixed(entries) ? `${nameOf(entry)}: ` : ""}${entry.text}${markOf(entry)}\n`).join("");
}

/** @param {Transcript} transcript */
export function toSrt({ entries }) {
  const named = isMixed(entries);
  const cues = entries.flatMap((entry) => {
    const [first, ...rest] = cuesOf(entry);
    return first ? [named ? { ...first, text: `${nameOf(entry)}: ${first.text}` } : first, ...rest] : [];
  });
  return cues
    .map((cue, i) => `${i + 1}\n${stamp(cue.start_ms, ",")} --> ${stamp(cue.end_ms, ",")}\n${wrap(cue.text)}\n\n`)
    .join("");
}

/** @param {Transcript} transcript */
export function toVtt({ entries }) {
  const cues = entries.flatMap((entry) => cuesOf(entry).map((cue) => ({ ...cue, voice: nameOf(entry) })));
  /** @param {{voice: string}} cue */
  const voice = (cue) => (isMixed(entries) ? `<v ${cue.voice}>` : "");
  const body = cues.map((cue) => `${stamp(cue.start_ms, ".")} --> ${stamp(cue.end_ms, ".")}\n${voice(cue)}${escapeVtt(wrap(cue.text))}\n\n`);
  return `WEBVTT\n\n${body.join("")}`;
}

/** @param {Transcript} transcript */
export function toJson({ name, entries }) {
  const text = entries.filter((entry) => entry.speaker === "user").map((entry) => entry.text);
  return `${JSON.stringify({ name, text: text.join(" "), segments: entries }, null, 2)}\n`;
}

/** Minutes and seconds for the eye. @param {number} ms */
export function clockOf(ms) {
  const seconds = Math.floor(ms / 1000);
  /** @param {number} value */
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  return `${hours ? `${hours}:` : ""}${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

/** @param {Entry} entry */
function nameOf({ speaker }) {
  return speaker === "daemon" ? "Alfred" : "You";
}

/** @param {Entry[]} entries */
function isMixed(entries) {
  return entries.some((entry) => entry.speaker === "daemon");
}

/** An entry in pieces that fit into two lines, cut between words; their times are the words', or in proportion. @param {Entry} entry */
function cuesOf(entry) {
  const { text, start_ms, end_ms, words } = entry;
  const parts = text.split(/\s+/).filter(Boolean);
  const isTimed = words.length === parts.length;
  /** @param {number} i */
  const timeAt = (i) => start_ms + ((end_ms - start_ms) * i) / Math.max(1, parts.length);
  /** @type {Cue[]} */
  const cues = [];
  parts.forEach((part, i) => {
    const [from, to] = isTimed ? [words[i].start_ms, words[i].end_ms] : [timeAt(i), timeAt(i + 1)];
    const last = cues.at(-1);
    if (last && last.text.length + 1 + part.length <= CUE_CHARS) {
      last.text += ` ${part}`;
      last.end_ms = to;
    } else {
      cues.push({ text: part, start_ms: from, end_ms: to });
    }
  });
  for (const last of cues.slice(-1)) last.text += markOf(entry);
  return cues;
}

/** @param {Entry} entry */
function markOf({ broken }) {
  return broken ? ` [${broken === "cut" ? "cut off" : broken}]` : "";
}

/** @param {string} text */
function wrap(text) {
  if (text.length <= LINE_CHARS) return text;
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1);
    if (line && line.length + 1 + word.length > LINE_CHARS && lines.length < 2) lines.push(word);
    else lines[lines.length - 1] = line ? `${line} ${word}` : word;
  }
  return lines.join("\n");
}

/** @param {number} ms @param {string} point */
function stamp(ms, point) {
  const whole = Math.max(0, Math.round(ms));
  /** @param {number} value */
  const two = (value) => String(value).padStart(2, "0");
  const rest = String(whole % 1000).padStart(3, "0");
  return `${two(Math.floor(whole / 3_600_000))}:${two(Math.floor(whole / 60_000) % 60)}:${two(Math.floor(whole / 1000) % 60)}${point}${rest}`;
}

/** @param {string} text */
function escapeVtt(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
