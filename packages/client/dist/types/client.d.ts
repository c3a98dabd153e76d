import { Refusal, Unauthenticated } from "./access.js";
export { Refusal, Unauthenticated };
export type Item = import("./inbox.js").Item;
export type Page = import("./inbox.js").Page;
export type Counts = import("./inbox.js").Counts;
export type Mark = import("./inbox.js").Mark;
export type MarkSet = import("./inbox.js").MarkSet;
export type Fetching = import("./inbox.js").Fetching;
export type Pulse = import("./leadership.js").Pulse;
export type State = "connecting" | "live" | "reconnecting" | "offline" | "unauthenticated" | "closed";
export type Snapshot = {
    state: State;
    /**
     * Those that are not archived, the newest first.
     */
    items: readonly Item[];
    counts: Readonly<Counts>;
    /**
     * Whether there has been an answer at all.
     */
    loaded: boolean;
    /**
     * Whether there are older ones.
     */
    more: boolean;
    /**
     * How far the server's clock is ahead of this machine's, in whole seconds.
     */
    clockOffsetMs: number;
};
export type Heard = {
    /**
     * It is new here. With `replay`, it is no news.
     */
    notification: import("./inbox.js").Notification;
    updated: import("./inbox.js").Notification;
    removed: {
        id: string;
        reason: string;
    };
    state: Mark;
    preferences: Preferences;
    /**
     * What `subscribe` tells of.
     */
    change: Snapshot;
};
export type Preferences = {
    muted: string[];
};
/** @typedef {import("./inbox.js").Item} Item */
/** @typedef {import("./inbox.js").Page} Page */
/** @typedef {import("./inbox.js").Counts} Counts */
/** @typedef {import("./inbox.js").Mark} Mark */
/** @typedef {import("./inbox.js").MarkSet} MarkSet */
/** @typedef {import("./inbox.js").Fetching} Fetching */
/** @typedef {import("./leadership.js").Pulse} Pulse */
/** @typedef {"connecting" | "live" | "reconnecting" | "offline" | "unauthenticated" | "closed"} State */
/**
 * @typedef {object} Snapshot
 * @property {State} state
 * @property {readonly Item[]} items Those that are not archived, the newest first.
 * @property {Readonly<Counts>} counts
 * @property {boolean} loaded Whether there has been an answer at all.
 * @property {boolean} more Whether there are older ones.
 * @property {number} clockOffsetMs How far the server's clock is ahead of this machine's, in whole seconds.
 */
/**
 * @typedef {object} Heard What `on` tells of; but for the last, as it stands in the documentation of the stream.
 * @property {import("./inbox.js").Notification} notification It is new here. With `replay`, it is no news.
 * @property {import("./inbox.js").Notification} updated
 * @property {{ id: string, reason: string }} removed
 * @property {Mark} state
 * @property {Preferences} preferences
 * @property {Snapshot} change What `subscribe` tells of.
 */
/** @typedef {{ muted: string[] }} Preferences Categories. */
/**
 * @param {object} options
 * @param {string} options.server Where the server is; relative to the page.
 * @param {string} options.user
 * @param {string | null | (() => string | null | undefined | Promise<string | null | undefined>)} [options.token]
 *   A function is asked again before what it gave ends, and when the server refuses it.
 * @param {string} [options.locale] The language to be told in, where a notification has several.
 * @param {"fetch" | "eventsource"} [options.transport] How the stream comes. Where `fetch` cannot stream, it is the
 *   browser's own EventSource anyway.
 * @param {typeof globalThis.fetch} [options.fetch] Instead of the browser's own.
 */
export declare function createClient(options: {
    server: string;
    user: string;
    token?: string | null | (() => string | null | undefined | Promise<string | null | undefined>);
    locale?: string;
    transport?: "fetch" | "eventsource";
    fetch?: typeof globalThis.fetch;
}): {
    inbox: {
        /**
         * A page of the inbox as it is on the server, beside what `getSnapshot` gives.
         * @param {{ status?: "all" | "unread" | "read" | "archived", category?: string, topic?: string, limit?: number,
         *   cursor?: string }} [query]
         * @returns {Promise<Page>}
         */
        list: (query?: {
            status?: "all" | "unread" | "read" | "archived";
            category?: string;
            topic?: string;
            limit?: number;
            cursor?: string;
        }) => Promise<Page>;
        /** @param {string} id @returns {Promise<Item>} */
        get: (id: string) => Promise<Item>;
        /**
         * Marks one. It is shown at once, and taken back if it fails.
         * @param {string} id
         * @param {MarkSet} set
         * @returns {Promise<Item>}
         */
        update: (id: string, set: MarkSet) => Promise<Item>;
        /** Marks all that are here, and all that are older. What arrives meanwhile stays as it is. */
        markAllRead: () => Promise<void>;
        markAllSeen: () => Promise<void>;
        /** Loads older ones, if there are any. */
        more: () => Promise<void>;
    };
    preferences: {
        /** What she does not want. @returns {Promise<Preferences>} */
        get: () => Promise<Preferences>;
        /**
         * Mutes these categories and no others, from here on.
         * @param {Preferences} body
         * @returns {Promise<Preferences>}
         */
        update: (body: Preferences) => Promise<Preferences>;
    };
    readonly counts: Readonly<import("./inbox.js").Counts>;
    on: <K extends keyof Heard>(name: K, listener: (data: Heard[K]) => void) => () => void;
    /** Calls a listener after every change. Returns what takes it back. @param {() => void} listener */
    subscribe: (listener: () => void) => () => void;
    getSnapshot: () => Snapshot;
    /** Asks the server anew, whatever is here, until it answers. */
    refresh: () => Promise<string | undefined>;
    /** For log-out too: nothing of the user is left. */
    close(): void;
};
export type Client = ReturnType<typeof createClient>;
/** @typedef {ReturnType<typeof createClient>} Client */
