// Reads Server-Sent Events out of text that comes in pieces (WHATWG HTML, section 9.2.6).
//
// Invariant: the same text gives the same events, wherever it is cut.
//
// Deliberately absent: bytes and their encoding, which are the caller's; comments, which say nothing but that the
// connection lives, and the caller has seen that already.

/**
 * @typedef {object} ServerEvent
 * @property {string} name `message` unless the server named it.
 * @property {string} id The newest id that was given, with this event or before it.
 * @property {string} data
 */

export function createParser() {
  let rest = "";
  let name = "";
  let id = "";
  /** @type {string[]} */
  let lines = [];

  const parser = {
    /** What the server wants to be waited for before the next connection, once it has said so. */
    retryMs: 0,

    /**
     * @param {string} text
     * @returns {ServerEvent[]} The events that it completes.
     */
    push(text) {
      /** @type {ServerEvent[]} */
      const events = [];
      // A carriage return at the very end may be the first half of a line end: it waits for what follows.
      const all = (rest + text).split(/\r\n|\n|\r(?!$)/);
      rest = all.pop() ?? "";
      for (const line of all) {
        const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
        if (line === "") {
          if (lines.length > 0) events.push({ name: name || "message", id, data: lines.join("\n") });
          name = "";
          lines = [];
        } else if (field === "event") name = value;
        else if (field === "data") lines.push(value);
        else if (field === "id" && !value.includes("\0")) id = value;
        else if (field === "retry" && /^\d+$/.test(value)) parser.retryMs = Number(value);
      }
      return events;
    },
  };
  return parser;
}
