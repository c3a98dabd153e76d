// ../web/client/eventsource.js
var NAMES = [
  "message",
  "hello",
  "heartbeat",
  "reset",
  "updated",
  "removed",
  "state",
  "preferences",
  "token_expiring"
];
var HEARTBEATS_PER_EVENT = 2;
async function* eventsBySource(access, query, signal) {
  const { ticket } = await access.json("POST", "/v1/stream/tickets", { signal });
  const source = new EventSource(access.urlOf("/v1/stream", { ...query, ticket }));
  const heard = [];
  let isOver = signal.aborted;
  let wake = () => {
  };
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
      else await new Promise((resolve) => wake = () => resolve(void 0));
    }
  } finally {
    source.close();
    signal.removeEventListener("abort", end);
  }
  throw new Error("the stream has ended");
}
function atItsPace(event) {
  if (event.name !== "hello") return event;
  return { ...event, data: { ...event.data, heartbeat_ms: event.data.heartbeat_ms * HEARTBEATS_PER_EVENT } };
}
export {
  eventsBySource
};
