// One stream that is kept open: events in, in batches as they come off the wire, whatever the network does.
//
// The browser's own EventSource gives up for good on the first answer that is not a 200 (one 502 of a proxy during a
// deploy is enough), sees no status and no heartbeat comment, and never notices a connection that has gone silent.
// This module reads the body of a `fetch` instead.
//
// Invariant: a connection begins after the cursor of the moment, and a batch is handed over before anything else
// happens, so whichever way a connection ends, the next one misses nothing. What comes twice is the caller's to know.
//
// Deliberately absent: what events mean, but for `hello`; the cursor, which is the caller's; other transports.

import { Refusal } from "./access.js";
import { createBackoff } from "./backoff.js";
import { createParser } from "./events.js";

/** The server greets at once. A connection that has not opened by now hangs somewhere on the way. */
const OPENING_MS = 20_000;
/** What the server sends at least one byte in, unless it says otherwise. */
const HEARTBEAT_MS = 15_000;
const HEARTBEATS_MISSED = 2.5;

/** @typedef {{ name: string, id: string, data: any }} Event Its data is parsed. */
/** @typedef {"connecting" | "live" | "reconnecting"} StreamState */

/**
 * @param {object} handlers
 * @param {(signal: AbortSignal) => Promise<Response>} handlers.open Asks for a stream after the cursor of the moment.
 * @param {(events: Event[]) => void} handlers.heard
 * @param {(state: StreamState) => void} handlers.become
 */
export function createStream({ open, heard, become }) {
  const backoff = createBackoff();
  let heartbeatMs = HEARTBEAT_MS;
  let silentAt = Infinity;
  let connection = new AbortController();

  /** One connection, until it ends. It was the last one if it does not fail. @param {AbortSignal} signal */
  async function connect(signal) {
    const own = (connection = new AbortController());
    const ended = AbortSignal.any([signal, own.signal]);
    const parser = createParser();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const expectWithin = (/** @type {number} */ ms) => {
      clearTimeout(timer);
      silentAt = Date.now() + ms;
      timer = setTimeout(() => own.abort(), ms);
    };
    try {
      expectWithin(Math.min(OPENING_MS, HEARTBEATS_MISSED * heartbeatMs));
      const response = await open(ended);
      if (response.status === 204) return;
      const isStream = response.headers.get("content-type")?.startsWith("text/event-stream");
      if (!response.ok || !response.body || !isStream) throw new Refusal(response);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        // What comes after the connection was given up, or should have been, is read again by the next one.
        if (done || ended.aborted || Date.now() > silentAt) throw { retryAfterMs: parser.retryMs };
        const events = parser.push(value).map(({ name, id, data }) => ({ name, id, data: JSON.parse(data) }));
        const hello = events.find(({ name }) => name === "hello");
        if (hello) {
          heartbeatMs = hello.data.heartbeat_ms;
          backoff.live();
          become("live");
        }
        expectWithin(HEARTBEATS_MISSED * heartbeatMs);
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
     * Keeps a stream open until the server says that there is nothing to come back for (204). Fails when the signal is
     * aborted, or the user's token refused.
     * @param {AbortSignal} signal
     */
    run: (signal) => backoff.insist(() => connect(signal), signal, () => become("reconnecting")),

    /**
     * Cuts a wait short, and does not trust a timer that a frozen tab could not run.
     * @param {boolean} [isStale] Whatever the connection is, another one is better.
     */
    wake(isStale = Date.now() > silentAt) {
      if (!backoff.cut() && isStale) connection.abort();
    },
  };
}
