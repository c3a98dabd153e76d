// The clients that elements use: one for all that show the same user of the same server in the same language.
//
// Invariant: a client lives while an element uses it, and a moment longer, so that to move an element is not to reconnect.

import { createBackoff } from "../client/backoff.js";
import { createClient } from "../client/client.js";

/** @typedef {import("../client/client.js").Client} Client */
/** @typedef {string | null | undefined} Token */
/** @typedef {Token | (() => Token | Promise<Token>)} TokenSource */

/**
 * @typedef {object} Settings
 * @property {string} server
 * @property {string | null} user Without it, the token says whose it is.
 * @property {TokenSource} token
 * @property {string} [locale]
 * @property {number} [pageSize] As the client's own.
 */

/**
 * @typedef {object} Connection
 * @property {Promise<Client>} client
 * @property {Set<() => void>} users What each of those does if there is another client in its place.
 * @property {AbortController} end
 * @property {Client} [opened]
 */

/** @type {Map<string, Connection>} */
const connections = new Map();
/** Functions have no name that is theirs alone. @type {WeakMap<Function, number>} */
const numbers = new WeakMap();
let functions = 0;
/** @type {Map<string, () => Promise<string>>} */
const fetchers = new Map();

/** Three parts of base64url (RFC 7515, section 7.1). A sign-in page, which many back ends answer instead, is not a token. */
const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** What fetches a token from the page's own back end: as text, or as JSON with a `token`. @param {string} url */
export function tokenFrom(url) {
  const fetcher = fetchers.get(url) ?? (async () => {
    const answer = await fetch(url, { headers: { accept: "application/json, text/plain" }, cache: "no-store" });
    // Whoever is not signed in gets no token; anything else may be better the next time.
    if ([401, 403].includes(answer.status)) return "";
    if (!answer.ok) throw new Error(`${url} answers ${answer.status}`);
    const text = (await answer.text()).trim();
    const token = text.startsWith("{") ? JSON.parse(text).token : text;
    return TOKEN.test(token) ? token : "";
  });
  fetchers.set(url, fetcher);
  return fetcher;
}

/** Names what has the same client. @param {Settings} settings */
export function nameOf({ token, ...others }) {
  if (typeof token !== "function") return JSON.stringify([others, token]);
  const number = numbers.get(token) ?? (functions += 1);
  numbers.set(token, number);
  return JSON.stringify([others, number, "function"]);
}

/** Whose a token is: nobody believes it before the server has checked it. @param {string} token */
function subjectOf(token) {
  const [, payload = ""] = token.split(".");
  const bytes = Uint8Array.from(atob(payload.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
  return String(JSON.parse(new TextDecoder().decode(bytes)).sub);
}

/** @param {Settings} settings @param {AbortSignal} signal */
async function open({ user, token, ...others }, signal) {
  if (user !== null) return createClient({ ...others, user, token });
  const ask = async () => (typeof token === "function" ? token() : token);
  /** @type {Token} */
  let first = await createBackoff().insist(ask, signal, () => {});
  // Nobody is signed in: nobody has to be asked to know what the answer is.
  if (!first) return createClient({ ...others, user: "", fetch: async () => new Response(null, { status: 401 }) });
  const subject = subjectOf(first);
  // The first one is good for the first request too.
  const next = () => {
    const given = first ?? ask();
    first = undefined;
    return given;
  };
  return createClient({ ...others, user: subject, token: typeof token === "function" ? next : token });
}

/** Whether it says nothing any more. @param {Client | undefined} client */
export function hasEnded(client) {
  return ["unauthenticated", "closed"].includes(client?.getSnapshot().state ?? "");
}

/**
 * Gives the client for these settings, and what gives it back.
 * @param {Settings} settings
 * @param {() => void} again Called when the client has ended, and somebody else has begun anew.
 */
export function acquire(settings, again) {
  const name = nameOf(settings);
  const end = new AbortController();
  let connection = connections.get(name);
  // What has ended is of no use to whoever comes next.
  if (!connection || hasEnded(connection.opened)) {
    /** @type {Connection} */
    const made = { client: open(settings, end.signal), users: new Set(), end };
    connections.set(name, made);
    const forget = () => connections.get(name) === made && connections.delete(name);
    made.client.then((client) => (made.opened = client), forget);
    for (const other of connection?.users ?? []) other();
    connection = made;
  }
  const used = connection;
  used.users.add(again);
  return {
    client: used.client,
    release() {
      used.users.delete(again);
      setTimeout(() => {
        if (used.users.size > 0) return;
        if (connections.get(name) === used) connections.delete(name);
        used.end.abort();
        used.client.then((client) => client.close(), () => {});
      });
    },
  };
}
