// A supervised EventSource.
//
// The browser reconnects by itself when a connection is cut, but gives up for good on the first answer that is
// not a 200 (one 502 of a proxy during a deploy is enough), and never notices a connection that has gone silent.
// This module is what stands between those two facts and a page that has to stay live for days.
//
// Invariant: the cursor is the id of the newest event that was handed over, so whichever way a connection ends,
// the next one starts exactly after it. Nothing is lost; what comes twice is for the caller to recognise by its id.

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
/** A connection that lived this long was a good one: the next wait starts small again. */
const GOOD_LIFE_MS = 10_000;
/** The server greets at once. A connection that has not opened by now hangs somewhere on the way. */
const OPENING_MS = 20_000;
/** The server sends a comment, which a page cannot see, for every heartbeat, and a named event for every second. */
const COMMENTS_PER_HEARTBEAT_EVENT = 2;
const MISSED_HEARTBEATS = 3;

/** @typedef {"connecting" | "live" | "waiting" | "closed"} StreamState */

/**
 * @typedef {object} Hello
 * @property {"full" | "reset"} resumed Whether the server could continue after our cursor.
 * @property {string} server_time
 * @property {number} heartbeat_ms
 */

/**
 * @typedef {object} StreamHandlers
 * @property {(notification: any) => void} notification One unnamed event, parsed.
 * @property {(notification: any) => void} updated A notification that says something else now.
 * @property {(removed: { id: string }) => void} removed Nobody has it any more.
 * @property {(change: { ids?: string[], up_to?: string, set: { archived?: boolean } }) => void} state
 *   What the user has marked, here or elsewhere.
 * @property {() => Promise<string>} snapshot
 *   The server cannot continue after our cursor: show what it has now and return the cursor that belongs to it.
 * @property {(state: StreamState) => void} connection
 * @property {(serverTime: string) => void} time
 */

export class Stream {
  #url;
  #cursor;
  #heartbeatMs;
  #on;

  /** @type {EventSource | undefined} */
  #source;
  /** @type {StreamState} */
  #state = "closed";
  /** Rises with every new start, so that what an older one left under way can see that it is stale. */
  #generation = 0;
  #needsSnapshot = false;
  #answeredReset = false;
  #failures = 0;
  #liveSince = 0;
  #silentAt = Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {string} url Where the stream is; `last_event_id` is added to its query.
   * @param {string} cursor The event id that the caller's view of the world corresponds to.
   * @param {number} heartbeatMs
   * @param {StreamHandlers} handlers
   */
  constructor(url, cursor, heartbeatMs, handlers) {
    this.#url = url;
    this.#cursor = cursor;
    this.#heartbeatMs = heartbeatMs;
    this.#on = handlers;
    this.#watchThePage();
    this.#start();
  }

  /** What the browser tells a page is worth more than any timer of ours. */
  #watchThePage() {
    addEventListener("online", () => {
      // The network may be another one now, where the old connection would only be found dead by its silence.
      if (this.#state !== "closed") this.#start();
    });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#wake();
    });
    addEventListener("pagehide", () => {
      // An open connection would keep the page out of the back/forward cache, or stay open on the server for it.
      this.#stop("closed");
    });
    addEventListener("pageshow", () => {
      if (this.#state === "closed") this.#start();
      else this.#wake();
    });
  }

  /** Cuts a wait short, and does not trust a timer that a frozen tab could not run. */
  #wake() {
    const waiting = this.#state === "waiting";
    const overdue = this.#state !== "closed" && Date.now() > this.#silentAt;
    if (waiting || overdue) this.#start();
  }

  /** @param {StreamState} state */
  #stop(state) {
    this.#generation += 1;
    this.#source?.close();
    this.#source = undefined;
    this.#silentAt = Infinity;
    clearTimeout(this.#timer);
    this.#enter(state);
  }

  /** @param {StreamState} state */
  #enter(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#on.connection(state);
  }

  async #start() {
    this.#stop("connecting");
    if (this.#needsSnapshot && !(await this.#takeSnapshot())) return;
    this.#open();
  }

  /** Returns whether this start is still the one that counts and may go on. */
  async #takeSnapshot() {
    const generation = this.#generation;
    try {
      const cursor = await this.#on.snapshot();
      if (generation !== this.#generation) return false;
      this.#cursor = cursor;
      this.#needsSnapshot = false;
      return true;
    } catch {
      // The server is away or answers with something else: the same as a stream that cannot be opened.
      if (generation === this.#generation) this.#retry();
      return false;
    }
  }

  #open() {
    const url = new URL(this.#url, location.href);
    url.searchParams.set("last_event_id", this.#cursor);
    const source = new EventSource(url);
    this.#source = source;
    this.#expectWithin(Math.min(OPENING_MS, this.#silenceMs()));

    source.addEventListener("hello", (event) => {
      /** @type {Hello} */
      const hello = JSON.parse(event.data);
      this.#heartbeatMs = hello.heartbeat_ms;
      this.#on.time(hello.server_time);
      if (hello.resumed === "reset") return this.#reset();
      this.#liveSince = Date.now();
      this.#enter("live");
      this.#advance(event);
    });
    source.addEventListener("message", (event) => {
      this.#on.notification(JSON.parse(event.data));
      this.#advance(event);
    });
    for (const name of /** @type {const} */ (["updated", "removed", "state"])) {
      source.addEventListener(name, (event) => {
        this.#on[name](JSON.parse(event.data));
        this.#advance(event);
      });
    }
    source.addEventListener("heartbeat", (event) => {
      this.#on.time(JSON.parse(event.data).server_time);
      this.#advance(event);
    });
    source.addEventListener("reset", () => this.#reset());
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) return this.#retry();
      // The browser tries again by itself and sends the newest id. It only has to be watched.
      this.#forgiveAfterGoodLife();
      this.#enter("waiting");
      this.#expectWithin(Math.max(OPENING_MS, this.#silenceMs()));
    });
  }

  /** @param {MessageEvent} event */
  #advance(event) {
    if (event.lastEventId) this.#cursor = event.lastEventId;
    this.#expectWithin(this.#silenceMs());
  }

  #silenceMs() {
    return MISSED_HEARTBEATS * COMMENTS_PER_HEARTBEAT_EVENT * this.#heartbeatMs;
  }

  /** @param {number} ms */
  #expectWithin(ms) {
    this.#silentAt = Date.now() + ms;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#start(), ms);
  }

  #reset() {
    this.#needsSnapshot = true;
    this.#forgiveAfterGoodLife();
    // The first reset is answered at once. A server that says it again and again is asked ever more slowly.
    if (this.#answeredReset) return this.#retry();
    this.#answeredReset = true;
    this.#start();
  }

  #retry() {
    this.#forgiveAfterGoodLife();
    this.#stop("waiting");
    const ceiling = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures);
    this.#failures += 1;
    // Full jitter: when a server comes back, its readers must not all come back in the same instant.
    this.#timer = setTimeout(() => this.#start(), Math.random() * ceiling);
  }

  #forgiveAfterGoodLife() {
    if (this.#liveSince && Date.now() - this.#liveSince >= GOOD_LIFE_MS) {
      this.#failures = 0;
      this.#answeredReset = false;
    }
    this.#liveSince = 0;
  }
}
