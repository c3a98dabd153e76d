// Whose inbox it is: somebody else's from one moment to the next, nobody's any more, or hers again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { anasBell, badgeOf, badgeSays, bell, openHost, panel, ready, rows } from "./bell.mjs";
import { until, useBrowser } from "./browser.mjs";
import { connectionsOf } from "./client.mjs";

const newContext = useBrowser();
const open = (t, body, options) => openHost(t, newContext, body, options);

const stateOf = (page) => page.locator("pregon-bell").evaluate((element) => element.client?.getSnapshot().state);

test("nothing is left of who has left: no number, no row, no connection; and nothing is searched for the next one", async (t) => {
  const { host, server, page } = await open(t, (server) => `${anasBell()(server)}<pregon-inbox server="${server.url}" user="ana"></pregon-inbox>`);
  await server.publish("ana", "De Ana");
  await server.publish("bob", "De Bob");
  await ready(page, host.url);
  await bell(page).hover();
  await until("both show it", async () => (await rows(page).count()) === 2);
  await page.locator("body > pregon-inbox").getByRole("searchbox").fill("ana");
  const everybody = (user) => page.evaluate((user) => {
    for (const element of document.querySelectorAll("pregon-bell, pregon-inbox")) {
      if (user) element.setAttribute("user", user);
      else element.removeAttribute("user");
    }
  }, user);

  await everybody("");
  await until("nobody is connected", async () => (await connectionsOf(server, "ana")) === 0);
  await server.publish("ana", "Otra de Ana");
  await badgeSays(page, "");
  assert.equal(await rows(page).count(), 0);
  assert.equal(await bell(page).getAttribute("aria-label"), "Notificaciones");

  await everybody("bob");
  await until("both show his", async () => (await rows(page).count()) === 2);
  assert.deepEqual(await rows(page).locator(".notice-message").allTextContents(), ["De Bob", "De Bob"]);
  await badgeSays(page, "1");
});

test("whoever is not signed in is told so, and once she is, all elements are hers", async (t) => {
  const body = (server) => `<pregon-bell server="${server.url}" token-url="/notify-token"></pregon-bell>`;
  const { host, server, page } = await open(t, body, { expected: /401 \(Unauthorized\)/ });
  const { token } = await (await server.request("POST", "/v1/tokens", { user_id: "ana" })).json();
  await server.publish("ana", "Una");
  host.pages.set("/notify-token", JSON.stringify({}));
  await page.goto(host.url);
  await until("it is said", async () => (await stateOf(page)) === "unauthenticated");
  await bell(page).click();
  const again = panel(page).getByRole("button", { name: "Volver a entrar" });
  await again.waitFor();
  host.pages.set("/notify-token", JSON.stringify({ token }));
  await again.click();
  await until("it is hers", async () => (await rows(page).count()) === 1);
  await until("the bell is too", async () => (await badgeOf(page)) === "1");

  // The same from the bell: what is in its panel comes with it.
  await page.locator("pregon-bell").evaluate((element, token) => {
    element.getToken = () => token;
  }, `${token.slice(0, -8)}AAAAAAAA`);
  await again.waitFor();
  await page.locator("pregon-bell").evaluate((element, token) => {
    element.getToken = () => token;
  }, token);
  await until("it is hers", async () => (await rows(page).count()) === 1 && (await badgeOf(page)) === "1");
});
