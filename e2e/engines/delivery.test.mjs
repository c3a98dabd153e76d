// What is published is on the open page at once, and once, whatever becomes of the network and of the server.

import assert from "node:assert/strict";
import { until } from "../browser.mjs";
import { startProxy } from "../proxy.mjs";
import { startServer } from "../server.mjs";
import { inEveryEngine } from "./devices.mjs";

const SOON_MS = 1_000;

async function publish(server, count, text) {
  const ids = [];
  for (let number = 1; number <= count; number += 1) ids.push(await server.publish("ana", `${text} ${number}`));
  return ids;
}

function answer(status, type, body) {
  return `HTTP/1.1 ${status}\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;
}

/** A live page behind a network that the test can spoil. */
async function openThroughProxy(t, newDevice) {
  const server = await startServer(t);
  const proxy = await startProxy(t, server);
  const ids = await publish(server, 2, "Antes");
  const tab = await (await newDevice()).open(proxy.page("ana"));
  await tab.isLive();
  await tab.shortenWaits();
  return { server, proxy, tab, ids };
}

inEveryEngine("what is published is on top of the open page within a second", async (t, newDevice) => {
  const server = await startServer(t);
  const [before] = await publish(server, 1, "Antes");
  const tab = await (await newDevice()).open(server.page("ana"));
  await tab.isLive();
  for (const text of ["En vivo", "Y otra"]) {
    const [id] = await publish(server, 1, text);
    await until("it is on top", async () => (await tab.ids())[0] === id, SOON_MS);
  }
  await tab.showsWhatTheServerHas(server, "ana", [before]);
});

inEveryEngine("what is missed while the connection is cut appears once and in order", async (t, newDevice) => {
  const { server, proxy, tab, ids } = await openThroughProxy(t, newDevice);
  for (let round = 1; round <= 3; round += 1) {
    await proxy.refuse();
    ids.push(...(await publish(server, 3, `Durante el corte ${round}`)));
    await proxy.restore();
    ids.push(...(await publish(server, 1, `Después del corte ${round}`)));
    await tab.look();
    await tab.showsWhatTheServerHas(server, "ana", ids);
  }
  await tab.isLive();
});

inEveryEngine("three 503, a proxy's 502 page and a refused port need no reload", async (t, newDevice) => {
  const { server, proxy, tab, ids } = await openThroughProxy(t, newDevice);
  proxy.answer(answer("503 Service Unavailable", "text/plain", ""));
  ids.push(...(await publish(server, 2, "Durante el 503")));
  await until("the page has been turned away three times", () => proxy.answered >= 3);
  proxy.answer(answer("502 Bad Gateway", "text/html", "<h1>502 Bad Gateway</h1>"));
  await until("the page has met the proxy's own page", () => proxy.answered >= 1);
  await proxy.refuse();
  ids.push(...(await publish(server, 2, "Con el puerto cerrado")));
  await until("the page says so", async () => (await tab.state()) === "reconnecting");
  await proxy.restore();
  await tab.showsWhatTheServerHas(server, "ana", ids);
  await tab.isLive();
});

inEveryEngine("a server that drains and one that is killed lose nothing and double nothing", async (t, newDevice) => {
  const server = await startServer(t);
  const ids = await publish(server, 1, "Antes");
  const tab = await (await newDevice()).open(server.page("ana"));
  await tab.isLive();
  await tab.shortenWaits();
  // The exit code of one that was killed is none.
  for (const [end, code] of [["stop", 0], ["kill", null]]) {
    ids.push(...(await publish(server, 1, "Justo antes")));
    assert.equal(await server[end](), code);
    await server.start();
    ids.push(...(await publish(server, 2, "Después")));
    // A server may spread its readers' return over half a minute. Whoever looks at the tab does not wait.
    await until("the page is live again", async () => {
      await tab.look();
      return (await tab.state()) === "live" && (await tab.ids()).length === ids.length;
    });
    await tab.showsWhatTheServerHas(server, "ana", ids);
  }
  assert.equal((await tab.ids()).length, 7);
});
