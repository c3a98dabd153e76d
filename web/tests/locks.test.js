// The invariant of locks.js, on channels whose every message the test delivers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { request } from "../client/locks.js";
import { Channels, settled } from "./browser.js";

/** A tab that wants the lock, and what has become of it. */
class Claimant {
  state = "waiting";
  #release = () => {};
  #abort = new AbortController();

  constructor(channels, how = {}) {
    const hold = () => {
      this.state = "holding";
      return new Promise((resolve) => (this.#release = resolve));
    };
    request("lock", { signal: how.steal ? undefined : this.#abort.signal, ...how, Channel: channels.Channel }, hold).then(() => (this.state = "released"), () => (this.state = "lost"));
  }

  release() {
    this.#release();
  }

  giveUp() {
    this.#abort.abort();
  }
}

/** @param {number[]} ids What each tab's id is, in the order in which they claim. */
function start(t, ids) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  t.mock.method(Math, "random", () => ids.shift() ?? 1);
  return new Channels();
}

async function unanswered(t, channels) {
  await channels.deliverAll();
  t.mock.timers.tick(250);
  await channels.deliverAll();
}

const states = (...tabs) => tabs.map(({ state }) => state);

test("of all that claim at once, the one with the lowest id holds the lock", async (t) => {
  const channels = start(t, [0.3, 0.1, 0.2]);
  const tabs = [new Claimant(channels), new Claimant(channels), new Claimant(channels)];
  await unanswered(t, channels);
  assert.deepEqual(states(...tabs), ["waiting", "holding", "waiting"]);
});

test("a holder keeps the lock, whatever the id of a later claimant", async (t) => {
  const channels = start(t, [0.9, 0.1]);
  const first = new Claimant(channels);
  await unanswered(t, channels);
  const second = new Claimant(channels);
  await unanswered(t, channels);
  assert.deepEqual(states(first, second), ["holding", "waiting"]);
  first.release();
  await settled();
  await unanswered(t, channels);
  assert.deepEqual(states(first, second), ["released", "holding"], "it is passed on when it is released");
});

test("who gives up while waiting never holds the lock, and holds up nobody", async (t) => {
  const channels = start(t, [0.1, 0.2, 0.3]);
  const [first, second] = [new Claimant(channels), new Claimant(channels)];
  await unanswered(t, channels);
  second.giveUp();
  first.release();
  await settled();
  const third = new Claimant(channels);
  await unanswered(t, channels);
  assert.deepEqual(states(first, second, third), ["released", "lost", "holding"]);
});

test("a thief has the lock at once, and the holder learns of it", async (t) => {
  const channels = start(t, [0.1, 0.2]);
  const first = new Claimant(channels);
  await unanswered(t, channels);
  const thief = new Claimant(channels, { steal: true });
  await settled();
  assert.equal(thief.state, "holding");
  await channels.deliverAll();
  assert.deepEqual(states(first, thief), ["lost", "holding"]);
});

test("two holders that did not hear each other become one as soon as they do", async (t) => {
  const channels = start(t, [0.5, 0.4, 0.6]);
  const tabs = [new Claimant(channels), new Claimant(channels)];
  // Both are deaf until their claims have become locks.
  t.mock.timers.tick(250);
  await settled();
  assert.deepEqual(states(...tabs), ["holding", "holding"]);
  await channels.deliverAll();
  assert.deepEqual(states(...tabs), ["lost", "holding"]);
  const later = new Claimant(channels);
  await unanswered(t, channels);
  assert.deepEqual(states(tabs[1], later), ["holding", "waiting"], "the one that is left answers");
});
