// The pages for whoever reads with her ears and presses keys, in every engine.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { until } from "../browser.mjs";
import { startServer } from "../server.mjs";
import { inEveryEngine } from "./devices.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

async function violations(tab) {
  await tab.run(axe);
  return tab.run(async () => {
    const found = (await window.axe.run(document)).violations;
    return found.map(({ id, impact, nodes }) => `${id} (${impact}): ${nodes.map((node) => node.html).join(" ")}`);
  });
}

async function publishSome(server) {
  for (const severity of ["info", "success", "warning", "error"]) {
    await server.publish("ana", { title: `Título de ${severity}`, message: "Mensaje", severity, url: "/pedidos" });
  }
  await server.publish("ana", "Nada más que un mensaje");
}

inEveryEngine("axe finds nothing on any page, narrow or wide, from left to right or from right to left", async (t, newDevice) => {
  const server = await startServer(t);
  await publishSome(server);
  const tab = await (await newDevice()).open();
  for (const [query, lang, width, dir] of [
    ["user_id=ana", "es", 320, "ltr"], ["user_id=ana", "en", 1000, "rtl"], ["user_id=nadie", "es", 1000, "ltr"],
    ["", "en", 320, "ltr"],
  ]) {
    await tab.resize(width, 800);
    await tab.go(`${server.url}/?${query}&lang=${lang}`);
    if (query) await tab.isLive();
    await tab.run((dir) => void (document.documentElement.dir = dir), dir);
    assert.deepEqual(await violations(tab), [], `${query}, ${lang}, ${width} px, ${dir}`);
  }
});

inEveryEngine("the Tab key reaches all that can be used, in the order in which it is read", async (t, newDevice) => {
  const server = await startServer(t);
  await publishSome(server);
  const tab = await (await newDevice()).open(server.page("ana"));
  await tab.isLive();
  // Each is known by its place in the document.
  const expected = await tab.run(() => tabStops().map((_, place) => place));
  assert.ok(expected.length >= 5, `only ${expected.length} things can be reached`);
  const reached = [];
  // A list that can be scrolled may be a stop of its own.
  for (let pressed = 0; pressed < 2 * expected.length && reached.length < expected.length; pressed += 1) {
    await tab.type("Tab");
    const place = await tab.run(() => tabStops().indexOf(focused()));
    if (place >= 0) reached.push(place);
  }
  assert.deepEqual(reached, expected);
});

inEveryEngine("what has the focus is pressed by a key, and what is pressed by the pointer is the same", async (t, newDevice) => {
  const server = await startServer(t);
  await publishSome(server);
  const tab = await (await newDevice()).open(`${server.page("ana")}&lang=es`);
  await tab.isLive();
  await tab.run(() => all("a[href]").find((link) => nameOf(link) === "English").focus());
  // A page that is being left does not answer.
  const speaks = (lang) => until(`the page speaks ${lang}`, async () => {
    return (await tab.run(() => document.documentElement.lang).catch(() => "")) === lang;
  });
  await tab.type("Enter");
  await speaks("en");
  await tab.press({ role: "link", name: "Español" });
  await speaks("es");
});
