export type Token = string | null | undefined;
export type Query = Record<string, string | number | undefined>;
/** @typedef {string | null | undefined} Token */
/** @typedef {Record<string, string | number | undefined>} Query */
/** An answer that is not what was asked for. `code` is the server's own word for it, where it has one. */
export declare class Refusal extends Error {
    status: number;
    code: string | undefined;
    /** How long it asks to be waited for, in seconds or until a date (RFC 9110, section 10.2.3). */
    retryAfterMs: number;
    /** @param {Response} response @param {{ code?: string, detail?: string }} [problem] */
    constructor({ status, headers }: Response, { code, detail }?: {
        code?: string;
        detail?: string;
    });
}
/** Neither the token nor another one is good for this user. */
export declare class Unauthenticated extends Error {
}
export type Access = ReturnType<typeof createAccess>;
/** @typedef {ReturnType<typeof createAccess>} Access */
/**
 * @param {object} options
 * @param {string} options.server
 * @param {string} options.user
 * @param {Token | (() => Token | Promise<Token>)} [options.token]
 * @param {string} [options.locale]
 * @param {typeof globalThis.fetch} [options.fetch]
 */
export declare function createAccess({ server, user, token, locale, fetch }: {
    server: string;
    user: string;
    token?: Token | (() => Token | Promise<Token>);
    locale?: string;
    fetch?: typeof globalThis.fetch;
}): {
    /**
     * Names what only clients of the same server, user and language may share. A list in JSON has one reading, so two
     * users have two names, however they are called.
     */
    name: string;
    urlOf: (path: string, query?: Query) => URL;
    send: (path: string, query?: Query, init?: RequestInit & {
        headers?: Record<string, string>;
    }) => Promise<Response>;
    /**
     * Sends a request whose answer is JSON.
     * @param {string} method
     * @param {string} path
     * @param {{ query?: Query, body?: object, signal?: AbortSignal }} [options]
     * @returns {Promise<any>}
     */
    json(method: string, path: string, { query, body, signal }?: {
        query?: Query;
        body?: object;
        signal?: AbortSignal;
    }): Promise<any>;
    /** Asks for a fresh token while the old one is still good. Gives whether there is one to go on with. */
    renew(): Promise<boolean>;
};
