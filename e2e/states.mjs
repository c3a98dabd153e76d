// Every state in which somebody may see the page or the widget, and how it comes about. The same ones are looked at by
// axe and by whoever looks at the pictures.

import { isLive, until } from "./browser.mjs";
import { bellIsLive, hostPage, startHost } from "./host.mjs";
import { startProxy } from "./proxy.mjs";
import { startServer } from "./server.mjs";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How long ago, in both languages, and what has come of it: the oldest first. */
const NOTIFICATIONS = [
  [3 * DAY, "archived", { category: "cuenta", severity: "success" },
    ["Correo confirmado", "lucia@tienda.example es tuyo."], ["E-mail confirmed", "lucia@shop.example is yours."]],
  [2 * DAY, "read", {}, [, "Bienvenida, Lucía. Aquí verás todo lo que pase en la tienda, en cuanto pase."],
    [, "Welcome, Lucía. Here you will see whatever happens in the shop, as soon as it does."]],
  [26 * HOUR, "read", { severity: "warning", category: "sistema", url: "/certificados" },
    ["El certificado caduca pronto", "El de tienda.example vence dentro de 9 días. La renovación automática está apagada."],
    ["The certificate expires soon", "That of shop.example ends in 9 days. Automatic renewal is off."]],
  [5 * HOUR, "read", { severity: "success", category: "sistema" },
    ["Copia de seguridad terminada", "Se han guardado 1284 documentos en 42 segundos."],
    ["Backup finished", "1,284 documents were saved in 42 seconds."]],
  [48 * MINUTE, "unread", { severity: "error", category: "pagos", url: "/facturas/2041" },
    ["Pago rechazado", "El banco ha rechazado el cargo de 48,90 € de la factura 2041."],
    ["Payment declined", "The bank has declined the charge of €48.90 for invoice 2041."]],
  [12 * MINUTE, "unread", {
    severity: "info", category: "equipo", url: "/tareas/77", actor: { name: "Ana López" },
  }, ["Ana López te ha asignado una tarea", "Revisar el informe del trimestre antes del viernes."],
    ["Ana López has assigned you a task", "Review the quarterly report before Friday."]],
  [0, "unread", { severity: "success", category: "pedidos", url: "/pedidos/1093" },
    ["El pedido 1093 está en camino", "Llega mañana entre las 9 y las 11."],
    ["Order 1093 is on its way", "It arrives tomorrow between 9 and 11."]],
];

const SHOP = `<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, "Liberation Sans", sans-serif; }
  body { margin: 0; color: light-dark(#20242b, #e9e7e1); background: light-dark(#f4f5f7, #101317); }
  .top { display: flex; align-items: center; gap: 1rem; padding: .5rem 1.25rem; background: light-dark(#fff, #181c22); border-bottom: 1px solid light-dark(#e3e5ea, #2b313a); }
  .top strong { margin-inline-end: auto; } main { padding: 1.5rem 1.25rem; }
  .cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem; }
  .cards div { height: 9rem; background: light-dark(#fff, #181c22); border: 1px solid light-dark(#e3e5ea, #2b313a); border-radius: 12px; }
</style>`;

/** Everything that the states need: a server, a way to it that can be cut, and an application's page. */
export async function createWorld(t, lang = "es") {
  const host = await startHost(t);
  const server = await startServer(t, "--cors-origin", host.url);
  const proxy = await startProxy(t, server);
  const ages = new Map();
  for (const [age, fate, rest, es, en] of NOTIFICATIONS) {
    const say = ([title, message]) => ({ ...(title && { title }), message });
    const [accept, reject] = lang === "es" ? ["Aceptar", "Rechazar"] : ["Accept", "Decline"];
    const actions = rest.actor && { actions: [{ id: "accept", label: accept, style: "primary" }, { id: "reject", label: reject }] };
    const id = await server.publish("lucia", { ...say(es), ...rest, ...actions, i18n: { en: say(en) } });
    ages.set(id, age);
    if (fate !== "unread") await server.request("PATCH", `/v1/inbox/${id}?user_id=lucia`, { read: true, archived: fate === "archived" });
  }
  for (const lang of ["es", "en"]) {
    const [title, heading] = lang === "es" ? ["Tienda", "Pedidos de hoy"] : ["Shop", "Today’s orders"];
    const body = `<div class="top" role="banner"><strong>${title}</strong><pregon-bell server="${server.url}" user="lucia" toasts></pregon-bell></div>
      <main><h1>${heading}</h1><div class="cards">${"<div></div>".repeat(6)}</div></main>`;
    host.pages.set(`/${lang}`, hostPage(server, body, SHOP).replace('lang="es"', `lang="${lang}"`));
  }
  return { host, server, proxy, ages };
}

/** The server may close a kept connection at the moment at which it is used again. A browser asks once more then, too. */
const ONCE_MORE = { maxRetries: 1 };

