// What is said, in the languages that there are.
//
// Deliberately absent: dates and relative times, which browsers know in all languages (times.js).

import en from "../languages/en.js";
import es from "../languages/es.js";

/** @typedef {keyof typeof es} Word */
/** @typedef {{ lang: string, say: (word: string, values?: Record<string, string | number>) => string }} Words */

/** @type {Map<string, Record<string, string>>} */
const catalogues = new Map(Object.entries({ en, es }));

/**
 * Adds a language, or changes words of one. What it does not say is said in English.
 * @param {string} lang Such as `fr`.
 * @param {Partial<Record<Word, string>> & Record<string, string>} catalogue
 */
export function addLanguage(lang, catalogue) {
  catalogues.set(lang, { ...en, ...catalogues.get(lang), ...catalogue });
}

/**
 * The words of the first of these languages that there is, or the English ones.
 * @param {readonly (string | null | undefined)[]} wanted Tags such as `es-419`.
 * @returns {Words}
 */
export function wordsIn(wanted) {
  const base = (/** @type {string} */ tag) => tag.toLowerCase().split("-")[0] ?? "";
  const lang = wanted.find((tag) => tag && catalogues.has(base(tag))) || "en";
  /** @type {Record<string, string>} */
  const words = catalogues.get(base(lang)) ?? en;
  const plural = new Intl.PluralRules(lang);
  return {
    lang,
    /** Says a word with values in it. One that depends on a `count` has a form for each of the language's plurals. */
    say(word, values = {}) {
      const form = "count" in values ? `${word}_${plural.select(Number(values.count))}` : word;
      const text = words[form] ?? words[`${word}_other`] ?? word;
      return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
    },
  };
}
