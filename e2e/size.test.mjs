import assert from "node:assert/strict";
import { basename } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** In bytes, compressed. */
const CLIENT = 5_240;
/** What is loaded only where a `fetch` can't stream. */
const FALLBACK = 485;
/** What is loaded only where a browser has no Web Locks. */
const LOCKS = 470;
/** What is loaded only where a stream says nothing. */
const POLLS = 500;
/** What is loaded only where a page can read nothing of its server. */
const REFUSED = 400;
/** What a page with a bell loads before anybody opens it: with the client, and with what it says in both languages. */
const BELL = 12_495;
/** What is loaded then: all that is seen of the elements, in both languages. */
const PANEL = 16_400;
const ELEMENTS = 30_715;

/** What an application would ship: the weight of each file, and of those that are loaded with the first one. */
async function weigh(t, entry) {
  const { outputFiles, metafile } = await build({
    entryPoints: [fileURLToPath(new URL(entry, import.meta.url))],
    bundle: true,
    splitting: true,
    chunkNames: "[name]",
    minify: true,
    format: "esm",
    target: "es2022",
    outdir: "out",
    write: false,
    metafile: true,
  });
  const weights = Object.fromEntries(outputFiles.map(({ path, contents }) => {
    const compressed = gzipSync(contents, { level: 9 }).length;
    t.diagnostic(`${basename(path)}: ${contents.length} B minified, ${compressed} B compressed`);
    return [basename(path), compressed];
  }));
  const imports = Object.fromEntries(Object.entries(metafile.outputs).map(([path, output]) => {
    return [basename(path), output.imports.filter(({ kind }) => kind === "import-statement").map((file) => basename(file.path))];
  }));
  const first = new Set([basename(entry)]);
  for (const file of first) for (const other of imports[file]) first.add(other);
  const sum = (files) => files.reduce((total, file) => total + weights[file], 0);
  const [firstLoad, all] = [sum([...first]), sum(Object.keys(weights))];
  t.diagnostic(`loaded first: ${firstLoad} B compressed; in all: ${all} B`);
  return { weights, first: [...first].sort(), firstLoad, all };
}

function assertWithin(weight, limit, what) {
  assert.ok(weight <= limit, `${what}: ${weight} B, more than ${limit}`);
}

test("the client weighs no more than it is said to", async (t) => {
  const { weights } = await weigh(t, "../web/client/client.js");
  assert.deepEqual(Object.keys(weights).sort(), ["client.js", "eventsource.js", "locks.js", "polls.js", "refused.js"]);
  assertWithin(weights["client.js"], CLIENT, "the client");
  assertWithin(weights["eventsource.js"], FALLBACK, "the fallback");
  assertWithin(weights["locks.js"], LOCKS, "the locks");
  assertWithin(weights["polls.js"], POLLS, "the polls");
  assertWithin(weights["refused.js"], REFUSED, "the explanation");
});

test("so does the bell, and what is loaded when it is opened", async (t) => {
  const { weights, first, firstLoad, all } = await weigh(t, "../web/widget/pregon.js");
  assert.deepEqual(Object.keys(weights).sort(), [
    "chunk.js", "eventsource.js", "locks.js", "panel.js", "polls.js", "pregon.js", "refused.js",
  ]);
  assert.deepEqual(first, ["chunk.js", "pregon.js"]);
  assertWithin(firstLoad, BELL, "the bell");
  assertWithin(weights["panel.js"], PANEL, "the panel");
  assertWithin(all, ELEMENTS, "all of it");
});
