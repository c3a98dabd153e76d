// Requests on behalf of one user of one server.
//
// Invariant: whoever is refused (401, 403) asks for another token once, and only if there is somebody to ask. The
// second refusal stands: it is an `Unauthenticated`, and nothing here tries again.
//
// Deliberately absent: repeating what has failed in any other way. The stream has its own patience, and what a reader
// has done must be seen to fail.

import { retryAfterMs } from "./backoff.js";

/** @typedef {string | null | undefined} Token */
/** @typedef {Record<string, string | number | undefined>} Query */
/** @typedef {(input: URL, init: RequestInit) => Promise<Response>} Transport */

/** An answer that is not what was asked for. `code` is the server's own word for it, where it has one. */
export class Refusal extends Error {
  /** @param {Response} response @param {{ code?: string, detail?: string }} [problem] */
  constructor(response, { code, detail } = {}) {
    super(detail ?? `${response.status} ${response.statusText}`);
    this.status = response.status;
    this.code = code;
    this.retryAfterMs = retryAfterMs(response.headers.get("retry-after"));
  }
}

/** Neither the token nor another one is good for this user. */
export class Unauthenticated extends Error {}

export class Access {
  #base;
  #user;
  #locale;
  #transport;
  #ask;
  #mayAskAgain;
  /** The token in use, or on its way: everybody waits for the same answer. @type {Promise<Token> | undefined} */
  #token;

  /**
   * @param {object} options
   * @param {string} options.server
   * @param {string} options.user
   * @param {Token | (() => Token | Promise<Token>)} [options.token]
   * @param {string} [options.locale]
   * @param {Transport} [options.transport]
   */
  constructor({ server, user, token, locale, transport = (url, init) => fetch(url, init) }) {
    this.#base = new URL(server, globalThis.location?.href).href.replace(/\/$/, "");
    this.#user = user;
    this.#locale = locale;
    this.#transport = transport;
    this.#mayAskAgain = typeof token === "function";
    this.#ask = async () => (typeof token === "function" ? token() : token);
  }

  /**
   * Names what only clients of the same server, user and language may share. A list in JSON has one reading, so two
   * users have two names, however they are called.
   */
  get name() {
    return `pregon ${JSON.stringify([this.#base, this.#user, this.#locale ?? null])}`;
  }

  /**
   * @param {string} path
   * @param {Query} [query]
   * @param {RequestInit} [init]
   * @returns {Promise<Response>} Whatever the answer is, unless it is a refusal of the token.
   */
  async send(path, query = {}, init = {}) {
    const url = new URL(this.#base + path);
    for (const [name, value] of Object.entries({ user_id: this.#user, lang: this.#locale, ...query })) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    for (let refused = false; ; refused = true) {
      const used = (this.#token ??= this.#ask());
      const token = await used.catch((error) => {
        // A back end that cannot be reached has not said no: whoever comes next asks again.
        this.#forget(used);
        throw error;
      });
      if (token || !this.#mayAskAgain) {
        const headers = new Headers(init.headers);
        if (token) headers.set("authorization", `Bearer ${token}`);
        const response = await this.#transport(url, { ...init, headers });
        if (response.status !== 401 && response.status !== 403) return response;
        await response.body?.cancel();
      }
      this.#forget(used);
      if (refused || !this.#mayAskAgain) throw new Unauthenticated("the token is refused, or there is none");
    }
  }

  /** Unless somebody else has found out before and asked again. @param {Promise<Token>} used */
  #forget(used) {
    if (this.#token === used) this.#token = undefined;
  }

  /**
   * Sends a request whose answer is JSON.
   * @param {string} method
   * @param {string} path
   * @param {{ query?: Query, body?: object, signal?: AbortSignal }} [options]
   * @returns {Promise<any>}
   */
  async json(method, path, { query, body, signal } = {}) {
    const headers = body && { "content-type": "application/json" };
    const init = { method, headers, body: body && JSON.stringify(body), signal };
    const response = await this.send(path, query, init);
    if (response.ok) return response.json();
    throw new Refusal(response, await response.json().catch(() => ({})));
  }
}
