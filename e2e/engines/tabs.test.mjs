// However many tabs, a browser has one stream, and whatever becomes of the tab that has it, the others miss nothing.

import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { until } from "../browser.mjs";
import { connectionsOf, folderOf, SOON_MS } from "../client.mjs";
import { startServer } from "../server.mjs";
import { inEveryEngine } from "./devices.mjs";

/** A tab with a client in it, as `window.client`, and what it has told of notifications in `window.heard`. */
async function openClient(device, server) {
  // The page that asks for a user has no client of its own.
  const tab = await device.open(server.url);
  await tab.run(async (folder) => {
    const { createClient } = await import(new URL(`${folder}/client/client.js`, location.href).href);
    window.heard = [];
    window.client = createClient({ server: "/", user: "ana" });
    window.client.on("notification", ({ id }) => window.heard.push(id));
  }, await folderOf(server));
  await until("the client is live", async () => {
    const { state, loaded } = await tab.run(() => window.client.getSnapshot());
    return state === "live" && loaded;
  });
  return tab;
}

async function openClients(count, device, server) {
  const tabs = [];
  for (let number = 1; number <= count; number += 1) tabs.push(await openClient(device, server));
  return tabs;
}

/** Whether this tab has the stream: the lock for it is held by whoever it is that holds a lock asked for here. */
async function leads() {
  const own = `own ${performance.now()}`;
  const { held } = await navigator.locks.request(own, () => navigator.locks.query());
  const { clientId } = held.find(({ name }) => name === own);
  return held.some((lock) => lock.name.startsWith("pregon ") && lock.clientId === clientId);
}

async function leaderOf(tabs) {
  for (const tab of tabs) if (await tab.run(leads)) return tab;
  throw new Error("no tab has the stream");
}

const told = () => {
  const { items, counts } = window.client.getSnapshot();
  const shown = items.map(({ id, read_at, archived_at }) => [id, Boolean(read_at), Boolean(archived_at)].join());
  return { shown, counts, isDoubled: new Set(window.heard).size < window.heard.length };
};

/** Every tab has what the server has, marks and counts and order, and has told of nothing twice. */
async function haveWhatTheServerHas(tabs, server, deadlineMs) {
  const { data, counts } = await (await server.request("GET", "/v1/users/ana/inbox?limit=100")).json();
  const shown = data.map(({ id, read_at }) => [id, Boolean(read_at), false].join());
  for (const tab of tabs) {
    let last;
    await until("it has what the server has", async () => {
      last = await tab.run(told);
      return isDeepStrictEqual(last, { shown, counts, isDoubled: false });
    }, deadlineMs).catch((error) => assert.deepEqual(last, { shown, counts, isDoubled: false }, error.message));
  }
}

inEveryEngine("twelve tabs, twice as many as a browser has connections, have one, and everything once", async (t, newDevice) => {
  const server = await startServer(t);
  await server.publish("ana", "Antes");
  const tabs = await openClients(12, await newDevice(), server);
  assert.equal(await connectionsOf(server, "ana"), 1);
  const ids = [];
  for (const text of ["Una", "Dos", "Tres"]) ids.push(await server.publish("ana", text));
  await haveWhatTheServerHas(tabs, server);
  for (const tab of tabs) {
    assert.deepEqual(await tab.run(() => window.heard), ids);
    // With HTTP/2 there would be one connection however many streams.
    const protocols = await tab.run(() => performance.getEntriesByType("navigation").map((entry) => entry.nextHopProtocol));
    assert.deepEqual(protocols, ["http/1.1"]);
  }
  assert.equal(await connectionsOf(server, "ana"), 1);
});

for (const [how, go] of [
  ["is closed", (tab) => tab.close()],
  ["navigates", (tab, server) => tab.go(`${server.url}/healthz`)],
]) {
  inEveryEngine(`when the leader ${how}, another tab has the stream within a second`, async (t, newDevice) => {
    const server = await startServer(t);
    const tabs = await openClients(3, await newDevice(), server);
    const leader = await leaderOf(tabs);
    const rest = tabs.filter((tab) => tab !== leader);
    await go(leader, server);
    const id = await server.publish("ana", "Después");
    await until("it has arrived", async () => {
      const heard = await Promise.all(rest.map((tab) => tab.run(() => window.heard[0])));
      return heard.every((first) => first === id);
    }, SOON_MS);
    await haveWhatTheServerHas(rest, server);
    await until("there is one connection", async () => (await connectionsOf(server, "ana")) === 1);
    assert.notEqual(await leaderOf(rest), leader);
  });
}

