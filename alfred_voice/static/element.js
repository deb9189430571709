// The elements of a page by their names.

/**
 * @overload
 * @param {string} id
 * @returns {HTMLElement}
 */
/**
 * @template {Element} T
 * @overload
 * @param {string} id
 * @param {new () => T} kind what it has to be
 * @returns {T}
 */
/**
 * The element of that name; a page without it is not the page that its script belongs to.
 * @param {string} id
 * @param {new () => Element} kind
 */
export function at(id, kind = HTMLElement) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new TypeError(`expected a ${kind.name} named ${id}`);
  return element;
}
