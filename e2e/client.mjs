// Pages with nothing on them but the client, and what the tests ask it.

import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { until } from "./browser.mjs";

/** What a user takes for at once. */
export const SOON_MS = 1_000;

/** Where the client's files are: below the same folder as the page's own script. */
export async function folderOf(server) {
  // The template writes a slash in an attribute as a character reference.
  const [, hash] = /assets(?:\/|&#x2f;)([0-9a-f]+)/.exec(await (await fetch(server.page("nobody"))).text());
  return `/assets/${hash}`;
}

/**
 * Opens a tab with a client in it, as `window.client`; `window.heard` is what it has told of notifications.
 * @param {object} options What `createClient` takes; `token: "ask"` asks the test, by `window.askForToken`.
 */
export async function openTab(context, server, url, options) {
  const html = `<!doctype html><meta charset="utf-8"><title>client</title><script type="module">
    import { createClient } from "${await folderOf(server)}/client/client.js";
    const { token, ...options } = ${JSON.stringify(options)};
    window.heard = [];
    window.client = createClient({ server: "/", ...options, token: token === "ask" ? () => askForToken() : token });
    client.on("notification", ({ id }) => heard.push(id));
  </script>`;
  await context.route("**/client.html", (route) => route.fulfill({ contentType: "text/html", body: html }));
  const page = await context.newPage();
  await page.goto(`${url}/client.html`);
  await page.waitForFunction(() => window.client);
  return page;
}

export function snapshot(page) {
  return page.evaluate(() => window.client.getSnapshot());
}

export async function isIn(page, state) {
  await until(`the client is ${state}`, async () => (await snapshot(page)).state === state);
}

/** Opens tabs one after the other, each live before the next. */
export async function openTabs(count, context, server, url, options) {
  const tabs = [];
  for (let number = 1; number <= count; number += 1) {
    const tab = await openTab(context, server, url, options);
    await until(`tab ${number} is live`, async () => {
      const { state, loaded } = await snapshot(tab);
      return state === "live" && loaded;
    });
    tabs.push(tab);
  }
  return tabs;
}

export function idsOf(page) {
  return page.evaluate(() => window.client.getSnapshot().items.map(({ id }) => id));
}

/** Every tab has what the server has, marks and counts and order, and has told of nothing twice. */
export async function assertHaveWhatTheServerHas(tabs, server, user, deadlineMs) {
  const marked = ({ id, seen_at, read_at }) => [id, Boolean(seen_at), Boolean(read_at)].join();
  const { data, counts } = await inboxOf(server, user);
  const expected = { items: data.map(marked), counts };
  for (const [number, tab] of tabs.entries()) {
    let shown;
    const isSame = async () => {
      const { items, counts } = await snapshot(tab);
      shown = { items: items.map(marked), counts };
      return isDeepStrictEqual(shown, expected);
    };
    // What differs in the end says more than that the time is over.
    await until(`tab ${number + 1} has what the server has`, isSame, deadlineMs).catch((error) => {
      assert.deepEqual(shown, expected, error.message);
    });
    const heard = await tab.evaluate(() => window.heard);
    assert.equal(new Set(heard).size, heard.length, `tab ${number + 1} has told of something twice`);
  }
}

async function inboxOf(server, user) {
  const answer = await server.request("GET", `/v1/users/${user}/inbox?limit=100`);
  assert.equal(answer.status, 200);
  return answer.json();
}

/** How many streams of a user the server has open. */
export async function connectionsOf(server, user) {
  return (await (await server.request("GET", `/v1/users/${user}/connections`)).json()).data.length;
}

/** The tab that has the stream: the one that has asked for it last. */
export function watchStreams(context) {
  const watch = { leader: undefined, opened: 0 };
  context.on("request", (request) => {
    if (!new URL(request.url()).pathname.endsWith("/v1/stream")) return;
    watch.leader = request.frame().page();
    watch.opened += 1;
  });
  return watch;
}
