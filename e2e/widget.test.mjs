// The elements, in a page of an application on another origin.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until, useBrowser } from "./browser.mjs";
import { connectionsOf } from "./client.mjs";
import { bellIsLive, hostPage, startHost } from "./host.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();

const bell = (page) => page.getByRole("button", { name: /^Notificaciones/ });
const panel = (page) => page.getByRole("dialog", { name: "Notificaciones" });
const rows = (page) => page.locator("#notices .notice");
const nameOf = (page) => bell(page).getAttribute("aria-label");
const badgeOf = (page) => page.locator(".badge").evaluate((badge) => (badge.hidden ? "" : badge.textContent));

/** An application's page, and a browser that shows it. */
async function open(t, body, { head = "", ...options } = {}) {
  const host = await startHost(t);
  const server = await startServer(t, "--cors-origin", host.url);
  host.pages.set("/", hostPage(server, body(server), head));
  const context = await newContext(t, options);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  t.after(() => assert.deepEqual(complaints, []));
  return { host, server, context, page };
}

const BELL = (attributes = "") => (server) => `<pregon-bell server="${server.url}" user="ana" ${attributes}></pregon-bell>`;

async function ready(page, url) {
  await page.goto(url);
  await bellIsLive(page);
}

test("two lines put a bell into a page of another origin: it counts, opens, and lives", async (t) => {
  const { host, server, page } = await open(t, BELL());
  await server.publish("ana", { title: "Pedido 7", message: "En camino" });
  await ready(page, host.url);
  await until("one is counted", async () => (await nameOf(page)) === "Notificaciones, 1 sin leer");
  assert.equal(await badgeOf(page), "1");
  await bell(page).click();
  await panel(page).waitFor();
  assert.equal(await bell(page).getAttribute("aria-expanded"), "true");
  await server.publish("ana", "Otra");
  await until("both are in the panel", async () => (await rows(page).count()) === 2);
  assert.equal(await badgeOf(page), "2");
  await page.getByRole("button", { name: "Marcar todas como leídas" }).click();
  await until("nothing is counted", async () => (await nameOf(page)) === "Notificaciones");
  assert.equal(await badgeOf(page), "");
});

test("the badge says 1, 99, and 99+", async (t) => {
  const { host, server, page } = await open(t, BELL());
  await ready(page, host.url);
  assert.equal(await badgeOf(page), "");
  await server.publish("ana", "Una");
  await until("it says 1", async () => (await badgeOf(page)) === "1");
  const more = (count) => server.request("POST", "/v1/notifications/batch", Array.from({ length: count }, () => ({ to: "user:ana", message: "Más" })));
  await more(98);
  await until("it says 99", async () => (await badgeOf(page)) === "99");
  await more(1);
  await until("it says 99+", async () => (await badgeOf(page)) === "99+");
  assert.equal(await nameOf(page), "Notificaciones, 100 sin leer");
});

test("to open the panel is to have seen, not to have read", async (t) => {
  const { host, server, page } = await open(t, BELL('badge="unseen"'));
  await server.publish("ana", "Una");
  await ready(page, host.url);
  await until("it is counted", async () => (await badgeOf(page)) === "1");
  await bell(page).click();
  await until("it is seen", async () => (await badgeOf(page)) === "");
  const counts = await (await server.request("GET", "/v1/users/ana/counts")).json();
  assert.deepEqual([counts.unread, counts.unseen], [1, 0]);
});

test("a press on the bell opens the panel, and the next one closes it", async (t) => {
  const { host, page } = await open(t, BELL());
  await ready(page, host.url);
  for (const [name, press] of [["mouse", () => bell(page).click()], ["keyboard", () => bell(page).press("Enter")]]) {
    for (const state of ["visible", "hidden", "visible", "hidden"]) {
      await press();
      await panel(page).waitFor({ state });
      const expanded = String(state === "visible");
      await until(`it is said that it is ${state} (${name})`, async () => (await bell(page).getAttribute("aria-expanded")) === expanded);
    }
  }
});

test("the panel opens and closes by keyboard, and the focus returns to the bell", async (t) => {
  const { host, server, page } = await open(t, (server) => `<a href="#">Antes</a>${BELL()(server)}<a href="#">Después</a>`);
  await server.publish("ana", "Una");
  await ready(page, host.url);
  await page.getByRole("link", { name: "Antes" }).focus();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await panel(page).waitFor();
  const focused = () => page.evaluate(() => {
    let element = document.activeElement;
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    return element?.getAttribute("role") ?? element?.className;
  });
  await until("the tab has the focus", async () => (await focused()) === "tab");
  await page.keyboard.press("Escape");
  await panel(page).waitFor({ state: "hidden" });
  await until("the bell has the focus", async () => (await focused()) === "bell");
  await page.keyboard.press("Enter");
  await panel(page).waitFor();
  await page.mouse.click(5, 700);
  await panel(page).waitFor({ state: "hidden" });
});

