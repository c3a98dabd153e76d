// A tab that the browser freezes. The driver of the other tests keeps every page in front, where none is ever frozen, so
// this is another one.

import assert from "node:assert/strict";
import { test } from "node:test";
import puppeteer from "puppeteer-core";
import { until } from "./browser.mjs";
import { assertHaveWhatTheServerHas, connectionsOf, folderOf, idsOf, isIn, SOON_MS } from "./client.mjs";
import { startServer } from "./server.mjs";

/** Opens a tab with a client in it, as `openTab` does, which notes too whether it is frozen, and whether it is at work. */
async function openTab(browser, server) {
  // The page that asks for a user has no client of its own.
  const tab = await browser.newPage();
  await tab.goto(server.url);
  await tab.evaluate(async (folder) => {
    window.told = [];
    for (const name of ["freeze", "resume"]) document.addEventListener(name, () => window.told.push(name));
    window.ticks = 0;
    setInterval(() => (window.ticks += 1));
    const { createClient } = await import(`${folder}/client/client.js`);
    window.heard = [];
    window.client = createClient({ server: "/", user: "ana" });
    window.client.on("notification", ({ id }) => window.heard.push(id));
  }, await folderOf(server));
  await isIn(tab, "live");
  await until("it has a snapshot", () => tab.evaluate(() => window.client.getSnapshot().loaded));
  return tab;
}

/** @param {"frozen" | "active"} state @param {"freeze" | "resume"} event What the browser tells the page. */
async function become(state, event, tabs) {
  for (const tab of tabs) {
    await (await tab.createCDPSession()).send("Page.setWebLifecycleState", { state });
    await until(`it is ${state}`, () => tab.evaluate((event) => window.told.at(-1) === event, event));
  }
}

test("when a leader is frozen, another tab has the stream; once it thaws, it has everything, as a frozen listener has", async (t) => {
  const server = await startServer(t);
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox"],
  });
  t.after(() => browser.close());
  const tabs = [];
  // The first one has the stream.
  for (let number = 1; number <= 4; number += 1) tabs.push(await openTab(browser, server));
  const [leader, listener, ...rest] = tabs;
  const before = await server.publish("ana", "Antes");
  await assertHaveWhatTheServerHas(tabs, server, "ana");

  await become("frozen", "freeze", [leader, listener]);
  const ticks = await leader.evaluate(() => window.ticks);
  const missed = [await server.publish("ana", "Bajo el hielo"), await server.publish("ana", "Y otra")];
  await until("the others have both", async () => {
    const heard = await Promise.all(rest.map((tab) => tab.evaluate(() => window.heard.length)));
    return heard.every((count) => count === 3);
  }, SOON_MS);
  await assertHaveWhatTheServerHas(rest, server, "ana");
  assert.equal(await connectionsOf(server, "ana"), 1);
  for (const tab of [leader, listener]) {
    assert.deepEqual(await idsOf(tab), [before], "nobody is there to hear it");
  }
  assert.equal(await leader.evaluate(() => window.ticks), ticks, "it is not frozen");

  await become("active", "resume", [leader, listener]);
  await assertHaveWhatTheServerHas(tabs, server, "ana");
  const after = await server.publish("ana", "Deshielo");
  await assertHaveWhatTheServerHas(tabs, server, "ana");
  for (const tab of rest) assert.deepEqual(await tab.evaluate(() => window.heard), [before, ...missed, after]);
  // What they have missed is there, and no news.
  for (const tab of [leader, listener]) assert.deepEqual(await tab.evaluate(() => window.heard), [before, after]);
  await until("there is one connection", async () => (await connectionsOf(server, "ana")) === 1);
});
