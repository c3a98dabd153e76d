// What the client has is what the server has, whatever the user does and whatever becomes of her token.

import assert from "node:assert/strict";
import { test } from "node:test";
import { shortenWaits, until, useBrowser } from "./browser.mjs";
import {
  assertHaveWhatTheServerHas, connectionsOf, idsOf, isIn, openTab, openTabs, snapshot, SOON_MS, watchStreams,
} from "./client.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();

const ANA = { user: "ana" };
const SIGNING = ["--jwt-key", "a secret that is long enough to be one"];

async function publish(server, count, text = "Número") {
  const ids = [];
  for (let number = 1; number <= count; number += 1) ids.push(await server.publish("ana", `${text} ${number}`));
  return ids;
}

const update = (page, id, set) => page.evaluate(([id, set]) => window.client.inbox.update(id, set), [id, set]);
const itemOf = (page, id) => page.evaluate((id) => {
  return window.client.getSnapshot().items.find((item) => item.id === id);
}, id);

test("what is marked in one tab is so in the others and in another browser within a second", async (t) => {
  const server = await startServer(t);
  const [first, second, third] = await publish(server, 3);
  const tabs = await openTabs(2, await newContext(t), server, server.url, ANA);
  tabs.push(...(await openTabs(2, await newContext(t), server, server.url, ANA)));
  const [tab, ...others] = tabs;

  await update(tab, first, { read: true });
  for (const other of others) {
    await until("it is read", async () => (await itemOf(other, first)).read_at !== null, SOON_MS);
    assert.deepEqual((await snapshot(other)).counts, { unread: 2, unseen: 2, total: 3 });
  }
  // From the tab that listens, and from the other browser.
  await update(others[0], second, { archived: true });
  await update(others[2], third, { seen: true });
  for (const each of tabs) {
    await until("it is seen", async () => (await itemOf(each, third))?.seen_at !== null, SOON_MS);
    await until("it is archived", async () => (await itemOf(each, second)) === undefined, SOON_MS);
  }
  await assertHaveWhatTheServerHas(tabs, server, "ana");

  await update(tab, second, { archived: false });
  await assertHaveWhatTheServerHas(tabs, server, "ana", SOON_MS);
  await tab.evaluate(() => window.client.inbox.markAllRead());
  await assertHaveWhatTheServerHas(tabs, server, "ana", SOON_MS);
  assert.equal((await snapshot(tab)).counts.unread, 0);
});

test("a mark is shown at once, and taken back when the server fails", async (t) => {
  const server = await startServer(t);
  const [id] = await publish(server, 1);
  const context = await newContext(t);
  const [tab, other] = await openTabs(2, context, server, server.url, ANA);
  let fail;
  const failing = new Promise((resolve) => (fail = resolve));
  await context.route(`**/v1/inbox/${id}*`, async (route) => {
    await failing;
    await route.fulfill({ status: 500, contentType: "application/problem+json", body: '{"code": "internal"}' });
  });

  const failure = tab.evaluate((id) => window.client.inbox.update(id, { read: true }).catch(({ code }) => code), id);
  await until("it is shown", async () => (await itemOf(tab, id)).read_at !== null);
  assert.deepEqual((await snapshot(tab)).counts, { unread: 0, unseen: 0, total: 1 });
  assert.equal((await itemOf(other, id)).read_at, null);
  // What arrives in between is not taken back with it.
  await server.publish("ana", "Entretanto");
  await until("it has arrived", async () => (await idsOf(tab)).length === 2);
  fail();

  assert.equal(await failure, "internal");
  await assertHaveWhatTheServerHas([tab, other], server, "ana");
  assert.deepEqual((await snapshot(tab)).counts, { unread: 2, unseen: 2, total: 2 });
});

test("what arrives while all is marked as read stays unread", async (t) => {
  const server = await startServer(t);
  await publish(server, 3);
  const context = await newContext(t);
  const [tab, other] = await openTabs(2, context, server, server.url, ANA);
  await context.route("**/v1/inbox/read-all*", async (route) => {
    await server.publish("ana", "Justo antes");
    await route.continue();
  });
  await tab.evaluate(() => window.client.inbox.markAllRead());
  await assertHaveWhatTheServerHas([tab, other], server, "ana");
  assert.equal((await snapshot(other)).counts.unread, 1);
});

