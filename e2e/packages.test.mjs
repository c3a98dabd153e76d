// The packages as npm would hand them out: packed, installed in a folder of their own, and used there.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { until, useBrowser } from "./browser.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();
const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const tools = join(root, "e2e", "node_modules");

/** The files of each that have code in them, its types, and what it gives. */
const PACKAGES = {
  client: {
    code: ["dist/client.js", "dist/eventsource.js", "dist/locks.js", "dist/polls.js", "dist/refused.js"],
    types: "dist/types/client.d.ts",
    gives: ["Refusal", "Unauthenticated", "createClient"],
  },
  widget: {
    code: [
      "dist/chunk.js", "dist/eventsource.js", "dist/locks.js", "dist/panel.js", "dist/polls.js", "dist/pregon.js",
      "dist/refused.js",
    ],
    types: "elements.d.ts",
    gives: ["PregonBell", "PregonInbox", "PregonPreferences", "PregonToasts", "createClient"],
  },
  react: {
    code: ["dist/react.js"],
    types: "dist/types/react.d.ts",
    gives: ["PregonProvider", "useInbox", "useNotificationStream", "usePreferences", "useUnreadCount"],
  },
};
const NAMES = Object.keys(PACKAGES);
/** What an application brings along itself. */
const BROUGHT = ["react", "react-dom", "@types/react"];

/** An application that has installed them. */
let folder;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "pregon-packages-"));
  await run(process.execPath, [join(root, "packages", "build.mjs"), ...NAMES]);
  const tarballs = [];
  for (const name of NAMES) {
    const packing = run("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: join(root, "packages", name) });
    tarballs.push([`@pregon/${name}`, `file:${join(folder, (await packing).stdout.trim())}`]);
  }
  const dependencies = Object.fromEntries(tarballs);
  await write("package.json", JSON.stringify({ name: "consumer", private: true, type: "module", dependencies }));
  // All of it is on this disk.
  await run("npm", ["install", "--offline", "--legacy-peer-deps", "--no-audit", "--no-fund"], { cwd: folder });
  for (const name of BROUGHT) {
    const place = join(folder, "node_modules", name);
    await mkdir(dirname(place), { recursive: true });
    await symlink(join(tools, name), place);
  }
});
after(() => rm(folder, { recursive: true, force: true }));

const write = (name, text) => writeFile(join(folder, name), text);

/** What a module of that application prints, run by Node. */
async function printed(text) {
  await write("main.js", text);
  return (await run(process.execPath, ["main.js"], { cwd: folder })).stdout.trim();
}

test("a package has its code, its types, its licences, and nothing else", async () => {
  for (const [name, { code, types }] of Object.entries(PACKAGES)) {
    const installed = await readdir(join(folder, "node_modules", "@pregon", name), { recursive: true });
    const files = installed.filter((file) => /\.\w+$|LICENSE/.test(file) && !file.endsWith(".d.ts")).sort();
    assert.deepEqual(files, ["README.md", "dist/LICENSE-APACHE", "dist/LICENSE-MIT", ...code, "package.json"]);
    assert.ok(installed.includes(types), types);
  }
});

test("it can be imported where there is no browser, and opens nothing there", async () => {
  for (const [name, { gives }] of Object.entries(PACKAGES)) {
    const names = await printed(`console.log(Object.keys(await import("@pregon/${name}")).join());`);
    assert.deepEqual(gives.filter((one) => !names.split(",").includes(one)), [], `${name}: ${names}`);
  }
});

