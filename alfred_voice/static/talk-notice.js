// What went wrong, above everything else.

import { AlfredVoiceError } from "./alfred-voice-errors.js";
import { at } from "./element.js";
import { sayingOf } from "./talk-messages.js";

export class Notice {
  constructor() {
    at("notice-close").addEventListener("click", () => this.hide());
  }

  /** @param {unknown} error @returns {string} its code */
  show(error) {
    const { what, advice } = sayingOf(error);
    const code = error instanceof AlfredVoiceError ? error.code : "unknown";
    at("notice-what").textContent = what;
    at("notice-advice").textContent = advice;
    at("notice").dataset.code = code;
    at("notice").hidden = false;
    return code;
  }

  hide() {
    at("notice").hidden = true;
  }
}
