// The bell in pages and browsers that refuse it something: a refusal counts as absence, and freezes nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { anasBell, badgeOf, openHost, panel, bell, ready } from "./bell.mjs";
import { until, useBrowser } from "./browser.mjs";
import { hostPage } from "./host.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();
const open = (t, body, options) => openHost(t, newContext, body, options);

/** The bell counts what is published, and the page's own work goes on meanwhile. */
async function assertLives(page, server, count = 1) {
  await server.publish("ana", `Aviso ${count}`);
  await until("it is counted", async () => (await badgeOf(page)) === String(count));
}

const REFUSALS = {
  "Web Locks that are refused": () => {
    const refused = () => Promise.reject(new DOMException("denied", "SecurityError"));
    navigator.locks.request = refused;
    navigator.locks.query = refused;
  },
  "Web Locks that throw when they are touched": () => {
    Object.defineProperty(navigator, "locks", { get() { throw new DOMException("denied", "SecurityError"); } });
  },
  "a BroadcastChannel that is refused": () => {
    window.BroadcastChannel = class {
      constructor() {
        throw new DOMException("denied", "SecurityError");
      }
    };
  },
};

for (const [what, refuse] of Object.entries(REFUSALS)) {
  test(`the bell lives without ${what}, and asks no more than once`, async (t) => {
    const { host, server, context, page } = await open(t, anasBell('desktop toasts sound'));
    await context.grantPermissions(["notifications"], { origin: host.url });
    await context.addInitScript(refuse);
    await ready(page, host.url);
    await assertLives(page, server);
    await bell(page).click();
    await panel(page).getByText("Aviso 1").waitFor();
  });
}

test("the bell lives in a frame that has no origin", async (t) => {
  const { host, server, page } = await open(t, () => "");
  // A frame without an origin sends `Origin: null`, which no list of origins can name: its page is on the server itself.
  const inner = hostPage(server, anasBell()(server)).replaceAll('"', "&quot;");
  host.pages.set("/", `<!doctype html><iframe sandbox="allow-scripts" srcdoc="${inner}"></iframe>`);
  await page.route(`${server.url}/**`, async (route) => {
    if (route.request().method() === "OPTIONS") {
      return route.fulfill({ status: 204, headers: { "access-control-allow-origin": "*", "access-control-allow-headers": "*" } });
    }
    const response = await fetch(route.request().url()).catch(() => undefined);
    if (!response || response.headers.get("content-type")?.startsWith("text/event-stream")) {
      const body = 'event: hello\ndata: {"heartbeat_ms":15000,"server_time":"2026-01-01T00:00:00Z"}\n\n';
      await response?.body?.cancel();
      return route.fulfill({ status: 200, headers: { "content-type": "text/event-stream", "access-control-allow-origin": "*" }, body });
    }
    return route.fulfill({
      status: response.status,
      headers: { ...Object.fromEntries(response.headers), "access-control-allow-origin": "*", "content-encoding": "identity" },
      body: Buffer.from(await response.arrayBuffer()),
    });
  });
  await server.publish("ana", "Aviso 1");
  await page.goto(host.url);
  const frame = page.frames()[1];
  await until("it is counted", async () => (await frame.locator(".badge").textContent()) === "1");
  assert.equal(await frame.evaluate(() => self.origin), "null");
});

test("the bell lives in a page that requires trusted types", async (t) => {
  const head = `<meta http-equiv="content-security-policy" content="require-trusted-types-for 'script'">`;
  // Said of what the test itself tries in the end.
  const { host, server, page } = await open(t, anasBell(), { head, expected: /requires 'TrustedHTML'/ });
  await ready(page, host.url);
  await assertLives(page, server);
  await bell(page).click();
  await panel(page).getByText("Aviso 1").waitFor();
  assert.equal(await page.evaluate(() => {
    try {
      document.createElement("p").innerHTML = "<b></b>";
      return "allowed";
    } catch {
      return "refused";
    }
  }), "refused", "the page does require them");
});