/** Shows all that the hooks give. */
const APP = `
  import { createElement as element, StrictMode, useState } from "react";
  import { PregonProvider, useInbox, useNotificationStream, usePreferences, useUnreadCount } from "@pregon/react";

  function Inbox() {
    const { state, items, counts, loaded, more, update, markAllRead } = useInbox();
    const unread = useUnreadCount();
    const { muted, update: mute } = usePreferences();
    const [heard, setHeard] = useState([]);
    useNotificationStream(({ id }) => setHeard((before) => [...before, id]));
    return element("main", { id: "app", "data-shown": JSON.stringify({
      state, ids: items.map(({ id }) => id), read: items.map(({ read_at }) => Boolean(read_at)), counts, loaded, more, unread,
      muted: muted ?? null, heard,
    }) },
      element("button", { id: "first", onClick: () => update(items[0].id, { read: true }) }),
      element("button", { id: "all", onClick: markAllRead }),
      element("button", { id: "mute", onClick: () => mute(["noise"]) }));
  }

  export const App = ({ user }) => element(StrictMode, null,
    element(PregonProvider, { server: "/", user }, element(Inbox)));
`;

const NOTHING = {
  state: "connecting", ids: [], read: [], counts: { unread: 0, unseen: 0, total: 0 }, loaded: false, more: false, unread: 0,
  muted: null, heard: [],
};

test("on a server the hooks give nothing, and nothing is opened", async () => {
  await write("app.js", APP);
  const html = await printed(`
    import { createElement } from "react";
    import { renderToString } from "react-dom/server";
    import { App } from "./app.js";
    globalThis.fetch = () => { throw new Error("somebody asks"); };
    console.log(renderToString(createElement(App, { user: "ana" })));
  `);
  const [, shown] = /data-shown="([^"]*)"/.exec(html);
  assert.deepEqual(JSON.parse(shown.replaceAll("&quot;", "\"")), NOTHING);
});

test("a small program that uses them passes the strictest check, and one that misuses them does not", async () => {
  const check = async (text) => {
    await write("consumer.ts", text);
    const options = ["--noEmit", "--strict", "--target", "es2023", "--lib", "es2023,dom", "--module", "nodenext"];
    const tsc = join(tools, "typescript", "bin", "tsc");
    return run(process.execPath, [tsc, ...options, "consumer.ts"], { cwd: folder }).then(() => "", ({ stdout }) => stdout);
  };
  const right = `
    import { createClient, Refusal, type Client, type Item, type Snapshot } from "@pregon/client";
    import { PregonProvider, useInbox, useNotificationStream, usePreferences, useUnreadCount } from "@pregon/react";
    import type { PregonBell } from "@pregon/widget";

    const client: Client = createClient({ server: "/", user: "ana", token: async () => "t", transport: "eventsource" });
    const undo: () => void = client.on("notification", ({ title, replay }) => console.log(title?.length, replay));
    client.on("state", ({ ids, set }) => console.log(ids?.length, set.read));
    client.subscribe(() => { const { items, state }: Snapshot = client.getSnapshot(); console.log(items[0]?.read_at, state); });
    export async function read(id: string): Promise<Item> {
      try { return await client.inbox.update(id, { read: true }); }
      catch (error) { if (error instanceof Refusal) console.log(error.code, error.retryAfterMs); undo(); throw error; }
    }
    export function Use(): string {
      const { items, markAllRead } = useInbox();
      const unread: number = useUnreadCount();
      const state = useNotificationStream(({ message }) => console.log(message));
      const { muted, update } = usePreferences();
      void markAllRead(); void update([...(muted ?? []), "noise"]);
      return [state, unread, items[0]?.title].join();
    }
    export const provider: typeof PregonProvider = PregonProvider;
    export const bells: PregonBell[] = [...document.querySelectorAll<PregonBell>("pregon-bell")];
  `;
  assert.equal(await check(right), "");
  for (const [misuse, complaint] of [
    [`client.inbox.update(7, { read: true });`, /TS2345/],
    [`client.on("nothing", () => {});`, /TS2345/],
    [`createClient({ server: "/" });`, /TS2741/],
    [`client.getSnapshot().state === "open";`, /TS2367/],
  ]) {
    assert.match(await check(`${right}\n${misuse}`), complaint, misuse);
  }
});

