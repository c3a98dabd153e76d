// A client with everything in it but a browser: one tab, without locks and channels, on a clock that the test sets.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { createClient } from "../client/client.js";
// It is loaded when it is needed, which takes a moment that no test can set.
import "../client/eventsource.js";

// Node has channels as well.
Reflect.deleteProperty(globalThis, "BroadcastChannel");

const NOW = Date.parse("2026-11-26T09:00:00Z");
const PAGE = {
  data: [], next_cursor: null, counts: { unread: 0, unseen: 0, total: 0 }, stream_cursor: "from the snapshot",
};

let close = () => {};
afterEach(() => close());

/** A client, and the streams that it has opened. A token that is not among the good ones is refused. */
async function start(t, { token, good, transport }) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: NOW });
  t.mock.method(Math, "random", () => 0.5);
  const streams = [];
  const told = { states: [], notifications: [] };

  async function fetch(url, { headers, signal }) {
    if (!good.includes(headers.authorization?.slice("Bearer ".length))) return new Response(null, { status: 401 });
    if (url.pathname === "/v1/inbox") return Response.json(PAGE);
    if (url.pathname === "/v1/stream/tickets") return Response.json({ ticket: "ticket" }, { status: 201 });
    const stream = { word: headers.authorization, after: url.searchParams.get("last_event_id") };
    streams.push(stream);
    const readable = new ReadableStream({
      start(body) {
        stream.say = (name, id, data) => {
          body.enqueue(new TextEncoder().encode(`event: ${name}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`));
        };
        stream.end = () => body.close();
        // It may have ended already.
        signal.addEventListener("abort", () => { try { body.error(signal.reason); } catch {} });
      },
    });
    stream.say("hello", `hello ${streams.length}`, { heartbeat_ms: 15_000, server_time: new Date().toISOString() });
    return new Response(readable, { headers: { "content-type": "text/event-stream" } });
  }

  const client = createClient({ server: "https://notify.example", user: "ana", token, transport, fetch });
  close = client.close;
  client.subscribe(() => told.states.push(client.getSnapshot().state));
  client.on("notification", ({ id }) => told.notifications.push(id));
  await settled();
  told.states = [];
  return { client, streams, told };
}

