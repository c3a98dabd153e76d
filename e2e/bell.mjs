// The bell in a page of an application, as the tests see it.

import assert from "node:assert/strict";
import { until } from "./browser.mjs";
import { bellIsLive, hostPage, startHost } from "./host.mjs";
import { startServer } from "./server.mjs";

export const bell = (page) => page.getByRole("button", { name: /^Notificaciones/ });
export const panel = (page) => page.getByRole("dialog", { name: "Notificaciones" });
export const rows = (page) => page.locator("#notices .notice");
export const nameOf = (page) => bell(page).getAttribute("aria-label");
export const badgeOf = (page) => page.locator(".badge").evaluate((badge) => (badge.hidden ? "" : badge.textContent));

export const badgeSays = (page, text) => until(`the badge says "${text}"`, async () => (await badgeOf(page)) === text);
export const nameSays = (page, text) => until(`the bell is called "${text}"`, async () => (await nameOf(page)) === text);

/**
 * An application's page, on another origin than the server's, and a browser that shows it. Nothing may be amiss in the end,
 * but for what is `expected`.
 */
export async function openHost(t, newContext, body, { head = "", expected = /^$/, ...options } = {}) {
  // First of all: once its server is removed, a page has reasons to complain.
  let over = false;
  t.after(() => (over = true));
  const host = await startHost(t);
  const server = await startServer(t, "--cors-origin", host.url);
  host.pages.set("/", hostPage(server, body(server), head));
  const context = await newContext(t, options);
  const page = await context.newPage();
  const complaints = [];
  const complain = (text) => over || complaints.push(text);
  page.on("console", (message) => message.type() === "error" && complain(message.text()));
  page.on("pageerror", (error) => complain(String(error)));
  t.after(() => assert.deepEqual(complaints.filter((complaint) => !expected.test(complaint)), []));
  return { host, server, context, page };
}

/** Ana's bell. @param {string} [attributes] */
export const anasBell = (attributes = "") => (server) => `<pregon-bell server="${server.url}" user="ana" ${attributes}></pregon-bell>`;

export async function ready(page, url) {
  await page.goto(url);
  await bellIsLive(page);
}

/** What the reader has before her is what has the focus, however deep it is. */
export function focused(page) {
  return page.evaluate(() => {
    let element = document.activeElement;
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    return element?.getAttribute("role") ?? (element?.className || element?.localName);
  });
}

export async function hasFocus(page, what) {
  await until(`${what} has the focus`, async () => (await focused(page)) === what);
}
