// Chromium, by Playwright.

import { chromium } from "playwright-core";

export async function launch() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox"],
    // The driver switches the back/forward cache off unless it is told not to.
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
  });
  return {
    async newDevice() {
      const context = await browser.newContext({ locale: "es-ES" });
      return {
        async newTab() {
          const page = await context.newPage();
          return {
            go: (url) => page.goto(url, { waitUntil: "domcontentloaded" }),
            run: (script) => page.evaluate(script),
            // The answer comes before the page goes.
            goBack: () => page.evaluate("void setTimeout(() => history.back())"),
            pressAt: ({ x, y }) => page.mouse.click(x, y),
            press: (key) => page.keyboard.press(key),
            resize: (width, height) => page.setViewportSize({ width, height }),
            crash: () => Promise.all([page.waitForEvent("crash"), page.goto("chrome://crash").catch(() => {})]),
            close: () => page.close(),
          };
        },
        atFirst: (script) => context.addInitScript({ content: script }),
        close: () => context.close(),
      };
    },
    close: () => browser.close(),
  };
}
