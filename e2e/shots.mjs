// Takes the pictures of the documentation from a real server, all of them or those whose names begin so: `npm run shots`.

import { mkdir, writeFile } from "node:fs/promises";
import { chromium } from "playwright-core";
import { BROWSER, FOLDER, PICTURES, contextOf, take } from "./pictures.mjs";
import { createWorld } from "./states.mjs";

const only = process.argv.slice(2);
const isWanted = ({ name }) => only.length === 0 || only.some((beginning) => name.startsWith(`${beginning}-`));

const cleanUps = [];
const browser = await chromium.launch(BROWSER);
cleanUps.push(() => browser.close());
try {
  await mkdir(FOLDER, { recursive: true });
  for (const picture of PICTURES.filter(isWanted)) {
    // Each begins with the same notifications.
    const world = await createWorld({ after: (cleanUp) => cleanUps.push(cleanUp) }, picture.lang);
    const context = await browser.newContext(contextOf(picture));
    await writeFile(`${FOLDER}${picture.name}.png`, await take(await context.newPage(), world, picture));
    await context.close();
  }
} finally {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
}
