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

export class EventParser {
  /** What the server wants to be waited for before the next connection, once it has said so. */
  retryMs = 0;

  #rest = "";
  #name = "";
  #id = "";
  /** @type {string[]} */
  #data = [];

  /**
   * @param {string} text
   * @returns {ServerEvent[]} The events that it completes.
   */
  push(text) {
    /** @type {ServerEvent[]} */
    const events = [];
    // A carriage return at the very end may be the first half of a line end: it waits for what follows.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#take(line, events);
    return events;
  }

  /**
   * @param {string} line
   * @param {ServerEvent[]} events
   */
  #take(line, events) {
    if (line === "") {
      const name = this.#name || "message";
      if (this.#data.length > 0) events.push({ name, id: this.#id, data: this.#data.join("\n") });
      this.#name = "";
      this.#data = [];
      return;
    }
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
  }
}
