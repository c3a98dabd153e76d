// A page of an application, on an origin of its own, with our elements in it.

import { createServer } from "node:http";
import { once } from "node:events";

/**
 * Serves pages by their path. `pages` may be added to afterwards, as HTML.
 * @returns {Promise<{ url: string, pages: Map<string, string> }>}
 */
export async function startHost(t) {
  const pages = new Map();
  const server = createServer(({ url }, response) => {
    const path = url.split("?")[0];
    const page = pages.get(path);
    // A browser asks for the icon whatever there is.
    const missing = path === "/favicon.ico" ? 204 : 404;
    response.writeHead(page === undefined ? missing : 200, { "content-type": "text/html; charset=utf-8" });
    response.end(page);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, pages };
}

/** The bell of a page is live. */
export async function bellIsLive(page) {
  await page.waitForFunction(() => document.querySelector("pregon-bell")?.client?.getSnapshot().state === "live");
}

/** A whole page with these elements in it. */
export function hostPage(server, body, head = "") {
  return `<!doctype html><html lang="es"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
    <title>Tienda</title>${head}<script type="module" src="${server.url}/pregon.js"></script></head><body>${body}</body></html>`;
}
