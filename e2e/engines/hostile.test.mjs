// Whatever is published is text, in every field. Nothing of it runs, loads, asks, or is complained of by the policy.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { until } from "../browser.mjs";
import { ADDRESSES, FAR_HOST, NAMES, TEXTS } from "../payloads.mjs";
import { startServer } from "../server.mjs";
import { inEveryEngine } from "./devices.mjs";

const TEXTS_MIN = 100;
const NAMES_MIN = 74;
/** As many as the server renders itself, and a few less. */
const AT_ONCE = 45;
/** The longest name of a user, in bytes. */
const NAME_BYTES_MAX = 128;

/** A host elsewhere, and what has been asked of it. */
async function startFarHost(t) {
  const asked = [];
  const listener = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => asked.push(String(data).split("\r\n")[0]));
    asked.push("a connection");
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  t.after(() => listener.close());
  return { asked, host: `127.0.0.1:${listener.address().port}` };
}

/** Notes in the page all that must not happen. */
function watch() {
  window.incidents = [];
  const note = (what) => void window.incidents.push(what);
  // Where nothing runs before the page, something may have run already.
  if ("hit" in window) note(`hit = ${window.hit}`);
  Object.defineProperty(window, "hit", { set: (value) => note(`hit = ${value}`) });
  for (const name of ["alert", "confirm", "prompt", "open", "print"]) window[name] = () => note(name);
  addEventListener("error", ({ message }) => note(message));
  addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sample }) => {
    note(`${violatedDirective} ${blockedURI} ${sample}`);
  });
}

/** A device whose pages are watched, and a host elsewhere that nobody may ask. */
async function openWatched(t, newDevice) {
  const [server, far, device] = [await startServer(t), await startFarHost(t), await newDevice()];
  await device.atFirst(watch);
  const tab = await device.open();
  const assertInert = async (where) => {
    assert.deepEqual(await tab.run(() => window.incidents), [], where);
    assert.deepEqual(far.asked, [], where);
  };
  return { server, tab, assertInert, aimed: (text) => text.replaceAll(FAR_HOST, far.host) };
}

/** Publishes with every field that the server takes. Gives the id and what was taken; nothing if the text was not. */
async function publish(server, user, notification) {
  const taken = { ...notification };
  for (;;) {
    const answer = await server.request("POST", `/v1/users/${user}/notifications`, taken);
    const { id, code, errors = [] } = await answer.json();
    if (answer.status === 201) return { id, ...taken };
    const refused = new Set(errors.map(({ pointer }) => pointer.split("/")[1]));
    assert.ok(answer.status === 422 && refused.size > 0, `${answer.status} ${code}: ${JSON.stringify(taken)}`);
    if (refused.has("message")) return undefined;
    for (const field of refused) delete taken[field];
  }
}

/** HTML gives a carriage return the meaning of a line end, and so does the page when it arrives. */
const asShown = (text = "") => text.replace(/\r\n?/g, "\n");

/** What the rows say, and whatever of them could lead anywhere or do anything. */
function seen() {
  const shown = rows().map((row) => {
    const text = (part) => row.querySelector(part)?.textContent;
    return [row.dataset.id, { title: text(".notice-title"), message: text(".notice-message") }];
  });
  const within = rows().flatMap((row) => [...row.querySelectorAll("*")]);
  const links = within.filter((element) => element.hasAttribute("href") && element.matches("a"));
  const handlers = within.flatMap((element) => element.getAttributeNames().filter((name) => name.startsWith("on")));
  const strangers = within.filter((element) => element.matches("script, iframe, object, embed, style, link, form[action*='//']"));
  return {
    shown: Object.fromEntries(shown), protocols: [...new Set(links.map(({ protocol }) => protocol))],
    handlers, strangers: strangers.map(({ outerHTML }) => outerHTML),
  };
}

inEveryEngine("a hundred hostile texts and addresses stay what they are, in every field", async (t, newDevice) => {
  assert.ok(TEXTS.length >= TEXTS_MIN && new Set(TEXTS).size === TEXTS.length);
  const { server, tab, assertInert, aimed } = await openWatched(t, newDevice);
  const all = [
    ...TEXTS.map(aimed).map((text) => ({
      message: text, title: text, category: text, actor: { name: text }, actions: [{ id: "a", label: text }],
      data: { [text.slice(0, 40)]: [text] },
    })),
    ...ADDRESSES.map(aimed).map((url) => ({
      message: "Una dirección", url, icon: url, actor: { name: "Ana", avatar_url: url },
      actions: [{ id: "a", label: "Ir", url }],
    })),
  ];
  let published = 0;
  for (let from = 0; from < all.length; from += AT_ONCE) {
    const user = `lote-${from}`;
    await tab.go(server.page(user));
    await tab.isLive();
    const taken = [];
    for (const notification of all.slice(from, from + AT_ONCE)) {
      const one = await publish(server, user, notification);
      if (one) taken.push(one);
    }
    published += taken.length;
    for (const how of ["as they arrive", "as the server renders them"]) {
      if (how !== "as they arrive") {
        await tab.go(server.page(user));
        await tab.isLive();
      }
      await until("all are shown", async () => (await tab.ids()).length === taken.length);
      const { shown, protocols, handlers, strangers } = await tab.run(seen);
      for (const { id, title, message } of taken) {
        assert.deepEqual(shown[id], { title: asShown(title), message: asShown(message) }, how);
      }
      const led = protocols.filter((protocol) => !["http:", "https:", "mailto:"].includes(protocol));
      assert.deepEqual([led, handlers, strangers], [[], [], []], how);
      await assertInert(`${user}, ${how}`);
    }
  }
  assert.ok(published >= TEXTS_MIN, `the server has taken only ${published} of ${all.length}`);
});

/** What a page makes of its user's name, which rows it has, and of which elements and attributes it consists. */
function named() {
  const [shown, inbox, otherLanguage] = [".owner-name bdi", "pregon-inbox", "[hreflang]"].map((one) => all(one)[0]);
  const everything = [...document.querySelectorAll("*")];
  return {
    names: [shown.textContent, inbox.getAttribute("user"), new URL(otherLanguage.href).searchParams.get("user_id")],
    ids: rows().map((row) => row.dataset.id),
    // A button is hidden until it has a meaning.
    elements: everything.map((one) => [one.localName, ...one.getAttributeNames().filter((name) => name !== "hidden")].join(" ")),
  };
}

inEveryEngine("every text and address that may be a user's name is one like any other", async (t, newDevice) => {
  const { server, tab, assertInert, aimed } = await openWatched(t, newDevice);
  await tab.go(server.page("ana"));
  const { elements } = await tab.run(named);
  let taken = 0;
  for (const name of NAMES.map(aimed)) {
    const user = encodeURIComponent(name);
    const isLegal = Buffer.byteLength(name) <= NAME_BYTES_MAX && !/[\s\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]/u.test(name);
    const answer = await server.request("POST", `/v1/users/${user}/notifications`, `Para ${name}`);
    assert.equal(answer.status, isLegal ? 201 : 400, name);
    if (!isLegal) continue;
    taken += 1;
    await tab.go(server.page(user));
    assert.deepEqual(await tab.run(named), { names: [name, name, name], ids: [(await answer.json()).id], elements });
    await assertInert(name);
  }
  assert.ok(taken >= NAMES_MIN, `the server has taken only ${taken} names`);
});
