// The elements, in a page by two lines:
//
//     <script type="module" src="https://notify.example/pregon.js"></script>
//     <pregon-bell token-url="/notify-token"></pregon-bell>

import { PregonBell } from "./bell.js";
import { PregonElement } from "./element.js";
import { PregonInbox, PregonPreferences, PregonToasts } from "./elements.js";
import style from "./style.js";

export { createClient } from "../client/client.js";
export { askForDesktop, isDesktopGranted } from "./desktop.js";
export { addLanguage } from "./words.js";
export { PregonBell, PregonInbox, PregonPreferences, PregonToasts };

/** @type {Record<string, CustomElementConstructor>} */
const elements = {
  "pregon-inbox": PregonInbox,
  "pregon-toasts": PregonToasts,
  "pregon-preferences": PregonPreferences,
  "pregon-bell": PregonBell,
};
// Outside of a browser this file can be imported, and does nothing.
if (globalThis.CSSStyleSheet) PregonElement.addSheet(style);
for (const [name, element] of Object.entries(elements)) {
  // Two copies of this file in one page are one too many, but no reason to fail.
  if (globalThis.customElements && !customElements.get(name)) customElements.define(name, element);
}
