import assert from "node:assert/strict";
import { test } from "node:test";
import { useBrowser } from "./browser.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();

test("the page of the API shows every operation, asks nobody but its own server, and the browser has nothing to complain about", async (t) => {
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

  const page = await context.newPage();
  await page.goto(`${server.url}/docs`);
  const { paths } = await (await fetch(`${server.url}/openapi.json`)).json();
  for (const operation of Object.values(paths).flatMap((path) => Object.values(path))) {
    await page.getByRole("heading", { name: operation.summary }).first().waitFor();
  }

  assert.deepEqual(requests.filter((url) => new URL(url).origin !== server.url), []);
  assert.deepEqual(complaints, []);
});
