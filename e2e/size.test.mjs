import assert from "node:assert/strict";
import { basename } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const BUDGET_BYTES = 4_950;
/** What is loaded only where a `fetch` can't stream. */
const FALLBACK_BUDGET_BYTES = 490;

test("the client, as an application would ship it, weighs no more than it is said to", async (t) => {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL("../web/client/client.js", import.meta.url))],
    bundle: true,
    splitting: true,
    chunkNames: "[name]",
    minify: true,
    format: "esm",
    target: "es2022",
    outdir: "out",
    write: false,
  });
  const weights = Object.fromEntries(outputFiles.map(({ path, contents }) => {
    const compressed = gzipSync(contents, { level: 9 }).length;
    t.diagnostic(`${basename(path)}: ${contents.length} B minified, ${compressed} B compressed`);
    return [basename(path), compressed];
  }));
  assert.deepEqual(Object.keys(weights).sort(), ["client.js", "eventsource.js"]);
  assert.ok(weights["client.js"] <= BUDGET_BYTES, `${weights["client.js"]} B`);
  assert.ok(weights["eventsource.js"] <= FALLBACK_BUDGET_BYTES, `${weights["eventsource.js"]} B`);
});
