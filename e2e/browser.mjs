// The browser, and what the tests ask a page about.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { chromium } from "playwright-core";

const PATIENCE_MS = 20_000;

/** One browser for all tests of a file, and a function that opens a page which ends with its test. */
export function useBrowser(launchOptions = {}) {
  let browser;
  before(async () => {
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: ["--no-sandbox"],
      ...launchOptions,
    });
  });
  after(() => browser.close());

  return async function newContext(t, options = {}) {
    const context = await browser.newContext({ locale: "es-ES", ...options });
    t.after(() => context.close());
    return context;
  };
}

/** Opens a user's page and waits until it is live. The mark on its window is gone if it ever reloads. */
export async function openLive(context, url) {
  const page = await context.newPage();
  await page.goto(url);
  await isLive(page);
  await page.evaluate(() => (window.neverReloaded = true));
  return page;
}

export async function isLive(page) {
  await page.locator("#state[data-state=live]").waitFor({ timeout: PATIENCE_MS });
}

export async function assertNeverReloaded(page) {
  assert.equal(await page.evaluate(() => window.neverReloaded), true, "the page has been reloaded");
}

/** The ids of the rows, from top to bottom. */
export function shownIds(page) {
  return page.locator("#notices .notice").evaluateAll((rows) => rows.map((row) => row.dataset.id));
}

/** The messages of the rows, from top to bottom. */
export function shownMessages(page) {
  return page.locator("#notices .notice-message").evaluateAll((all) => all.map((one) => one.textContent));
}

/** Waits until a condition holds: it is asked again and again, and there is a deadline. */
export async function until(what, condition, deadlineMs = PATIENCE_MS) {
  const end = performance.now() + deadlineMs;
  for (;;) {
    if (await condition()) return;
    assert.ok(performance.now() < end, `waited ${deadlineMs} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/**
 * Waits until every one of `ids` is shown. Then the whole list must be what the server itself would render: the
 * same rows in the same order, each exactly once.
 */
export async function assertShowsWhatTheServerHas(page, server, user, ids) {
  await until(`${ids.length} notifications are shown`, async () => {
    const shown = await shownIds(page);
    return ids.every((id) => shown.includes(id));
  });
  assert.deepEqual(await shownIds(page), await server.ids(user));
}

/** Makes every wait before a reconnection short, where its length is not the subject of the test. */
export async function shortenWaits(context) {
  await context.addInitScript(() => (Math.random = () => 0.1));
}
