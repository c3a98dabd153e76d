// A line at the lower edge that says what has just been done, and takes it back if that was not meant.

import { find } from "./markup.js";

const SHOWN_MS = 8_000;

/**
 * @param {HTMLElement} host
 * @param {() => void} left It had the focus, and is gone.
 */
export function createNote(host, left) {
  const text = find(host, ".note-text", HTMLElement);
  const button = find(host, ".note-act", HTMLButtonElement);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let ending;
  /** @type {(() => void) | undefined} */
  let onAct;

  function hide() {
    clearTimeout(ending);
    const hadFocus = host.matches(":focus-within");
    host.hidden = true;
    text.textContent = "";
    if (hadFocus) left();
  }

  /** Whoever is about to press the button has time. */
  function end() {
    clearTimeout(ending);
    ending = setTimeout(() => (host.matches(":hover, :focus-within") ? end() : hide()), SHOWN_MS);
  }

  button.addEventListener("click", () => {
    hide();
    onAct?.();
  });
  find(host, ".note-close", HTMLButtonElement).addEventListener("click", hide);

  return {
    /** @param {string} said @param {string} [label] @param {() => void} [act] */
    say(said, label = "", act) {
      onAct = act;
      host.hidden = false;
      text.textContent = said;
      button.textContent = label;
      button.hidden = !act;
      end();
    },
    hide,
  };
}