/** What is under way without a timer has come to its end. */
async function settled() {
  for (let turn = 0; turn < 30; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

function assertAlwaysLive(client, told) {
  assert.equal(client.getSnapshot().state, "live");
  assert.deepEqual(told.states.filter((state) => state !== "live"), []);
}

const notification = (id) => ({ id, timestamp: new Date(NOW).toISOString(), message: id });
const inSeconds = (seconds) => ({ expires_at: new Date(NOW + seconds * 1_000).toISOString() });

test("a fresh token takes over before the old one ends: no gap, no double, no change of state", async (t) => {
  const tokens = ["first", "second"];
  const { streams, told, client } = await start(t, { token: () => tokens.shift(), good: ["first", "second"] });
  streams[0].say("message", "1", notification("a"));
  streams[0].say("token_expiring", "2", inSeconds(28));
  await settled();
  assert.equal(streams.length, 1, "not together with everybody who was told");
  t.mock.timers.tick(7_000);
  await settled();

  assert.deepEqual(streams.map(({ word, after }) => [word, after]), [
    ["Bearer first", "from the snapshot"], ["Bearer second", "2"],
  ]);
  // The server repeats what it has told on the old stream, and has more.
  streams[1].say("message", "1", notification("a"));
  streams[1].say("message", "3", notification("b"));
  await settled();
  assert.deepEqual(told.notifications, ["a", "b"]);
  assert.deepEqual(client.getSnapshot().items.map(({ id }) => id), ["b", "a"]);
  assertAlwaysLive(client, told);
});

test("where there is nobody to ask for a fresh token, the stream goes on until its end", async (t) => {
  const { streams, told, client } = await start(t, { token: "only", good: ["only"] });
  streams[0].say("token_expiring", "2", inSeconds(28));
  await settled();
  t.mock.timers.tick(28_000);
  await settled();
  assert.equal(streams.length, 1);
  assertAlwaysLive(client, told);
});

test("a token function that fails leaves the stream as it is", async (t) => {
  let isDown = false;
  const token = async () => {
    if (isDown) throw new TypeError("no network");
    return "only";
  };
  const { streams, told } = await start(t, { token, good: ["only"] });
  isDown = true;
  streams[0].say("token_expiring", "2", inSeconds(28));
  await settled();
  t.mock.timers.tick(28_000);
  await settled();
  streams[0].say("message", "3", notification("a"));
  await settled();
  assert.equal(streams.length, 1);
  assert.deepEqual(told.notifications, ["a"]);
});

test("a stream that ends with a token that nobody can replace leads to `unauthenticated`", async (t) => {
  const good = ["only"];
  const { streams, client } = await start(t, { token: "only", good });
  streams[0].say("token_expiring", "2", inSeconds(28));
  await settled();
  t.mock.timers.tick(28_000);
  good.pop();
  streams[0].end();
  await settled();
  t.mock.timers.tick(1_000);
  await settled();
  assert.equal(client.getSnapshot().state, "unauthenticated");
});

test("whoever wants the browser's own EventSource gets it", async (t) => {
  const sources = [];
  globalThis.EventSource = class extends EventTarget {
    constructor(url) {
      super();
      sources.push(new URL(url).searchParams.get("ticket"));
    }
    close() {}
  };
  t.after(() => delete globalThis.EventSource);
  const { streams } = await start(t, { token: "t", good: ["t"], transport: "eventsource" });
  assert.deepEqual([streams, sources], [[], ["ticket"]]);
});

test("the stream goes on from the snapshot that is shown, whoever has asked for it and however often", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: NOW });
  t.mock.method(Math, "random", () => 0.5);
  const asked = [];
  const after = [];
  const fetch = async (url) => {
    if (url.pathname === "/v1/inbox") return new Promise((resolve, reject) => asked.push({ resolve, reject }));
    after.push(url.searchParams.get("last_event_id"));
    return new Response(new ReadableStream(), { headers: { "content-type": "text/event-stream" } });
  };
  const client = createClient({ server: "https://notify.example", user: "ana", fetch });
  close = client.close;
  // What the server has by now, oldest first; each is one event.
  const answer = async ({ resolve }, ...ids) => {
    const data = ids.map((id) => ({ ...notification(id), seen_at: null, read_at: null, archived_at: null })).reverse();
    resolve(Response.json({ ...PAGE, data, stream_cursor: `after ${ids.at(-1)}` }));
    await settled();
  };
  await settled();
  asked.shift().reject(new TypeError("no network"));
  await settled();
  // The reader does not wait, and is answered before whoever waits has asked again.
  client.refresh();
  await settled();
  t.mock.timers.tick(30_000);
  await settled();
  while (asked.length > 1) await answer(asked.shift(), "a");
  await answer(asked.shift(), "a", "b");

  const shown = client.getSnapshot().items.map(({ id }) => id);
  assert.ok(after.length > 0, "there is a stream");
  assert.ok(shown.includes("b") || after.at(-1) === "after a", `shown ${shown}, and the stream comes ${after.at(-1)}`);
});

test("a snapshot that was asked for before another one does not take its place", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: NOW });
  t.mock.method(Math, "random", () => 0);
  const pages = [];
  let stream;
  const fetch = async (url) => {
    if (url.pathname === "/v1/inbox") return new Promise((resolve) => pages.push(resolve));
    const readable = new ReadableStream({ start: (body) => void (stream = body) });
    return new Response(readable, { headers: { "content-type": "text/event-stream" } });
  };
  const client = createClient({ server: "https://notify.example", user: "ana", fetch });
  close = client.close;
  const answer = (page, ...ids) => {
    const data = ids.map((id) => ({ ...notification(id), seen_at: null, read_at: null, archived_at: null }));
    const counts = { unread: ids.length, unseen: ids.length, total: ids.length };
    page(Response.json({ ...PAGE, data, counts }));
  };
  await settled();
  answer(pages.shift(), "a");
  await settled();
  for (const id of ["r1", "r2"]) {
    stream.enqueue(new TextEncoder().encode(`event: reset\nid: ${id}\ndata: {"reason":"epoch"}\n\n`));
    await settled();
    t.mock.timers.tick(1);
    await settled();
  }
  const [older, newer] = pages;
  answer(newer, "c");
  await settled();
  answer(older, "b");
  await settled();
  assert.deepEqual(client.getSnapshot().items.map(({ id }) => id), ["c"]);
});

