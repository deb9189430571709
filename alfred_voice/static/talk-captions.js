// What is heard and said, as a list that grows. Words come from strangers: all of them go through textContent.

import { clockOf } from "./transcript.js";

/** The most that the page shows; files have more. */
const MOST_SHOWN = 300;

export class Captions {
  #list;
  #live;
  #empty;
  #place = "";

  /**
   * @param {HTMLElement} list what is settled
   * @param {HTMLElement} live what is being said
   * @param {HTMLElement} empty shown while there is nothing
   */
  constructor(list, live, empty) {
    this.#list = list;
    this.#live = live;
    this.#empty = empty;
  }

  /** @param {{text: string, stable_text: string}} partial */
  showPartial({ text, stable_text }) {
    const [stable, guess] = this.#live.children;
    stable.textContent = stable_text;
    guess.textContent = text.slice(stable_text.length);
    this.#live.hidden = false;
    this.#empty.hidden = true;
    this.#scroll();
  }

  clearPartial() {
    for (const part of this.#live.children) part.textContent = "";
    this.#live.hidden = true;
  }

  /**
   * An utterance that is over.
   * @param {string} place the recording that it is of; empty for the conversation
   * @param {{text: string, start_ms: number, confidence?: number}} entry
   * @param {string} note what is to be read beside it, such as its latency
   */
  addHeard(place, entry, note = "") {
    if (!place) this.clearPartial();
    this.#turnTo(place);
    const item = this.#add("heard", clockOf(entry.start_ms), entry.text, note);
    if (entry.confidence !== undefined) item.title = `confidence ${Math.round(entry.confidence * 100)} %`;
  }

  /** Something that the daemon is to say. @param {string} text @param {string} note @returns {HTMLElement} its line */
  addSaid(text, note) {
    this.#turnTo("");
    return this.#add("said", "Alfred", text, note);
  }

  /** What has become of it. @param {HTMLElement} line @param {string} note @param {"cut" | "whole"} [end] once it is over */
  noteSaid(line, note, end) {
    if (end) line.dataset.end = end;
    for (const part of line.querySelectorAll(".note")) part.textContent = note;
  }

  /** A line between two parts. @param {string} text @param {string} [place] the recording that it speaks of */
  addHeading(text, place = "") {
    if (!place) this.#turnTo("");
    this.#place = place;
    this.#addHeading(text);
  }

  /** Lines of a recording and of the conversation may alternate: each part says what it is. @param {string} place */
  #turnTo(place) {
    if (place === this.#place) return;
    this.#place = place;
    this.#addHeading(place || "The conversation");
  }

  /** @param {string} text */
  #addHeading(text) {
    const item = document.createElement("li");
    item.className = "heading";
    item.textContent = text;
    this.#append(item);
  }

  clear() {
    this.#list.replaceChildren();
    this.#place = "";
    this.clearPartial();
    this.#empty.hidden = false;
  }

  /** @param {string} kind @param {string} when @param {string} text @param {string} note */
  #add(kind, when, text, note) {
    const item = document.createElement("li");
    item.className = kind;
    for (const [name, value] of [["when", when], ["words", text], ["note", note]]) {
      const part = document.createElement(name === "words" ? "p" : "span");
      part.className = name;
      part.textContent = value;
      item.append(part);
    }
    this.#append(item);
    return item;
  }

  /** @param {HTMLElement} item */
  #append(item) {
    this.#empty.hidden = true;
    this.#list.append(item);
    while (this.#list.children.length > MOST_SHOWN) this.#list.firstElementChild?.remove();
    this.#scroll();
  }

  /** Follow what is new, unless somebody has scrolled up to read. */
  #scroll() {
    const box = this.#list.closest(".scroll");
    if (!box) return;
    const isNear = box.scrollHeight - box.scrollTop - box.clientHeight < 160;
    if (isNear) box.scrollTop = box.scrollHeight;
  }
}
