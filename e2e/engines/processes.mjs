// The processes of a browser, as Linux tells of them.

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";

/** More than a browser takes by itself in a moment. */
const BALLAST_BYTES = 512 * 2 ** 20;

/** How much memory each process has that descends from this one, by its id. */
async function memoryBelow(ancestor) {
  const all = new Map();
  for (const id of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    // It may have ended since.
    const status = await readFile(`/proc/${id}/status`, "utf8").catch(() => "");
    const [parent, kilobytes] = ["PPid", "VmRSS"].map((name) => Number(status.match(`${name}:\\s+(\\d+)`)?.[1] ?? 0));
    all.set(Number(id), { parent, bytes: 1024 * kilobytes });
  }
  const isBelow = ({ parent }) => parent === ancestor || (all.has(parent) && isBelow(all.get(parent)));
  return new Map([...all].filter(([, one]) => isBelow(one)).map(([id, { bytes }]) => [id, bytes]));
}

/**
 * Ends the process that a page runs in, without a word, as a crash does. Nobody says which one it is, so the page takes
 * so much memory that it shows.
 * @param {number} browser The process that has started all others.
 * @param {(script: string) => Promise<unknown>} run Runs a script in the page.
 */
export async function killProcessOf(browser, run) {
  const before = await memoryBelow(browser);
  await run(`(async () => void (window.ballast = new Uint8Array(${BALLAST_BYTES}).fill(1)))()`);
  const after = await memoryBelow(browser);
  const grown = [...after.keys()].filter((id) => after.get(id) - (before.get(id) ?? 0) > BALLAST_BYTES / 2);
  assert.equal(grown.length, 1, `of ${after.size} processes ${grown.length} have grown`);
  process.kill(grown[0], "SIGKILL");
}