test("when the log is another one, every tab takes a snapshot and goes on", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t);
  await shortenWaits(context);
  await publish(server, 3, "Se perderá");
  const tabs = await openTabs(3, context, server, server.url, ANA);
  await server.kill();
  await server.forget();
  // Whoever is there before it is published hears of it as of any news.
  const isStream = (url) => url.pathname === "/v1/stream";
  await context.route(isStream, (route) => route.abort());
  await server.start();
  await publish(server, 2, "De la nueva era");
  await context.unroute(isStream);
  await assertHaveWhatTheServerHas(tabs, server, "ana");
  for (const tab of tabs) await isIn(tab, "live");
  await publish(server, 2, "En vivo otra vez");
  await assertHaveWhatTheServerHas(tabs, server, "ana");
  for (const tab of tabs) assert.equal((await tab.evaluate(() => window.heard)).length, 2, "a snapshot is no news");
  assert.equal(await connectionsOf(server, "ana"), 1);
});

test("all that a user had is erased: every tab is empty and goes on", async (t) => {
  const server = await startServer(t);
  await publish(server, 2);
  const tabs = await openTabs(2, await newContext(t), server, server.url, ANA);
  assert.equal((await server.request("DELETE", "/v1/users/ana")).status, 204);
  for (const tab of tabs) await until("it is empty", async () => (await idsOf(tab)).length === 0);
  await publish(server, 1, "De nuevo");
  await assertHaveWhatTheServerHas(tabs, server, "ana");
});

async function tokenFor(server, user, expires_in) {
  return (await (await server.request("POST", "/v1/tokens", { user_id: user, expires_in })).json()).token;
}

/** A context whose pages ask for tokens, and how often they have. */
async function withTokens(t, give) {
  const context = await newContext(t);
  await shortenWaits(context);
  const asked = { times: 0 };
  await context.exposeFunction("askForToken", async () => give((asked.times += 1)));
  return { context, asked };
}

test("a token that ends is replaced, and nobody notices", async (t) => {
  // A twentieth of what is left goes by before the next one is asked for: more than a second, since two tokens of the same
  // second are the same.
  const server = await startServer(t, ...SIGNING);
  const { context, asked } = await withTokens(t, (times) => tokenFor(server, "ana", times <= 3 ? "30s" : "1h"));
  const streams = watchStreams(context);
  const tabs = await openTabs(2, context, server, server.url, { ...ANA, token: "ask" });
  for (const tab of tabs) {
    await tab.evaluate(() => {
      window.states = [];
      window.client.subscribe(() => window.states.push(window.client.getSnapshot().state));
    });
  }
  for (const moves of [1, 2]) {
    await publish(server, 1, `Antes del cambio ${moves}`);
    await until("the stream has moved", () => streams.opened > moves);
  }
  await publish(server, 2, "Con la que dura");
  await assertHaveWhatTheServerHas(tabs, server, "ana");
  for (const tab of tabs) assert.deepEqual([...new Set(await tab.evaluate(() => window.states))], ["live"]);
  await until("there is one connection", async () => (await connectionsOf(server, "ana")) === 1);
  // Each tab for its first requests, the one with the stream for two more.
  assert.equal(asked.times, 4);
});

test("the browser's own EventSource, with a ticket for each connection, misses and doubles nothing either", async (t) => {
  const server = await startServer(t, ...SIGNING);
  const { context } = await withTokens(t, () => tokenFor(server, "ana", "1h"));
  const streams = [];
  context.on("request", (request) => {
    const { pathname, searchParams } = new URL(request.url());
    if (pathname === "/v1/stream") streams.push([searchParams.has("ticket"), searchParams.has("last_event_id")]);
  });
  const options = { ...ANA, token: "ask", transport: "eventsource" };
  const tabs = await openTabs(2, context, server, server.url, options);
  await publish(server, 2, "En vivo");
  await assertHaveWhatTheServerHas(tabs, server, "ana");
  await server.kill();
  await server.start();
  await publish(server, 2, "Después de la caída");
  await assertHaveWhatTheServerHas(tabs, server, "ana");
  for (const tab of tabs) await isIn(tab, "live");
  await until("there is one connection", async () => (await connectionsOf(server, "ana")) === 1);
  assert.ok(streams.length >= 2);
  assert.deepEqual([...new Set(streams.map(String))], ["true,true"]);
});

