import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { describe, test } from "node:test";
import { openLive, shownIds, until, useBrowser } from "./browser.mjs";
import { hostPage } from "./host.mjs";
import { startProxy } from "./proxy.mjs";
import { startServer } from "./server.mjs";
import { STATES, createWorld } from "./states.mjs";

const newContext = useBrowser();
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe finds in a page, or in a part of it. */
async function violations(page, part = null) {
  // It takes its time to read, and there is one look after the other.
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe);
  const found = await page.evaluate(async (part) => {
    return (await globalThis.axe.run(part ?? document, { resultTypes: ["violations"], preload: false })).violations;
  }, part);
  return found.map(({ id, impact, nodes }) => `${id} (${impact}): ${nodes.map((node) => node.html).join(" ")}`);
}

/** Looks at a page in every way in which it may be shown. */
async function assertNothingFound(page, name, part) {
  for (const dir of ["ltr", "rtl"]) {
    await page.evaluate((dir) => (document.documentElement.dir = dir), dir);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      for (const width of [320, 1000]) {
        await page.setViewportSize({ width, height: 800 });
        const how = `${name}, ${dir}, ${colorScheme}, ${width} px`;
        assert.deepEqual(await violations(page, part), [], how);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${how}: ${overflow} px too wide`);
      }
    }
  }
  await page.emulateMedia({ colorScheme: "light", forcedColors: "active" });
  assert.deepEqual(await violations(page, part), [], `${name}, forced colours`);
}

// What takes long is axe itself, which runs in a process of each page's own.
describe("axe finds nothing", { concurrency: availableParallelism() }, () => {
  for (const lang of ["es", "en"]) {
    for (const [name, arrange] of Object.entries(STATES)) {
      test(`${name}, ${lang}`, async (t) => {
        const world = await createWorld(t, lang);
        const page = await (await newContext(t, { reducedMotion: "reduce", locale: lang })).newPage();
        await arrange(page, world, lang);
        // It goes by itself, unless somebody is in it.
        if (name === "toast") await page.locator(".toast button").focus();
        await assertNothingFound(page, name);
        if (name === "toast") assert.equal(await page.locator(".toast").count(), 1, "nobody has looked at it to the end");
      });
    }

    test(`no user, menu, shortcuts, preferences, a panel that cannot be loaded, ${lang}`, async (t) => {
      const { server, host } = await createWorld(t, lang);
      const page = await (await newContext(t, { reducedMotion: "reduce", locale: lang })).newPage();
      await page.goto(`${server.url}/?lang=${lang}`);
      await assertNothingFound(page, "no user");
      await openLive(page.context(), server.page("lucia", `&lang=${lang}`)).then(async (page) => {
        await page.locator(".notice [data-act=menu]").first().click();
        await assertNothingFound(page, "menu");
        await page.keyboard.press("Escape");
        await page.locator("#shortcuts").click();
        // What lies behind an open dialog is in its shade, and nobody gets there.
        await assertNothingFound(page, "shortcuts", { include: [{ fromShadowDom: ["pregon-inbox", "dialog"] }] });
      });
      host.pages.set("/preferences", hostPage(server, `<main><h1>x</h1><pregon-preferences server="${server.url}" user="lucia" locale="${lang}"></pregon-preferences></main>`));
      await page.goto(`${host.url}/preferences`);
      await page.getByRole("switch").first().waitFor();
      await assertNothingFound(page, "preferences");
      await page.route(/\/widget\/panel\.js/, (route) => route.abort());
      await page.goto(`${host.url}/${lang}`);
      await page.locator(".bell").click();
      await page.locator(".failure").waitFor();
      await assertNothingFound(page, "not loaded");
    });
  }
});

/** Collects every sentence that a screen reader would speak, with the time at which it was said. */
async function listen(context) {
  await context.addInitScript(() => {
    window.sentences = [];
    document.addEventListener("pregon-ready", ({ target }) => {
      const region = target.shadowRoot.querySelector("#announcement");
      new MutationObserver(() => {
        if (region.textContent) window.sentences.push({ text: region.textContent, at: performance.now() });
      }).observe(region, { childList: true, characterData: true, subtree: true });
    });
  });
}

const sentences = (page) => page.evaluate(() => window.sentences);

test("a burst is announced by one sentence, at most every 5 s, and the first view by none", async (t) => {
  const server = await startServer(t);
  await server.publish("ana", "Ya estaba");
  const context = await newContext(t);
  await listen(context);
  const page = await openLive(context, server.page("ana"));

  await Promise.all(["Una", "Dos", "Tres"].map((message) => server.publish("ana", message)));
  await until("it is announced", async () => (await sentences(page)).length === 1);
  await server.publish("ana", "Una más");
  await until("the next one is announced", async () => (await sentences(page)).length === 2);

  const [first, second] = await sentences(page);
  assert.deepEqual([first.text, second.text], ["3 notificaciones nuevas", "1 notificación nueva"]);
  assert.ok(second.at - first.at >= 4_990, `only ${second.at - first.at} ms between two sentences`);
});

test("what is only caught up with is not announced", async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server);
  const context = await newContext(t, { locale: "en-GB" });
  await listen(context);
  const page = await openLive(context, proxy.page("ana"));

  await proxy.refuse();
  await server.publish("ana", "Una");
  const missed = await server.publish("ana", "Dos");
  await proxy.restore();
  await until("the missed ones are shown", async () => (await shownIds(page))[0] === missed);
  await server.publish("ana", "De ahora");
  await until("it is announced", async () => (await sentences(page)).length > 0);
  assert.deepEqual((await sentences(page)).map(({ text }) => text), ["1 new notification"]);
});

test("the title counts what came while nobody looked", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t);
  await context.addInitScript(() => {
    window.look = (visible) => {
      Object.defineProperty(document, "hidden", { value: !visible, configurable: true });
      Object.defineProperty(document, "visibilityState", { value: visible ? "visible" : "hidden", configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    };
  });
  const page = await openLive(context, server.page("ana"));
  await server.publish("ana", "A la vista");
  await page.getByText("A la vista").waitFor();
  assert.equal(await page.title(), "Sistema de Notificaciones");

  await page.evaluate(() => window.look(false));
  for (let n = 1; n <= 3; n += 1) await server.publish("ana", `A escondidas ${n}`);
  await until("all are counted", async () => (await page.title()) === "(3) Sistema de Notificaciones");
  await page.evaluate(() => window.look(true));
  assert.equal(await page.title(), "Sistema de Notificaciones");
});

test("a new row is highlighted, but not for who wants no motion", async (t) => {
  const server = await startServer(t);
  for (const [reducedMotion, expected] of [["no-preference", "arrive"], ["reduce", "none"]]) {
    const page = await openLive(await newContext(t, { reducedMotion }), server.page("ana"));
    const id = await server.publish("ana", "Hola");
    const row = page.locator(`[data-id="${id}"]`);
    await row.waitFor();
    assert.equal(await row.evaluate((element) => getComputedStyle(element).animationName), expected);
  }
});