test("with open-on=hover a mouse opens the panel by its being there, and the focus stays where it is", async (t) => {
  const { host, server, page } = await open(t, (server) => `<input aria-label="Texto">${BELL('open-on="hover"')(server)}`);
  await server.publish("ana", "Una");
  await page.clock.install();
  await ready(page, host.url);
  const text = page.getByLabel("Texto");
  const aside = () => page.mouse.move(600, 700);
  // Longer than any wait of the bell for a pointer.
  const later = () => page.clock.runFor(1_000);
  const hasFocus = (locator) => locator.evaluate((element) => element.getRootNode().activeElement === element);
  await page.locator(".panel").evaluate((panel) => panel.addEventListener("beforetoggle", ({ newState }) => (window.turns ??= []).push(newState)));
  const turns = () => page.evaluate(() => (window.turns ?? []).join());

  await text.focus();
  await bell(page).hover();
  await aside();
  await later();
  assert.equal(await turns(), "", "a mouse that only passes by opens nothing");
  await bell(page).hover();
  await later();
  await rows(page).first().waitFor();
  const [from, to] = [await bell(page).boundingBox(), await panel(page).boundingBox()];
  await page.mouse.move(to.x + to.width / 2, (from.y + from.height + to.y) / 2);
  await panel(page).hover();
  await later();
  assert.equal(await turns(), "open", "it stays open under the mouse, which may cross the gap");
  assert.equal(await hasFocus(text), true, "the focus has not moved");
  await aside();
  await later();
  await panel(page).waitFor({ state: "hidden" });
  assert.equal(await hasFocus(text), true, "the focus has not moved");

  await bell(page).hover();
  await later();
  await bell(page).click();
  await until("the tab has the focus", () => hasFocus(page.getByRole("tab", { name: /Todas/ })));
  for (const move of [aside, () => bell(page).hover(), aside]) {
    await move();
    await later();
  }
  assert.equal(await turns(), "open,closed,open", "one that was opened by a press stays open");
  await bell(page).click();
  await later();
  assert.equal(await turns(), "open,closed,open,closed", "one that was closed by a press stays closed");
});

test("with page-size so many are asked for at a time, and all come in the end", async (t) => {
  const { host, server, page } = await open(t, BELL('page-size="8"'));
  const all = Array.from({ length: 30 }, (_, number) => ({ to: "user:ana", message: `Número ${number}` }));
  await server.request("POST", "/v1/notifications/batch", all);
  const limits = [];
  page.on("request", (request) => {
    const { pathname, searchParams } = new URL(request.url());
    if (pathname === "/v1/inbox") limits.push(searchParams.get("limit"));
  });
  await ready(page, host.url);
  await bell(page).click();
  await rows(page).first().waitFor();
  await until("the list is at its end", async () => {
    await page.locator(".foot").scrollIntoViewIfNeeded();
    return (await rows(page).count()) === all.length;
  });
  assert.deepEqual(limits, ["8", "8", "8", "8"]);
});

test("the panel is wholly in view at every corner and on a phone", async (t) => {
  const { host, server, page } = await open(t, BELL());
  for (let n = 1; n <= 20; n += 1) await server.publish("ana", `Número ${n}`);
  await ready(page, host.url);
  const inView = async (what) => {
    await bell(page).click();
    await panel(page).waitFor();
    await until(`${what}: in view`, () => panel(page).evaluate((element) => {
      const { left, top, right, bottom, height } = element.getBoundingClientRect();
      return left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight && height > 150;
    }), 3_000);
    await page.keyboard.press("Escape");
  };
  for (const corner of ["top:0;left:0", "top:0;right:0", "bottom:0;left:0", "bottom:0;right:0"]) {
    await page.locator("pregon-bell").evaluate((element, style) => (element.style.cssText = `position:fixed;${style}`), corner);
    await inView(corner);
  }
  await page.setViewportSize({ width: 375, height: 700 });
  await inView("phone");
  await bell(page).click();
  await panel(page).waitFor();
  assert.equal(await panel(page).evaluate((element) => element.getBoundingClientRect().width), 375);
});

