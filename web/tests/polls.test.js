import assert from "node:assert/strict";
import { test } from "node:test";
import { eventsByPolls } from "../client/polls.js";

const NOW = Date.parse("2026-11-26T09:00:00Z");
const notification = (id) => ({ event: "notification", id, data: { id: `n${id}` } });

/** What is under way without a timer has come to its end. */
async function settled() {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Polls that the test answers, and streams that say nothing until it lets them. */
function start(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: NOW });
  const end = new AbortController();
  const told = { polls: [], batches: [], looks: [], worked: 0, error: undefined };
  const access = {
    json: (method, path, { query, signal }) => new Promise((resolve, reject) => {
      told.polls.push({ query, resolve });
      signal.addEventListener("abort", () => reject(signal.reason));
    }),
  };
  async function* listen(signal) {
    const look = { signal };
    told.looks.push(look);
    const said = await new Promise((resolve, reject) => {
      look.say = resolve;
      signal.addEventListener("abort", () => reject(signal.reason));
    });
    yield said;
  }
  const events = eventsByPolls(access, "c0", end.signal, listen, () => (told.worked += 1));
  const reading = (async () => {
    for await (const batch of events) told.batches.push(batch.map(({ name, id }) => `${name} ${id}`));
  })().catch((error) => (told.error = error));
  t.after(() => {
    end.abort();
    return reading;
  });
  return { told, reading };
}

test("the first poll is answered at once and greets, and each goes on from the one before", async (t) => {
  const { told } = start(t);
  await settled();
  told.polls[0].resolve({ data: [notification("1")], cursor: "c1", retry_ms: null });
  await settled();
  told.polls[1].resolve({ data: [], cursor: "c2", retry_ms: null });
  await settled();
  told.polls[2].resolve({ data: [notification("3"), { event: "reset", id: "4", data: {} }], cursor: "4", retry_ms: null });
  await settled();
  assert.deepEqual(told.polls.map(({ query }) => [query.last_event_id, query.wait]), [
    ["c0", "0s"], ["c1", "25s"], ["c2", "25s"], ["4", "25s"],
  ]);
  assert.deepEqual(told.batches, [
    ["hello ", "message 1", "heartbeat c1"], ["heartbeat c2"], ["message 3", "reset 4", "heartbeat 4"],
  ]);
});

test("when the server asks to be waited for, it fails with what it says", async (t) => {
  const { told, reading } = start(t);
  await settled();
  told.polls[0].resolve({ data: [], cursor: null, retry_ms: 4_000 });
  await reading;
  assert.deepEqual(told.error, { retryAfterMs: 4_000 });
  assert.deepEqual(told.batches, []);
});

test("meanwhile it is looked whether a stream works: one that greets does, one that ends or is silent does not", async (t) => {
  const { told } = start(t);
  await settled();
  assert.equal(told.looks.length, 1, "at once: the silence may have been a network that was gone");
  told.looks[0].say([]);
  await settled();
  assert.equal(told.worked, 0);
  t.mock.timers.tick(300_000);
  await settled();
  t.mock.timers.tick(20_000);
  await settled();
  assert.ok(told.looks[1].signal.aborted, "nobody waits for it for ever");
  t.mock.timers.tick(280_000);
  await settled();
  told.looks[2].say([{ name: "hello", id: "", data: {} }]);
  await settled();
  assert.equal(told.worked, 1);
  assert.ok(told.looks[2].signal.aborted, "it was a look");
  assert.equal(told.polls.length, 1, "and the poll has gone on");
});
