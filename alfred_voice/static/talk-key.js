// The key of a daemon that wants one: tried at once, kept in this tab, and forgotten when somebody signs out.
// Who has signed in to the monitor comes by the cookie and needs none here.

import { AlfredVoiceError, errorOfAnswer } from "./alfred-voice-errors.js";
import { at } from "./element.js";
import { signOut } from "./sign-out.js";

const PATH = "/sign-in";
const ITEM = "alfred-voice-key";


export class TabKey {
  /** @type {string | null} */
  value = sessionStorage.getItem(ITEM);
  #hooks;
  #byCookie = document.body.dataset.key ?? "";

  /**
   * @param {{changed(): void, fail(error: AlfredVoiceError): void, tell(text: string): void}} hooks `changed`: sessions by
   * the key before are over; `fail`: it is none
   */
  constructor(hooks) {
    this.#hooks = hooks;
    at("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#use(this.#field.value.trim());
    });
    at("sign-out").addEventListener("click", () => this.#signOut());
    if (this.value) this.#recall(this.value);
  }

  /** Ask for another one. */
  ask() {
    this.#show("");
    at("key-form").hidden = false;
    this.#field.focus();
  }

  get #field() {
    return at("key", HTMLInputElement);
  }

  // The key of this tab, as the page is loaded again; it may have been revoked meanwhile.
  /** @param {string} kept */
  async #recall(kept) {
    this.#show("…");
    try {
      this.#show(await nameOf(kept));
    } catch (error) {
      this.#refused(error);
    }
  }

  /** @param {string} said */
  async #use(said) {
    if (!said) return this.#field.focus();
    try {
      const name = await nameOf(said);
      this.#keep(said);
      this.#field.value = "";
      this.#show(name);
      at("sign-out").focus(); // what had the keyboard is hidden
      this.#hooks.changed();
      this.#hooks.tell(`Signed in with the key ${name}.`);
    } catch (error) {
      this.#refused(error);
    }
  }

  /** @param {unknown} error */
  #refused(error) {
    const failure = error instanceof AlfredVoiceError ? error : new AlfredVoiceError("daemon_gone", "");
    if (failure.code === "key_refused") this.#keep(null);
    this.#hooks.fail(failure);
  }

  async #signOut() {
    try {
      if (this.#byCookie) await signOut();
    } catch {
      this.#hooks.fail(new AlfredVoiceError("daemon_gone", ""));
      return;
    }
    this.#byCookie = "";
    this.#keep(null);
    this.ask();
    this.#hooks.changed();
    this.#hooks.tell("You have signed out.");
  }

  /** @param {string | null} key */
  #keep(key) {
    this.value = key;
    if (key) sessionStorage.setItem(ITEM, key);
    else sessionStorage.removeItem(ITEM);
  }

  /** @param {string} name of the key; empty where there is none */
  #show(name) {
    at("key-form").hidden = Boolean(name);
    at("signed-in").hidden = !name;
    at("key-name").textContent = name;
  }
}

/**
 * What the daemon calls a key.
 * @param {string} key
 * @returns {Promise<string>}
 * @throws {AlfredVoiceError} it is none, or cannot be tried now
 */
async function nameOf(key) {
  // What no header can carry is no key either.
  if (!/^[\x21-\x7e]+$/.test(key)) throw new AlfredVoiceError("key_refused", "");
  const answer = await fetch(PATH, { cache: "no-store", headers: { Authorization: `Bearer ${key}` } });
  if (!answer.ok) throw errorOfAnswer(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  const { key: name } = /** @type {{key: string | null}} */ (await answer.json());
  return name ?? "";
}
