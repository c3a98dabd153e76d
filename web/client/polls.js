// The stream by polls: where a proxy or an antivirus keeps an answer until it is complete, so that a stream says nothing.
//
// Invariant: each poll goes on from the cursor of the one before, which is handed over with its events. Polls and streams go
// on from each other's cursors, so whichever is next misses nothing.
//
// Deliberately absent: when polls are the better way. This file is loaded only where it is needed.

/** How long a poll waits: within it the server says something, as a stream does. */
const WAIT_MS = 25_000;
/** How often it is looked whether a stream works by now, and how long each look takes: a stream that works greets at once. */
const LOOK_EVERY_MS = 300_000;
const LOOK_MS = 20_000;

/** @typedef {import("./events.js").Event} Event */

/**
 * @param {import("./access.js").Access} access
 * @param {string | undefined} cursor
 * @param {AbortSignal} signal
 * @param {(signal: AbortSignal) => AsyncIterable<Event[]>} listen A stream.
 * @param {() => void} works A stream works.
 * @returns {AsyncGenerator<Event[], void>} It fails in the end.
 */
export async function* eventsByPolls(access, cursor, signal, listen, works) {
  const look = async () => {
    const own = new AbortController();
    const timer = setTimeout(() => own.abort(), LOOK_MS);
    try {
      for await (const events of listen(AbortSignal.any([signal, own.signal]))) {
        if (events.some(({ name }) => name === "hello")) return works();
      }
    } catch {
      // It does not work yet.
    } finally {
      clearTimeout(timer);
      own.abort();
    }
  };
  look();
  const looks = setInterval(look, LOOK_EVERY_MS);
  try {
    for (let waitMs = 0; ; waitMs = WAIT_MS) {
      const query = { last_event_id: cursor, poll: 1, wait: `${waitMs / 1_000}s` };
      const answer = await access.json("GET", "/v1/stream", { query, signal });
      ({ cursor } = answer);
      /** @type {Event[]} */
      const events = answer.data.map((/** @type {any} */ { event, id, data }) => (
        { name: event === "notification" ? "message" : event, id, data }
      ));
      // How far it has got, though there may have been nothing.
      events.push({ name: "heartbeat", id: cursor ?? "", data: {} });
      if (answer.retry_ms != null) throw { retryAfterMs: answer.retry_ms };
      // The first answer is the greeting.
      if (!waitMs) events.unshift({ name: "hello", id: "", data: { heartbeat_ms: WAIT_MS, server_time: answer.server_time ?? new Date() } });
      yield events;
    }
  } finally {
    clearInterval(looks);
  }
}
