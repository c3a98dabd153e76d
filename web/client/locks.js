// Exclusive locks between tabs by BroadcastChannel, with the part of the Web Locks interface that leadership.js uses.
// For pages on plain http and frames without an origin: browsers refuse them Web Locks. Loaded only there.
//
// A tab claims the lock; a holder answers every claim. Unanswered for CLAIM_MS, the claimant holds it. Of several
// claimants, and of several holders, the one with the lowest id stays.
//
// Invariant: of two tabs that hear each other, at most one holds the lock once their messages have arrived. Two holders
// for a moment are harmless: leadership.js allows for an event that comes twice.
//
// Deliberately absent: a holder's death. A crashed tab says nothing; the tabs that miss its events steal the lock.

const CLAIM_MS = 250;

/** @typedef {{ what: "claim" | "held" | "steal" | "free", id: number }} Message */

/**
 * @template T
 * @param {string} name
 * @param {LockOptions & { Channel: new (name: string) => BroadcastChannel }} options
 * @param {() => T | Promise<T>} callback
 * @returns {Promise<T>}
 */
export const request = (name, { signal, steal, Channel }, callback) => new Promise((resolve, reject) => {
  const id = Math.random();
  const channel = new Channel(`${name} lock`);
  /** @type {"claiming" | "waiting" | "holding" | "over"} */
  let state = "claiming";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const say = (/** @type {Message["what"]} */ what) => channel.postMessage({ what, id });

  /** @param {() => void} settle */
  function end(settle) {
    if (state === "over") return;
    if (state === "holding") say("free");
    state = "over";
    clearTimeout(timer);
    channel.close();
    settle();
  }

  function claim() {
    state = "claiming";
    say("claim");
    timer = setTimeout(hold, CLAIM_MS);
  }

  function hold() {
    state = "holding";
    say(steal ? "steal" : "held");
    Promise.resolve(callback()).then((value) => end(() => resolve(value)), (error) => end(() => reject(error)));
  }

  channel.onmessage = (/** @type {MessageEvent<Message>} */ { data: { what, id: other } }) => {
    if (state === "holding") {
      if (what === "steal" || (what === "held" && other < id)) {
        // The new holder must not take this end for a release.
        state = "waiting";
        end(() => reject(new DOMException("another tab holds the lock", "AbortError")));
      } else if (what !== "free") say("held");
    } else if (what === "free") {
      clearTimeout(timer);
      claim();
    } else if (what !== "claim" || other < id) {
      state = "waiting";
      clearTimeout(timer);
    } else if (state === "claiming") say("claim");
  };
  signal?.addEventListener("abort", () => state === "holding" || end(() => reject(signal.reason)));
  if (steal) hold();
  else claim();
});
