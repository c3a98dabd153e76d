import assert from "node:assert/strict";
import { test } from "node:test";
import { assertNeverReloaded, assertShowsWhatTheServerHas, isLive, openLive, until, useBrowser } from "./browser.mjs";
import { startServer } from "./server.mjs";

// The driver switches the back/forward cache off unless it is told not to.
const newContext = useBrowser({ ignoreDefaultArgs: ["--disable-back-forward-cache"] });

test("the back button brings the page back alive, with nothing lost or doubled", async (t) => {
  const server = await startServer(t);
  const page = await openLive(await newContext(t), server.page("ana"));
  const ids = [await server.publish("ana", "Antes de irme")];
  await assertShowsWhatTheServerHas(page, server, "ana", ids);
  await page.evaluate(() => addEventListener("pageshow", (event) => (window.cameFromCache = event.persisted)));

  await page.goto(server.url);
  ids.push(await server.publish("ana", "Mientras no estaba"), await server.publish("ana", "Y otra"));
  await page.evaluate(() => history.back());
  await until("the page is back", async () => (await page.locator("#notices").count()) === 1);

  await assertShowsWhatTheServerHas(page, server, "ana", ids);
  assert.equal(await page.evaluate(() => window.cameFromCache), true, "the page was loaded anew");
  await isLive(page);
  ids.push(await server.publish("ana", "En vivo otra vez"));
  await assertShowsWhatTheServerHas(page, server, "ana", ids);
  await assertNeverReloaded(page);
});
