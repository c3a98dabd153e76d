// Chromium, by Playwright.

import { chromium } from "playwright-core";

export async function launch() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox"],
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
            pressAt: ({ x, y }) => page.mouse.click(x, y),
            press: (key) => page.keyboard.press(key),
            resize: (width, height) => page.setViewportSize({ width, height }),
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
