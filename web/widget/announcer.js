// What is said to whoever does not see it: one sentence for a burst, and not one after the other.

/** What arrives within a moment of each other is one burst. */
const BURST_MS = 500;
const BETWEEN_SENTENCES_MS = 5_000;

/**
 * @param {HTMLElement} region
 * @param {() => import("./words.js").Words} words
 */
export function createAnnouncer(region, words) {
  let unannounced = 0;
  let lastSentenceAt = -Infinity;

  return {
    /** One more has arrived. */
    arrived() {
      unannounced += 1;
      if (unannounced > 1) return;
      // The same sentence twice is only heard twice if it was away in between.
      region.textContent = "";
      const wait = lastSentenceAt + BETWEEN_SENTENCES_MS - performance.now();
      setTimeout(() => {
        region.textContent = words().say("new", { count: unannounced });
        unannounced = 0;
        lastSentenceAt = performance.now();
      }, Math.max(BURST_MS, wait));
    },
  };
}
