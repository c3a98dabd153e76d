// What hands do: twice, too fast, too long, with another key held down, while the line is slow or gone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { openLive, shownIds, shownMessages, until, useBrowser } from "./browser.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();

const rowOf = (page, id) => page.locator(`#notices [data-id="${id}"]`);
const tab = (page, name) => page.getByRole("tab", { name });
/** What has the focus: the id of its row and what it is, or what it is alone. */
const focused = (page) => page.evaluate(() => {
  const active = document.querySelector("pregon-inbox").shadowRoot.activeElement;
  return [active?.closest("[data-id]")?.dataset.id, active?.dataset.action ?? active?.dataset.act ?? active?.id].filter(Boolean).join(" ");
});
const itemOf = async (server, id) => (await server.request("GET", `/v1/inbox/${id}?user_id=ana`)).json();

async function open(t, messages, options) {
  const server = await startServer(t);
  const ids = [];
  for (const message of messages) ids.unshift(await server.publish("ana", message));
  const page = await openLive(await newContext(t, options), server.page("ana"));
  return { server, ids, page };
}

test("a double press on a button archives one, and so does a key that is held down", async (t) => {
  const { page, ids } = await open(t, ["Uno", "Dos", "Tres", "Cuatro"]);
  await rowOf(page, ids[0]).getByRole("button", { name: "Archivar" }).dblclick();
  await until("one is gone", async () => (await shownIds(page)).join() === ids.slice(1).join());
  await rowOf(page, ids[1]).focus();
  await page.keyboard.down("e");
  for (let held = 0; held < 5; held += 1) await page.keyboard.down("e");
  await page.keyboard.up("e");
  await until("one more is gone", async () => (await shownIds(page)).join() === ids.slice(2).join());
});

test("undo comes after what it undoes, however slow the line is", async (t) => {
  const { page, ids, server } = await open(t, ["Uno", "Dos"]);
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const bodies = [];
  await page.route("**/v1/inbox/*", async (route) => {
    if (route.request().method() !== "PATCH") return route.continue();
    bodies.push(route.request().postData());
    if (bodies.length === 1) await held;
    await route.continue();
  });
  await rowOf(page, ids[0]).getByRole("button", { name: "Archivar" }).click();
  await until("it is gone", async () => (await shownIds(page)).join() === ids[1]);
  await page.getByRole("button", { name: "Deshacer" }).click();
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve)));
  assert.equal(bodies.length, 1, "the one waits for the other");
  release();
  await until("it is back", async () => (await shownIds(page)).join() === ids.join());
  // It is shown before the server has heard of it.
  await until("it is back on the server", async () => bodies.length === 2 && (await itemOf(server, ids[0])).archived_at === null);
  assert.deepEqual(bodies, ['{"archived":true}', '{"archived":false}']);
});

test("words can be marked, and nothing is opened by that", async (t) => {
  const { page, ids, server } = await open(t, [{ title: "Pedido 7", message: "Llega mañana entre las nueve y las once", url: "/docs" }]);
  const { x, y, width, height } = await rowOf(page, ids[0]).locator(".notice-message").boundingBox();
  await page.mouse.move(x + 5, y + height / 2);
  await page.mouse.down();
  await page.mouse.move(x + Math.min(width, 200), y + height / 2, { steps: 5 });
  await page.mouse.up();
  assert.match(await page.evaluate(() => String(getSelection())), /mañana/);
  assert.equal((await itemOf(server, ids[0])).read_at, null);
  assert.match(page.url(), /user_id=ana/);
  // The next press is one again.
  await rowOf(page, ids[0]).locator(".notice-message").click();
  await page.waitForURL("**/docs");
});

test("whoever wants it in another tab gets it there, and no router is told", async (t) => {
  const { page, ids, server } = await open(t, [{ title: "Pedido 7", message: "En camino", url: "/docs" }]);
  await page.evaluate(() => {
    window.told = 0;
    document.addEventListener("pregon-select", (event) => {
      window.told += 1;
      event.preventDefault();
    });
  });
  for (const part of [".notice-title a", ".notice-message"]) {
    const other = page.context().waitForEvent("page");
    await rowOf(page, ids[0]).locator(part).click({ modifiers: ["Control"] });
    await (await other).waitForURL("**/docs");
  }
  assert.equal(await page.evaluate(() => window.told), 0);
  await until("it is read", async () => (await itemOf(server, ids[0])).read_at !== null);
  await rowOf(page, ids[0]).locator(".notice-title a").click();
  assert.equal(await page.evaluate(() => window.told), 1);
});

