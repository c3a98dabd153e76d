// The page of the first demo keeps working: its script knows nothing but EventSource and three fields.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until, useBrowser } from "./browser.mjs";
import { startProxy } from "./proxy.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();

const DEMO_PAGE = `<!doctype html><meta charset="utf-8"><ul></ul><script>
  const list = document.querySelector("ul");
  const source = new EventSource('/notifications?user_id=1');
  source.onopen = () => { window.opened = (window.opened ?? 0) + 1; };
  source.onmessage = (event) => {
    const { timestamp, message } = JSON.parse(event.data);
    const item = document.createElement("li");
    item.textContent = timestamp + ": " + message;
    list.prepend(item);
  };
</script>`;

test("the demo's own script works unchanged and survives a cut without doubles", async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server);
  const page = await (await newContext(t)).newPage();
  await page.route("**/demo.html", (route) => route.fulfill({ contentType: "text/html", body: DEMO_PAGE }));
  await page.goto(`${proxy.url}/demo.html`);
  await until("the stream is open", () => page.evaluate(() => window.opened === 1));
  const shown = async () => (await page.locator("li").allTextContents()).map((line) => line.split(": ")[1]);

  await server.publish("1", "Primera");
  await server.publish("1", { title: "Con título", message: "Segunda" });
  await until("both are shown", async () => (await shown()).length === 2);

  await proxy.refuse();
  await server.publish("1", "Tercera");
  await proxy.restore();
  await until("it has reconnected", () => page.evaluate(() => window.opened === 2));
  await server.publish("1", "Cuarta");
  await until("the last one is shown", async () => (await shown())[0] === "Cuarta");
  assert.deepEqual(await shown(), ["Cuarta", "Tercera", "Segunda", "Primera"]);
  const [line] = await page.locator("li").allTextContents();
  assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z: Cuarta$/);
});