/** All were published within the same second. A picture shows them as they would come, spread over days. */
async function spread(page, { ages }) {
  const older = (id, time) => new Date(Date.parse(time) - (ages.get(id) ?? 0)).toISOString();
  await page.route((url) => url.pathname === "/" && url.searchParams.has("user_id"), async (route) => {
    const answer = await route.fetch(ONCE_MORE);
    const html = (await answer.text()).replace(/data-id="([^"]+)"[^]*?datetime="([^"]+)"/g, (row, id, time) => row.replace(time, older(id, time)));
    await route.fulfill({ response: answer, body: html });
  });
  await page.route((url) => url.pathname === "/v1/inbox", async (route) => {
    const answer = await route.fetch(ONCE_MORE);
    const json = await answer.json();
    for (const item of json.data) item.timestamp = older(item.id, item.timestamp);
    await route.fulfill({ response: answer, json });
  });
}

async function openPage(page, world, lang, base = world.server.url, user = "lucia") {
  await spread(page, world);
  await page.goto(`${base}/?user_id=${user}&lang=${lang}`);
  await isLive(page);
}

async function openShop(page, world, lang) {
  await page.goto(`${world.host.url}/${lang}`);
  await page.locator(".bell").waitFor();
}

async function pressBell(page) {
  await page.locator(".bell").click();
  await page.locator(".panel").waitFor();
}

async function select(page, tab) {
  await page.locator(`#tab-${tab}`).click();
}

const fails = (status) => (route) => route.fulfill({ status, headers: { "access-control-allow-origin": "*" }, body: "" });
const toInbox = (url) => url.pathname === "/v1/inbox";

/** By name; each leaves the page in its state. @type {Record<string, (page, world, lang: string) => Promise<void>>} */
export const STATES = {
  async list(page, world, lang) {
    await openPage(page, world, lang);
  },
  async unread(page, world, lang) {
    await openPage(page, world, lang);
    await select(page, "unread");
  },
  async archived(page, world, lang) {
    await openPage(page, world, lang);
    await select(page, "archived");
    await until("it is there", async () => (await page.locator(".notice").count()) === 1);
  },
  async empty(page, world, lang) {
    await openPage(page, world, lang, world.server.url, "marcos");
  },
  async reconnecting(page, world, lang) {
    await openPage(page, world, lang, world.proxy.url);
    await world.proxy.refuse();
    await page.locator("#state[data-state=reconnecting]").waitFor();
    // It stays so for as long as it is looked at.
    await page.route((url) => url.pathname === "/v1/stream", (route) => route.abort());
    await world.proxy.restore();
  },
  async offline(page, world, lang) {
    await openPage(page, world, lang, world.proxy.url);
    // What arrives over the open stream would show that the browser is not offline after all.
    await world.proxy.refuse();
    await page.locator("#state[data-state=reconnecting]").waitFor();
    await page.context().setOffline(true);
    await page.locator("#state[data-state=offline]").waitFor();
    await world.proxy.restore();
  },
  async expired(page, world, lang) {
    await spread(page, world);
    await page.route((url) => url.pathname.startsWith("/v1/"), fails(401));
    await page.goto(`${world.server.url}/?user_id=lucia&lang=${lang}`);
    await page.locator("#state[data-state=unauthenticated]").waitFor();
  },
  async pill(page, world, lang) {
    const { width } = page.viewportSize();
    await page.setViewportSize({ width, height: 480 });
    await openPage(page, world, lang);
    await page.evaluate(() => scrollTo(0, 420));
    await until("the top is out of sight", () => page.evaluate(() => scrollY > 300));
    await world.server.publish("lucia", { message: "La reunión empieza en cinco minutos", i18n: { en: { message: "The meeting starts in five minutes" } } });
    await page.locator(".pill").waitFor();
  },
  async panel(page, world, lang) {
    await spread(page, world);
    await openShop(page, world, lang);
    await pressBell(page);
    await page.locator("pregon-bell .notice").first().waitFor();
  },
  async loading(page, world, lang) {
    await page.route(toInbox, () => {});
    await openShop(page, world, lang);
    await pressBell(page);
    await page.locator(".inbox .skeleton").waitFor();
  },
  async error(page, world, lang) {
    await page.route(toInbox, fails(500));
    await openShop(page, world, lang);
    await pressBell(page);
    await page.locator(".failure").waitFor();
  },
  async toast(page, world, lang) {
    await spread(page, world);
    await openShop(page, world, lang);
    await bellIsLive(page);
    const [title, message] = lang === "es" ? ["Pago recibido", "42,00 € de la factura 2042."] : ["Payment received", "€42.00 for invoice 2042."];
    await world.server.publish("lucia", { title, message, severity: "success" });
    await page.locator(".toast").waitFor();
  },
};
