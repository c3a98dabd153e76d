import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { createAccess } from "../client/access.js";
import { eventsBySource } from "../client/eventsource.js";

/** An EventSource that says what the test wants. The newest is `sources.at(-1)`. */
class Source extends EventTarget {
  isClosed = false;

  constructor(url) {
    super();
    this.url = new URL(url);
    sources.push(this);
  }

  /** @param {string} name @param {string} id @param {object} data */
  say(name, id, data) {
    this.dispatchEvent(Object.assign(new Event(name), { lastEventId: id, data: JSON.stringify(data) }));
  }

  fail() {
    this.dispatchEvent(new Event("error"));
  }

  close() {
    this.isClosed = true;
  }
}

/** @type {Source[]} */
let sources = [];
globalThis.EventSource = Source;
afterEach(() => (sources = []));

/** A stream after a cursor; each has a ticket of its own. */
function open(cursor) {
  let tickets = 0;
  const requests = [];
  const fetch = async (url, { method }) => {
    requests.push(`${method} ${url.pathname}`);
    return Response.json({ ticket: `ticket ${(tickets += 1)}` }, { status: 201 });
  };
  const access = createAccess({ server: "https://notify.example", user: "ana", locale: "es", token: "t", fetch });
  const end = new AbortController();
  return { events: eventsBySource(access, { last_event_id: cursor }, end.signal), end, requests };
}

/** What is under way without a timer has come to its end. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("it begins after the cursor, with a ticket and nothing that lasts", async () => {
  const { events, requests } = open("a");
  events.next().catch(() => {});
  await settled();
  assert.deepEqual(requests, ["POST /v1/stream/tickets"]);
  const { pathname, searchParams } = sources[0].url;
  assert.equal(pathname, "/v1/stream");
  assert.deepEqual(Object.fromEntries(searchParams), {
    user_id: "ana", lang: "es", last_event_id: "a", ticket: "ticket 1",
  });
  sources[0].fail();
});

test("what is said at once is handed over together, by its name, with its id", async () => {
  const { events, end } = open();
  const first = events.next();
  await settled();
  const [source] = sources;
  source.say("message", "1", { id: "n1" });
  source.say("state", "2", { set: { read: true } });
  assert.deepEqual((await first).value, [
    { name: "message", id: "1", data: { id: "n1" } },
    { name: "state", id: "2", data: { set: { read: true } } },
  ]);
  const second = events.next();
  await settled();
  source.say("token_expiring", "3", { expires_at: "2026-11-26T09:00:00Z" });
  assert.equal((await second).value[0].name, "token_expiring");
  end.abort();
  await assert.rejects(events.next());
  assert.ok(source.isClosed);
});

test("its first error is its end: it does not come back by itself with a ticket that is used up", async () => {
  const { events } = open();
  const first = events.next();
  await settled();
  sources[0].fail();
  await assert.rejects(first);
  assert.ok(sources[0].isClosed);
});

test("silence is told by the heartbeats that it hears, every second one", async () => {
  const { events } = open();
  const first = events.next();
  await settled();
  sources[0].say("hello", "h", { heartbeat_ms: 15_000 });
  assert.equal((await first).value[0].data.heartbeat_ms, 30_000);
  await events.return();
  assert.ok(sources[0].isClosed, "whoever has heard enough leaves nothing open");
});
