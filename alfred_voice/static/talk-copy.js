// Texts that go to the clipboard.

const SHOWN_MS = 2_000;
const READING_MS = 8_000;

/**
 * Copy a text, and say on the button what came of it. Browsers give no clipboard to addresses that are not secure: there the text
 * is selected, so that the keyboard can copy it.
 * @param {HTMLElement} button
 * @param {string} text
 * @param {(text: string) => void} tell
 */
export async function copy(button, text, tell) {
  const was = (button.dataset.label ??= button.textContent ?? "");
  let isCopied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    isCopied = false; // as there is none, or the browser refused
    select(button, text);
  }
  button.textContent = isCopied ? "Copied" : "Press Ctrl+C";
  tell(isCopied ? "Copied" : "The text is selected: press Ctrl+C, or Command+C, to copy it.");
  setTimeout(() => (button.textContent = was), isCopied ? SHOWN_MS : READING_MS);
}

/** Put the text where the keyboard can take it, until the focus goes elsewhere. @param {HTMLElement} button @param {string} text */
function select(button, text) {
  const field = document.createElement("textarea");
  field.className = "copying";
  field.readOnly = true;
  field.value = text;
  field.setAttribute("aria-label", "The text, to be copied with Ctrl+C");
  button.parentElement?.after(field);
  field.addEventListener("blur", () => field.remove());
  field.focus();
  field.select();
}
