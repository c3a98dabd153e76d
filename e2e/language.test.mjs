import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";
import { isLive, useBrowser } from "./browser.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();

const SPANISH = { lang: "es", title: "Sistema de Notificaciones", heading: "Notificaciones en Tiempo Real" };
const ENGLISH = { lang: "en", title: "Notification System", heading: "Real-Time Notifications" };

async function assertSpeaks(page, { lang, title, heading }) {
  assert.equal(await page.locator("html").getAttribute("lang"), lang);
  assert.equal(await page.title(), title);
  assert.deepEqual(await page.locator("h1").allTextContents(), [heading]);
}

test("the page is Spanish unless the reader asks for English", async (t) => {
  const server = await startServer(t);
  const cases = [
    ["es-ES", "", SPANISH],
    ["es-419", "", SPANISH],
    ["fr-FR", "", SPANISH],
    ["en-GB", "", ENGLISH],
    ["en-GB", "&lang=es", SPANISH],
    ["es-ES", "&lang=en", ENGLISH],
  ];
  for (const [locale, query, expected] of cases) {
    const page = await (await newContext(t, { locale })).newPage();
    await page.goto(server.page("ana", query));
    await assertSpeaks(page, expected);
  }
});

test("nobody who says nothing about languages gets anything but Spanish", async (t) => {
  const server = await startServer(t);
  const html = await (await fetch(server.page("ana"), { headers: { "accept-language": "" } })).text();
  assert.match(html, /<html lang="es" dir="ltr">/);
  assert.match(html, /<title>Sistema de Notificaciones<\/title>/);
});

test("the language can be changed and changed back, and the user stays the same", async (t) => {
  const server = await startServer(t);
  const page = await (await newContext(t)).newPage();
  await page.goto(server.page("ana%26co"));
  for (const [link, expected] of [["English", ENGLISH], ["Español", SPANISH]]) {
    await page.getByRole("link", { name: link }).click();
    await page.waitForURL(`**/*lang=${expected.lang}`);
    await isLive(page);
    await assertSpeaks(page, expected);
    assert.equal(new URL(page.url()).searchParams.get("user_id"), "ana&co");
  }
});

test("both languages have the same words, and every word is used", async () => {
  const web = new URL("../web/", import.meta.url);
  // The server names some of the words.
  const files = ["page.html", "page.js", "../src/http/page.rs", ...(await readdir(new URL("widget", web))).map((file) => `widget/${file}`)];
  const sources = (await Promise.all(files.map((file) => readFile(new URL(file, web), "utf8")))).join("\n");
  const page = JSON.parse(await readFile(new URL("page.json", web), "utf8"));
  const { default: bell } = await import("../web/languages/bell.js");
  const wordsOf = async (lang) => ({ ...page[lang], ...bell[lang], ...(await import(`../web/languages/${lang}.js`)).default });
  const [spanish, english] = await Promise.all(["es", "en"].map(wordsOf));

  assert.deepEqual(Object.keys(spanish), Object.keys(english));
  // A word may be put together from a part that is written and one that is not, and has a form for each plural.
  const parts = [...sources.matchAll(/`([a-z_]*)\$\{[^{}]*\}([a-z_]*)`|"([a-z]+_)" ~ \w+|\w+ ~ "(_[a-z]+)"/g)];
  const composed = parts.map(([, a = "", b = "", c = "", d = ""]) => [a + c, b + d]).filter(([begin, end]) => begin + end);
  const isUsed = (key) => {
    const word = key.replace(/_(one|other)$/, "");
    return new RegExp(`\\b(${key}|${word})\\b`).test(sources) || composed.some(([begin, end]) => key.startsWith(begin) && key.endsWith(end));
  };
  assert.deepEqual(Object.keys(spanish).filter((key) => !isUsed(key)), []);
  const placeholders = (text) => text.match(/\{\w+\}/g) ?? [];
  for (const key of Object.keys(spanish)) {
    assert.deepEqual(placeholders(english[key]), placeholders(spanish[key]), key);
  }
});

test("a choice is remembered, and comes before what the browser says", async (t) => {
  const server = await startServer(t);
  const page = await (await newContext(t, { locale: "es-ES" })).newPage();
  await page.goto(server.page("ana", "&lang=en"));
  await page.goto(server.page("ana"));
  await assertSpeaks(page, ENGLISH);
  await page.goto(server.page("ana", "&lang=es"));
  await page.goto(server.page("ana"));
  await assertSpeaks(page, SPANISH);
});
