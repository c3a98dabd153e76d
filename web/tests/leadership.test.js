// The invariant of leadership.js, on a server, a lock and a channel whose every step the test decides.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { createLeadership } from "../client/leadership.js";
// It is loaded when it is first needed, which takes a moment that no test can set.
import "../client/locks.js";
import { Channels, Locks, settled } from "./browser.js";

const NAME = "pregon test";

/** Tabs that are open: a test closes what it has opened, and their timers with them. @type {Set<Tab>} */
const open = new Set();
afterEach(() => {
  for (const tab of open) tab.leave();
});

/** A log of one user, and whatever streams from it. */
class Server {
  log = [];
  /** @type {Set<Tab>} */
  streams = new Set();
  snapshots = 0;

  /** @param {number} [count] */
  publish(count = 1) {
    for (let n = 0; n < count; n += 1) this.log.push(`e${this.log.length + 1}`);
  }

  /** Sends each stream what stands in the log after its cursor. */
  flow() {
    for (const tab of this.streams) {
      const { cursor } = tab.leadership;
      // Without a cursor, a stream begins now.
      const from = cursor === undefined ? this.log.length : this.log.indexOf(cursor.split("/")[0]) + 1;
      const events = this.log.slice(from).map((id) => ({ name: "message", id, data: id }));
      if (events.length > 0) tab.leadership.tell(events);
    }
  }

  get cursor() {
    return this.log.at(-1) ?? "start";
  }
}

class Tab {
  /** What it shows: what its snapshot had, and what it has heard since, once each. */
  shows = [];
  /** How often it has heard of each. */
  heard = new Map();
  state = "connecting";
  /** Held back until the test lets the answer through. @type {(() => void)[]} */
  waiting = [];
  slow = false;
  endless = false;

  /** @param {Server} server @param {object} surroundings @param {string} [name] */
  constructor(server, surroundings, name = NAME) {
    this.server = server;
    this.leadership = createLeadership(name, {
      takeSnapshot: () => this.#snapshot(),
      keepOpen: (signal) => this.#lead(signal),
      pulse: () => ({ state: server.streams.has(this) ? "live" : "reconnecting", clockOffsetMs: 0 }),
      hurry: () => {},
      heard: (events, pulse) => {
        this.state = pulse.state;
        for (const { id } of events) {
          this.heard.set(id, (this.heard.get(id) ?? 0) + 1);
          if (!this.shows.includes(id)) this.shows.push(id);
        }
      },
    }, surroundings);
    this.leadership.join();
    open.add(this);
  }

  async #snapshot() {
    this.server.snapshots += 1;
    const heard = [...this.heard.keys()];
    // The server makes it now; the answer may take its time.
    const [had, cursor] = [[...this.server.log], `${this.server.cursor}/${this.server.snapshots}`];
    if (this.slow) await new Promise((resolve) => this.waiting.push(resolve));
    const since = [...this.heard.keys()].filter((id) => !heard.includes(id));
    this.shows = [...new Set([...had, ...since])];
    return cursor;
  }

  async #lead(signal) {
    this.server.streams.add(this);
    this.leadership.tell();
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    this.server.streams.delete(this);
    // What is under way in a page that is frozen ends when it ends.
    if (this.endless) await new Promise(() => {});
  }

  /** Closed, navigated, or kept for the back button. */
  leave() {
    this.leadership.leave();
    this.server.streams.delete(this);
  }

  get leads() {
    return this.leadership.leads();
  }
}

function browser() {
  const channels = new Channels();
  return { navigator: { locks: new Locks() }, BroadcastChannel: channels.Channel, channels };
}

async function openTabs(count) {
  const server = new Server();
  const surroundings = browser();
  const tabs = [];
  for (let n = 0; n < count; n += 1) {
    tabs.push(new Tab(server, surroundings));
    await surroundings.channels.deliverAll();
  }
  return { server, surroundings, tabs, deliverAll: () => surroundings.channels.deliverAll() };
}

function assertAllShow(tabs, server) {
  for (const [index, tab] of tabs.entries()) {
    assert.deepEqual(tab.shows, server.log, `tab ${index}`);
    for (const [id, times] of tab.heard) assert.equal(times, 1, `tab ${index} heard ${id} ${times} times`);
  }
}

test("twelve tabs have one stream, and every tab has everything once", async () => {
  const { server, tabs, deliverAll } = await openTabs(12);
  server.publish(5);
  server.flow();
  await deliverAll();
  assert.equal(server.streams.size, 1);
  assert.equal(tabs.filter((tab) => tab.leads).length, 1);
  assert.deepEqual([...new Set(tabs.map((tab) => tab.state))], ["live"]);
  assertAllShow(tabs, server);
});

