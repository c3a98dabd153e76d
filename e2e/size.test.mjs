import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const BUDGET_BYTES = 5_120;

test("the client, as an application would ship it, is at most 5 kB", async (t) => {
  const { outputFiles: [file] } = await build({
    entryPoints: [fileURLToPath(new URL("../web/client/client.js", import.meta.url))],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
  });
  const compressed = gzipSync(file.contents, { level: 9 }).length;
  t.diagnostic(`${file.contents.length} B minified, ${compressed} B compressed`);
  assert.ok(compressed <= BUDGET_BYTES, `${compressed} B`);
});
