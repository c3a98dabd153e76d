// A server may go away in any manner. What it has confirmed is shown once, and only once, when it is back.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  assertNeverReloaded, assertShowsWhatTheServerHas, isLive, openLive, shortenWaits, until, useBrowser,
} from "./browser.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();

/** A server may spread its readers' return over half a minute. A reader who comes back to the tab does not wait. */
async function comeBackUntilLive(page) {
  await until("the page is live again", async () => {
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    return (await page.locator("#state").getAttribute("data-state")) === "live";
  });
}

test("a killed server and a restart lose nothing and double nothing", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t);
  await shortenWaits(context);
  const ids = [await server.publish("ana", "Antes de abrir")];
  const page = await openLive(context, server.page("ana"));
  ids.push(await server.publish("ana", "Justo antes de morir"));
  await server.kill();
  await server.start();
  ids.push(await server.publish("ana", "Después"), await server.publish("ana", "Y otra"));

  await assertShowsWhatTheServerHas(page, server, "ana", ids);
  await isLive(page);
  await assertNeverReloaded(page);
});

test("a server that drains ends well, and its reader goes on after the restart", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t);
  await shortenWaits(context);
  const page = await openLive(context, server.page("ana"));
  const ids = [await server.publish("ana", "Justo antes de parar")];
  assert.equal(await server.stop(), 0);
  await page.locator("#state[data-state=reconnecting]").waitFor();
  await server.start();
  ids.push(await server.publish("ana", "Después"));

  await comeBackUntilLive(page);
  await assertShowsWhatTheServerHas(page, server, "ana", ids);
  await assertNeverReloaded(page);
});

test("a server that has lost its data is believed: the page takes a snapshot and is live again", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t);
  await shortenWaits(context);
  await server.publish("ana", "Se perderá");
  await server.publish("ana", "También se perderá");
  const page = await openLive(context, server.page("ana"));
  const snapshots = [];
  page.on("request", (request) => new URL(request.url()).pathname === "/v1/inbox" && snapshots.push(request.url()));

  await server.kill();
  await server.forget();
  await server.start();
  const ids = [await server.publish("ana", "De la nueva era"), await server.publish("ana", "Y otra")];
  await assertShowsWhatTheServerHas(page, server, "ana", ids);
  assert.equal(await page.locator("#announcement").textContent(), "", "a snapshot is no news");

  await isLive(page);
  ids.push(await server.publish("ana", "En vivo otra vez"));
  await assertShowsWhatTheServerHas(page, server, "ana", ids);
  assert.equal(await page.locator("time").first().textContent(), "ahora");
  assert.equal(snapshots.length, 1, "the cursor of the snapshot was not used");
  await assertNeverReloaded(page);
});

test("a server that has nothing any more leaves the page up to date", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t);
  await shortenWaits(context);
  await server.publish("ana", "Se perderá");
  const page = await openLive(context, server.page("ana"));
  await server.kill();
  await server.forget();
  await server.start();
  await page.getByRole("heading", { name: "Estás al día" }).waitFor();
  await assertShowsWhatTheServerHas(page, server, "ana", []);
  await assertNeverReloaded(page);
});
