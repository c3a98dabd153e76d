// A server that comes back with less than it had is believed. One that has everything is in engines/delivery.test.mjs.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  assertNeverReloaded, assertShowsWhatTheServerHas, isLive, openLive, shortenWaits, useBrowser,
} from "./browser.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();

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
