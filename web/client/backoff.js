// Tries again and again, and waits in between.
//
// Invariant: never earlier than the server has said, and never together with the others: to what it said comes a
// random part of a span that doubles with every failure (full jitter). When a server comes back, its readers must not
// all come back in the same instant.

import { Unauthenticated } from "./access.js";

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
/** What lived this long was good: the next wait starts small again. */
const GOOD_LIFE_MS = 10_000;

export function createBackoff() {
  /** What ends each wait. @type {Set<() => void>} */
  const waits = new Set();

  return {
    /**
     * Gives what an attempt gives, once one succeeds. Fails when the token is refused, or when the signal is aborted: at
     * once if it was before, else at the end of the attempt or the wait.
     * @template T
     * @param {(live: () => void) => Promise<T>} attempt It says when it is good so far. It fails with `retryAfterMs` if
     *   the server has said how long to wait.
     * @param {AbortSignal} signal
     * @param {(error: any) => unknown} failed Told of each failure, before the wait. If it gives false, that was the last.
     * @returns {Promise<T>}
     */
    async insist(attempt, signal, failed) {
      for (let failures = 0; ; failures += 1) {
        let liveSince = Infinity;
        let waitMs;
        try {
          signal.throwIfAborted();
          return await attempt(() => (liveSince = Date.now()));
        } catch (error) {
          if (signal.aborted || error instanceof Unauthenticated || failed(error) === false) throw error;
          waitMs = /** @type {{ retryAfterMs?: number }} */ (error).retryAfterMs ?? 0;
        }
        if (Date.now() - liveSince >= GOOD_LIFE_MS) failures = 0;
        waitMs += Math.random() * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures);
        await new Promise((resolve) => {
          const end = () => {
            waits.delete(end);
            resolve(undefined);
          };
          waits.add(end);
          setTimeout(end, waitMs);
        });
      }
    },

    /** There is news: whoever waits has waited long enough. */
    cut() {
      for (const end of waits) end();
    },
  };
}
