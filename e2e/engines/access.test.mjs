// The pages for whoever reads with her ears and presses keys, in every engine.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { until } from "../browser.mjs";
import { hostPage, startHost } from "../host.mjs";
import { startServer } from "../server.mjs";
import { inEveryEngine } from "./devices.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

async function violations(tab) {
  await tab.run(axe);
  return tab.run(async () => {
    const found = (await window.axe.run(document)).violations;
    return found.map(({ id, impact, nodes }) => `${id} (${impact}): ${nodes.map((node) => node.html).join(" ")}`);
  });
}

async function publishSome(server) {
  for (const severity of ["info", "success", "warning", "error"]) {
    await server.publish("ana", { title: `Título de ${severity}`, message: "Mensaje", severity, url: "/pedidos" });
  }
  await server.publish("ana", "Nada más que un mensaje");
}

inEveryEngine("axe finds nothing on any page, narrow or wide, from left to right or from right to left", async (t, newDevice) => {
  const server = await startServer(t);
  await publishSome(server);
  const tab = await (await newDevice()).open();
  for (const [query, lang, width, dir] of [
    ["user_id=ana", "es", 320, "ltr"], ["user_id=ana", "en", 1000, "rtl"], ["user_id=nadie", "es", 1000, "ltr"],
    ["", "en", 320, "ltr"],
  ]) {
    await tab.resize(width, 800);
    await tab.go(`${server.url}/?${query}&lang=${lang}`);
    if (query) await tab.isLive();
    await tab.run((dir) => void (document.documentElement.dir = dir), dir);
    assert.deepEqual(await violations(tab), [], `${query}, ${lang}, ${width} px, ${dir}`);
  }
});

inEveryEngine("the Tab key reaches all that can be used, in the order in which it is read", async (t, newDevice) => {
  const server = await startServer(t);
  await publishSome(server);
  const tab = await (await newDevice()).open(server.page("ana"));
  await tab.isLive();
  // Each is known by its place in the document.
  const expected = await tab.run(() => tabStops().map((_, place) => place));
  assert.ok(expected.length >= 5, `only ${expected.length} things can be reached`);
  const reached = [];
  // A list that can be scrolled may be a stop of its own.
  for (let pressed = 0; pressed < 2 * expected.length && reached.length < expected.length; pressed += 1) {
    await tab.type("Tab");
    const place = await tab.run(() => tabStops().indexOf(focused()));
    if (place >= 0) reached.push(place);
  }
  assert.deepEqual(reached, expected);
});

inEveryEngine("what has the focus is pressed by a key, and what is pressed by the pointer is the same", async (t, newDevice) => {
  const server = await startServer(t);
  await publishSome(server);
  const tab = await (await newDevice()).open(`${server.page("ana")}&lang=es`);
  await tab.isLive();
  await tab.run(() => all("a[href]").find((link) => nameOf(link) === "English").focus());
  // A page that is being left does not answer, and one that has no looks yet has its links elsewhere.
  const speaks = (lang) => until(`the page speaks ${lang}`, async () => {
    const now = await tab.run(() => [document.documentElement.lang, document.readyState].join()).catch(() => "");
    return now === `${lang},complete`;
  });
  await tab.type("Enter");
  await speaks("en");
  await tab.press({ role: "link", name: "Español" });
  await speaks("es");
});

