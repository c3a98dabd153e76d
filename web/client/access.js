// Requests on behalf of one user of one server.
//
// Invariant: whoever is refused (401, 403) asks for another token once, and only if there is somebody to ask. The
// second refusal stands: it is an `Unauthenticated`, and nothing here tries again.
//
// Deliberately absent: repeating what has failed in any other way. The stream has its own patience, and what a reader
// has done must be seen to fail.

/** @typedef {string | null | undefined} Token */
/** @typedef {Record<string, string | number | undefined>} Query */
/** @typedef {(input: URL, init: RequestInit) => Promise<Response>} Transport */

/** An answer that is not what was asked for. `code` is the server's own word for it, where it has one. */
export class Refusal extends Error {
  /** @param {Response} response @param {{ code?: string, detail?: string }} [problem] */
  constructor({ status, headers }, { code, detail = `status ${status}` } = {}) {
    super(detail);
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs(headers.get("retry-after") ?? "");
  }
}

/** Neither the token nor another one is good for this user. */
export class Unauthenticated extends Error {}

/**
 * How long an answer asks to be waited for, by its `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
 * @param {string} header
 */
function retryAfterMs(header) {
  const waitMs = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - Date.now();
  return waitMs > 0 ? waitMs : 0;
}

/**
 * @param {object} options
 * @param {string} options.server
 * @param {string} options.user
 * @param {Token | (() => Token | Promise<Token>)} [options.token]
 * @param {string} [options.locale]
 * @param {Transport} [options.transport]
 */
export function createAccess({ server, user, token, locale, transport = (url, init) => fetch(url, init) }) {
  const base = new URL(server, globalThis.location?.href).href.replace(/\/$/, "");
  const mayAskAgain = typeof token === "function";
  const ask = async () => (typeof token === "function" ? token() : token);
  /** The token in use, or on its way: everybody waits for the same answer. @type {Promise<Token> | undefined} */
  let given;

  /**
   * Whatever is answered, unless it is a refusal of the token.
   * @param {string} path
   * @param {Query} [query]
   * @param {RequestInit} [init]
   */
  async function send(path, query, init) {
    const url = new URL(base + path);
    for (const [name, value] of Object.entries({ user_id: user, lang: locale, ...query })) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    for (let isRefused = false; ; isRefused = true) {
      const used = (given ??= ask());
      // Somebody else may have found out before and asked again.
      const forget = () => void (given === used && (given = undefined));
      const token = await used.catch((error) => {
        // A back end that cannot be reached has not said no: whoever comes next asks again.
        forget();
        throw error;
      });
      if (token || !mayAskAgain) {
        const headers = new Headers(init?.headers);
        if (token) headers.set("authorization", `Bearer ${token}`);
        const response = await transport(url, { ...init, headers });
        if (![401, 403].includes(response.status)) return response;
        await response.body?.cancel();
      }
      forget();
      if (isRefused || !mayAskAgain) throw new Unauthenticated("the token is refused, or there is none");
    }
  }

  return {
    /**
     * Names what only clients of the same server, user and language may share. A list in JSON has one reading, so two
     * users have two names, however they are called.
     */
    name: `pregon ${JSON.stringify([base, user, locale])}`,

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
      const response = await send(path, query, { method, headers, body: body && JSON.stringify(body), signal, keepalive });
      if (response.ok) return response.json();
      throw new Refusal(response, await response.json().catch(() => {}));
    },
  };
}
