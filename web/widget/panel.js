// What is seen of the elements beyond the bell. It is loaded when there is something to see (elements.js).

import { PregonElement } from "./element.js";
import style from "./panel-style.js";
import { completeWords } from "./vocabulary.js";

export { Inbox } from "./inbox.js";
export { Preferences } from "./preferences.js";
export { Toasts } from "./toasts.js";

completeWords();
PregonElement.addSheet(style);
