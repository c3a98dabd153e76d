export type Event = import("./events.js").Event;
/**
 * @param {import("./access.js").Access} access
 * @param {import("./access.js").Query} query
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<Event[], void>} It fails in the end.
 */
export declare function eventsBySource(access: import("./access.js").Access, query: import("./access.js").Query, signal: AbortSignal): AsyncGenerator<Event[], void>;
