// What of the elements is loaded, and when.

import assert from "node:assert/strict";
import { test } from "node:test";
import { openLive, until, useBrowser } from "./browser.mjs";
import { bellIsLive, hostPage, startHost } from "./host.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();
const PANEL = /\/widget\/panel\.js/;

const bell = (page) => page.locator("pregon-bell .bell");
const panel = (page) => page.getByRole("dialog", { name: "Notificaciones" });
/** Without pointing at it before. */
const openByScript = (page) => page.evaluate(() => document.querySelector("pregon-bell").open());
const rows = (page) => page.locator("#notices .notice");
const failure = (page) => page.getByRole("heading", { name: "No se pueden cargar las notificaciones" });
const focused = (page) => page.evaluate(() => {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  return element?.id || element?.className;
});

/** A page of an application with something in it, and what it asks for and complains about. */
async function open(t, body, prepare = () => {}) {
  const host = await startHost(t);
  const server = await startServer(t, "--cors-origin", host.url);
  await server.publish("ana", "Ya estaba");
  host.pages.set("/", hostPage(server, body(server)));
  const page = await (await newContext(t)).newPage();
  const asked = [];
  const complaints = [];
  page.on("request", (request) => asked.push(request.url()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  t.after(() => assert.deepEqual(complaints, []));
  await prepare(page);
  await page.goto(host.url);
  return { server, page, isAsked: () => asked.some((url) => PANEL.test(url)) };
}

const BELL = (attributes = "") => (server) => `<pregon-bell server="${server.url}" user="ana" ${attributes}></pregon-bell>`;

test("a bell is all that is loaded until somebody points at it, reaches it by keyboard, or opens it", async (t) => {
  for (const come of [(page) => bell(page).hover(), (page) => bell(page).focus(), openByScript]) {
    const { page, isAsked } = await open(t, BELL("toasts sound desktop"));
    await bellIsLive(page);
    await until("it counts", async () => (await page.locator(".badge").textContent()) === "1");
    assert.equal(isAsked(), false);
    await come(page);
    await until("the rest is there", async () => (await rows(page).count()) === 1);
    assert.equal(isAsked(), true);
  }
});

test("whoever opens the bell before the rest is there sees that it is coming, and then has the focus in it", async (t) => {
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const { page } = await open(t, BELL(), (page) => page.route(PANEL, (route) => held.then(() => route.continue())));
  await bellIsLive(page);
  await bell(page).click();
  await panel(page).waitFor();
  await page.locator("pregon-bell .skeleton").waitFor();
  assert.equal(await focused(page), "bell");
  release();
  await rows(page).waitFor();
  await until("the tab has the focus", async () => (await focused(page)) === "tab-all");
});

test("the focus stays where the reader has gone meanwhile", async (t) => {
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const { page } = await open(t, (server) => `${BELL()(server)}<button id="other">Otra cosa</button>`, (page) => {
    return page.route(PANEL, (route) => held.then(() => route.continue()));
  });
  await bellIsLive(page);
  await bell(page).click();
  await panel(page).waitFor();
  await page.locator("#other").focus();
  release();
  await rows(page).waitFor({ state: "attached" });
  assert.equal(await focused(page), "other");
});

test("what could not be loaded is said, the page is told, and the reader tries again", async (t) => {
  const { page } = await open(t, BELL(), async (page) => {
    // Nothing is tried again by itself as long as this test lasts.
    await page.addInitScript(() => (Math.random = () => 1_000));
    await page.addInitScript(() => {
      window.errors = 0;
      addEventListener("pregon-error", () => (window.errors += 1));
    });
    await page.route(PANEL, (route) => route.abort());
  });
  await bellIsLive(page);
  await openByScript(page);
  await failure(page).waitFor();
  assert.equal(await page.evaluate(() => window.errors), 1);
  await page.getByRole("button", { name: "Reintentar" }).click();
  await until("it has failed again", () => page.evaluate(() => window.errors === 2));
  await failure(page).waitFor();
  // To close and to open it is to try again, too.
  await page.keyboard.press("Escape");
  await panel(page).waitFor({ state: "hidden" });
  await openByScript(page);
  await until("it has failed again", () => page.evaluate(() => window.errors === 3));
  await page.unroute(PANEL);
  await page.getByRole("button", { name: "Reintentar" }).click();
  await rows(page).waitFor();
  assert.equal(await failure(page).isVisible(), false);
});

test("what could not be loaded is tried again by itself", async (t) => {
  const { page } = await open(t, (server) => `<pregon-inbox server="${server.url}" user="ana"></pregon-inbox>`, async (page) => {
    await page.addInitScript(() => (Math.random = () => 0.1));
    let tries = 0;
    await page.route(PANEL, (route) => ((tries += 1) <= 4 ? route.abort() : route.continue()));
  });
  await rows(page).waitFor();
  assert.equal(await failure(page).isVisible(), false);
});

test("the others are loaded when one is in a page, whoever has made it, before or after the script", async (t) => {
  const { server, page, isAsked } = await open(t, (server) => `<script>
    window.server = "${server.url}";
    window.add = (name, attributes) => {
      const element = Object.assign(document.createElement(name), { id: attributes.id });
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      return element;
    };
    window.early = add("pregon-inbox", { id: "early", server });
    early.setAttribute("user", "ana");
  </script>`);
  await page.waitForFunction(() => customElements.get("pregon-inbox"));
  assert.equal(isAsked(), false, "nothing is in the page");

  // Made before the script was there, put into the page afterwards.
  await page.evaluate(() => document.body.append(early));
  await page.locator("#early .notice").waitFor();
  // Made by the script, with what the page changes in a row.
  await page.evaluate(() => {
    const late = add("pregon-inbox", { id: "late", server, user: "ana", tabs: "unread" });
    late.renderItem = (item, row) => row.classList.add("is-ours");
    document.body.append(late);
  });
  await page.locator("#late .notice.is-ours").waitFor();
  assert.deepEqual(await page.locator("#late .tab:visible").allTextContents(), ["Sin leer 1"]);
  await page.evaluate(() => document.body.append(
    add("pregon-toasts", { id: "toasts", server, user: "ana" }),
    add("pregon-preferences", { id: "preferences", server, user: "ana", categories: "ofertas" }),
  ));
  await page.getByRole("switch", { name: "ofertas" }).waitFor();
  await until("all are live", () => page.evaluate(() => document.querySelector("#toasts").client?.getSnapshot().state === "live"));
  await server.publish("ana", "De ahora");
  await page.locator("#toasts .toast").waitFor();
  await page.evaluate(() => document.querySelector("#late").showShortcuts());
  await page.getByRole("dialog", { name: "Atajos de teclado" }).waitFor();
});

test("what arrives before toasts can be shown is shown when they can", async (t) => {
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const { server, page, isAsked } = await open(t, BELL("toasts"), (page) => page.route(PANEL, (route) => held.then(() => route.continue())));
  await bellIsLive(page);
  for (const message of ["Una", "Dos", "Tres", "Cuatro"]) await server.publish("ana", message);
  await until("all have arrived", async () => (await page.locator(".badge").textContent()) === "5");
  assert.equal(isAsked(), true);
  release();
  await until("the last three are shown", async () => {
    return (await page.locator(".toast .toast-message").allTextContents()).join() === "Dos,Tres,Cuatro";
  });
});

test("a page that was opened before an upgrade of the server has the rest from the version after it", async (t) => {
  const OLD = "/assets/00000000/";
  const { page } = await open(t, BELL(), async (page) => {
    let current;
    await page.route("**/pregon.js", async (route) => {
      const answer = await route.fetch();
      const text = await answer.text();
      [current] = /\/assets\/[0-9a-f]+\//.exec(text);
      await route.fulfill({ response: answer, body: text.replaceAll(current, OLD) });
    });
    // What it has loaded before is there. The rest is asked of the server.
    await page.route(`**${OLD}**`, async (route) => {
      const url = route.request().url();
      if (PANEL.test(url)) await route.continue();
      else await route.fulfill({ response: await route.fetch({ url: url.replace(OLD, current) }) });
    });
  });
  await bellIsLive(page);
  await bell(page).click();
  await rows(page).waitFor();
  assert.equal(await panel(page).getByRole("tab").count(), 3);
  const color = await page.locator("pregon-bell .dot").evaluate((dot) => getComputedStyle(dot).backgroundColor);
  assert.match(color, /^rgb\(/);
});

test("the page of the server has all that it shows at once", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t);
  const asked = [];
  context.on("request", (request) => asked.push(request.url()));
  await openLive(context, server.page("ana"));
  assert.deepEqual(asked.filter((url) => PANEL.test(url) || url.includes("style.js")), []);
});
