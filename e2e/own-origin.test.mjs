import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { assertShowsWhatTheServerHas, openLive, until, useBrowser } from "./browser.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();
const BUDGET_BYTES = 60_000;

test("the page asks nobody but its own server, and the browser has nothing to complain about", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t);
  const requests = [];
  const complaints = [];
  context.on("request", (request) => requests.push(request.url()));
  context.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  context.on("weberror", (error) => complaints.push(String(error.error())));
  await context.exposeFunction("complain", (text) => complaints.push(text));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.complain(`${event.violatedDirective}: ${event.blockedURI}`);
    });
  });

  const far = "https://lejos.example";
  const notification = { title: "Lejos", message: `${far}/leer`, url: `${far}/`, icon: `${far}/icono.png`, severity: "info" };
  const before = await server.publish("ana", notification);
  const page = await openLive(context, server.page("ana"));
  const arrived = await server.publish("ana", notification);
  await assertShowsWhatTheServerHas(page, server, "ana", [before, arrived]);
  await page.goto(server.url);

  const policy = (await fetch(server.page("ana"))).headers.get("content-security-policy");
  assert.match(policy ?? "", /default-src 'none'/, "the page has to prove itself under the strict policy");
  assert.ok(requests.length >= 6, `only ${requests.length} requests were seen`);
  assert.deepEqual(requests.filter((url) => new URL(url).origin !== server.url), []);
  assert.deepEqual(complaints, []);
});

test("a first visit weighs at most 60 kB", async (t) => {
  const server = await startServer(t);
  for (let n = 1; n <= 50; n += 1) {
    await server.publish("ana", { title: `Pedido ${n}`, message: "Ha salido del almacén", severity: "info", url: `/pedidos/${n}` });
  }
  const context = await newContext(t);
  const loading = [];
  context.on("response", (response) => {
    // The stream has no end to weigh.
    if (new URL(response.url()).pathname !== "/v1/stream") loading.push(response);
  });
  await openLive(context, server.page("ana"));
  // The browser without a window does not ask for the icon of the tab, but the header shows the same file.
  await until("everything has come", () => loading.some((response) => response.url().includes("/v1/inbox")));

  // What is shown twice, as the icon, is fetched once.
  const responses = new Map(loading.map((response) => [new URL(response.url()).pathname, response]));
  const files = await Promise.all([...responses].map(async ([path, response]) => {
    const body = await response.body();
    return { path, raw: body.length, gzip: gzipSync(body).length };
  }));
  const total = (key) => files.reduce((sum, file) => sum + file[key], 0);
  for (const { path, raw, gzip } of files) t.diagnostic(`${path}: ${raw} B, ${gzip} B compressed`);
  t.diagnostic(`in all: ${total("raw")} B, ${total("gzip")} B compressed`);
  assert.ok(total("gzip") <= BUDGET_BYTES);
});
