import assert from "node:assert/strict";
import { basename } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const BUDGET_BYTES = 4_950;
/** What is loaded only where a `fetch` can't stream. */
const FALLBACK_BUDGET_BYTES = 490;
/** The elements with the client, both languages and all that they look like. */
const ELEMENTS_BUDGET_BYTES = 24_800;

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

test("the elements, all of them, weigh no more than they are said to", async (t) => {
  const { outputFiles: [file] } = await build({
    entryPoints: [fileURLToPath(new URL("../web/widget/pregon.js", import.meta.url))],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
  });
  const compressed = gzipSync(file.contents, { level: 9 }).length;
  t.diagnostic(`${file.contents.length} B minified, ${compressed} B compressed`);
  assert.ok(compressed <= ELEMENTS_BUDGET_BYTES, `${compressed} B`);
});
