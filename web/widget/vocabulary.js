// What is said beyond the bell, in the languages that there are.

import en from "../languages/en.js";
import es from "../languages/es.js";
import { complete } from "./words.js";

/** From now on everything can be said. */
export function completeWords() {
  complete("en", en);
  complete("es", es);
}
