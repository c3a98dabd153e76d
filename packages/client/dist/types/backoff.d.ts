export declare function createBackoff(): {
    /**
     * Gives what an attempt gives, once one succeeds. Fails when the token is refused, or at the end of an attempt or a
     * wait in which the signal was aborted.
     * @template T
     * @param {(live: () => void) => Promise<T>} attempt It says when it is good so far. It fails with `retryAfterMs` if
     *   the server has said how long to wait.
     * @param {AbortSignal} signal
     * @param {() => void} failed Told of each failure, before the wait.
     * @returns {Promise<T>}
     */
    insist<T>(attempt: (live: () => void) => Promise<T>, signal: AbortSignal, failed: () => void): Promise<T>;
    /** There is news: whoever waits has waited long enough. */
    cut(): void;
};
