import assert from "node:assert/strict";
import { test } from "node:test";
import {
  assertNeverReloaded, assertShowsWhatTheServerHas, openLive, shownIds, shownMessages, until, useBrowser,
} from "./browser.mjs";
import { startServer } from "./server.mjs";
import drawings from "../web/widget/drawings.js";

const newContext = useBrowser();

test("what is published is on top of the open page within a second, without a reload", async (t) => {
  const server = await startServer(t);
  await server.publish("ana", "La primera");
  const page = await openLive(await newContext(t), server.page("ana"));

  const id = await server.publish("ana", { title: "Pedido", message: "Ha salido del almacén", severity: "success" });
  await until("it is on top", async () => (await shownIds(page))[0] === id, 1_000);

  const row = page.locator(`[data-id="${id}"]`);
  assert.equal(await row.locator(".notice-title").textContent(), "Pedido");
  assert.equal(await row.locator(".notice-message").textContent(), "Ha salido del almacén");
  assert.equal(await row.locator(".notice-severity").textContent(), "Hecho:");
  assert.equal(await row.locator(".notice-mark path").getAttribute("d"), drawings.success);
  assert.equal(await row.locator("time").textContent(), "ahora");
  await assertNeverReloaded(page);
});

/** What can be seen of each row: its words, its colours, and where each part of it stands. */
function looks(page) {
  return page.locator("#notices .notice").evaluateAll((rows) => rows.map((row) => {
    const look = (selector) => [...row.querySelectorAll(selector)].map((part) => {
      // Not the width: an age is shorter than the time that the server writes, and leaves the words more room.
      const { x, y, height } = part.getBoundingClientRect();
      const { color, backgroundColor, font, opacity } = getComputedStyle(part);
      return { text: part.textContent.trim(), box: [x, y, height].map(Math.round), color, backgroundColor, font, opacity };
    });
    const { id, severity } = row.dataset;
    const { top, height } = row.getBoundingClientRect();
    const drawing = row.querySelector("path").getAttribute("d");
    const link = row.querySelector("a[href]")?.getAttribute("href");
    const parts = [".notice-mark", ".notice-title", ".notice-message", ".notice-unread", ".notice-severity"].map(look);
    return { id, severity, top: Math.round(top), height: Math.round(height), drawing, link, parts };
  }));
}

test("a row that arrives looks exactly like the same row rendered by the server, and stands where it stood", async (t) => {
  const server = await startServer(t);
  const read = await server.publish("ana", { message: "Ya leída" });
  const page = await openLive(await newContext(t, { reducedMotion: "reduce" }), server.page("ana"));
  const ids = [
    read,
    await server.publish("ana", { message: "Solo un mensaje" }),
    await server.publish("ana", { message: "Con enlace", url: "https://ejemplo.example/?a=1&b=2" }),
    await server.publish("ana", { title: "Todo", message: "Lo tiene todo", severity: "error", url: "/pedidos/7" }),
    await server.publish("ana", { title: "Sin enlace", message: "Hecho", severity: "success" }),
  ];
  await assertShowsWhatTheServerHas(page, server, "ana", ids);
  await server.request("PATCH", `/v1/inbox/${read}?user_id=ana`, { read: true });
  await until("one is read", async () => (await page.locator(".notice.is-unread").count()) === 4);
  const still = await (await newContext(t, { reducedMotion: "reduce" })).newPage();
  // As it is before the script has come.
  await still.route("**/page.js", (route) => route.abort());
  await still.goto(server.page("ana"));
  assert.deepEqual(await looks(page), await looks(still));
});

test("what is edited, taken back or archived elsewhere changes on the open page", async (t) => {
  const server = await startServer(t);
  const [edited, recalled, archived] = [
    await server.publish("ana", "Sale a las 9"),
    await server.publish("ana", "Se retirará"),
    await server.publish("ana", "Se archivará"),
  ];
  const page = await openLive(await newContext(t), server.page("ana"));
  for (const [method, path, body, status] of [
    ["PATCH", `/v1/notifications/${edited}`, { message: "Sale a las 10" }, 200],
    ["DELETE", `/v1/notifications/${recalled}`, undefined, 204],
    ["PATCH", `/v1/inbox/${archived}?user_id=ana`, { archived: true }, 200],
  ]) {
    assert.equal((await server.request(method, path, body)).status, status, path);
  }
  await until("only the edited one is left", async () => (await shownMessages(page)).join() === "Sale a las 10");
  assert.deepEqual(await server.ids("ana"), [edited]);
  await assertNeverReloaded(page);
});

test("both tabs of a user get it once, another user's page does not get it", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t);
  const [first, second, other] = [
    await openLive(context, server.page("ana")),
    await openLive(context, server.page("ana")),
    await openLive(context, server.page("luis")),
  ];
  const ours = await server.publish("ana", "Para Ana");
  await assertShowsWhatTheServerHas(first, server, "ana", [ours]);
  await assertShowsWhatTheServerHas(second, server, "ana", [ours]);

  // What comes later on the same stream proves that nothing came before it.
  const theirs = await server.publish("luis", "Para Luis");
  await assertShowsWhatTheServerHas(other, server, "luis", [theirs]);
  assert.deepEqual(await shownIds(other), [theirs]);
});

test("what is said to everyone and to a topic arrives", async (t) => {
  const server = await startServer(t);
  const page = await openLive(await newContext(t), server.page("ana"));
  const everyone = await server.broadcast("Corte de luz a las 18:00");
  const subscribed = await server.request("PUT", "/v1/topics/obras/subscribers/ana");
  assert.ok(subscribed.ok, `subscribing answered ${subscribed.status}`);
  const topic = await server.publishToTopic("obras", { message: "Calle Mayor cerrada", severity: "warning" });
  await assertShowsWhatTheServerHas(page, server, "ana", [everyone, topic]);
});

test("the demo tells users 1 and 2 something by itself", async (t) => {
  const server = await startServer(t, "--demo-interval", "1s");
  const context = await newContext(t);
  for (const user of ["1", "2"]) {
    const page = await openLive(context, server.page(user));
    const before = (await shownMessages(page)).length;
    await until("two more have come", async () => (await shownMessages(page)).length >= before + 2);
    assert.deepEqual([...new Set(await shownMessages(page))], [`Notificación para el usuario ${user}`]);
  }
});
