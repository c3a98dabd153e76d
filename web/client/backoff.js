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
  let failures = 0;
  /** @type {number | undefined} */
  let liveSince;
  /** @type {(() => void) | undefined} */
  let cutShort;

  /** @param {number} waitMs @param {AbortSignal} signal @returns {Promise<void>} */
  function wait(waitMs, signal) {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        cutShort = undefined;
        resolve();
      };
      const timer = setTimeout(end, waitMs);
      cutShort = end;
      signal.addEventListener("abort", end);
    });
  }

  return {
    /**
     * Gives what an attempt gives, once one succeeds. Fails when the signal is aborted, or the user's token refused.
     * @template T
     * @param {() => Promise<T>} attempt It fails with `retryAfterMs` if the server has said how long to wait.
     * @param {AbortSignal} signal
     * @param {() => void} failed Told of each failure, before the wait.
     * @returns {Promise<T>}
     */
    async insist(attempt, signal, failed) {
      for (;;) {
        let toldMs = 0;
        try {
          return await attempt();
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof Unauthenticated) throw error;
          toldMs = /** @type {{ retryAfterMs?: number }} */ (error).retryAfterMs ?? 0;
        }
        failed();
        signal.throwIfAborted();
        if (Date.now() - (liveSince ?? Infinity) >= GOOD_LIFE_MS) failures = 0;
        liveSince = undefined;
        const spanMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures);
        failures += 1;
        await wait(toldMs + Math.random() * spanMs, signal);
        signal.throwIfAborted();
      }
    },

    /** The attempt under way is a good one as of now. */
    live() {
      liveSince = Date.now();
    },

    /** There is news that makes another attempt worth while at once. Returns whether somebody was waiting. */
    cut() {
      const isWaiting = cutShort !== undefined;
      cutShort?.();
      return isWaiting;
    },
  };
}