test("when the leader goes, the next one goes on from its own cursor, and nobody takes a snapshot", async () => {
  const { server, tabs, deliverAll } = await openTabs(4);
  const { snapshots } = server;
  while (tabs.length > 0) {
    server.publish(2);
    server.flow();
    await deliverAll();
    assertAllShow(tabs, server);
    const leader = tabs.findIndex((tab) => tab.leads);
    server.publish(1);
    tabs.splice(leader, 1)[0].leave();
    server.publish(1);
    await deliverAll();
  }
  assert.equal(server.snapshots, snapshots);
});

test("whatever of the leader's last words the next one has not heard, everybody has once", async () => {
  for (let delivered = 0; delivered <= 6; delivered += 1) {
    const { server, surroundings, tabs, deliverAll } = await openTabs(3);
    const [leader, ...others] = tabs;
    for (let n = 0; n < 3; n += 1) {
      server.publish();
      server.flow();
    }
    for (let n = 0; n < delivered; n += 1) await surroundings.channels.deliver();
    leader.leave();
    await settled();
    server.publish(2);
    server.flow();
    await deliverAll();
    server.flow();
    await deliverAll();
    assertAllShow(others, server);
  }
});

test("a tab that comes while the leader goes misses nothing, however the messages fall", async () => {
  // Every order of what can happen between a tab's coming and its first answer.
  for (const plan of ["pLsd", "pLds", "Lpsd", "spLd", "sLpd", "psLd", "dpLs", "dLps"]) {
    const { server, surroundings, tabs, deliverAll } = await openTabs(2);
    server.publish(2);
    server.flow();
    const comer = new Tab(server, surroundings);
    for (const step of plan) {
      if (step === "p") server.publish(2);
      if (step === "s") server.flow();
      if (step === "d") await surroundings.channels.deliver();
      if (step === "L") tabs[0].leave();
      await settled();
    }
    await deliverAll();
    server.flow();
    await deliverAll();
    assertAllShow([tabs[1], comer], server);
  }
});

test("two tabs that come at the same time miss nothing of what lies between their snapshots", async () => {
  const server = new Server();
  const surroundings = browser();
  const first = new Tab(server, surroundings);
  const second = new Tab(server, surroundings);
  first.slow = second.slow = true;
  await settled();
  server.publish(3);
  for (let turn = 0; turn < 4; turn += 1) {
    await surroundings.channels.deliverAll();
    server.publish(1);
    server.flow();
    for (const answer of [...first.waiting.splice(0), ...second.waiting.splice(0)]) answer();
    await settled();
  }
  await surroundings.channels.deliverAll();
  server.flow();
  await surroundings.channels.deliverAll();
  assert.equal(server.streams.size, 1);
  assertAllShow([first, second], server);
});

test("a tab that leads before it has ever heard of a line begins one, and the others take a snapshot", async () => {
  const { server, surroundings, tabs, deliverAll } = await openTabs(2);
  // The leader goes before the newcomer has an answer, and the newcomer has waited longer than the other tab.
  tabs[1].leave();
  await deliverAll();
  const comer = new Tab(server, surroundings);
  tabs[0].leave();
  await settled();
  const last = new Tab(server, surroundings);
  server.publish(3);
  await deliverAll();
  server.flow();
  await deliverAll();
  assert.ok(comer.leads);
  assertAllShow([comer, last], server);
});

test("a tab that was away takes a snapshot when it comes back", async () => {
  const { server, tabs, deliverAll } = await openTabs(3);
  server.publish(1);
  server.flow();
  await deliverAll();
  tabs[0].leave();
  await deliverAll();
  server.publish(2);
  server.flow();
  await deliverAll();
  tabs[0].leadership.join();
  await deliverAll();
  server.publish(1);
  server.flow();
  await deliverAll();
  assertAllShow(tabs, server);
  assert.equal(server.streams.size, 1);
});

test("a leader that does not answer is deposed, and stands in line again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  t.mock.method(Math, "random", () => 0);
  const { server, tabs, deliverAll } = await openTabs(3);
  const [stuck, ...others] = tabs;
  // Its stream goes on filling, but it says nothing to anybody.
  server.streams.delete(stuck);
  server.publish(2);
  others[0].leadership.ask();
  t.mock.timers.tick(5_000);
  await settled();
  assert.ok(others[0].leads && !stuck.leads);
  await deliverAll();
  server.flow();
  await deliverAll();
  assertAllShow(tabs, server);

  others[0].leave();
  await deliverAll();
  server.publish(1);
  server.flow();
  await deliverAll();
  assert.equal(server.streams.size, 1);
  assertAllShow([stuck, others[1]], server);
  others[1].leave();
  await settled();
  assert.ok(stuck.leads);
});

test("a newcomer that deposes a leader has no line, so whoever had one takes a snapshot", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  t.mock.method(Math, "random", () => 0);
  const { server, surroundings, tabs, deliverAll } = await openTabs(2);
  // The leader is stuck: its stream reaches nobody, and it answers nobody.
  server.publish(2);
  const comer = new Tab(server, { ...surroundings, BroadcastChannel: surroundings.channels.Channel });
  await settled();
  t.mock.timers.tick(5_000);
  await settled();
  assert.ok(comer.leads && !tabs[0].leads);
  await deliverAll();
  server.publish(1);
  server.flow();
  await deliverAll();
  assertAllShow([...tabs, comer], server);
});

