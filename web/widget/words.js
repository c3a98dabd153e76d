// What is said, in the languages that there are: what the bell says from the beginning, the rest when it is loaded with what
// says it.
//
// Deliberately absent: dates and relative times, which browsers know in all languages (times.js).

import bell from "../languages/bell.js";

/** @typedef {keyof typeof bell.es | keyof typeof import("../languages/es.js").default} Word */
/** @typedef {{ lang: string, say: (word: string, values?: Record<string, string | number>) => string }} Words */

/** @type {Map<string, Record<string, string>>} */
const catalogues = new Map(Object.entries(bell));

/**
 * Adds a language, or changes words of one. What it does not say is said in English.
 * @param {string} lang Such as `fr`.
 * @param {Partial<Record<Word, string>> & Record<string, string>} catalogue
 */
export function addLanguage(lang, catalogue) {
  catalogues.set(lang, { ...catalogues.get(lang), ...catalogue });
}

/** Adds what else is said. What a page has changed stays so. @param {Record<string, Record<string, string>>} languages */
export function complete(languages) {
  for (const [lang, rest] of Object.entries(languages)) catalogues.set(lang, { ...rest, ...catalogues.get(lang) });
}

/** Longest tag that is tried, in characters (RFC 5646, section 4.4.1). */
const TAG_MAX = 35;

/**
 * A language tag in the form that `Intl` and the server accept. Back ends print `pt_BR`, operating systems `en-US@posix`:
 * the longest beginning that is a tag counts.
 * @param {string | null | undefined} name
 */
export function tagOf(name) {
  for (let tag = name?.slice(0, TAG_MAX).replace(/_/g, "-"); tag; tag = tag.slice(0, -1)) {
    try {
      return Intl.getCanonicalLocales(tag)[0];
    } catch {}
  }
}

/**
 * The words of the first of these languages that there is, or the English ones.
 * @param {readonly (string | null | undefined)[]} wanted Tags such as `es-419`.
 * @returns {Words}
 */
export function wordsIn(wanted) {
  const base = (/** @type {string} */ tag) => tag.toLowerCase().split("-")[0] ?? "";
  const lang = wanted.map(tagOf).find((tag) => tag && catalogues.has(base(tag))) || "en";
  const find = (/** @type {string} */ form) => catalogues.get(base(lang))?.[form] ?? catalogues.get("en")?.[form];
  const plural = new Intl.PluralRules(lang);
  return {
    lang,
    /** Says a word with values in it. One that depends on a `count` has a form for each of the language's plurals. */
    say(word, values = {}) {
      const form = "count" in values ? `${word}_${plural.select(Number(values.count))}` : word;
      const text = find(form) ?? find(`${word}_other`) ?? word;
      return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
    },
  };
}