test("TypeScript knows the elements in HTML and in JSX, and their events", async () => {
  const check = async (text) => {
    await write("elements.tsx", text);
    const options = ["--noEmit", "--strict", "--target", "es2023", "--lib", "es2023,dom", "--module", "nodenext", "--jsx", "react-jsx"];
    const tsc = join(tools, "typescript", "bin", "tsc");
    return run(process.execPath, [tsc, ...options, "elements.tsx"], { cwd: folder }).then(() => "", ({ stdout }) => stdout);
  };
  const right = `
    import "@pregon/widget";
    import type {} from "@pregon/widget/react";
    document.createElement("pregon-bell").open();
    document.querySelector("pregon-inbox")?.showShortcuts();
    document.addEventListener("pregon-select", ({ detail }) => console.log(detail.item.url));
    document.querySelector("pregon-bell")?.addEventListener("pregon-change", ({ detail }) => console.log(detail.unread + 1));
    export const app = <pregon-bell user="ana" token-url="/t" badge="unseen" className="bell" />;
  `;
  assert.equal(await check(right), "");
  for (const [misuse, complaint] of [
    [`document.createElement("pregon-bell").ring();`, /TS2339/],
    [`document.addEventListener("pregon-change", ({ detail }) => detail.read);`, /TS2339/],
    [`export const wrong = <pregon-bell badge="all" />;`, /TS2322/],
  ]) {
    assert.match(await check(`${right}\n${misuse}`), complaint, misuse);
  }
});

test("in a browser, components show what the server has, each time it changes", async (t) => {
  const server = await startServer(t);
  const before = await server.publish("ana", "Antes");
  await write("app.js", APP);
  await write("main.js", `
    import { createElement } from "react";
    import { hydrateRoot } from "react-dom/client";
    import { App } from "./app.js";
    window.complaints = [];
    hydrateRoot(document.querySelector("#root"), createElement(App, { user: "ana" }), {
      onRecoverableError: (error) => window.complaints.push(String(error)),
    });
  `);
  const { outputFiles: [bundle] } = await build({
    entryPoints: [join(folder, "main.js")], bundle: true, format: "esm", write: false, outdir: folder,
    define: { "process.env.NODE_ENV": '"development"' },
  });
  const html = await printed(`
    import { createElement } from "react";
    import { renderToString } from "react-dom/server";
    import { App } from "./app.js";
    console.log(renderToString(createElement(App, { user: "ana" })));
  `);
  const context = await newContext(t);
  await context.route("**/app.html", (route) => route.fulfill({
    contentType: "text/html",
    body: `<!doctype html><div id="root">${html}</div><script type="module" src="/app.js"></script>`,
  }));
  await context.route("**/app.js", (route) => route.fulfill({ contentType: "text/javascript", body: bundle.text }));
  const page = await context.newPage();
  await page.goto(`${server.url}/app.html`);

  const shown = async () => JSON.parse(await page.locator("#app").getAttribute("data-shown"));
  const shows = async (what) => {
    let last;
    await until("it is shown", async () => {
      last = await shown();
      return Object.entries(what).every(([key, value]) => JSON.stringify(last[key]) === JSON.stringify(value));
    }).catch((error) => assert.deepEqual(last, { ...last, ...what }, error.message));
  };
  await shows({ state: "live", ids: [before], unread: 1, loaded: true, muted: [], heard: [] });
  const id = await server.publish("ana", "En vivo");
  await shows({ ids: [id, before], unread: 2, counts: { unread: 2, unseen: 2, total: 2 }, heard: [id] });
  await page.locator("#first").click();
  await shows({ read: [true, false], unread: 1 });
  await page.locator("#all").click();
  await shows({ read: [true, true], unread: 0 });
  await page.locator("#mute").click();
  await shows({ muted: ["noise"] });
  assert.deepEqual(await page.evaluate(() => window.complaints), []);
});
