// What a reader does with her notifications on the page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertShowsWhatTheServerHas, openLive, shownIds, shownMessages, until, useBrowser } from "./browser.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();

const countsOf = async (server, user) => (await server.request("GET", `/v1/users/${user}/counts`)).json();
const itemOf = async (server, user, id) => (await server.request("GET", `/v1/inbox/${id}?user_id=${user}`)).json();
const rowOf = (page, id) => page.locator(`#notices [data-id="${id}"]`);
const tab = (page, name) => page.getByRole("tab", { name });
const focusedId = (page) => page.evaluate(() => {
  const { shadowRoot } = document.querySelector("pregon-inbox");
  return shadowRoot.activeElement?.closest("[data-id]")?.dataset.id;
});

test("what is in front of the reader is seen, and only what she opens or marks is read", async (t) => {
  const server = await startServer(t);
  const opened = await server.publish("ana", { title: "Pedido", message: "Sale hoy", url: "/docs" });
  const other = await server.publish("ana", "Otra");
  const context = await newContext(t);
  const page = await openLive(context, server.page("ana"));
  await until("both are seen", async () => (await countsOf(server, "ana")).unseen === 0);
  assert.equal((await countsOf(server, "ana")).unread, 2);
  assert.match(await rowOf(page, opened).textContent(), /Sin leer/);

  await rowOf(page, other).getByRole("button", { name: "Marcar como leída" }).click();
  await until("one is read", async () => (await countsOf(server, "ana")).unread === 1);
  assert.doesNotMatch(await rowOf(page, other).textContent(), /Sin leer/);
  await rowOf(page, other).getByRole("button", { name: "Marcar como no leída" }).click();
  await until("it is unread again", async () => (await countsOf(server, "ana")).unread === 2);

  await page.getByRole("link", { name: "Pedido" }).click();
  await page.waitForURL("**/docs");
  await until("what was opened is read", async () => (await itemOf(server, "ana", opened)).read_at !== null);
});

test("a mark on one tab is on the other one and on another device at once", async (t) => {
  const server = await startServer(t);
  const ids = [await server.publish("ana", "Una"), await server.publish("ana", "Dos")];
  const [laptop, phone] = [await newContext(t), await newContext(t)];
  const pages = [await openLive(laptop, server.page("ana")), await openLive(laptop, server.page("ana")), await openLive(phone, server.page("ana"))];
  await rowOf(pages[0], ids[0]).getByRole("button", { name: "Archivar" }).click();
  await rowOf(pages[0], ids[1]).getByRole("button", { name: "Marcar como leída" }).click();
  for (const [number, page] of pages.entries()) {
    await until(`page ${number} shows it`, async () => (await shownIds(page)).join() === ids[1], 1_000);
    await until(`page ${number} counts it`, async () => (await page.locator(".count").textContent()) === "", 1_000);
  }
});

test("the tabs show all, what is unread, and what is archived; what is marked moves by itself", async (t) => {
  const server = await startServer(t);
  const [first, second, third] = [await server.publish("ana", "Uno"), await server.publish("ana", "Dos"), await server.publish("ana", "Tres")];
  const page = await openLive(await newContext(t), server.page("ana"));
  await rowOf(page, second).getByRole("button", { name: "Marcar como leída" }).click();

  await tab(page, "Sin leer").click();
  assert.deepEqual(await shownMessages(page), ["Tres", "Uno"]);
  await rowOf(page, third).getByRole("button", { name: "Marcar como leída" }).click();
  await until("it has moved", async () => (await shownIds(page)).join() === first);
  await rowOf(page, first).getByRole("button", { name: "Archivar" }).click();
  await page.getByRole("heading", { name: "Nada sin leer" }).waitFor();

  await tab(page, "Archivadas").click();
  await until("the archived one is there", async () => (await shownIds(page)).join() === first);
  await server.request("PATCH", `/v1/inbox/${second}?user_id=ana`, { archived: true });
  await until("what is archived elsewhere comes too", async () => (await shownIds(page)).length === 2);
  await rowOf(page, first).getByRole("button", { name: "Devolver a la bandeja" }).click();
  await until("it has left", async () => (await shownIds(page)).join() === second);
  await tab(page, "Todas").click();
  await until("it is back", async () => (await shownIds(page)).join() === [third, first].join());
});

