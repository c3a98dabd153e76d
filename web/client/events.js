// Reads the stream's events (Server-Sent Events, WHATWG HTML, section 9.2.6) out of an answer that comes in pieces.
//
// Invariant: the same bytes give the same events, wherever they are cut.
//
// Deliberately absent: what only other servers say, such as other ends of lines than LF, data of several lines, an id
// that holds for the events after it. What events mean, and when an answer that goes on is dead, is not known here.

import { Refusal } from "./access.js";

/**
 * @typedef {object} Event
 * @property {string} name `message` unless the server named it.
 * @property {string} id
 * @property {any} data Parsed.
 */

/**
 * The events of an answer, in the pieces that it comes in; a piece that completes none is an empty list. It ends if
 * the server says that there is nothing to come back for (204). Otherwise it fails in the end, with what the server
 * wants to be waited for.
 * @param {Response} response
 * @returns {AsyncGenerator<Event[], void>}
 */
export async function* eventsOf(response) {
  const { status, ok, headers, body } = response;
  if (status === 204) return;
  if (!ok || !body || !headers.get("content-type")?.startsWith("text/event-stream")) throw new Refusal(response);
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  const end = { retryAfterMs: 0 };
  for (;;) {
    // After a cut, too, the client comes back when the server has asked it to.
    const { done, value } = await reader.read().catch((cut) => {
      throw Object.assign(cut, end);
    });
    if (done) throw end;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop() ?? "";
    yield blocks.flatMap((block) => {
      // The name of a field is what stands before the first colon. A comment has none.
      const lines = block.split("\n").map((line) => line.split(/: ?(.*)/s));
      const { event: name = "message", id = "", data, retry } = Object.fromEntries(lines);
      if (retry) end.retryAfterMs = +retry;
      return data ? [{ name, id, data: JSON.parse(data) }] : [];
    });
  }
}
