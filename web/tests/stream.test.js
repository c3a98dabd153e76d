import assert from "node:assert/strict";
import { test } from "node:test";
import { Unauthenticated } from "../client/access.js";
import { eventsOf } from "../client/events.js";
import { createStream } from "../client/stream.js";

const HELLO = "event: hello\nid: h\nretry: 2000\ndata: {\"heartbeat_ms\":1000}\n\n";

/** A stream whose connections the test answers one by one, on a clock that it sets. */
function start(t, ...answers) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.mock.method(Math, "random", () => 0.5);
  const end = new AbortController();
  const told = { states: [], data: [], opened: 0 };
  const stream = createStream({
    async *open(signal) {
      told.opened += 1;
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      if (!answer) await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      yield* eventsOf(answer(signal));
    },
    heard: (events) => told.data.push(events.map(({ data }) => data)),
    become: (state) => told.states.push(state),
  });
  const over = stream.run(end.signal);
  t.after(() => end.abort());
  // Whoever asks is told how it ends.
  over.catch(() => {});
  return { stream, told, over, end };
}

/** An answer that says these things and then what the test sends; it ends when the test says so. */
function streaming(...pieces) {
  let body;
  const answer = (signal) => {
    const readable = new ReadableStream({
      start(controller) {
        body = controller;
        for (const piece of pieces) body.enqueue(new TextEncoder().encode(piece));
        signal.addEventListener("abort", () => {
          // It may have ended already.
          try { body.error(signal.reason); } catch {}
        });
      },
    });
    return new Response(readable, { headers: { "content-type": "text/event-stream" } });
  };
  return { answer, send: (text) => body.enqueue(new TextEncoder().encode(text)), close: () => body.close() };
}

/** What is under way without a timer has come to its end. */
async function settled() {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

test("it is live when the server has greeted, and what comes in one piece is handed over together", async (t) => {
  const first = streaming();
  const { told } = start(t, first.answer);
  await settled();
  assert.deepEqual(told.states, []);
  first.send(`${HELLO}id: 1\ndata: "one"\n\nid: 2\nda`);
  await settled();
  first.send('ta: "two"\n\n');
  await settled();
  assert.deepEqual(told.states, ["live"]);
  assert.deepEqual(told.data, [[{ heartbeat_ms: 1_000 }, "one"], ["two"]]);
});

test("after an end it waits as long as the server has said and a little more", async (t) => {
  const first = streaming(HELLO);
  const { told } = start(t, first.answer);
  await settled();
  first.close();
  await settled();
  assert.deepEqual(told.states, ["live", "reconnecting"]);
  t.mock.timers.tick(2_499);
  await settled();
  assert.equal(told.opened, 1);
  t.mock.timers.tick(1);
  await settled();
  assert.equal(told.opened, 2);
});

test("whatever else is answered is tried again, later each time", async (t) => {
  const page = () => new Response("<h1>502</h1>", { status: 502, headers: { "content-type": "text/html" } });
  const disguised = () => new Response("<h1>soon</h1>", { headers: { "content-type": "text/html" } });
  const busy = () => new Response(null, { status: 503, headers: { "retry-after": "7" } });
  const { told } = start(t, new TypeError("refused"), page, disguised, busy);
  for (const waitMs of [500, 1_000, 2_000, 7_000 + 4_000]) {
    await settled();
    const { opened } = told;
    t.mock.timers.tick(waitMs - 1);
    await settled();
    assert.equal(told.opened, opened, `${waitMs} ms: too early`);
    t.mock.timers.tick(1);
    await settled();
    assert.equal(told.opened, opened + 1, `${waitMs} ms: too late`);
  }
});

test("two and a half heartbeats without a byte, a comment included, and the connection is given up", async (t) => {
  const first = streaming(HELLO);
  const { told } = start(t, first.answer);
  await settled();
  for (let beat = 1; beat <= 3; beat += 1) {
    t.mock.timers.tick(2_400);
    first.send(":\n");
    await settled();
  }
  assert.deepEqual(told.states, ["live"]);
  t.mock.timers.tick(2_500);
  await settled();
  assert.deepEqual(told.states, ["live", "reconnecting"]);
});

test("so is one that says nothing but its greeting", async (t) => {
  const { told } = start(t, streaming(HELLO).answer);
  await settled();
  t.mock.timers.tick(2_500);
  await settled();
  assert.deepEqual(told.states, ["live", "reconnecting"]);
});

test("a connection that does not open is given up, and news cuts a wait short", async (t) => {
  const { told, stream } = start(t, undefined);
  t.mock.timers.tick(37_500);
  await settled();
  assert.deepEqual(told.states, ["reconnecting"]);
  stream.wake();
  await settled();
  assert.equal(told.opened, 2);
});

test("what comes out of a page that could not run for long is not believed, but read again", async (t) => {
  const first = streaming(HELLO);
  const { told } = start(t, first.answer);
  await settled();
  // The clock has gone on, the timer could not.
  t.mock.timers.setTime(60_000);
  first.send('id: 1\ndata: "stale"\n\n');
  await settled();
  assert.deepEqual(told.data.flat(), [{ heartbeat_ms: 1_000 }]);
  assert.deepEqual(told.states, ["live", "reconnecting"]);
});

test("a better connection takes the place at once, and nobody is told", async (t) => {
  const [first, second, third] = [streaming(HELLO), streaming(HELLO), streaming(HELLO)];
  const { told, stream } = start(t, first.answer, second.answer, new TypeError("refused"), third.answer);
  await settled();
  stream.wake(true);
  await settled();
  second.send('id: 1\ndata: "one"\n\n');
  await settled();
  assert.equal(told.opened, 2);
  assert.deepEqual(told.states, ["live", "live"]);
  assert.deepEqual(told.data.flat().slice(2), ["one"]);

  stream.wake(true);
  await settled();
  assert.equal(told.opened, 3);
  assert.deepEqual(told.states.slice(2), ["reconnecting"], "it was not better");
  t.mock.timers.tick(500);
  await settled();
  assert.deepEqual(told.states.slice(2), ["reconnecting", "live"]);
});

test("204 is the end, a refused token too, and so is the caller's word", async (t) => {
  await start(t, () => new Response(null, { status: 204 })).over;
  t.mock.timers.reset();
  await assert.rejects(start(t, new Unauthenticated("no")).over, Unauthenticated);
  t.mock.timers.reset();
  const { over, end, told } = start(t, streaming(HELLO).answer);
  await settled();
  end.abort();
  await assert.rejects(over, { name: "AbortError" });
  assert.deepEqual(told.states, ["live"]);
});

test("after a connection that said nothing at all the caller is told so, until a better one is promised", async (t) => {
  const mute = [];
  const answers = [undefined, () => streaming(HELLO), undefined, undefined];
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.mock.method(Math, "random", () => 0.5);
  const end = new AbortController();
  const stream = createStream({
    async *open(signal, isMute) {
      mute.push(isMute);
      const answer = answers.shift();
      if (!answer) await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      yield* eventsOf(answer().answer(signal));
    },
    heard() {},
    become() {},
  });
  t.after(() => end.abort());
  stream.run(end.signal).catch(() => {});
  t.mock.timers.tick(37_500);
  await settled();
  t.mock.timers.tick(500);
  await settled();
  assert.deepEqual(mute, [false, true]);
  t.mock.timers.tick(2_500);
  await settled();
  t.mock.timers.tick(10_000);
  await settled();
  assert.deepEqual(mute, [false, true, true], "this one did speak, and its silence afterwards is no other reason");
  stream.wake(true);
  await settled();
  assert.deepEqual(mute, [false, true, true, false]);
});
