// Elements and words. All text goes through textContent: session names and words come from strangers.

export { at } from "./element.js";

/** @param {Element} element @param {unknown} text */
export function put(element, text) {
  const told = String(text);
  if (element.textContent !== told) element.textContent = told;
}

/** @param {Element} element @param {string} name @param {unknown} value */
export function set(element, name, value) {
  const told = String(value);
  if (element.getAttribute(name) !== told) element.setAttribute(name, told);
}

/**
 * `make("td", { class: "number" }, "text", otherElement)`; attributes that are null or false are left out.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} kind
 * @param {Record<string, string | number | boolean | null>} attributes
 * @param {(Node | string)[]} inside
 */
export function make(kind, attributes = {}, ...inside) {
  const element = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...inside);
  return element;
}

/**
 * As many children as there are items; those that stay are kept, so that nothing vanishes under a pointer.
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {() => HTMLElement} makeOne
 * @param {(element: HTMLElement, item: T) => void} drawOne
 */
export function list(parent, items, makeOne, drawOne) {
  while (parent.children.length > items.length) parent.lastElementChild?.remove();
  while (parent.children.length < items.length) parent.append(makeOne());
  const elements = /** @type {HTMLCollectionOf<HTMLElement>} */ (parent.children); // all of them were made here
  items.forEach((item, index) => drawOne(elements[index], item));
}

// Words

/** @param {number} seconds */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** @param {number} seconds */
export function timeOfDay(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

/** @param {number} ms */
export function clock(ms) {
  const seconds = Math.max(0, ms) / 1000;
  return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
}

/** @param {number | null | undefined} value @param {number} [digits] */
export function number(value, digits) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const places = digits ?? (Math.abs(value) >= 100 || value === 0 ? 0 : Math.abs(value) >= 10 ? 1 : 2);
  return value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
}

/** @param {number | null | undefined} value */
export function milliseconds(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return value >= 10_000 ? `${number(value / 1000, 1)} s` : `${number(value, value >= 10 || value === 0 ? 0 : 1)} ms`;
}

/** @param {string} name */
export const words = (name) => name.replaceAll("_", " ");
