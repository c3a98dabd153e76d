// Requests on behalf of one user of one server.
//
// Invariant: whoever is refused (401, 403) asks for another token once, and only if there is somebody to ask. The
// second refusal stands: it is an `Unauthenticated`, and nothing here tries again.
//
// Deliberately absent: repeating what has failed in any other way. The stream has its own patience, as have changes that
// the server puts off, and whatever else a reader has done must be seen to fail.

/** @typedef {string | null | undefined} Token */
/** @typedef {Record<string, string | number | undefined>} Query */

/** An answer that is not what was asked for. `code` is the server's own word for it, where it has one. */
export class Refusal extends Error {
  /** @param {Response} response @param {{ code?: string, detail?: string }} [problem] */
  constructor({ status, headers }, { code, detail = `status ${status}` } = {}) {
    super(detail);
    this.status = status;
    this.code = code;
    const told = headers.get("retry-after") ?? "";
    /** How long it asks to be waited for, in seconds or until a date (RFC 9110, section 10.2.3). */
    this.retryAfterMs = Math.max(0, Number(told) * 1_000 || Date.parse(told) - Date.now() || 0);
  }
}

/** Neither the token nor another one is good for this user. */
export class Unauthenticated extends Error {}

/** @typedef {ReturnType<typeof createAccess>} Access */

/**
 * @param {object} options
 * @param {string} options.server
 * @param {string} options.user
 * @param {Token | (() => Token | Promise<Token>)} [options.token]
 * @param {string} [options.locale]
 * @param {typeof globalThis.fetch} [options.fetch]
 */
export function createAccess({ server, user, token, locale, fetch = globalThis.fetch }) {
  const base = new URL(server, globalThis.location?.href).href.replace(/\/$/, "");
  /** The token in use, or on its way: everybody waits for the same answer. @type {Token | Promise<Token>} */
  let given;

  async function ask() {
    // Whatever fails, fails when everybody is waiting for it.
    await undefined;
    try {
      return typeof token === "function" ? await token() : token;
    } catch (error) {
      // A back end that cannot be reached has not said no: whoever comes next asks again.
      given = undefined;
      throw error;
    }
  }

  /** @param {string} path @param {Query} [query] */
  function urlOf(path, query) {
    const url = new URL(base + path);
    // JSON leaves out what is undefined.
    const set = JSON.parse(JSON.stringify({ user_id: user, lang: locale, ...query }));
    url.search = String(new URLSearchParams(set));
    return url;
  }

  /**
   * Whatever is answered, unless it is a refusal of the token.
   * @param {string} path
   * @param {Query} [query]
   * @param {RequestInit & { headers?: Record<string, string> }} [init]
   */
  async function send(path, query, init) {
    for (let tries = typeof token === "function" ? 2 : 1; tries > 0; tries -= 1) {
      const used = (given ??= ask());
      const word = await used;
      const headers = { ...init?.headers, ...(word && { authorization: `Bearer ${word}` }) };
      const response = await fetch(urlOf(path, query), { ...init, headers });
      if (![401, 403].includes(response.status)) return response;
      await response.body?.cancel();
      // Somebody else may have found out before and asked again.
      if (given === used) given = undefined;
    }
    throw new Unauthenticated("the token is refused, or there is none");
  }

  return {
    /**
     * Names what only clients of the same server, user and language may share. A list in JSON has one reading, so two
     * users have two names, however they are called.
     */
    name: `pregon ${JSON.stringify([base, user, locale])}`,

    urlOf,

    send,

    /**
     * Sends a request whose answer is JSON.
     * @param {string} method
     * @param {string} path
     * @param {{ query?: Query, body?: object, signal?: AbortSignal }} [options]
     * @returns {Promise<any>}
     */
    async json(method, path, { query, body, signal } = {}) {
      const headers = body && { "content-type": "application/json" };
      // What a reader has marked is sent, though she leaves the page by the same press.
      const keepalive = body !== undefined;
      const response = await send(path, query, { method, headers, body: JSON.stringify(body), signal, keepalive });
      if (response.ok) return response.json();
      throw new Refusal(response, await response.json().catch(() => {}));
    },

    /** Asks for a fresh token while the old one is still good. Gives whether there is one to go on with. */
    async renew() {
      const old = await given;
      const fresh = await ask();
      if (!fresh || fresh === old) return false;
      given = fresh;
      return true;
    },
  };
}
