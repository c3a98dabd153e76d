// The pictures of the documentation: every state, in both languages, light and dark, and two on a telephone.
//
// Invariant: whoever takes a picture, and whenever, gets the same one, but for the dates in it. The browser has one font,
// nothing moves, and it is about noon, so that what was five hours ago was today.

import { fileURLToPath } from "node:url";
import { STATES } from "./states.mjs";

/** What the browser is started with. */
export const BROWSER = {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
  env: { ...process.env, FONTCONFIG_FILE: fileURLToPath(new URL("fonts.conf", import.meta.url)) },
};

export const FOLDER = fileURLToPath(new URL("../docs/img/", import.meta.url));

const PAGE = { viewport: { width: 900, height: 760 }, deviceScaleFactor: 1.5 };
const SHOP = { viewport: { width: 820, height: 680 }, deviceScaleFactor: 1.5 };
const TELEPHONE = { viewport: { width: 375, height: 760 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
/** The states of a page that has the bell in it. */
const IN_SHOP = ["panel", "loading", "error", "toast"];

/** @typedef {{ name: string, state: string, lang: string, colorScheme: "light" | "dark", device: object }} Picture */

/** @type {Picture[]} */
export const PICTURES = ["es", "en"].flatMap((lang) => ["light", "dark"].flatMap((colorScheme) => {
  return Object.keys(STATES).map((state) => {
    const device = IN_SHOP.includes(state) ? SHOP : PAGE;
    return { name: `${state}-${lang}-${colorScheme}`, state, lang, colorScheme, device };
  });
}));
for (const [name, state] of [["mobile", "list"], ["mobile-panel", "panel"]]) {
  PICTURES.push({ name: `${name}-es-light`, state, lang: "es", colorScheme: "light", device: TELEPHONE });
}

/** A time zone in which it is between twelve and one now. */
function zoneAtNoon() {
  const ahead = 12 - new Date().getUTCHours();
  // By these names, those to the east have less.
  return `Etc/GMT${ahead > 0 ? "-" : "+"}${Math.abs(ahead)}`;
}

/** @param {Picture} picture */
export function contextOf({ lang, colorScheme, device }) {
  return { ...device, colorScheme, locale: lang, timezoneId: zoneAtNoon(), reducedMotion: "reduce" };
}

/** Takes one in a page that is open and empty. @param {Picture} picture */
export async function take(page, world, { state, lang }) {
  await STATES[state](page, world, lang);
  return page.screenshot();
}
