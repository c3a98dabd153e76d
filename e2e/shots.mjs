// Takes the pictures of the documentation from a real server, in every state: `npm run shots`.

import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { STATES, createWorld } from "./states.mjs";

const FOLDER = fileURLToPath(new URL("../docs/img/", import.meta.url));
const only = process.argv.slice(2);

const cleanUps = [];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
cleanUps.push(() => browser.close());
try {
  await mkdir(FOLDER, { recursive: true });
  for (const lang of ["es", "en"]) {
    for (const colorScheme of ["light", "dark"]) {
      for (const [name, arrange] of Object.entries(STATES)) {
        if (only.length > 0 && !only.includes(name)) continue;
        // Each begins with the same notifications.
        const world = await createWorld({ after: (cleanUp) => cleanUps.push(cleanUp) }, lang);
        const isShop = ["panel", "loading", "error", "toast"].includes(name);
        const viewport = isShop ? { width: 820, height: 680 } : { width: 900, height: 760 };
        const context = await browser.newContext({ colorScheme, viewport, locale: lang, deviceScaleFactor: 1.5, reducedMotion: "reduce" });
        const page = await context.newPage();
        await arrange(page, world, lang);
        await page.screenshot({ path: `${FOLDER}${name}-${lang}-${colorScheme}.png` });
        await context.close();
      }
    }
  }
  if (only.length === 0 || only.includes("mobile")) {
    const world = await createWorld({ after: (cleanUp) => cleanUps.push(cleanUp) });
    const context = await browser.newContext({ colorScheme: "light", viewport: { width: 375, height: 760 }, locale: "es", deviceScaleFactor: 2, hasTouch: true, isMobile: true });
    const page = await context.newPage();
    await STATES.list(page, world, "es");
    await page.screenshot({ path: `${FOLDER}mobile-es-light.png` });
    await STATES.panel(await context.newPage(), world, "es");
    await context.pages()[1].screenshot({ path: `${FOLDER}mobile-panel-es-light.png` });
    await context.close();
  }
} finally {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
}