test("a page decides what happens when a notification is opened, or one of its actions chosen", async (t) => {
  const { host, server, page } = await open(t, BELL());
  await server.publish("ana", {
    title: "Tarea", message: "Revisar el informe", url: "/tareas/7",
    actions: [{ id: "accept", label: "Aceptar", style: "primary" }, { id: "reject", label: "Rechazar", url: "/no" }],
  });
  await ready(page, host.url);
  await page.evaluate(() => {
    window.told = [];
    for (const name of ["pregon-select", "pregon-action"]) {
      addEventListener(name, (event) => {
        event.preventDefault();
        told.push([name, event.detail.item.url, event.detail.action?.id]);
      });
    }
  });
  await bell(page).click();
  await page.getByRole("link", { name: "Tarea" }).click();
  await page.getByRole("button", { name: "Aceptar" }).click();
  await page.getByRole("link", { name: "Rechazar" }).click();
  await until("all were told", () => page.evaluate(() => told.length === 3));
  assert.deepEqual(await page.evaluate(() => told), [
    ["pregon-select", "/tareas/7", null], ["pregon-action", "/tareas/7", "accept"], ["pregon-action", "/tareas/7", "reject"],
  ].map((line) => line.map((part) => part ?? undefined)));
  assert.equal(page.url(), `${host.url}/`);
  await until("it is read", async () => (await nameOf(page)) === "Notificaciones");
});

test("what arrives is shown for a moment, three at most, unless the page does not want it", async (t) => {
  const { host, server, page } = await open(t, BELL("toasts"));
  await server.publish("ana", "Ya estaba");
  await ready(page, host.url);
  const toasts = () => page.locator(".toast .toast-message").allTextContents();
  for (const message of ["Una", "Dos", "Tres", "Cuatro"]) await server.publish("ana", message);
  await until("the last three are shown", async () => (await toasts()).join() === "Dos,Tres,Cuatro");
  await page.locator(".toast").last().getByRole("button", { name: "Cerrar" }).click();
  assert.equal((await toasts()).join(), "Dos,Tres");
  await server.publish("ana", { message: "En silencio", silent: true });
  await page.evaluate(() => addEventListener("pregon-notification", (event) => event.preventDefault()));
  await server.publish("ana", "No la quiere");
  await until("all are counted", async () => (await badgeOf(page)) === "7");
  assert.ok(!(await toasts()).some((text) => ["En silencio", "No la quiere"].includes(text)));
});

test("a reader turns a category off and on", async (t) => {
  const { host, server, page } = await open(t, (server) => {
    return `<pregon-preferences server="${server.url}" user="ana" categories="ofertas, pedidos"></pregon-preferences>${BELL()(server)}`;
  });
  await ready(page, host.url);
  const offers = page.getByRole("switch", { name: "ofertas" });
  await offers.waitFor();
  assert.equal(await offers.isChecked(), true);
  await offers.uncheck();
  const muted = async () => (await (await server.request("GET", "/v1/inbox/preferences?user_id=ana")).json()).muted.join();
  await until("it is muted", async () => (await muted()) === "ofertas");
  await server.publish("ana", { message: "Oferta", category: "ofertas" });
  await server.publish("ana", { message: "Pedido", category: "pedidos" });
  await until("only the other one arrives", async () => (await badgeOf(page)) === "1");
  await server.request("PUT", "/v1/inbox/preferences?user_id=ana", { muted: [] });
  await until("what is changed elsewhere is shown", () => offers.isChecked());
});

test("all elements of a page share one connection, and a hundred times in and out leave nothing behind", async (t) => {
  const { host, server, page } = await open(t, (server) => {
    return `${BELL("toasts")(server)}<pregon-inbox server="${server.url}" user="ana"></pregon-inbox>`;
  });
  await server.publish("ana", "Una");
  await ready(page, host.url);
  await bell(page).hover();
  await until("both show it", async () => (await rows(page).count()) === 2);
  assert.equal(await connectionsOf(server, "ana"), 1);

  const client = await page.context().newCDPSession(page);
  const counters = async () => {
    await client.send("HeapProfiler.collectGarbage");
    const { nodes, jsEventListeners } = await client.send("Memory.getDOMCounters");
    return { nodes, jsEventListeners };
  };
  const mounts = (count) => page.evaluate(async (count) => {
    const [bell] = document.getElementsByTagName("pregon-bell");
    const ready = (target) => new Promise((resolve) => target.addEventListener("pregon-ready", resolve, { once: true }));
    for (let n = 0; n < count; n += 1) {
      const other = bell.cloneNode();
      bell.after(other);
      await ready(other);
      // Whoever points at it has an inbox in it.
      other.shadowRoot.querySelector(".bell").dispatchEvent(new Event("pointerenter"));
      await ready(other.shadowRoot);
      other.remove();
      await new Promise((resolve) => setTimeout(resolve));
    }
  }, count);
  await mounts(10);
  const before = await counters();
  await mounts(100);
  const after = await counters();
  t.diagnostic(`${JSON.stringify(before)} → ${JSON.stringify(after)}`);
  assert.equal(await connectionsOf(server, "ana"), 1);
  assert.ok(after.nodes < before.nodes + 500 && after.jsEventListeners < before.jsEventListeners + 50, "something is left behind");
  await page.evaluate(() => document.querySelectorAll("pregon-bell, pregon-inbox").forEach((element) => element.remove()));
  await until("nobody is connected", async () => (await connectionsOf(server, "ana")) === 0);
});

