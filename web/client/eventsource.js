// The stream by a browser's own EventSource: where `fetch` gives no body before it ends, or for whoever wants it so.
//
// Invariant: a connection begins after the cursor, with a ticket of its own. An EventSource can send no header, and a
// ticket opens one stream: it would come back by itself with one that is used up, be refused, and be closed for good.
// So its first error is its end, and whoever insists makes another one.
//
// Deliberately absent: the status of what fails, how long the server wants to be waited for, comments. An EventSource
// tells of none of them. This file is loaded only where it is needed.

/** @typedef {import("./events.js").Event} Event */

/** What the server says, by name; `docs/api.md` has what it means. */
const NAMES = [
  "message", "hello", "heartbeat", "reset", "updated", "removed", "state", "preferences", "token_expiring",
];
/** Of these heartbeats one is an event. The others are comments. */
const HEARTBEATS_PER_EVENT = 2;

/**
 * @param {import("./access.js").Access} access
 * @param {import("./access.js").Query} query
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<Event[], void>} It fails in the end.
 */
export async function* eventsBySource(access, query, signal) {
  const { ticket } = await access.json("POST", "/v1/stream/tickets", { signal });
  const source = new EventSource(access.urlOf("/v1/stream", { ...query, ticket }));
  /** @type {Event[]} */
  const heard = [];
  let isOver = signal.aborted;
  /** @type {(nothing?: undefined) => void} */
  let wake = () => {};
  const end = () => {
    isOver = true;
    wake();
  };
  for (const name of NAMES) {
    source.addEventListener(name, ({ lastEventId: id, data }) => {
      heard.push({ name, id, data: JSON.parse(data) });
      wake();
    });
  }
  source.addEventListener("error", end);
  signal.addEventListener("abort", end);
  try {
    while (!isOver) {
      const events = heard.splice(0);
      if (events.length > 0) yield events.map(atItsPace);
      else await new Promise((resolve) => (wake = resolve));
    }
  } finally {
    source.close();
    signal.removeEventListener("abort", end);
  }
  throw new Error("the stream has ended");
}

/** What is silence is told by what can be heard. @param {Event} event @returns {Event} */
function atItsPace(event) {
  if (event.name !== "hello") return event;
  return { ...event, data: { ...event.data, heartbeat_ms: event.data.heartbeat_ms * HEARTBEATS_PER_EVENT } };
}
