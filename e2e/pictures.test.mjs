// Whether everything still looks as in the pictures of the documentation. Who has meant to change how it looks takes
// them anew: `npm run shots`.

import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { useBrowser } from "./browser.mjs";
import { BROWSER, FOLDER, PICTURES, contextOf, take } from "./pictures.mjs";
import { STATES, createWorld } from "./states.mjs";

/** What does not look the same is left here. */
const NEW_FOLDER = fileURLToPath(new URL("../target/pictures/", import.meta.url));
/** Side of the blocks that are compared. */
const BLOCK_PX = 8;
/** How far the mean colours of two blocks may be apart, of 255, in each of red, green and blue. */
const TOLERANCE = 4;
/** Blocks that may be further apart, of a million. Another version of the browser draws a corner differently. */
const DIFFERENT_MAX = 200;

const newContext = useBrowser(BROWSER);

/** Those with most in them. */
const IN_BOTH = ["list", "panel"];

/**
 * Each state once, in turns light in Spanish and dark in English, and what is on a telephone. All fifty would take three
 * times as long and hardly find more.
 * @param {import("./pictures.mjs").Picture} picture
 */
function isCompared({ name, state, lang, colorScheme }) {
  if (name.startsWith("mobile")) return true;
  const turn = ["es,light", "en,dark"].indexOf([lang, colorScheme].join());
  return turn === Object.keys(STATES).indexOf(state) % 2 || (turn >= 0 && IN_BOTH.includes(state));
}

/** Where a page says on which date something was: it is another one today. */
function dates(page) {
  return page.locator(".day > h3, time").evaluateAll((places) => places.flatMap((place) => {
    const isDate = place.matches("time") ? /\d{4}/ : /\d/;
    const { x, y, width, height } = place.getBoundingClientRect();
    return isDate.test(place.textContent) ? [[x, y, width, height].map((length) => length * devicePixelRatio)] : [];
  }));
}

/**
 * Compares two pictures, but for what is masked, in a page, since a browser can read them.
 * @param {{ pictures: string[], masks: number[][], block: number, tolerance: number }} given
 */
async function compare({ pictures, masks, block, tolerance }) {
  const [before, after] = await Promise.all(pictures.map(async (base64) => {
    const image = new Image();
    image.src = `data:image/png;base64,${base64}`;
    await image.decode();
    const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
    context.drawImage(image, 0, 0);
    for (const mask of masks) context.clearRect(...mask.map(Math.round));
    return context.getImageData(0, 0, image.width, image.height);
  }));
  const { width, height } = before;
  if (after.width !== width || after.height !== height) return { different: [`${after.width} × ${after.height} px`], blocks: 0 };
  const different = [];
  let blocks = 0;
  for (let top = 0; top < height; top += block) {
    for (let left = 0; left < width; left += block) {
      const sums = [0, 0, 0];
      for (let y = top; y < Math.min(top + block, height); y += 1) {
        for (let x = left; x < Math.min(left + block, width); x += 1) {
          const at = 4 * (y * width + x);
          for (let colour = 0; colour < 3; colour += 1) sums[colour] += after.data[at + colour] - before.data[at + colour];
        }
      }
      const apart = Math.max(...sums.map(Math.abs)) / block ** 2;
      if (apart > tolerance) different.push(`${left},${top} by ${Math.round(apart)}`);
      blocks += 1;
    }
  }
  return { different, blocks };
}

describe("everything looks as in its picture", { concurrency: availableParallelism() }, () => {
  for (const picture of PICTURES.filter(isCompared)) {
    test(picture.name, async (t) => {
      const world = await createWorld(t, picture.lang);
      const page = await (await newContext(t, contextOf(picture))).newPage();
      const png = await take(page, world, picture);
      const masks = await dates(page);
      const reference = await readFile(`${FOLDER}${picture.name}.png`, "base64");
      const empty = await (await newContext(t)).newPage();
      const { different, blocks } = await empty.evaluate(compare, {
        pictures: [reference, png.toString("base64")], masks, block: BLOCK_PX, tolerance: TOLERANCE,
      });
      if (different.length <= (blocks * DIFFERENT_MAX) / 1_000_000) return;
      await mkdir(NEW_FOLDER, { recursive: true });
      await writeFile(`${NEW_FOLDER}${picture.name}.png`, png);
      const some = different.slice(0, 5).join("; ");
      assert.fail(`${different.length} of ${blocks} blocks differ, at ${some} …; see ${NEW_FOLDER}${picture.name}.png`);
    });
  }
});
