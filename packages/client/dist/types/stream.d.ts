export type Event = import("./events.js").Event;
export type StreamState = "connecting" | "live" | "reconnecting";
/** @typedef {import("./events.js").Event} Event */
/** @typedef {"connecting" | "live" | "reconnecting"} StreamState */
/**
 * @param {object} handlers
 * @param {(signal: AbortSignal) => AsyncIterable<Event[]>} handlers.open A stream after the cursor of the moment, in
 *   the pieces that it comes in. It ends only if there is nothing to come back for; otherwise it fails.
 * @param {(events: Event[]) => void} handlers.heard
 * @param {(state: StreamState) => void} handlers.become
 */
export declare function createStream({ open, heard, become }: {
    open: (signal: AbortSignal) => AsyncIterable<Event[]>;
    heard: (events: Event[]) => void;
    become: (state: StreamState) => void;
}): {
    /**
     * Keeps a stream open until the server says that there is nothing to come back for (204). Fails when the user's
     * token is refused, or in the end when the signal is aborted.
     * @param {AbortSignal} signal
     */
    run: (signal: AbortSignal) => Promise<void>;
    /**
     * Cuts a wait short, and does not trust a timer that a frozen tab could not run.
     * @param {boolean} [isBetter] Another connection is better, whatever this one is. It takes its place at once, and
     *   nobody is told.
     */
    wake(isBetter?: boolean): void;
};