inEveryEngine("when the leader crashes, another tab has the stream within a second, and the others hear all once", async (t, newDevice) => {
  const server = await startServer(t);
  const tabs = await openClients(3, await newDevice(), server);
  const leader = await leaderOf(tabs);
  const names = ["Una", "Otra"];
  // WebKitGTK's driver says nothing more once a page has crashed. So each tab marks what it hears under its name, if it
  // has heard nothing twice, and it is the server that says so.
  for (const [number, tab] of tabs.filter((tab) => tab !== leader).entries()) {
    await tab.run((name) => {
      window.client.on("notification", ({ id, message }) => {
        const isDoubled = new Set(window.heard).size < window.heard.length;
        if (message === name && !isDoubled) window.client.inbox.update(id, { read: true });
      });
    }, names[number]);
  }
  const isRead = async (id) => (await (await server.request("GET", `/v1/inbox/${id}?user_id=ana`)).json()).read_at !== null;
  const eachHearsItsOwn = async (deadlineMs) => {
    const ids = [];
    for (const name of names) ids.push(await server.publish("ana", name));
    await until("each has heard what is for it", async () => (await Promise.all(ids.map(isRead))).every(Boolean), deadlineMs);
  };

  await leader.crash();
  await eachHearsItsOwn(SOON_MS);
  // Firefox ends the stream of a page that is no more when something comes for it.
  await eachHearsItsOwn(SOON_MS);
  await until("there is one connection", async () => (await connectionsOf(server, "ana")) === 1);
});

/** Those that keep a page as it is for the back button. Firefox keeps none that holds a lock or waits for one. */
const KEEPING = ["chromium", "webkit"];

/** Notes of what the page tells that it has arrived, and whether it has been kept. */
function listen() {
  if (window.told) return;
  window.told = [];
  document.addEventListener("pregon-notification", ({ detail }) => void window.told.push(detail.id));
  addEventListener("pageshow", ({ persisted }) => void (window.isKept = persisted));
}

/** It is live, and has loaded so many. A page that is being left does not answer. */
async function hasLoaded(tab, count) {
  await until(`it is live and has loaded ${count}`, async () => {
    const shown = await tab.run(() => [all("#state")[0]?.dataset.state, all("#tab-all .tab-count")[0]?.textContent]).catch(() => []);
    return shown.join() === `live,${count}`;
  });
}

inEveryEngine("a leader that comes back by the back button has nothing lost or doubled, kept or loaded anew", async (t, newDevice, engine) => {
  const server = await startServer(t);
  const device = await newDevice();
  await server.publish("ana", "Antes");
  const tabs = [];
  for (let number = 1; number <= 3; number += 1) {
    tabs.push(await device.open(server.page("ana")));
    await hasLoaded(tabs.at(-1), 1);
    await tabs.at(-1).run(listen);
  }
  const leader = await leaderOf(tabs);
  const rest = tabs.filter((tab) => tab !== leader);

  await leader.go(`${server.url}/healthz`);
  const missed = await server.publish("ana", "Mientras no estaba");
  await until("it has arrived", async () => {
    const shown = await Promise.all(rest.map((tab) => tab.ids()));
    return shown.every(([newest]) => newest === missed);
  }, SOON_MS);
  await until("there is one connection", async () => (await connectionsOf(server, "ana")) === 1);

  await leader.goBack();
  await hasLoaded(leader, 2);
  assert.equal(await leader.run(() => window.isKept === true), KEEPING.includes(engine));
  await leader.run(listen);
  const last = await server.publish("ana", "En vivo otra vez");
  for (const tab of tabs) {
    await until("it is shown", async () => (await tab.ids())[0] === last);
    assert.deepEqual(await tab.ids(), await server.ids("ana"));
  }
  for (const tab of rest) assert.deepEqual(await tab.run(() => window.told), [missed, last]);
  // What it has missed was no news when it came back.
  assert.deepEqual(await leader.run(() => window.told), [last]);
  assert.equal(await connectionsOf(server, "ana"), 1);
});

inEveryEngine("what is marked in one tab is so in another one and on another device", async (t, newDevice) => {
  const server = await startServer(t);
  const [first, second] = [await server.publish("ana", "Una"), await server.publish("ana", "Dos")];
  const tabs = await openClients(2, await newDevice(), server);
  tabs.push(await openClient(await newDevice(), server));
  const [leader, other, elsewhere] = tabs;
  const mark = (id, set) => window.client.inbox.update(id, set).then(() => {});

  await other.run(mark, first, { read: true });
  await haveWhatTheServerHas(tabs, server, SOON_MS);
  await elsewhere.run(mark, second, { read: true });
  await haveWhatTheServerHas(tabs, server, SOON_MS);
  assert.deepEqual((await leader.run(told)).counts, { unread: 0, unseen: 0, total: 2 });
  await leader.run(mark, first, { archived: true });
  await haveWhatTheServerHas(tabs, server, SOON_MS);
});
