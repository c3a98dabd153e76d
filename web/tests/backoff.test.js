import assert from "node:assert/strict";
import { test } from "node:test";
import { Unauthenticated } from "../client/access.js";
import { createBackoff } from "../client/backoff.js";

/** Something that goes on failing, on a clock that the test sets and with draws that it knows. */
function fail(t, { draw = 1, told = [], livesMs = 0 } = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.mock.method(Math, "random", () => draw);
  const backoff = createBackoff();
  const end = new AbortController();
  const tried = { times: 0, failed: 0, livesMs };
  const attempt = async (live) => {
    tried.times += 1;
    if (tried.livesMs) {
      live();
      t.mock.timers.tick(tried.livesMs);
    }
    throw Object.assign(new Error("no"), { retryAfterMs: told.shift() });
  };
  const over = backoff.insist(attempt, end.signal, () => (tried.failed += 1));
  over.catch(() => {});
  return { backoff, end, tried, over };
}

/** What is under way without a timer has come to its end. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** The next attempt comes after this time, not before. */
async function assertWaits(t, tried, waitMs) {
  await settled();
  const { times } = tried;
  t.mock.timers.tick(waitMs - 1);
  await settled();
  assert.equal(tried.times, times, `earlier than ${waitMs} ms`);
  t.mock.timers.tick(1);
  await settled();
  assert.equal(tried.times, times + 1, `later than ${waitMs} ms`);
}

test("the span of a wait doubles from 1 s to 30 s", async (t) => {
  const { tried } = fail(t);
  for (const waitMs of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) await assertWaits(t, tried, waitMs);
  assert.equal(tried.failed, tried.times);
});

test("the jitter is full: any part of the span", async (t) => {
  const { tried } = fail(t, { draw: 0.1 });
  for (const waitMs of [100, 200, 400]) await assertWaits(t, tried, waitMs);
});

test("what the server has said is the least, and still nobody comes back together", async (t) => {
  const { tried } = fail(t, { draw: 0.5, told: [5_000, 5_000] });
  for (const waitMs of [5_500, 6_000, 2_000]) await assertWaits(t, tried, waitMs);
});

test("ten seconds of life make the next wait small again, less do not", async (t) => {
  const { tried } = fail(t, { livesMs: 9_999 });
  for (const waitMs of [1_000, 2_000, 4_000]) await assertWaits(t, tried, waitMs);
  tried.livesMs = 10_000;
  await assertWaits(t, tried, 8_000);
  await assertWaits(t, tried, 1_000);
});

test("good news cuts a wait short", async (t) => {
  const { backoff, tried } = fail(t);
  await settled();
  backoff.cut();
  backoff.cut();
  await settled();
  assert.equal(tried.times, 2, "nobody waits any more");
});

test("good news is for all that wait", async (t) => {
  const { backoff, tried, end } = fail(t);
  let others = 0;
  const other = backoff.insist(async () => {
    others += 1;
    throw new Error("no");
  }, end.signal, () => {});
  other.catch(() => {});
  await settled();
  backoff.cut();
  await settled();
  assert.deepEqual([tried.times, others], [2, 2]);
});

test("it ends with what is given, with whoever waits, or with a refused token", async (t) => {
  const backoff = createBackoff();
  assert.equal(await backoff.insist(async () => "given", new AbortController().signal, () => {}), "given");

  const { over, end, backoff: waiting } = fail(t);
  await settled();
  end.abort();
  waiting.cut();
  await assert.rejects(over, { name: "AbortError" });

  const refused = async () => {
    throw new Unauthenticated("no");
  };
  await assert.rejects(backoff.insist(refused, new AbortController().signal, () => {}), Unauthenticated);
});

test("whoever is told of a failure can end it", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let times = 0;
  const attempt = async () => { throw new Error(`${(times += 1)}`); };
  const over = createBackoff().insist(attempt, new AbortController().signal, ({ message }) => message === "1");
  await settled();
  t.mock.timers.tick(1_000);
  await assert.rejects(over, { message: "2" });
});
