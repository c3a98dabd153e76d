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

import { Refusal, Unauthenticated } from "./access.js";
import { Backoff } from "./backoff.js";
import { EventParser } from "./events.js";

/** The server greets at once. A connection that has not opened by now hangs somewhere on the way. */
const OPENING_MS = 20_000;
/** What the server sends at least one byte in, unless it says otherwise. */
const HEARTBEAT_MS = 15_000;
const HEARTBEATS_MISSED = 2.5;

/** @typedef {import("./events.js").ServerEvent} ServerEvent */
/** @typedef {"connecting" | "live" | "reconnecting"} StreamState */

/**
 * @typedef {object} StreamHandlers
 * @property {(signal: AbortSignal) => Promise<Response>} open Asks for a stream after the cursor of the moment.
 * @property {(events: ServerEvent[]) => void} heard
 * @property {(state: StreamState) => void} connection
 */

export class Stream {
  heartbeatMs = HEARTBEAT_MS;

  #on;
  #backoff = new Backoff();
  #parser = new EventParser();
  #liveSince = Infinity;
  #silentAt = Infinity;
  /** @type {AbortController | undefined} */
  #connection;

  /** @param {StreamHandlers} handlers */
  constructor(handlers) {
    this.#on = handlers;
  }

  /**
   * Keeps a stream open until the signal is aborted, or the server says that there is nothing to come back for (204).
   * @param {AbortSignal} signal
   * @returns {Promise<void>} Fails if the user's token does, and only then.
   */
  async run(signal) {
    while (!signal.aborted) {
      let toldMs = 0;
      try {
        if (await this.#connect(signal)) return;
      } catch (error) {
        if (error instanceof Unauthenticated) throw error;
        if (error instanceof Refusal) toldMs = error.retryAfterMs;
      }
      if (signal.aborted) return;
      this.#on.connection("reconnecting");
      this.#backoff.lived(Date.now() - this.#liveSince);
      this.#liveSince = Infinity;
      await this.#backoff.wait(this.#backoff.nextMs(Math.max(toldMs, this.#parser.retryMs)), signal);
    }
  }

  /** Cuts a wait short, and does not trust a timer that a frozen tab could not run. */
  wake() {
    if (!this.#backoff.cut() && Date.now() > this.#silentAt) this.renew();
  }

  /** Whatever the connection is, another one is better. */
  renew() {
    this.#backoff.cut();
    this.#connection?.abort();
  }

  /** One connection, until it ends. Returns whether it was the last one. @param {AbortSignal} signal */
  async #connect(signal) {
    const connection = (this.#connection = new AbortController());
    const parser = (this.#parser = new EventParser());
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const expectWithin = (/** @type {number} */ ms) => {
      clearTimeout(timer);
      this.#silentAt = Date.now() + ms;
      timer = setTimeout(() => connection.abort(), ms);
    };
    try {
      expectWithin(Math.min(OPENING_MS, this.#silenceMs));
      const response = await this.#on.open(AbortSignal.any([signal, connection.signal]));
      if (response.status === 204) return true;
      const type = response.headers.get("content-type");
      if (!response.ok || !response.body || !type?.startsWith("text/event-stream")) throw new Refusal(response);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        // What comes after the connection was given up, or should have been, is read again by the next one.
        if (done || connection.signal.aborted || signal.aborted || Date.now() > this.#silentAt) return false;
        const events = parser.push(value);
        const hello = events.find(({ name }) => name === "hello");
        if (hello) this.#greet(JSON.parse(hello.data));
        expectWithin(this.#silenceMs);
        if (events.length > 0) this.#on.heard(events);
      }
    } finally {
      clearTimeout(timer);
      this.#silentAt = Infinity;
      connection.abort();
    }
  }

  get #silenceMs() {
    return HEARTBEATS_MISSED * this.heartbeatMs;
  }

  /** @param {{ heartbeat_ms: number }} hello */
  #greet(hello) {
    this.heartbeatMs = hello.heartbeat_ms;
    this.#liveSince = Date.now();
    this.#on.connection("live");
  }
}