test("a token comes from the page's own back end, and says whose it is", async (t) => {
  const { host, server, page } = await open(t, (server) => `<pregon-bell server="${server.url}" token-url="/notify-token"></pregon-bell>`);
  const { token } = await (await server.request("POST", "/v1/tokens", { user_id: "josé" })).json();
  host.pages.set("/notify-token", JSON.stringify({ token }));
  await server.publish(encodeURIComponent("josé"), "Para José");
  await ready(page, host.url);
  await until("it is counted", async () => (await badgeOf(page)) === "1");
});

test("styles of a page do not break it, and its variables and parts do change it", async (t) => {
  const head = `<style>
    * { margin: 3rem; border: 5px solid red !important; font-size: 40px; text-transform: uppercase; }
    button, a, p, h2 { display: block !important; float: right; background: lime; width: 100%; }
    pregon-bell { --pregon-accent: rgb(1, 2, 3); }
    pregon-bell::part(badge) { background: rgb(4, 5, 6); }
  </style>`;
  const { host, server, page } = await open(t, BELL(), { head });
  await server.publish("ana", "Una");
  await ready(page, host.url);
  await until("it is counted", async () => (await badgeOf(page)) === "1");
  const look = (selector, property) => page.locator(selector).first().evaluate((element, name) => getComputedStyle(element)[name], property);
  assert.equal(await look(".badge", "backgroundColor"), "rgb(4, 5, 6)");
  await bell(page).click();
  assert.equal(await look(".dot", "backgroundColor"), "rgb(1, 2, 3)");
  assert.notEqual(await look(".tab", "backgroundColor"), "rgb(0, 255, 0)");
  assert.equal(await look(".tab", "float"), "none");
});

test("the colours follow the page's scheme, not the system's alone", async (t) => {
  for (const [scheme, expected] of [["normal", "light"], ["light dark", "dark"], ["dark", "dark"]]) {
    const head = `<style>:root { color-scheme: ${scheme}; }</style>`;
    const { host, page } = await open(t, BELL(), { head, colorScheme: "dark" });
    await ready(page, host.url);
    await bell(page).click();
    const [red] = (await panel(page).evaluate((element) => getComputedStyle(element).backgroundColor)).match(/\d+/g);
    assert.equal(Number(red) > 128 ? "light" : "dark", expected, scheme);
  }
});

test("one desktop notification is shown by a browser whose tabs are all hidden", async (t) => {
  const { host, server, context } = await open(t, BELL("desktop"));
  await context.addInitScript(() => {
    window.shown = [];
    window.Notification = class extends EventTarget {
      static permission = "granted";
      constructor(title, options) {
        super();
        shown.push([title, options.tag]);
      }
    };
    Object.defineProperty(document, "hidden", { value: true });
  });
  const pages = [await context.newPage(), await context.newPage(), await context.newPage()];
  for (const page of pages) await ready(page, host.url);
  const id = await server.publish("ana", { title: "Pedido", message: "En camino" });
  for (const page of pages) await until("it is counted", async () => (await badgeOf(page)) === "1");
  const shown = (await Promise.all(pages.map((page) => page.evaluate(() => window.shown)))).flat();
  assert.deepEqual(shown, [["Pedido", id]]);
});

test("another language is a few words away", async (t) => {
  const { host, server, page } = await open(t, BELL('locale="fr"'));
  await server.publish("ana", "Une");
  host.pages.set("/", hostPage(server, `<script type="module">
    import { addLanguage } from "${server.url}/pregon.js";
    addLanguage("fr", { notifications: "Notifications", count_one: "{count} non lue", count_other: "{count} non lues" });
    document.body.insertAdjacentHTML("beforeend", '<pregon-bell server="${server.url}" user="ana" locale="fr"></pregon-bell>');
  </script>`));
  await ready(page, host.url);
  await until("it speaks French", async () => {
    return (await page.locator(".bell").getAttribute("aria-label")) === "Notifications, 1 non lue";
  });
});
