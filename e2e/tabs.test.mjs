// However many tabs a user has open, her browser has one stream, and every tab has everything once. What every engine must
// do is in engines/tabs.test.mjs, and what a frozen tab does in frozen.test.mjs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { shortenWaits, until, useBrowser } from "./browser.mjs";
import { assertHaveWhatTheServerHas, connectionsOf, isIn, openTab, openTabs, watchStreams } from "./client.mjs";
import { startProxy } from "./proxy.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser({
  // An origin without TLS that is not this machine's own is not secure, and has no Web Locks. Nor may such a page ask
  // this machine for anything, unless the browser is told not to mind.
  args: [
    "--no-sandbox", "--host-resolver-rules=MAP notify.test 127.0.0.1", "--disable-features=LocalNetworkAccessChecks",
  ],
});

const ANA = { user: "ana" };
const UNAVAILABLE = [
  "HTTP/1.1 503 Service Unavailable", "Retry-After: 1", "Content-Length: 0", "Connection: close", "", "",
].join("\r\n");

async function publish(server, user, count, text) {
  const ids = [];
  for (let number = 1; number <= count; number += 1) ids.push(await server.publish(user, `${text} ${number}`));
  return ids;
}

test("twelve tabs have one connection and everything once, also after a cut, 503s and a killed server", async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server);
  const context = await newContext(t);
  await shortenWaits(context);
  await publish(server, "ana", 3, "Antes");
  const streams = watchStreams(context);
  const tabs = await openTabs(12, context, server, proxy.url, ANA);
  assert.equal(streams.opened, 1);
  assert.equal(await connectionsOf(server, "ana"), 1);
  await publish(server, "ana", 3, "En vivo");
  await assertHaveWhatTheServerHas(tabs, server, "ana");

  proxy.answer(UNAVAILABLE);
  await publish(server, "ana", 3, "Durante el corte");
  await until("the leader has been turned away three times", () => proxy.answered >= 3);
  await proxy.restore();
  await assertHaveWhatTheServerHas(tabs, server, "ana");
  await until("there is one connection", async () => (await connectionsOf(server, "ana")) === 1);

  await server.kill();
  await server.start();
  await publish(server, "ana", 3, "Después de la caída");
  await assertHaveWhatTheServerHas(tabs, server, "ana");
  for (const tab of tabs) await isIn(tab, "live");
  assert.equal(await connectionsOf(server, "ana"), 1);
});

test("a leader whose page stands still is deposed when somebody looks at another tab", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t);
  await shortenWaits(context);
  const streams = watchStreams(context);
  const [first, ...rest] = await openTabs(3, context, server, server.url, ANA);
  assert.ok(streams.leader === first);

  let dialog;
  first.on("dialog", (opened) => (dialog = opened));
  // It comes back only when the dialog is closed.
  const stands = first.evaluate(() => alert("Hasta que alguien responda"));
  await until("the page stands still", () => dialog !== undefined);
  await publish(server, "ana", 2, "Mientras nadie responde");
  await rest[1].evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await assertHaveWhatTheServerHas(rest, server, "ana");
  assert.ok(streams.leader === rest[1], "another tab has the stream");

  await dialog.dismiss();
  await stands;
  await publish(server, "ana", 1, "Otra vez todas");
  await assertHaveWhatTheServerHas([first, ...rest], server, "ana");
  await until("there is one connection", async () => (await connectionsOf(server, "ana")) === 1);
});

test("two users in two tabs of one browser never mix", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t);
  const users = ["ana", "ana\",null]", "luis"];
  const tabs = [];
  for (const user of users) tabs.push(...(await openTabs(2, context, server, server.url, { user })));
  for (const user of users) {
    assert.equal(await connectionsOf(server, encodeURIComponent(user)), 1);
    await publish(server, encodeURIComponent(user), 2, `Para ${user}`);
  }
  for (const [number, user] of users.entries()) {
    const own = tabs.slice(2 * number, 2 * number + 2);
    await assertHaveWhatTheServerHas(own, server, encodeURIComponent(user));
    for (const tab of own) {
      const messages = await tab.evaluate(() => window.client.getSnapshot().items.map(({ message }) => message));
      assert.deepEqual(messages, [`Para ${user} 2`, `Para ${user} 1`]);
      assert.equal((await tab.evaluate(() => window.heard)).length, 2);
    }
  }
});

test("without Web Locks eight tabs still have one connection, and everything is as right", async (t) => {
  const server = await startServer(t, "--public-url", "http://notify.test");
  const context = await newContext(t);
  const url = `http://notify.test:${server.port}`;
  const tabs = await openTabs(8, context, server, url, ANA);
  assert.equal(await tabs[0].evaluate(() => navigator.locks === undefined && !isSecureContext), true);
  assert.equal(await connectionsOf(server, "ana"), 1);
  const [first] = await publish(server, "ana", 3, "Sin cerrojos");
  await assertHaveWhatTheServerHas(tabs, server, "ana");
  await tabs[0].evaluate((id) => window.client.inbox.update(id, { read: true }), first);
  await until("the others know", async () => {
    const shown = await Promise.all(tabs.map((tab) => tab.evaluate(() => window.client.counts.unread)));
    return shown.every((unread) => unread === 2);
  });
  await assertHaveWhatTheServerHas(tabs, server, "ana");
  // The next leader is one of those that are left.
  await tabs.shift().close();
  await publish(server, "ana", 2, "Otro líder");
  await assertHaveWhatTheServerHas(tabs, server, "ana");
});

test("a tab that is opened in the midst of everything has everything", async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server);
  const context = await newContext(t);
  await shortenWaits(context);
  const tabs = await openTabs(2, context, server, proxy.url, ANA);
  for (let round = 1; round <= 4; round += 1) {
    const publishing = publish(server, "ana", 8, `Ronda ${round}`);
    const opening = openTab(context, server, proxy.url, ANA);
    if (round % 2) proxy.cut();
    else await tabs.shift().close();
    tabs.push(await opening);
    await publishing;
    await assertHaveWhatTheServerHas(tabs, server, "ana");
  }
});