test("what was archived or read by mistake can be taken back", async (t) => {
  const server = await startServer(t);
  const ids = [await server.publish("ana", "Una"), await server.publish("ana", "Dos"), await server.publish("ana", "Tres")];
  const page = await openLive(await newContext(t), server.page("ana"));
  await rowOf(page, ids[1]).getByRole("button", { name: "Archivar" }).click();
  await page.getByText("Archivada", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Deshacer" }).click();
  await assertShowsWhatTheServerHas(page, server, "ana", ids);

  await page.getByRole("button", { name: "Marcar todas como leídas" }).click();
  await until("all are read", async () => (await countsOf(server, "ana")).unread === 0);
  await page.getByRole("button", { name: "Deshacer" }).click();
  await until("all are unread again", async () => (await countsOf(server, "ana")).unread === 3);
});

test("to mark all leaves what arrives at the same moment unread", async (t) => {
  const server = await startServer(t);
  const before = await server.publish("ana", "Antes");
  const context = await newContext(t);
  const page = await openLive(context, server.page("ana"));
  let after;
  await context.route("**/v1/inbox/read-all?*", async (route) => {
    after = await server.publish("ana", "En ese momento");
    await route.continue();
  });
  await page.getByRole("button", { name: "Marcar todas como leídas" }).click();
  await until("it has arrived", async () => after && (await shownIds(page)).includes(after));
  await until("the earlier one is read", async () => (await itemOf(server, "ana", before)).read_at !== null);
  assert.equal((await itemOf(server, "ana", after)).read_at, null);
  assert.match(await rowOf(page, after).textContent(), /Sin leer/);
});

test("a mark that fails is taken back and said", async (t) => {
  const server = await startServer(t);
  const id = await server.publish("ana", "Una");
  const context = await newContext(t);
  const page = await openLive(context, server.page("ana"));
  await context.route(`**/v1/inbox/${id}?*`, (route) => route.fulfill({ status: 500, body: "" }));
  await rowOf(page, id).getByRole("button", { name: "Archivar" }).click();
  await page.getByText("No se ha podido guardar").waitFor();
  assert.deepEqual(await shownIds(page), [id]);
});

test("older ones come by themselves to the end of a thousand, without holes or doubles, while new ones arrive", async (t) => {
  const server = await startServer(t);
  const batch = (from) => Array.from({ length: 100 }, (_, n) => ({ to: "user:ana", message: `Número ${from + n}` }));
  for (let from = 0; from < 1_000; from += 100) {
    assert.ok((await server.request("POST", "/v1/notifications/batch", batch(from))).ok);
  }
  const page = await openLive(await newContext(t), server.page("ana"));
  let news = 0;
  await until("the first one is shown", async () => {
    await page.locator(".foot").scrollIntoViewIfNeeded();
    if (news < 5) await server.publish("ana", `Novedad ${(news += 1)}`);
    return (await shownMessages(page)).at(-1) === "Número 5";
  }, 60_000);
  // A thousand is what an inbox keeps.
  const shown = await shownMessages(page);
  assert.equal(new Set(shown).size, shown.length);
  assert.deepEqual(shown.filter((text) => text.startsWith("Número")), Array.from({ length: 995 }, (_, n) => `Número ${999 - n}`));
  await page.getByText("Eso es todo").waitFor();
});

test("what arrives while the reader is further down waits behind a button, and nothing moves", async (t) => {
  const server = await startServer(t);
  for (let n = 1; n <= 30; n += 1) await server.publish("ana", `Número ${n}`);
  const page = await openLive(await newContext(t, { viewport: { width: 800, height: 600 } }), server.page("ana"));
  await page.getByText("Número 10").scrollIntoViewIfNeeded();
  await page.evaluate(() => scrollBy(0, 300));
  const place = () => page.getByText("Número 10").evaluate((row) => row.getBoundingClientRect().top);
  const before = await place();
  await server.publish("ana", "Nueva 1");
  await server.publish("ana", "Nueva 2");
  const pill = page.getByRole("button", { name: "2 nuevas" });
  await pill.waitFor();
  assert.equal(await place(), before);
  assert.equal((await shownMessages(page))[0], "Número 30");
  await pill.click();
  await until("they are shown", async () => (await shownMessages(page)).slice(0, 2).join() === "Nueva 2,Nueva 1");
  await until("the first one is in view", () => page.getByText("Nueva 2").evaluate((row) => row.getBoundingClientRect().top > 0));
  assert.equal(await pill.isVisible(), false);
});

test("a category and words narrow the list down", async (t) => {
  const server = await startServer(t);
  await server.publish("ana", { message: "Factura del café", category: "pagos" });
  await server.publish("ana", { message: "Pedido en camino", category: "pedidos" });
  await server.publish("ana", { message: "Sin categoría" });
  const page = await openLive(await newContext(t), server.page("ana"));
  await page.getByRole("combobox", { name: "Categoría" }).selectOption("pagos");
  assert.deepEqual(await shownMessages(page), ["Factura del café"]);
  await page.getByRole("combobox", { name: "Categoría" }).selectOption("Todas las categorías");
  await page.getByRole("searchbox", { name: "Buscar" }).fill("CAFE");
  assert.deepEqual(await shownMessages(page), ["Factura del café"]);
  await page.getByRole("searchbox", { name: "Buscar" }).fill("nada de eso");
  await page.getByRole("heading", { name: "No hay nada así" }).waitFor();
});

test("a category can be muted from a row, and unmuted", async (t) => {
  const server = await startServer(t);
  const id = await server.publish("ana", { message: "Oferta", category: "ofertas", url: "/ofertas" });
  const page = await openLive(await newContext(t), server.page("ana"));
  const muted = async () => (await (await server.request("GET", "/v1/inbox/preferences?user_id=ana")).json()).muted.join();
  await rowOf(page, id).getByRole("button", { name: "Más acciones" }).click();
  await page.getByRole("menuitem", { name: "Silenciar «ofertas»" }).click();
  await until("it is muted", async () => (await muted()) === "ofertas");
  await page.getByRole("button", { name: "Deshacer" }).click();
  await until("it is not muted any more", async () => (await muted()) === "");
});

test("a press on a row's button opens its menu, the next one closes it, and one on another row's takes it there", async (t) => {
  const server = await startServer(t);
  const ids = [];
  for (const message of ["Uno", "Dos"]) ids.push(await server.publish("ana", { message, category: message, url: "/" }));
  const page = await openLive(await newContext(t), server.page("ana"));
  const buttons = ids.map((id) => rowOf(page, id).getByRole("button", { name: "Más acciones" }));
  const menu = page.getByRole("menu");
  const isOpen = () => Promise.all(buttons.map((button) => button.getAttribute("aria-expanded")));
  // The older one stands below: its menu leaves the other's button free.
  for (const [press, expected] of [[0, "0"], [0, ""], [0, "0"], [1, "1"], [1, ""]]) {
    await buttons[press].click();
    await until(`the menu is that of row ${expected}`, async () => {
      const open = (await isOpen()).flatMap((expanded, row) => (expanded === "true" ? row : []));
      return open.join() === expected && (await menu.isVisible()) === (expected !== "");
    });
    if (expected) await page.getByRole("menuitem", { name: `Silenciar «${["Uno", "Dos"][Number(expected)]}»` }).waitFor();
  }
});

test("everything can be done by keyboard, and the focus is never lost", async (t) => {
  const server = await startServer(t);
  const ids = [];
  for (const message of ["Uno", "Dos", "Tres", "Cuatro"]) ids.unshift(await server.publish("ana", message));
  const page = await openLive(await newContext(t), server.page("ana"));
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await tab(page, "Todas").focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await tab(page, "Sin leer").getAttribute("aria-selected"), "true");
  await page.keyboard.press("Home");
  assert.equal(await tab(page, "Todas").getAttribute("aria-selected"), "true");

  await rowOf(page, ids[0]).focus();
  await page.keyboard.press("j");
  await page.keyboard.press("PageDown");
  await page.keyboard.press("k");
  assert.equal(await focusedId(page), ids[1]);
  await page.keyboard.press("r");
  await until("it is read", async () => (await itemOf(server, "ana", ids[1])).read_at !== null);
  await page.keyboard.press("e");
  await until("the next one has the focus", async () => (await focusedId(page)) === ids[2]);
  const arrived = await server.publish("ana", "Nueva");
  await until("it is shown", async () => (await shownIds(page)).includes(arrived));
  assert.equal(await focusedId(page), ids[2], "what arrives does not take the focus");

  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Atajos de teclado" }).waitFor();
  await page.keyboard.press("Escape");
  await rowOf(page, ids[3]).focus();
  await page.keyboard.press("e");
  await until("the one before has the focus", async () => (await focusedId(page)) === ids[2]);
  await page.keyboard.press("Shift+A");
  await until("all are read", async () => (await countsOf(server, "ana")).unread === 0);
  await page.keyboard.press("g");
  await page.keyboard.press("u");
  await page.getByRole("heading", { name: "Nada sin leer" }).waitFor();
});