test("a category that has nothing left can be left", async (t) => {
  const { page, ids } = await open(t, [{ message: "Una", category: "avisos" }, { message: "Otra", category: "pagos" }]);
  const category = page.getByRole("combobox", { name: "Categoría" });
  await category.selectOption("pagos");
  await rowOf(page, ids[0]).getByRole("button", { name: "Archivar" }).click();
  await page.getByRole("heading", { name: "No hay nada así" }).waitFor();
  assert.equal(await category.inputValue(), "pagos");
  await category.selectOption("");
  await until("the other one is shown", async () => (await shownMessages(page)).join() === "Una");
});

test("the focus stays where it is when a row is filled anew, and goes to what is near when its place is gone", async (t) => {
  const actions = [{ id: "yes", label: "Aceptar" }, { id: "no", label: "Rechazar" }];
  const { page, ids, server } = await open(t, ["Una", { title: "Reunión", message: "¿Vienes?", actions }]);
  await rowOf(page, ids[0]).getByRole("button", { name: "Aceptar" }).focus();
  await page.keyboard.press("Enter");
  await until("it is read", async () => (await itemOf(server, ids[0])).read_at !== null);
  await rowOf(page, ids[0]).getByRole("button", { name: "Marcar como no leída" }).waitFor();
  assert.equal(await focused(page), `${ids[0]} yes`);

  await page.getByRole("button", { name: "Marcar todas como leídas" }).focus();
  await page.keyboard.press("Enter");
  await until("the tab has the focus", async () => (await focused(page)) === "tab-all");
  await page.getByRole("button", { name: "Deshacer" }).focus();
  await page.keyboard.press("Enter");
  await until("the tab has the focus", async () => (await focused(page)) === "tab-all");

  // A menu goes with its row.
  const withMenu = await server.publish("ana", { message: "Con menú", category: "avisos" });
  await rowOf(page, withMenu).getByRole("button", { name: "Más acciones" }).click();
  await page.getByRole("menu").waitFor();
  await server.request("DELETE", `/v1/notifications/${withMenu}`);
  await page.getByRole("menu").waitFor({ state: "hidden" });
  await until("the tab has the focus", async () => (await focused(page)) === "tab-all");
});

test("what is refused is not asked for again and again", async (t) => {
  const server = await startServer(t);
  await server.publish("ana", "Una");
  const context = await newContext(t);
  const page = await context.newPage();
  await page.clock.install();
  const asked = { seen: 0, archived: 0 };
  await page.route("**/v1/inbox/seen*", (route) => {
    asked.seen += 1;
    return route.fulfill({ status: 503, body: "{}" });
  });
  await page.route((url) => url.searchParams.get("status") === "archived" && url.searchParams.has("cursor"), (route) => {
    asked.archived += 1;
    return route.abort();
  });
  for (let n = 0; n < 60; n += 1) {
    const id = await server.publish("ana", `Archivada ${n}`);
    await server.request("PATCH", `/v1/inbox/${id}?user_id=ana`, { archived: true });
  }
  await page.goto(server.page("ana"));
  await page.locator("#state[data-state=live]").waitFor();
  await until("it was tried", async () => {
    await page.clock.runFor(1_000);
    return asked.seen > 0;
  });
  await tab(page, "Archivadas").click();
  await until("more was asked for", async () => {
    await page.locator(".foot").scrollIntoViewIfNeeded();
    return asked.archived > 0;
  });
  await page.clock.runFor(20_000);
  assert.deepEqual(asked, { seen: 1, archived: 1 });
  // Whoever asks for it has it tried again.
  await page.unrouteAll();
  await page.getByRole("button", { name: "Reintentar" }).click();
  await until("all are there", async () => {
    await page.locator(".foot").scrollIntoViewIfNeeded();
    return (await shownIds(page)).length === 60;
  });
});

test("what is archived is there as soon as it can be had", async (t) => {
  const { page, server, ids } = await open(t, ["Una"]);
  await server.request("PATCH", `/v1/inbox/${ids[0]}?user_id=ana`, { archived: true });
  await until("the page knows", async () => (await shownIds(page)).length === 0);
  await page.context().setOffline(true);
  await page.locator("#state[data-state=offline]").waitFor();
  await tab(page, "Archivadas").click();
  await page.getByRole("button", { name: "Reintentar" }).waitFor();
  await page.context().setOffline(false);
  await until("it is there", async () => (await shownIds(page)).join() === ids.join());
});
