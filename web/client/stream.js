// One stream that is kept open: events in, in batches as they come off the wire, whatever the network does.
//
// The browser's own EventSource gives up for good on the first answer that is not a 200 (one 502 of a proxy during a
// deploy is enough), and never notices a connection that has gone silent. This module never gives up, and does.
//
// Invariant: a connection begins after the cursor of the moment, and a batch is handed over before anything else
// happens, so whichever way a connection ends, the next one misses nothing. What comes twice is the caller's to know.
//
// Deliberately absent: what events mean, but for `hello`; the cursor, and how a connection is made, which are the
// caller's. It is told whether the last one that was not given up for a better one has said nothing at all.

import { createBackoff } from "./backoff.js";

/** What the server sends at least one byte in, its greeting too, unless it says otherwise. */
const HEARTBEAT_MS = 15_000;
const HEARTBEATS_MISSED = 2.5;

/** @typedef {import("./events.js").Event} Event */
/** @typedef {"connecting" | "live" | "reconnecting"} StreamState */

/**
 * @param {object} handlers
 * @param {(signal: AbortSignal, isMute: boolean) => AsyncIterable<Event[]>} handlers.open A stream after the cursor of
 *   the moment, in the pieces that it comes in. It ends only if there is nothing to come back for; otherwise it fails.
 * @param {(events: Event[]) => void} handlers.heard
 * @param {(state: StreamState) => void} handlers.become
 */
export function createStream({ open, heard, become }) {
  const backoff = createBackoff();
  let heartbeatMs = HEARTBEAT_MS;
  let silentAt = Infinity;
  let connection = new AbortController();
  /** Whether the connection was given up for a better one. */
  let isMoving = false;
  /** Whether a connection was given up that had said nothing at all, and no better one was promised since. */
  let isMute = false;

  /**
   * One connection, until it ends. It was the last one if it does not fail.
   * @param {AbortSignal} signal
   * @param {() => void} live
   */
  async function connect(signal, live) {
    const own = (connection = new AbortController());
    const ended = AbortSignal.any([signal, own.signal]);
    isMoving = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    /** @param {boolean} [isFirst] */
    const expectOne = (isFirst) => {
      const ms = HEARTBEATS_MISSED * heartbeatMs;
      clearTimeout(timer);
      silentAt = Date.now() + ms;
      timer = setTimeout(() => {
        isMute ||= !!isFirst;
        own.abort();
      }, ms);
    };
    try {
      expectOne(true);
      for await (const events of open(ended, isMute)) {
        // What comes after the connection was given up, or should have been, is read again by the next one.
        if (ended.aborted || Date.now() > silentAt) throw new Error("too late");
        const hello = events.find(({ name }) => name === "hello");
        if (hello) {
          heartbeatMs = hello.data.heartbeat_ms;
          live();
          become("live");
        }
        expectOne();
        if (events.length > 0) heard(events);
      }
    } finally {
      clearTimeout(timer);
      silentAt = Infinity;
      own.abort();
    }
  }

  return {
    /**
     * Keeps a stream open until the server says that there is nothing to come back for (204). Fails when the user's
     * token is refused, or in the end when the signal is aborted.
     * @param {AbortSignal} signal
     */
    run: (signal) => backoff.insist(async (live) => {
      for (;;) {
        try {
          return await connect(signal, live);
        } catch (error) {
          if (!isMoving) throw error;
        }
      }
    }, signal, () => become("reconnecting")),

    /**
     * Cuts a wait short, and does not trust a timer that a frozen tab could not run.
     * @param {boolean} [isBetter] Another connection is better, whatever this one is. It takes its place at once, and
     *   nobody is told.
     */
    wake(isBetter = Date.now() > silentAt) {
      backoff.cut();
      isMoving ||= isBetter;
      if (!isBetter) return;
      isMute = false;
      connection.abort();
    },
  };
}