test("without JavaScript a reader has tabs, pages and marks", async (t) => {
  const server = await startServer(t);
  for (let n = 1; n <= 60; n += 1) await server.publish("ana", `Número ${n}`);
  const page = await (await newContext(t, { javaScriptEnabled: false })).newPage();
  await page.goto(server.page("ana"));
  await page.getByRole("link", { name: "Cargar más" }).click();
  assert.deepEqual(await shownMessages(page), Array.from({ length: 10 }, (_, n) => `Número ${10 - n}`));

  await page.goto(server.page("ana"));
  const [newest] = await shownIds(page);
  await rowOf(page, newest).getByRole("button", { name: "Marcar como leída" }).click();
  assert.ok((await itemOf(server, "ana", newest)).read_at);
  assert.equal(new URL(page.url()).search, "?user_id=ana");
  await rowOf(page, newest).getByRole("button", { name: "Archivar" }).click();
  await page.getByRole("link", { name: "Archivadas" }).click();
  assert.deepEqual(await shownIds(page), [newest]);
  await rowOf(page, newest).getByRole("button", { name: "Devolver a la bandeja" }).click();
  await page.getByRole("heading", { name: "Nada archivado" }).waitFor();
  await page.getByRole("link", { name: "Sin leer" }).click();
  await page.getByRole("button", { name: "Marcar todas como leídas" }).click();
  await page.getByRole("heading", { name: "Nada sin leer" }).waitFor();
  assert.equal((await countsOf(server, "ana")).unread, 0);
});

test("a form of another site marks nothing", async (t) => {
  const server = await startServer(t);
  const id = await server.publish("ana", "Una");
  for (const headers of [{}, { "sec-fetch-site": "cross-site" }, { origin: "https://lejos.example" }]) {
    const body = new URLSearchParams({ id, read: "true" });
    const answer = await fetch(server.page("ana"), { method: "POST", headers, body, redirect: "manual" });
    assert.equal(answer.status, 403);
    assert.equal((await answer.json()).code, "cross_site");
  }
  assert.equal((await countsOf(server, "ana")).unread, 1);
});

test("the colours that a reader chooses stay, without a flash", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t, { colorScheme: "light" });
  const page = await openLive(context, server.page("ana"));
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.getByRole("button", { name: "Cambiar entre claro y oscuro" }).click();
  assert.notEqual(await ground(), light);
  const html = await (await context.request.get(server.page("ana"))).text();
  assert.match(html, /<html[^>]* data-theme="dark"/);
  await page.reload();
  assert.notEqual(await ground(), light);
  await page.getByRole("button", { name: "Cambiar entre claro y oscuro" }).click();
  assert.equal(await ground(), light);
});
