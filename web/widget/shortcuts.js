// The dialog that lists the keys.

import { find, fragment } from "./markup.js";

const KEYS = { move: "j k", open: "Enter", read: "r", archive: "e", read_all: "⇧ A", unread: "g u", close: "Esc" };

/** @param {HTMLDialogElement} dialog @param {import("./words.js").Words} words */
export function showShortcuts(dialog, { say }) {
  find(dialog, "h3", HTMLElement).textContent = say("shortcuts");
  find(dialog, "button", HTMLElement).textContent = say("close");
  find(dialog, "dl", HTMLElement).replaceChildren(...Object.entries(KEYS).map(([name, keys]) => {
    const line = fragment("<div><dt></dt><dd></dd></div>");
    find(line, "dt", HTMLElement).textContent = say(`shortcut_${name}`);
    find(line, "dd", HTMLElement).replaceChildren(...keys.split(" ").map((key) => {
      return Object.assign(document.createElement("kbd"), { textContent: key });
    }));
    return line;
  }));
  dialog.setAttribute("aria-label", say("shortcuts"));
  dialog.showModal();
}