inEveryEngine("j, k, r and e move, read and archive, and the focus goes to what is next", async (t, newDevice) => {
  const server = await startServer(t);
  const ids = [];
  for (const message of ["Uno", "Dos", "Tres", "Cuatro", "Cinco"]) ids.unshift(await server.publish("ana", message));
  const tab = await (await newDevice()).open(`${server.page("ana")}&lang=es`);
  await tab.isLive();
  const itemOf = async (id) => (await server.request("GET", `/v1/inbox/${id}?user_id=ana`)).json();
  const hasFocus = (id) => until(`row ${ids.indexOf(id) + 1} has the focus`, () => tab.run((id) => {
    return focused()?.matches("[data-id]") && focused().dataset.id === id;
  }, id));

  await tab.run(() => rows()[0].focus());
  for (const [key, number] of [["j", 1], ["j", 2], ["k", 1], ["k", 0], ["k", 0], ["j", 1]]) {
    await tab.type(key);
    await hasFocus(ids[number]);
  }
  await tab.type("r");
  await until("it is read", async () => (await itemOf(ids[1])).read_at !== null);
  await hasFocus(ids[1]);

  await tab.type("e");
  await hasFocus(ids[2]);
  await until("it is archived", async () => (await itemOf(ids[1])).archived_at !== null);
  // What is archived elsewhere hands the focus on in the same way, and what arrives does not take it.
  await server.request("PATCH", `/v1/inbox/${ids[2]}?user_id=ana`, { archived: true });
  await hasFocus(ids[3]);
  ids.unshift(await server.publish("ana", "Seis"));
  await until("it is shown", async () => (await tab.ids())[0] === ids[0]);
  await hasFocus(ids[4]);

  // After the last row comes the one before it; after the only one, the tabs.
  await tab.type("j");
  await hasFocus(ids[5]);
  for (const next of [ids[4], ids[1], ids[0]]) {
    await tab.type("e");
    await hasFocus(next);
  }
  await tab.type("e");
  await until("the tab has the focus", () => tab.run(() => focused()?.id === "tab-all"));
  await until("all are archived", async () => (await server.ids("ana")).length === 0);
});

inEveryEngine("the keys open the panel of the bell, move in it, and Escape leads back to the bell", async (t, newDevice) => {
  const host = await startHost(t);
  const server = await startServer(t, "--cors-origin", host.url);
  await publishSome(server);
  const bell = `<pregon-bell server="${server.url}" user="ana"></pregon-bell>`;
  host.pages.set("/", hostPage(server, `<main><h1>Pedidos</h1>${bell}</main>`));
  const tab = await (await newDevice()).open(`${host.url}/`);
  await until("the bell counts them", () => tab.run(() => all(".badge")[0]?.textContent.trim() === "5"));
  const isOpen = () => tab.run(() => all(".panel")[0].matches(":popover-open"));

  await tab.run(() => all(".bell")[0].focus());
  await tab.type("Enter");
  await until("it is open", isOpen);
  await until("all are there", () => tab.run(() => all(".notice").length === 5));
  await until("the focus is in it", () => tab.run(() => focused().id === "tab-all"));
  await tab.type("ArrowRight");
  await until("it shows what is unread", () => tab.run(() => focused().id === "tab-unread"));
  await tab.type("Escape");
  await until("it is closed", async () => !(await isOpen()));
  await until("the bell has the focus", () => tab.run(() => focused().matches(".bell")));
});

inEveryEngine("a press on the bell, or on a row's menu, opens it, and the next one closes it", async (t, newDevice) => {
  const host = await startHost(t);
  const server = await startServer(t, "--cors-origin", host.url);
  await server.publish("ana", { message: "Uno", url: "/" });
  const bell = `<pregon-bell server="${server.url}" user="ana"></pregon-bell>`;
  host.pages.set("/", hostPage(server, `<main><h1>Pedidos</h1>${bell}</main>`));
  const tab = await (await newDevice()).open(`${host.url}/`);
  await until("the bell counts it", () => tab.run(() => all(".badge")[0]?.textContent.trim() === "1"));
  const pressed = async (button, selector, isOpen) => {
    await tab.press({ selector: button });
    await until(`${selector} is ${isOpen ? "open" : "closed"}`, () => tab.run((button, selector, isOpen) => {
      const [opener, popover] = [all(button)[0], all(selector)[0]];
      return popover.matches(":popover-open") === isOpen && opener.getAttribute("aria-expanded") === String(isOpen);
    }, button, selector, isOpen));
  };
  for (const isOpen of [true, false, true]) await pressed(".bell", ".panel", isOpen);
  for (const isOpen of [true, false, true, false]) await pressed("[data-act=menu]", ".menu", isOpen);
  await pressed(".bell", ".panel", false);
});

inEveryEngine("Escape closes what a key has opened, and the focus is where it was", async (t, newDevice) => {
  const server = await startServer(t);
  await publishSome(server);
  const tab = await (await newDevice()).open(`${server.page("ana")}&lang=es`);
  await tab.isLive();
  const isOpen = () => tab.run(() => all("dialog.shortcuts")[0].open);
  await tab.run(() => rows()[1].focus());
  await tab.type("?");
  await until("the keys are told", isOpen);
  await tab.type("Escape");
  await until("they are gone", async () => !(await isOpen()));
  assert.equal(await tab.run(() => focused() === rows()[1]), true);
});
