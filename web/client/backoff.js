// How long to wait before something that has failed is tried again, and what cuts the wait short.
//
// Invariant: never earlier than the server has said, and never together with the others: to what it said comes a
// random part of a span that doubles with every failure (full jitter). When a server comes back, its readers must not
// all come back in the same instant.

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
/** What lived this long was good: the next wait starts small again. */
const GOOD_LIFE_MS = 10_000;

export class Backoff {
  #failures = 0;
  /** @type {(() => void) | undefined} */
  #cut;

  /** Says how long the last attempt has lived. @param {number} livedMs */
  lived(livedMs) {
    if (livedMs >= GOOD_LIFE_MS) this.#failures = 0;
  }

  /** How long to wait now. @param {number} [toldMs] What the server has said, if anything. */
  nextMs(toldMs = 0) {
    const spanMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures);
    this.#failures += 1;
    return toldMs + Math.random() * spanMs;
  }

  /**
   * Waits, until the time is over, the wait is cut short, or the signal is aborted.
   * @param {number} waitMs
   * @param {AbortSignal} signal
   * @returns {Promise<void>}
   */
  wait(waitMs, signal) {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        this.#cut = undefined;
        resolve();
      };
      const timer = setTimeout(end, waitMs);
      this.#cut = end;
      signal.addEventListener("abort", end);
      if (signal.aborted) end();
    });
  }

  /** There is news that makes another attempt worth while at once. Returns whether somebody was waiting. */
  cut() {
    const waiting = this.#cut !== undefined;
    this.#cut?.();
    return waiting;
  }
}

/**
 * How long an answer asks to be waited for, by its `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
 * @param {string | null} header
 * @param {number} [now]
 */
export function retryAfterMs(header, now = Date.now()) {
  if (!header) return 0;
  const waitMs = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - now;
  return waitMs > 0 ? waitMs : 0;
}
