// Says why a page can read nothing of its server, where that can be known.
//
// A browser tells a page nothing of an answer that it may not read. So two files are asked for that differ in that alone: the
// script, which pages of every origin may read, and the server's health, which those may that `--cors-origin` names. If the
// first can be read and the second can't, the page's origin is not named.
//
// Deliberately absent: guesses. A network that is down, a policy of the page (CSP) and whatever blocks requests in a browser
// keep both away.

/** What has been told of. @type {Set<string>} */
const told = new Set();

/**
 * @param {import("./access.js").Access} access
 * @param {(name: "error", error: Error) => void} emit
 */
export async function explain({ urlOf }, emit) {
  const { origin } = globalThis.location ?? {};
  const server = urlOf("/");
  server.search = "";
  if (!origin || server.origin === origin || told.has(server.href)) return;
  const answers = async (/** @type {string} */ path) => {
    try {
      return await fetch(new URL(path, server), { cache: "no-store", credentials: "omit" });
    } catch {
      return undefined;
    }
  };
  if (!(await answers("pregon.js"))?.ok || (await answers("healthz")) || told.has(server.href)) return;
  told.add(server.href);
  const error = new Error(
    `Pregón: pages of ${origin} cannot read what ${server.href} answers. `
    + `Start it with --cors-origin ${origin}, and let nothing in between remove its CORS headers.`,
  );
  console.error(error.message);
  emit("error", error);
}
