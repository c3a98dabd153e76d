// The elements, in a page of an application on another origin.

import assert from "node:assert/strict";
import { test } from "node:test";
import { anasBell, badgeOf, badgeSays, bell, nameOf, nameSays, openHost, panel, ready, rows } from "./bell.mjs";
import { until, useBrowser } from "./browser.mjs";
import { connectionsOf } from "./client.mjs";
import { hostPage } from "./host.mjs";

const newContext = useBrowser();
const open = (t, body, options) => openHost(t, newContext, body, options);

test("two lines put a bell into a page of another origin: it counts, opens, and lives", async (t) => {
  const { host, server, page } = await open(t, anasBell());
  await server.publish("ana", { title: "Pedido 7", message: "En camino" });
  await ready(page, host.url);
  await until("one is counted", async () => (await nameOf(page)) === "Notificaciones, 1 sin leer");
  await badgeSays(page, "1");
  await bell(page).click();
  await panel(page).waitFor();
  assert.equal(await bell(page).getAttribute("aria-expanded"), "true");
  await server.publish("ana", "Otra");
  await until("both are in the panel", async () => (await rows(page).count()) === 2);
  await badgeSays(page, "2");
  await page.getByRole("button", { name: "Marcar todas como leídas" }).click();
  await until("nothing is counted", async () => (await nameOf(page)) === "Notificaciones");
  await badgeSays(page, "");
});

test("the badge says 1, 99, and 99+", async (t) => {
  const { host, server, page } = await open(t, anasBell());
  await ready(page, host.url);
  await badgeSays(page, "");
  await server.publish("ana", "Una");
  await until("it says 1", async () => (await badgeOf(page)) === "1");
  const more = (count) => server.request("POST", "/v1/notifications/batch", Array.from({ length: count }, () => ({ to: "user:ana", message: "Más" })));
  await more(98);
  await until("it says 99", async () => (await badgeOf(page)) === "99");
  await more(1);
  await until("it says 99+", async () => (await badgeOf(page)) === "99+");
  await nameSays(page, "Notificaciones, 100 sin leer");
});

test("to open the panel is to have seen, not to have read", async (t) => {
  const { host, server, page } = await open(t, anasBell('badge="unseen"'));
  await server.publish("ana", "Una");
  await ready(page, host.url);
  await until("it is counted", async () => (await badgeOf(page)) === "1");
  await bell(page).click();
  await until("it is seen", async () => (await badgeOf(page)) === "");
  // The badge does not wait for the server's answer.
  const counts = async () => (await server.request("GET", "/v1/users/ana/counts")).json();
  await until("the server knows", async () => (await counts()).unseen === 0);
  assert.equal((await counts()).unread, 1);
});

test("with page-size so many are asked for at a time, and all come in the end", async (t) => {
  const { host, server, page } = await open(t, anasBell('page-size="8"'));
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

test("a page decides what happens when a notification is opened, or one of its actions chosen", async (t) => {
  const { host, server, page } = await open(t, anasBell());
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
  const { host, server, page } = await open(t, anasBell("toasts"));
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
    return `<pregon-preferences server="${server.url}" user="ana" categories="ofertas, pedidos"></pregon-preferences>${anasBell()(server)}`;
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
    return `${anasBell("toasts")(server)}<pregon-inbox server="${server.url}" user="ana"></pregon-inbox>`;
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
  const { host, server, page } = await open(t, anasBell(), { head });
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
    const { host, page } = await open(t, anasBell(), { head, colorScheme: "dark" });
    await ready(page, host.url);
    await bell(page).click();
    const [red] = (await panel(page).evaluate((element) => getComputedStyle(element).backgroundColor)).match(/\d+/g);
    assert.equal(Number(red) > 128 ? "light" : "dark", expected, scheme);
  }
});

/** Before anything else in each page: what it would show on the desktop, and whether it is looked at. */
function standInForDesktop() {
  window.shown = [];
  window.Notification = class extends EventTarget {
    static permission = "granted";
    constructor(title, options) {
      super();
      shown.push([title, options.tag]);
    }
  };
  let isHidden = true;
  Object.defineProperty(document, "hidden", { get: () => isHidden });
  window.lookAt = (isLookedAt) => {
    isHidden = !isLookedAt;
    document.dispatchEvent(new Event("visibilitychange"));
  };
}

test("one desktop notification is shown by a browser whose tabs are all hidden, and none while one of them is looked at", async (t) => {
  const { host, server, context } = await open(t, anasBell("desktop"));
  await context.addInitScript(standInForDesktop);
  const pages = [await context.newPage(), await context.newPage(), await context.newPage()];
  for (const page of pages) await ready(page, host.url);
  const shown = async () => (await Promise.all(pages.map((page) => page.evaluate(() => window.shown)))).flat();
  const isLookedAt = () => pages[0].evaluate(async () => {
    return (await navigator.locks.query()).held.some(({ name }) => name === "pregon looking");
  });
  const first = await server.publish("ana", { title: "Pedido", message: "En camino" });
  await until("it is shown", async () => (await shown()).length > 0);
  for (const page of pages) await until("it is counted", async () => (await badgeOf(page)) === "1");

  await pages[1].evaluate(() => lookAt(true));
  await until("the others know", isLookedAt);
  await server.publish("ana", "Mientras mira");
  for (const page of pages) await until("it is counted", async () => (await badgeOf(page)) === "2");
  await pages[1].evaluate(() => lookAt(false));
  await until("the others know", async () => !(await isLookedAt()));
  const third = await server.publish("ana", { title: "Pedido", message: "Entregado" });
  await until("it is shown", async () => (await shown()).length > 1);
  for (const page of pages) await until("it is counted", async () => (await badgeOf(page)) === "3");
  assert.deepEqual((await shown()).map(([, id]) => id).sort(), [first, third].sort());
});

test("another language is a few words away", async (t) => {
  const { host, server, page } = await open(t, anasBell('locale="fr"'));
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
