import assert from "node:assert/strict";
import { test } from "node:test";
import { Refusal } from "../client/access.js";
import { eventsOf } from "../client/events.js";

/** A stream with everything that may stand in one, and what it says. */
const TEXT = [
  "event: hello\nid: 1\nretry: 2000\ndata: {\"epoch\":\"a\"}\n\n",
  ":\n",
  "id: 2\ndata: {\"message\":\"a: b\\n  two spaces\"}\n\n",
  ":\n: a comment\n\nretry: 7000\n\n",
  "id: 3\nevent: state\ndata: {\"message\":\"ñ👩‍👩‍👧 \u2028 \u0085 \\r\\n\"}\n\n",
  "event: heartbeat\nid: 4\ndata: {}\n\n",
  "id: 5\ndata: {\"never\":\"ended\"}\n",
].join("");

const EVENTS = [
  { name: "hello", id: "1", data: { epoch: "a" } },
  { name: "message", id: "2", data: { message: "a: b\n  two spaces" } },
  { name: "state", id: "3", data: { message: "ñ👩‍👩‍👧 \u2028 \u0085 \r\n" } },
  { name: "heartbeat", id: "4", data: {} },
];

const BYTES = new TextEncoder().encode(TEXT);

function answer(pieces, headers = { "content-type": "text/event-stream; charset=utf-8" }) {
  const body = new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece);
      controller.close();
    },
  });
  return new Response(body, { headers });
}

/** What an answer says, piece by piece, and how it ends. */
async function read(pieces) {
  const told = [];
  try {
    for await (const events of eventsOf(answer(pieces))) told.push(events);
  } catch (error) {
    return { told, error };
  }
  return { told };
}

test("a stream says what the server has said, and in the end how long to wait", async () => {
  const { told, error } = await read([BYTES]);
  assert.deepEqual(told, [EVENTS]);
  assert.deepEqual(error, { retryAfterMs: 7_000 });
});

test("it says the same wherever it is cut", async () => {
  for (let cut = 0; cut <= BYTES.length; cut += 1) {
    const { told, error } = await read([BYTES.subarray(0, cut), BYTES.subarray(cut)]);
    assert.deepEqual(told.flat(), EVENTS, `cut at ${cut}`);
    assert.deepEqual(error, { retryAfterMs: 7_000 });
  }
  const { told } = await read(Array.from(BYTES, (byte) => Uint8Array.of(byte)));
  assert.deepEqual(told.flat(), EVENTS, "byte by byte");
});

test("it says the same in pieces of any size", async () => {
  let random = 1;
  for (let round = 0; round < 100; round += 1) {
    const pieces = [];
    for (let at = 0; at < BYTES.length;) {
      // A generator that anybody can repeat.
      random = (random * 48271) % 2147483647;
      const size = 1 + random % 23;
      pieces.push(BYTES.subarray(at, at + size));
      at += size;
    }
    assert.deepEqual((await read(pieces)).told.flat(), EVENTS, JSON.stringify(pieces.map(({ length }) => length)));
  }
});

test("what the server said of coming back holds after a cut too", async () => {
  let isCut = false;
  const body = new ReadableStream({
    pull(controller) {
      if (isCut) controller.error(new TypeError("network error"));
      else controller.enqueue(BYTES);
      isCut = true;
    },
  });
  const events = eventsOf(new Response(body, { headers: { "content-type": "text/event-stream" } }));
  assert.deepEqual((await events.next()).value, EVENTS);
  await assert.rejects(events.next(), { retryAfterMs: 7_000 });
});

test("an event is given as soon as it is complete, and a comment shows that the connection lives", async () => {
  const pieces = ["data: 1\n\ndata: ", "2\n", ":\n", "\n", ":\n"].map((text) => new TextEncoder().encode(text));
  const { told } = await read(pieces);
  assert.deepEqual(told.map((events) => events.map(({ data }) => data)), [[1], [], [], [2], []]);
});

test("what is no stream is refused, and nothing to come back for is the end", async () => {
  assert.deepEqual((await eventsOf(new Response(null, { status: 204 })).next()).done, true);
  const page = answer([BYTES], { "content-type": "text/html" });
  const busy = new Response(null, { status: 503, headers: { "retry-after": "7" } });
  for (const response of [page, busy, new Response("<h1>", { status: 502 })]) {
    await assert.rejects(eventsOf(response).next(), Refusal);
  }
});
