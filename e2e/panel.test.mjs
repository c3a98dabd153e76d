// The panel of the bell: what opens and closes it, where it stands, and where the focus is.

import assert from "node:assert/strict";
import { test } from "node:test";
import { anasBell, bell, focused, hasFocus, openHost, panel, ready, rows } from "./bell.mjs";
import { until, useBrowser } from "./browser.mjs";

const newContext = useBrowser();
const open = (t, body, options) => openHost(t, newContext, body, options);

test("a press on the bell opens the panel, and the next one closes it", async (t) => {
  const { host, page } = await open(t, anasBell());
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
  const { host, server, page } = await open(t, (server) => `<a href="#">Antes</a>${anasBell()(server)}<a href="#">Después</a>`);
  await server.publish("ana", "Una");
  await ready(page, host.url);
  await page.getByRole("link", { name: "Antes" }).focus();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await panel(page).waitFor();
  await hasFocus(page, "tab");
  await page.keyboard.press("Escape");
  await panel(page).waitFor({ state: "hidden" });
  await hasFocus(page, "bell");
  await page.keyboard.press("Enter");
  await panel(page).waitFor();
  await page.mouse.click(5, 700);
  await panel(page).waitFor({ state: "hidden" });
});

test("with open-on=hover a mouse opens the panel by its being there, and the focus stays where it is", async (t) => {
  const { host, server, page } = await open(t, (server) => `<input aria-label="Texto">${anasBell('open-on="hover"')(server)}`);
  await server.publish("ana", "Una");
  await page.clock.install();
  await ready(page, host.url);
  // On a busy machine, a mouse of the test takes longer from the bell to the panel than the bell waits for it.
  await page.clock.pauseAt((await page.evaluate(() => Date.now())) + 1_000);
  const text = page.getByLabel("Texto");
  const aside = () => page.mouse.move(600, 700);
  // Longer than any wait of the bell for a pointer.
  const later = () => page.clock.runFor(1_000);
  const isFocused = (locator) => locator.evaluate((element) => element.getRootNode().activeElement === element);
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
  await later();
  const [from, to] = [await bell(page).boundingBox(), await panel(page).boundingBox()];
  await page.mouse.move(to.x + to.width / 2, (from.y + from.height + to.y) / 2);
  await panel(page).hover();
  await later();
  assert.equal(await turns(), "open", "it stays open under the mouse, which may cross the gap");
  assert.equal(await isFocused(text), true, "the focus has not moved");
  await aside();
  await later();
  await panel(page).waitFor({ state: "hidden" });
  assert.equal(await isFocused(text), true, "the focus has not moved");

  await bell(page).hover();
  await later();
  await bell(page).click();
  await until("the tab has the focus", () => isFocused(page.getByRole("tab", { name: /Todas/ })));
  for (const move of [aside, () => bell(page).hover(), aside]) {
    await move();
    await later();
  }
  assert.equal(await turns(), "open,closed,open", "one that was opened by a press stays open");
  await bell(page).click();
  await later();
  assert.equal(await turns(), "open,closed,open,closed", "one that was closed by a press stays closed");
});

test("the panel is wholly in view at every corner and on a phone", async (t) => {
  const { host, server, page } = await open(t, anasBell());
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

test("whoever goes on to something else in the page stays there when the panel closes", async (t) => {
  const { host, server, page } = await open(t, (server) => `<input aria-label="Texto" style="margin-top: 40rem">${anasBell()(server)}`);
  await server.publish("ana", "Una");
  await ready(page, host.url);
  const text = page.getByLabel("Texto");
  // By the mouse, from the script of the page, and by the Tab key, which leaves the panel behind.
  for (const leave of [
    () => text.click(),
    () => page.evaluate(() => {
      document.querySelector("pregon-bell").close();
      document.querySelector("input").focus();
    }),
  ]) {
    await bell(page).click();
    await rows(page).first().waitFor();
    await hasFocus(page, "tab");
    await leave();
    await panel(page).waitFor({ state: "hidden" });
    await page.keyboard.type("hola");
    await hasFocus(page, "input");
  }
  assert.equal(await text.inputValue(), "holahola");

  await bell(page).click();
  await hasFocus(page, "tab");
  for (let pressed = 0; pressed < 20 && (await focused(page)) !== "input"; pressed += 1) await page.keyboard.press("Shift+Tab");
  await panel(page).waitFor({ state: "hidden" });
  assert.equal(await focused(page), "input");
});

test("on a telephone, where it covers everything, the panel has a button to close it", async (t) => {
  const { host, page } = await open(t, anasBell(), { viewport: { width: 375, height: 700 }, hasTouch: true, isMobile: true });
  await ready(page, host.url);
  await bell(page).tap();
  await panel(page).getByRole("button", { name: "Cerrar" }).tap();
  await panel(page).waitFor({ state: "hidden" });
  await hasFocus(page, "bell");
});

test("the panel is in view however it grows, and where there is little room it covers the bell", async (t) => {
  const corner = '<style>pregon-bell { position: fixed; bottom: 1rem; right: 1rem }</style>';
  const { host, server, page } = await open(t, anasBell('placement="top-end"'), { head: corner });
  await ready(page, host.url);
  await bell(page).click();
  await page.getByRole("heading", { name: "Estás al día" }).waitFor();
  await server.request("POST", "/v1/notifications/batch", Array.from({ length: 12 }, (_, n) => ({ to: "user:ana", message: `Número ${n}` })));
  await until("all are there", async () => (await rows(page).count()) === 12);
  const isInView = async () => {
    const { y, height } = await panel(page).boundingBox();
    return y >= 0 && y + height <= page.viewportSize().height;
  };
  await until("all of it is in view", isInView);
  await page.setViewportSize({ width: 740, height: 340 });
  await until("all of it is in view", isInView);
  assert.ok((await panel(page).boundingBox()).height > 280, "there is room for a row");
});
