import assert from "node:assert/strict";
import { test } from "node:test";
import en from "../languages/en.js";
import es from "../languages/es.js";
import { createTimes } from "../widget/times.js";
import { addLanguage, complete, wordsIn } from "../widget/words.js";

// A page may be faster than the rest of a language.
addLanguage("es", { archive: "Guardar" });
complete({ en, es });

const NOW = new Date(2026, 10, 26, 12, 0, 0).getTime();
const HOUR = 3_600_000;

const element = (time) => ({ dateTime: typeof time === "string" ? time : new Date(time).toISOString(), textContent: "as written", title: "" });

test("an age is told as a reader says it, never in the future, and what is no time stays as it is written", () => {
  for (const [lang, ago, said] of [
    ["es", 0, "ahora"], ["es", -5 * HOUR, "ahora"], ["es", 2 * 60_000, "hace 2 minutos"], ["en", 3 * HOUR, "3 hours ago"],
    ["en", 26 * HOUR, "yesterday"], ["en", 8 * 24 * HOUR, "Nov 18, 2026"],
  ]) {
    const time = element(NOW - ago);
    createTimes(wordsIn([lang]), () => NOW).show(time);
    assert.equal(time.textContent, said);
    assert.match(time.title, /2026/);
  }
  const odd = element("never");
  createTimes(wordsIn(["en"]), () => NOW).show(odd);
  assert.equal(odd.textContent, "as written");
});

test("days ago are those of the calendar, as the headings are", () => {
  const wednesday = new Date(2026, 10, 25, 9, 0, 0).getTime();
  const { show, day } = createTimes(wordsIn(["en"]), () => wednesday);
  for (const [time, said, heading] of [
    [new Date(2026, 10, 23, 10, 0, 0), "2 days ago", "Monday, November 23"],
    [new Date(2026, 10, 24, 8, 0, 0), "yesterday", "Yesterday"],
    [new Date(2026, 10, 24, 23, 0, 0), "10 hours ago", "Yesterday"],
    [new Date(2026, 10, 19, 0, 0, 0), "6 days ago", "Thursday, November 19"],
    [new Date(2026, 10, 18, 23, 59, 0), "Nov 18, 2026", "Wednesday, November 18"],
  ]) {
    const shown = element(time);
    show(shown);
    assert.deepEqual([shown.textContent, day(time.toISOString())], [said, heading]);
  }
});

test("a day is the reader's own, by the server's clock", () => {
  const { day } = createTimes(wordsIn(["en"]), () => NOW);
  const at = (hours) => day(new Date(NOW - hours * HOUR).toISOString());
  assert.deepEqual([0, 11, -3, 13, 35, 37, 400 * 24].map(at), [
    "Today", "Today", "Today", "Yesterday", "Yesterday", "Tuesday, November 24", "Oct 22, 2025",
  ]);
});

test("words are in the first language that there is, with the plural that it wants", () => {
  assert.equal(wordsIn(["fr", "es-419", "en"]).say("new", { count: 1 }), "1 notificación nueva");
  assert.equal(wordsIn([null, undefined, "EN-gb"]).say("new", { count: 2 }), "2 new notifications");
  assert.equal(wordsIn([]).say("mute", { category: "$& {x}" }), "Mute “$& {x}”");
  assert.equal(wordsIn(["en"]).say("no such word"), "no such word");
});

test("a language that is added says what it has, and the rest in English", () => {
  addLanguage("pl", { unread: "Nieprzeczytane", count_few: "{count} nieprzeczytane", count_many: "{count} nieprzeczytanych" });
  const { say } = wordsIn(["pl"]);
  assert.deepEqual([2, 5].map((count) => say("count", { count })), ["2 nieprzeczytane", "5 nieprzeczytanych"]);
  assert.equal(say("archive"), "Archive");
});

test("what a page says in its own words stays so, whenever the rest comes", () => {
  const { say } = wordsIn(["es"]);
  assert.deepEqual([say("archive"), say("unread")], ["Guardar", "Sin leer"]);
});
