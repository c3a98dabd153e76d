// The same test in every engine: what a device can do is the same, whatever drives it.
//
// An engine has devices, which share nothing; a device has tabs, which share what the tabs of one browser share. A
// script that runs in a page may use what inside.mjs has.
//
// Whatever hangs has an end: the test by its time-out, and what it has opened by ours.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { until } from "../browser.mjs";
import * as chromium from "./chromium.mjs";
import * as firefox from "./firefox.mjs";
import { all, placeOf, rows, SOURCE } from "./inside.mjs";
import * as webkit from "./webkit.mjs";

const ENGINES = { chromium, firefox, webkit };
/** What a browser may take to start, or for one answer. */
const ANSWER_MS = 30_000;
const TEST_MS = 90_000;

/** Those that are started, each once for all tests of a file. @type {Map<string, Promise<any>>} */
const started = new Map();
after(async () => {
  for (const engine of started.values()) await (await engine.catch(() => undefined))?.close();
});

/**
 * A test for each engine, or each of those named by the variable `ENGINES`.
 * @param {string} name
 * @param {(t: import("node:test").TestContext, newDevice: () => Promise<Device>, engine: string) => Promise<void>} body
 */
export function inEveryEngine(name, body) {
  const names = Object.keys(ENGINES);
  const wanted = process.env.ENGINES?.split(",") ?? names;
  for (const engine of names.filter((one) => wanted.includes(one))) {
    test(`${engine}: ${name}`, { timeout: TEST_MS }, (t) => body(t, async () => {
      if (!started.has(engine)) started.set(engine, ENGINES[engine].launch({ timeoutMs: ANSWER_MS }));
      const device = new Device(await (await started.get(engine)).newDevice());
      t.after(() => device.close());
      return device;
    }, engine));
  }
}

class Device {
  #driven;

  constructor(driven) {
    this.#driven = driven;
  }

  /**
   * Runs before anything else in every page that is opened from now on. WebKitGTK's driver has no way to do so: there it
   * runs as soon as the page has been loaded.
   * @param {Function} act
   */
  async atFirst(act) {
    await this.#driven.atFirst(`(${act})();`);
  }

  /** @param {string} [url] */
  async open(url) {
    const tab = new Tab(await this.#driven.newTab());
    if (url) await tab.go(url);
    return tab;
  }

  close() {
    return this.#driven.close();
  }
}

class Tab {
  #driven;

  constructor(driven) {
    this.#driven = driven;
  }

  async go(url) {
    await this.#driven.go(url);
  }

  /**
   * Runs a function in the page, or a script, and gives its value as JSON can say it.
   * @param {Function | string} act
   * @param {...any} given
   */
  async run(act, ...given) {
    const body = typeof act === "string" ? act : `return (${act})(...${JSON.stringify(given)});`;
    return this.#driven.run(`(async () => {\n${SOURCE}\n${body}\n})()`);
  }

  /** Presses an element with the pointer, once it is there. @param {{ selector?: string, role?: string, name?: string }} which */
  async press(which) {
    let place;
    await until(`${JSON.stringify(which)} is there`, async () => (place = await this.run(placeOf, which)) !== null);
    await this.#driven.pressAt(place);
  }

  /** Presses keys, one after the other: `Tab`, `Enter`, `ArrowRight`, or a letter. @param {...string} keys */
  async type(...keys) {
    for (const key of keys) await this.#driven.press(key);
  }

  /** @param {number} width @param {number} height */
  async resize(width, height) {
    await this.#driven.resize(width, height);
  }

  async goBack() {
    await this.#driven.goBack();
  }

  /** Its process ends, whatever it was doing. */
  async crash() {
    await this.#driven.crash();
  }

  close() {
    return this.#driven.close();
  }

  // --- What the pages have -------------------------------------------------------------------------------------

  ids() {
    return this.run(() => rows().map((row) => row.dataset.id));
  }

  state() {
    return this.run(() => all("#state")[0]?.dataset.state);
  }

  async isLive() {
    await until("the page is live", async () => (await this.state()) === "live");
    await this.run(() => void (window.neverReloaded = true));
  }

  /** It shows all of these, and each exactly once in the server's order; and it is the page that it was. */
  async showsWhatTheServerHas(server, user, ids) {
    await until(`${ids.length} notifications are shown`, async () => {
      const shown = await this.ids();
      return ids.every((id) => shown.includes(id));
    });
    assert.deepEqual(await this.ids(), await server.ids(user));
    assert.equal(await this.run(() => window.neverReloaded), true, "the page has been loaded anew");
  }

  /** Makes every wait before a reconnection short, where its length is not the subject of the test. */
  async shortenWaits() {
    await this.run(() => void (Math.random = () => 0.1));
  }

  /** A reader looks at the tab. */
  async look() {
    await this.run(() => void document.dispatchEvent(new Event("visibilitychange")));
  }
}