/** A client of a server that refuses the first changes as too many, and what it was asked to change. */
async function startRefused(t, refusals) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: NOW });
  t.mock.method(Math, "random", () => 0);
  const marks = { seen_at: null, read_at: null, archived_at: null };
  const data = ["a", "b"].map((id) => ({ ...notification(id), ...marks }));
  const asked = [];
  async function fetch(url, { method, body }) {
    if (url.pathname === "/v1/stream") return new Response(new ReadableStream({}), { headers: { "content-type": "text/event-stream" } });
    if (method === "GET") return Response.json({ ...PAGE, data, counts: { unread: 2, unseen: 2, total: 2 } });
    asked.push(`${url.pathname.split("/").at(-1)} ${body}`);
    const status = (await refusals.shift()) ?? 200;
    const headers = status === 429 ? { "retry-after": "7" } : {};
    return Response.json(status === 200 ? { muted: [] } : { code: "no" }, { status, headers });
  }
  const client = createClient({ server: "https://notify.example", user: "ana", token: "token", fetch });
  close = client.close;
  await settled();
  return { client, asked };
}

test("a change that was one too many is shown, and asked for again when the server says", async (t) => {
  const { client, asked } = await startRefused(t, [429, 429]);
  const done = client.inbox.update("a", { read: true });
  await settled();
  assert.equal(client.counts.unread, 1, "it is shown as done");
  t.mock.timers.tick(6_999);
  await settled();
  assert.equal(asked.length, 1, "not before the time");
  t.mock.timers.tick(1);
  await settled();
  assert.equal(asked.length, 2);
  t.mock.timers.tick(7_000);
  await done;
  assert.deepEqual(asked, Array(3).fill('a {"read":true}'));
  assert.equal(client.counts.unread, 1);
});

test("what comes after a change that was put off is done after it", async (t) => {
  const { client, asked } = await startRefused(t, [429]);
  const all = [client.inbox.update("a", { read: true })];
  await settled();
  all.push(client.inbox.update("a", { read: false }), client.preferences.update({ muted: [] }));
  await settled();
  assert.equal(asked.length, 1, "nothing overtakes it");
  assert.equal(client.counts.unread, 2, "the last one is shown");
  t.mock.timers.tick(7_000);
  await Promise.all(all);
  assert.deepEqual(asked.slice(0, 3), ['a {"read":true}', 'a {"read":true}', 'a {"read":false}']);
  assert.equal(client.counts.unread, 2);
  await client.inbox.update("b", { read: true });
  assert.equal(asked.length, 5, "what comes later waits for nobody");
});

test("two changes of one item keep their order though the first one is put off while the other is under way", async (t) => {
  const { client, asked } = await startRefused(t, [429]);
  const all = [client.inbox.update("a", { read: true }), client.inbox.update("a", { read: false })];
  await settled();
  t.mock.timers.tick(7_000);
  await Promise.all(all);
  assert.deepEqual(asked, ['a {"read":true}', 'a {"read":true}', 'a {"read":false}']);
  assert.equal(client.counts.unread, 2);
});

test("a change is sent when the one before it has its answer, or when the page is left", async (t) => {
  globalThis.document = new EventTarget();
  globalThis.window = new EventTarget();
  t.after(() => {
    delete globalThis.document;
    delete globalThis.window;
  });
  const answer = [];
  const answers = [0, 1].map((number) => new Promise((resolve) => (answer[number] = resolve)));
  const { client, asked } = await startRefused(t, answers);
  const all = ["a", "b", "a"].map((id, number) => client.inbox.update(id, { read: number < 2 }));
  await settled();
  assert.deepEqual(asked, ['a {"read":true}']);
  answer[0](500);
  await assert.rejects(all[0], { status: 500 });
  await settled();
  assert.deepEqual(asked.slice(1), ['b {"read":true}'], "whatever the answer is");
  window.dispatchEvent(new Event("pagehide"));
  await settled();
  assert.deepEqual(asked.slice(2), ['a {"read":false}']);
  answer[1](200);
  await Promise.all(all.slice(1));
});

test("a change that fails in another way is taken back at once, also one that was put off before", async (t) => {
  const { client, asked } = await startRefused(t, [429, 503]);
  const done = client.inbox.update("a", { read: true });
  await settled();
  t.mock.timers.tick(7_000);
  await assert.rejects(done, { status: 503 });
  assert.equal(client.counts.unread, 2);
  assert.equal(asked.length, 2);
});

test("a client that is closed asks for nothing again", async (t) => {
  const { client, asked } = await startRefused(t, [429]);
  const all = [client.inbox.update("a", { read: true })];
  await settled();
  all.push(client.inbox.update("b", { read: true }));
  const ends = Promise.allSettled(all);
  client.close();
  t.mock.timers.tick(60_000);
  assert.deepEqual((await ends).map(({ status }) => status), ["rejected", "rejected"]);
  assert.equal(asked.length, 1);
});
