// Makes the packages for npm out of what the server itself serves: `node packages/build.mjs [client] [widget] [react]`.
//
// The code of a package is one module for bundlers (and what it loads only when needed), its types are read out of the
// same JSDoc that the gate checks. What makes them comes with e2e/package.json.

import { execFileSync } from "node:child_process";
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const tools = createRequire(join(root, "e2e", "package.json"));
const { buildSync } = tools("esbuild");

/** Where each begins, and the folder whose files its types are of. Those it needs come first. */
const PACKAGES = {
  client: { entry: "web/client/client.js", sources: "web/client" },
  widget: { entry: "web/widget/pregon.js", sources: "web" },
  react: { entry: "packages/react/react.js", sources: "packages/react" },
};

/** Where types are of what nobody has installed here. */
const TYPES = {
  "@pregon/client": [join(root, "packages/client/dist/types/client.d.ts")],
  react: [join(root, "e2e/node_modules/@types/react/index.d.ts")],
};

const wanted = process.argv.slice(2);
for (const name of wanted) if (!(name in PACKAGES)) fail(`there is no package ${name}`);
for (const [name, { entry, sources }] of Object.entries(PACKAGES)) {
  if (wanted.length === 0 || wanted.includes(name)) build(name, entry, sources);
}

function fail(why) {
  console.error(`packages/build.mjs: ${why}`);
  process.exit(1);
}

/** A package has the version of the server that it is of. */
function checkVersion(folder) {
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const [, ours] = /^version = "(.+)"$/m.exec(readFileSync(join(root, "Cargo.toml"), "utf8")) ?? [];
  if (version !== ours) fail(`${folder} has version ${version}, the server ${ours}`);
}

function build(name, entry, sources) {
  const folder = join(root, "packages", name);
  if (!existsSync(join(root, entry))) fail(`${name} can't be built: there is no ${entry}`);
  checkVersion(folder);
  const dist = join(folder, "dist");
  rmSync(dist, { recursive: true, force: true });
  buildSync({
    entryPoints: [join(root, entry)],
    outdir: dist,
    bundle: true,
    splitting: true,
    chunkNames: "[name]",
    format: "esm",
    target: "es2022",
    external: ["@pregon/client", "react"],
    logLevel: "warning",
  });
  writeTypes(folder, join(root, entry), join(root, sources));
  for (const licence of ["LICENSE-MIT", "LICENSE-APACHE"]) cpSync(join(root, licence), join(dist, licence));
  console.log(`packages/${name}/dist`);
}

function writeTypes(folder, entry, sources) {
  const config = join(folder, "dist", "tsconfig.json");
  const { compilerOptions } = JSON.parse(readFileSync(join(root, "web", "tsconfig.json"), "utf8"));
  writeFileSync(config, JSON.stringify({
    compilerOptions: {
      ...compilerOptions, declaration: true, emitDeclarationOnly: true, noEmit: false, outDir: "types", rootDir: sources,
      paths: TYPES,
    },
    files: [entry],
  }));
  execFileSync(process.execPath, [join(root, "e2e/node_modules/typescript/bin/tsc"), "-p", config], { stdio: "inherit" });
  rmSync(config);
}