for (const [tag, language] of [["es_ES", "Notificaciones"], ["es-ES_tradnl", "Notificaciones"], ["en-US@posix", "Notifications"], ["pt_BR.UTF-8", "Notificaciones"], ["C", "Notificaciones"], ["%%", "Notificaciones"]]) {
  test(`the bell lives where the language is called ${tag}`, async (t) => {
    const { host, server, page } = await open(t, anasBell(`locale="${tag}"`));
    await page.goto(host.url);
    await page.getByRole("button", { name: language }).waitFor();
    await assertLives(page, server);
    await page.locator("pregon-bell").evaluate((element) => element.open());
    await page.getByRole("dialog").getByText("Aviso 1").waitFor();
  });
}

test('an attribute that says "false" is one that is not set', async (t) => {
  const { host, server, page } = await open(t, anasBell('toasts="false" sound="false" desktop="false"'));
  await ready(page, host.url);
  await assertLives(page, server);
  assert.equal(await page.locator("pregon-bell").evaluate((element) => element.shadowRoot.querySelector("pregon-toasts")), null);
  await page.locator("pregon-bell").evaluate((element) => element.setAttribute("toasts", ""));
  await server.publish("ana", "Aviso 2");
  await page.getByText("Aviso 2").waitFor();
});

test("a browser that calls itself offline is believed until something arrives", async (t) => {
  const { host, server, page } = await open(t, anasBell());
  await ready(page, host.url);
  const stateOf = () => page.locator("pregon-bell").evaluate((element) => element.client.getSnapshot().state);
  await page.evaluate(() => {
    Object.defineProperty(navigator, "onLine", { get: () => false });
    dispatchEvent(new Event("offline"));
  });
  await until("it is believed", async () => (await stateOf()) === "offline");
  await assertLives(page, server);
  assert.equal(await stateOf(), "live");
});

test("a token-url that leads to a sign-in page is a reader who is not signed in, until they are", async (t) => {
  const body = (server) => `<pregon-bell server="${server.url}" token-url="/notify-token"></pregon-bell>`;
  const { host, server, page } = await open(t, body, { expected: /401 \(Unauthorized\)/ });
  const { token } = await (await server.request("POST", "/v1/tokens", { user_id: "ana" })).json();
  await server.publish("ana", "Una");
  const stateOf = () => page.locator("pregon-bell").evaluate((element) => element.client?.getSnapshot().state);
  for (const answer of ["<!doctype html><title>Entrar</title><form></form>", '{"token": null}', '{"error": "login"}', "null", "not.a.token!"]) {
    host.pages.set("/notify-token", answer);
    await page.goto(host.url);
    await until(`${answer} is not a token`, async () => (await stateOf()) === "unauthenticated");
  }
  host.pages.set("/notify-token", token);
  await page.evaluate(() => dispatchEvent(new Event("focus")));
  await until("they are signed in", async () => (await badgeOf(page)) === "1");
});

test("a page whose origin the server does not name is told so, once, with the flag", async (t) => {
  const { host, page } = await open(t, () => "", { expected: /CORS|ERR_FAILED|Pregón/ });
  // It wants a token, so it lets in only those origins that are named.
  const other = await startServer(t, "--open-user-id=false", "--cors-origin", "https://app.example");
  host.pages.set("/", `<!doctype html><script type="module" src="${other.url}/pregon.js"></script>
    <pregon-bell user="ana"></pregon-bell>`);
  const said = [];
  page.on("console", (message) => message.text().startsWith("Pregón") && said.push(message.text()));
  await page.addInitScript(() => {
    window.errors = [];
    addEventListener("pregon-error", ({ detail }) => window.errors.push(detail.error.message));
  });
  await page.goto(host.url);
  await until("the page is told", () => page.evaluate(() => window.errors.length > 0));
  const [error] = await page.evaluate(() => window.errors);
  assert.ok(error.includes(`--cors-origin ${host.url}`) && error.includes(other.url), error);
  assert.deepEqual(said, [error]);
});
