import assert from "node:assert/strict";
import { test } from "node:test";
import { isLive, shownIds, shownMessages, useBrowser } from "./browser.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();

test("what was published before is in the first HTML, newest first, also without JavaScript", async (t) => {
  const server = await startServer(t);
  const oldest = await server.publish("ana", "La más antigua");
  const middle = await server.publish("ana", { title: "En medio", message: "Con título", url: "/pedidos/2" });
  const newest = await server.publish("ana", { message: "La más nueva", severity: "warning" });
  assert.deepEqual(await server.ids("ana"), [newest, middle, oldest]);

  for (const javaScriptEnabled of [false, true]) {
    const page = await (await newContext(t, { javaScriptEnabled })).newPage();
    await page.goto(server.page("ana"));
    assert.deepEqual(await shownIds(page), [newest, middle, oldest]);
    assert.deepEqual(await shownMessages(page), ["La más nueva", "Con título", "La más antigua"]);
    assert.equal(await page.getByRole("link", { name: "En medio" }).getAttribute("href"), "/pedidos/2");
    assert.equal(await page.locator("noscript .owner-hint").isVisible(), !javaScriptEnabled);
  }
});

test("without JavaScript a time is readable, with it it is local, relative and exact in its title", async (t) => {
  const server = await startServer(t);
  await server.publish("ana", "Hola");
  const still = await (await newContext(t, { javaScriptEnabled: false })).newPage();
  await still.goto(server.page("ana"));
  const time = still.locator("time");
  assert.match(await time.getAttribute("datetime"), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.match(await time.textContent(), /^\d{4}-\d\d-\d\d \d\d:\d\d UTC$/);

  const alive = await (await newContext(t, { timezoneId: "America/Bogota" })).newPage();
  await alive.goto(server.page("ana"));
  await isLive(alive);
  assert.equal(await alive.locator("time").textContent(), "ahora");
  const instant = new Date(await time.getAttribute("datetime"));
  const inBogota = instant.toLocaleTimeString("es", { timeZone: "America/Bogota", timeStyle: "medium" });
  const title = await alive.locator("time").getAttribute("title");
  assert.ok(title.includes(inBogota), `${title} should tell ${inBogota}`);
});

test("without a user the page asks for one, and the answer leads to that user's page", async (t) => {
  const server = await startServer(t);
  const page = await (await newContext(t)).newPage();
  for (const [lang, label, button] of [["es", "Usuario", "Ver notificaciones"], ["en", "User", "Show notifications"]]) {
    const answer = await page.goto(`${server.url}/?lang=${lang}`);
    assert.equal(answer.status(), 200);
    await page.getByLabel(label, { exact: true }).fill("ana&josé");
    await page.getByRole("button", { name: button }).click();
    await isLive(page);
    assert.equal(new URL(page.url()).searchParams.get("user_id"), "ana&josé");
    assert.equal(await page.locator("html").getAttribute("lang"), lang);
    assert.equal(await page.locator(".owner-name").textContent(), `${label} ana&josé`);
  }
});

test("the links of the demo lead to its users", async (t) => {
  const server = await startServer(t);
  const page = await (await newContext(t)).newPage();
  await page.goto(server.url);
  await page.getByRole("link", { name: "Usuario 2" }).click();
  await isLive(page);
  assert.equal(new URL(page.url()).searchParams.get("user_id"), "2");
});

test("a user nobody has written to yet is up to date, and the first notification takes that away", async (t) => {
  const server = await startServer(t);
  const page = await (await newContext(t)).newPage();
  const answer = await page.goto(server.page("nadie"));
  assert.equal(answer.status(), 200);
  await isLive(page);
  assert.ok(await page.getByRole("heading", { name: "Estás al día" }).isVisible());
  await server.publish("nadie", "Ya hay algo");
  await page.getByText("Ya hay algo").waitFor();
  assert.equal(await page.getByRole("heading", { name: "Estás al día" }).isVisible(), false);
});