test("a newcomer that leads goes on from where its line was, not from its snapshot", async () => {
  const { server, surroundings, tabs, deliverAll } = await openTabs(2);
  server.publish(1);
  server.flow();
  await deliverAll();
  // The server has more than the leader has told when the newcomer takes its snapshot.
  server.publish(2);
  const comer = new Tab(server, surroundings);
  await deliverAll();
  tabs[0].leave();
  tabs[1].leadership.leave();
  tabs[1].leadership.join();
  await settled();
  const witness = tabs[1];
  await deliverAll();
  assert.ok(comer.leads);
  server.flow();
  await deliverAll();
  assertAllShow([witness, comer], server);
});

test("whoever leaves lets go of the lock at once, whatever is still under way", async () => {
  const { tabs } = await openTabs(2);
  tabs[0].endless = true;
  tabs[0].leave();
  await settled();
  assert.ok(tabs[1].leads);
});

test("a leader that answers stays, and one that has gone silent is asked before it is deposed", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { surroundings, tabs, deliverAll } = await openTabs(2);
  t.mock.timers.tick(60_000);
  assert.equal(surroundings.channels.posted > 0, true);
  await deliverAll();
  t.mock.timers.tick(5_999);
  await deliverAll();
  assert.ok(tabs[0].leads && !tabs[1].leads);
});

test("tabs of another name have nothing to do with each other", async () => {
  const server = new Server();
  const surroundings = browser();
  const [ana, luis] = [new Tab(server, surroundings, "ana"), new Tab(new Server(), surroundings, "luis")];
  await surroundings.channels.deliverAll();
  server.publish(1);
  server.flow();
  await surroundings.channels.deliverAll();
  assert.ok(ana.leads && luis.leads);
  assert.deepEqual([ana.shows, luis.shows], [["e1"], []]);
});

test("without a channel each tab has a stream of its own", async () => {
  class Refused {
    constructor() {
      throw new DOMException("site data is blocked", "SecurityError");
    }
  }
  for (const BroadcastChannel of [undefined, Refused]) {
    const server = new Server();
    const navigator = { locks: new Locks() };
    const tabs = [new Tab(server, { navigator, BroadcastChannel }), new Tab(server, { navigator, BroadcastChannel })];
    await settled();
    server.publish(2);
    server.flow();
    assert.equal(server.streams.size, 2);
    assertAllShow(tabs, server);
    tabs[0].leave();
    assert.equal(tabs[0].leads, false);
  }
});

/** Surroundings whose Web Locks are absent or refused, each with the number of times they were asked for. */
function withoutWebLocks() {
  const refusal = () => new DOMException("this frame may not", "SecurityError");
  const asked = { count: 0 };
  const counted = (act) => ({ locks: { request: () => { asked.count += 1; return act(); } } });
  return [
    [undefined, asked],
    [{}, asked],
    [{ get locks() { asked.count += 1; throw refusal(); } }, asked],
    [counted(() => Promise.reject(refusal())), asked],
    [counted(() => { throw refusal(); }), asked],
  ];
}

test("where Web Locks are absent or refused, one tab leads all the same, and the refusal is asked for once", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  for (const [navigator, asked] of withoutWebLocks()) {
    const server = new Server();
    const { BroadcastChannel, channels } = browser();
    const tabs = [new Tab(server, { navigator, BroadcastChannel })];
    await claimed(t, channels);
    tabs.push(new Tab(server, { navigator, BroadcastChannel }), new Tab(server, { navigator, BroadcastChannel }));
    await claimed(t, channels);
    assert.ok(asked.count <= tabs.length, `${asked.count} requests`);
    asked.count = 0;
    assert.deepEqual(tabs.map((tab) => tab.leads), [true, false, false]);
    server.publish(2);
    server.flow();
    await channels.deliverAll();
    assert.equal(server.streams.size, 1);
    assertAllShow(tabs, server);
    tabs[0].leave();
    server.publish();
    await channels.deliverAll();
    await claimed(t, channels);
    server.flow();
    await channels.deliverAll();
    assert.equal(server.streams.size, 1, "another tab leads");
    assertAllShow(tabs.slice(1), server);
    for (const tab of tabs) tab.leave();
  }
});

/** Messages arrive, and the time passes after which an unanswered claim is a lock. */
async function claimed(t, channels) {
  for (let turn = 0; turn < 3; turn += 1) {
    for (let wait = 0; wait < 5; wait += 1) await new Promise((resolve) => setImmediate(resolve));
    await channels.deliverAll();
    t.mock.timers.tick(250);
    await channels.deliverAll();
  }
}
