// Firefox, by Puppeteer, which speaks WebDriver BiDi to it.

import puppeteer from "puppeteer-core";
import { killProcessOf } from "./processes.mjs";

/** A test asks nobody but its own server. */
const QUIET = {
  "app.update.enabled": false,
  "browser.aboutwelcome.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "extensions.systemAddon.update.enabled": false,
  "intl.accept_languages": "es-ES, es",
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "network.manage-offline-status": false,
  "network.trr.mode": 5,
  "services.settings.server": "http://127.0.0.1:9/",
  "toolkit.telemetry.enabled": false,
};

export async function launch({ timeoutMs }) {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
    extraPrefsFirefox: QUIET,
    headless: true,
    protocolTimeout: timeoutMs,
    timeout: timeoutMs,
  });
  return {
    async newDevice() {
      const context = await browser.createBrowserContext();
      let first;
      return {
        async newTab() {
          const page = await context.newPage();
          if (first) await page.evaluateOnNewDocument(first);
          return {
            go: (url) => page.goto(url, { waitUntil: "domcontentloaded" }),
            run: (script) => page.evaluate(script),
            // The answer comes before the page goes.
            goBack: () => page.evaluate("void setTimeout(() => history.back())"),
            async pressAt({ x, y }) {
              await page.bringToFront();
              await page.mouse.click(x, y);
            },
            async press(key) {
              await page.bringToFront();
              await page.keyboard.press(key);
            },
            resize: (width, height) => page.setViewport({ width, height }),
            crash: () => killProcessOf(browser.process().pid, (script) => page.evaluate(script)),
            close: () => page.close(),
          };
        },
        atFirst: (script) => void (first = script),
        close: () => context.close(),
      };
    },
    close: () => browser.close(),
  };
}