test("a token that is refused twice is the end for its tab, and another tab's may be better", async (t) => {
  const server = await startServer(t, ...SIGNING);
  const { context, asked } = await withTokens(t, () => "eyJhbGciOiJIUzI1NiJ9.e30.no");
  const refused = await openTab(context, server, server.url, { ...ANA, token: "ask" });
  await isIn(refused, "unauthenticated");
  assert.equal(asked.times, 2);
  // The token of somebody else is not hers.
  const others = await openTab(context, server, server.url, { ...ANA, token: await tokenFor(server, "luis", "1h") });
  await isIn(others, "unauthenticated");

  const [tab] = await openTabs(1, context, server, server.url, { ...ANA, token: await tokenFor(server, "ana", "1h") });
  await publish(server, 2);
  await assertHaveWhatTheServerHas([tab], server, "ana");
  assert.deepEqual([await idsOf(refused), await idsOf(others)], [[], []]);
  assert.equal(asked.times, 2);
});

test("a client that is closed has nothing of the user any more, and another tab goes on", async (t) => {
  const server = await startServer(t);
  await publish(server, 2);
  const [tab, other] = await openTabs(2, await newContext(t), server, server.url, ANA);
  await tab.evaluate(() => window.client.close());
  const { state, items, counts } = await snapshot(tab);
  assert.deepEqual([state, items, counts], ["closed", [], { unread: 0, unseen: 0, total: 0 }]);
  await publish(server, 1, "Después");
  await assertHaveWhatTheServerHas([other], server, "ana");
  assert.deepEqual(await idsOf(tab), []);
  await until("there is one connection", async () => (await connectionsOf(server, "ana")) === 1);
});

test("older ones come page by page, without holes or doubles, while others arrive", async (t) => {
  const server = await startServer(t);
  const batch = Array.from({ length: 130 }, (_, number) => ({ to: "user:ana", message: `Número ${number}` }));
  assert.equal((await server.request("POST", "/v1/notifications/batch", batch)).status, 200);
  const [tab] = await openTabs(1, await newContext(t), server, server.url, ANA);
  for (let pages = 1; (await snapshot(tab)).more; pages += 1) {
    assert.ok(pages < 5, "the pages do not end");
    await Promise.all([server.publish("ana", `Entretanto ${pages}`), tab.evaluate(() => window.client.inbox.more())]);
  }
  await until("all have arrived", async () => (await idsOf(tab)).length >= 132);
  const all = [];
  for (let cursor = ""; cursor !== null;) {
    const answer = await server.request("GET", `/v1/users/ana/inbox?limit=100${cursor && `&cursor=${cursor}`}`);
    const { data, next_cursor } = await answer.json();
    all.push(...data.map(({ id }) => id));
    cursor = next_cursor;
  }
  assert.deepEqual(await idsOf(tab), all);
  assert.equal((await snapshot(tab)).counts.total, all.length);
});

test("what expires is gone on time, in every tab", async (t) => {
  const server = await startServer(t);
  await publish(server, 1);
  const tabs = await openTabs(2, await newContext(t), server, server.url, ANA);
  await server.publish("ana", { message: "Solo un momento", expires_in: "2s" });
  for (const tab of tabs) await until("it has come", async () => (await idsOf(tab)).length === 2);
  for (const tab of tabs) await until("it has gone", async () => (await idsOf(tab)).length === 1);
  await assertHaveWhatTheServerHas(tabs, server, "ana");
});

test("a listener that fails takes nothing with it, and a snapshot is the same until something changes", async (t) => {
  const server = await startServer(t);
  const [tab] = await openTabs(1, await newContext(t), server, server.url, ANA);
  const errors = [];
  tab.on("pageerror", ({ message }) => errors.push(message));
  await tab.evaluate(() => {
    window.before = window.client.getSnapshot();
    window.same = window.before === window.client.getSnapshot();
    window.told = 0;
    window.client.on("notification", () => { throw new Error("ours"); });
    window.client.subscribe(() => { throw new Error("ours too"); });
    window.client.subscribe(() => (window.told += 1));
  });
  // One after the other: what comes together is told once.
  await publish(server, 1);
  await assertHaveWhatTheServerHas([tab], server, "ana");
  await publish(server, 1);
  await assertHaveWhatTheServerHas([tab], server, "ana");
  assert.deepEqual([...new Set(errors)].sort(), ["ours", "ours too"]);
  assert.deepEqual(await tab.evaluate(() => [window.same, window.before.items.length, window.told]), [true, 0, 2]);
});
