import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff, retryAfterMs } from "../client/backoff.js";

/** Every draw of the test is this one. */
function draw(t, value) {
  t.mock.method(Math, "random", () => value);
}

test("the span of a wait doubles from 1 s to 30 s", (t) => {
  draw(t, 1);
  const backoff = new Backoff();
  const waits = Array.from({ length: 7 }, () => backoff.nextMs());
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
});

test("the jitter is full: any part of the span, so that many spread over all of it", () => {
  const waits = Array.from({ length: 50 }, () => {
    const backoff = new Backoff();
    for (let failure = 1; failure < 6; failure += 1) backoff.nextMs();
    return backoff.nextMs();
  });
  assert.ok(Math.min(...waits) >= 0 && Math.max(...waits) <= 30_000);
  for (const third of [0, 10_000, 20_000]) {
    assert.ok(waits.some((wait) => wait >= third && wait < third + 10_000), `nobody between ${third} and ${third + 10_000}`);
  }
});

test("what the server has said is the least, and still nobody comes back together", (t) => {
  draw(t, 0.5);
  const backoff = new Backoff();
  assert.deepEqual([backoff.nextMs(5_000), backoff.nextMs(5_000)], [5_500, 6_000]);
});

test("ten seconds of life make the next wait small again, less do not", (t) => {
  draw(t, 1);
  const backoff = new Backoff();
  for (let failure = 1; failure <= 5; failure += 1) backoff.nextMs();
  backoff.lived(9_999);
  assert.equal(backoff.nextMs(), 30_000);
  backoff.lived(10_000);
  assert.equal(backoff.nextMs(), 1_000);
});

test("a wait ends with its time, with good news, or with whoever waits", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const backoff = new Backoff();
  const end = new AbortController();
  const ended = [];
  const wait = (name) => backoff.wait(1_000, end.signal).then(() => ended.push(name));

  const [first, cut] = [wait("time"), backoff.cut];
  t.mock.timers.tick(1_000);
  await first;
  assert.equal(cut.call(backoff), false, "nobody waits any more");

  const second = wait("news");
  assert.equal(backoff.cut(), true);
  await second;

  const third = wait("end");
  end.abort();
  await third;
  await wait("ended before it began");
  assert.deepEqual(ended, ["time", "news", "end", "ended before it began"]);
});

test("Retry-After is seconds or a date, and anything else is nothing", () => {
  const now = Date.parse("2026-11-24T09:00:00Z");
  for (const [header, waitMs] of [
    [null, 0],
    ["", 0],
    ["3", 3_000],
    ["Tue, 24 Nov 2026 09:00:07 GMT", 7_000],
    ["Tue, 24 Nov 2026 08:59:00 GMT", 0],
    ["soon", 0],
    ["-5", 0],
  ]) {
    assert.equal(retryAfterMs(header, now), waitMs, String(header));
  }
});
