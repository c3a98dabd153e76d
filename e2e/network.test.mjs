// Whatever the network does, the page comes back by itself and shows exactly what the server has. What every engine must
// do is in engines/delivery.test.mjs.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  assertNeverReloaded, assertShowsWhatTheServerHas, isLive, openLive, shortenWaits, shownIds, until, useBrowser,
} from "./browser.mjs";
import { startProxy } from "./proxy.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();

async function publish(server, count, text) {
  const ids = [];
  for (let n = 1; n <= count; n += 1) ids.push(await server.publish("ana", `${text} ${n}`));
  return ids;
}

function answer(status, type, body) {
  return `HTTP/1.1 ${status}\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;
}

test("cut again and again while much is published, each still appears exactly once", async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server);
  const context = await newContext(t);
  await shortenWaits(context);
  const page = await openLive(context, proxy.page("ana"));
  const ids = [];
  for (let round = 1; round <= 4; round += 1) {
    ids.push(...(await publish(server, 3, `Ronda ${round}, antes`)));
    proxy.cut();
    ids.push(...(await publish(server, 3, `Ronda ${round}, después`)));
    await assertShowsWhatTheServerHas(page, server, "ana", ids);
  }
  await assertNeverReloaded(page);
});

test("a connection that has silently died is noticed, and so is one that never opens", async (t) => {
  const server = await startServer(t, "--heartbeat", "1s");
  const proxy = await startProxy(t, server);
  const page = await openLive(await newContext(t), proxy.page("ana"));

  proxy.blackHole();
  const ids = await publish(server, 3, "En el vacío");
  // The page has nothing to send unless it gives the silent connection up, and then the one that does not open.
  await until("the page has tried twice", () => proxy.swallowed >= 2, 30_000);
  await proxy.restore();

  await assertShowsWhatTheServerHas(page, server, "ana", ids);
  await isLive(page);
  await assertNeverReloaded(page);
});

test("behind a proxy that keeps streams to itself the page polls, and goes back when a stream works", async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server);
  proxy.keepStreams();
  const context = await newContext(t);
  await shortenWaits(context);
  const page = await context.newPage();
  await page.clock.install();
  const asked = [];
  page.on("request", (request) => asked.push(new URL(request.url())));
  const polls = () => asked.filter(({ searchParams }) => searchParams.has("poll")).length;
  await page.goto(proxy.page("ana"));
  await page.evaluate(() => (window.neverReloaded = true));
  await until("a stream is kept", () => proxy.kept > 0);
  const ids = await publish(server, 3, "Antes");
  // Until the greeting is missed.
  await page.clock.runFor(40_000);
  await assertShowsWhatTheServerHas(page, server, "ana", ids);
  await isLive(page);
  await until("it polls", () => polls() >= 2);
  ids.push(...(await publish(server, 3, "Por encuesta")));
  await assertShowsWhatTheServerHas(page, server, "ana", ids);

  proxy.keepStreams(false);
  ids.push(...(await publish(server, 2, "Entre dos")));
  await until("a stream has taken over", async () => {
    // It looks again every five minutes.
    await page.clock.runFor(10_000);
    const before = polls();
    // The second of them would need another poll than the one that is under way.
    for (const text of ["Uno", "Otro"]) {
      ids.push(await server.publish("ana", text));
      await assertShowsWhatTheServerHas(page, server, "ana", ids);
    }
    return polls() === before;
  }, 60_000);
  await isLive(page);
  await assertNeverReloaded(page);
});

test("a browser that is offline says so, and catches up when it is back", async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server);
  const context = await newContext(t);
  const page = await openLive(context, proxy.page("ana"));

  await context.setOffline(true);
  await page.locator("#state[data-state=offline]").waitFor();
  assert.equal(await page.locator("#state").textContent(), "Sin conexión");
  proxy.cut();
  const ids = await publish(server, 2, "Sin conexión");
  await context.setOffline(false);

  await assertShowsWhatTheServerHas(page, server, "ana", ids);
  await isLive(page);
  await assertNeverReloaded(page);
});

test("a long wait is cut short when the reader comes back to the tab", async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server);
  const context = await newContext(t);
  // The unluckiest draw: from the third failure on, every wait is longer than this test has patience for.
  await context.addInitScript(() => (Math.random = () => 0.999));
  const page = await openLive(context, proxy.page("ana"));
  const comeBack = () => page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));

  proxy.answer(answer("503 Service Unavailable", "text/plain", ""));
  for (let failure = 1; failure <= 6; failure += 1) {
    await until("the page has been turned away again", async () => {
      await comeBack();
      return proxy.answered >= failure;
    });
  }
  await proxy.restore();
  const [id] = await publish(server, 1, "De vuelta");
  await until("it is shown", async () => {
    await comeBack();
    return (await shownIds(page)).includes(id);
  }, 5_000);
});
