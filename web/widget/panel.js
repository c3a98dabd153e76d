// What is seen of the elements beyond the bell. It is loaded when there is something to see (elements.js).
//
// Invariant: it changes nothing by being loaded, and shares nothing with the elements but what they give it. After an upgrade
// of the server a page may still have the elements of the version before.

import en from "../languages/en.js";
import es from "../languages/es.js";

export { Inbox } from "./inbox.js";
export { createNotifier } from "./notifier.js";
export { default as style } from "./panel-style.js";
export { Preferences } from "./preferences.js";
export { chime } from "./sound.js";
export { Toasts } from "./toasts.js";
export const languages = { en, es };
