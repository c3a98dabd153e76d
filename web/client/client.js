// The headless client of a user's inbox: what she has, kept as the server has it, in every tab.
//
//     const client = createClient({ server: "https://notify.example", user: "ana", token: () => fetchToken() });
//     client.subscribe(() => show(client.getSnapshot()));
//
// Invariant: a snapshot, then every event after it, in order. What `getSnapshot` gives never changes; it is another
// object whenever something has changed, and the same one until then.
//
// Deliberately absent: anything that is seen. Storage: cursors live in the memory of each tab, and whoever comes back
// takes a snapshot. Native EventSource: it gives up for good on the first answer that is not a 200.

import { Access, Refusal, Unauthenticated } from "./access.js";
import { Backoff } from "./backoff.js";
import { Inbox, isAbsent } from "./inbox.js";
import { Leadership } from "./leadership.js";
import { Stream } from "./stream.js";

export { Refusal, Unauthenticated };

const PAGE_ITEMS = 50;
const PAGE_ITEMS_MAX = 100;
/** A recall of what is not here reaches many clients at once. They do not ask the server together. */
const SPREAD_MS = 30_000;
const CLOCK_TOLERANCE_MS = 1_000;
/** What a timer can wait. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** @typedef {import("./inbox.js").Item} Item */
/** @typedef {import("./inbox.js").Page} Page */
/** @typedef {import("./inbox.js").Counts} Counts */
/** @typedef {import("./inbox.js").Mark} Mark */
/** @typedef {import("./inbox.js").MarkSet} MarkSet */
/** @typedef {import("./leadership.js").Pulse} Pulse */
/** @typedef {"connecting" | "live" | "reconnecting" | "offline" | "unauthenticated" | "closed"} State */

/**
 * @typedef {object} Snapshot
 * @property {State} state
 * @property {readonly Item[]} items Those that are not archived, the newest first.
 * @property {Readonly<Counts>} counts
 * @property {boolean} loaded Whether there has been an answer at all.
 * @property {boolean} more Whether there are older ones.
 * @property {number} clockOffsetMs How far the server's clock is ahead of this machine's.
 */

/**
 * @typedef {object} Heard What `on` tells of, as it stands in the documentation of the stream.
 * @property {import("./inbox.js").Notification} notification It is new here. With `replay`, it is no news.
 * @property {import("./inbox.js").Notification} updated
 * @property {{ id: string, reason: string }} removed
 * @property {Mark} state
 * @property {{ muted: string[] }} preferences
 */

/**
 * @param {object} options
 * @param {string} options.server Where the server is; relative to the page.
 * @param {string} options.user
 * @param {string | null | (() => string | null | undefined | Promise<string | null | undefined>)} [options.token]
 *   A function is asked again when the server refuses what it gave.
 * @param {string} [options.locale] The language to be told in, where a notification has several.
 * @param {import("./access.js").Transport} [options.transport] Instead of `fetch`.
 */
export function createClient(options) {
  const access = new Access(options);
  const inbox = new Inbox();
  const backoff = new Backoff();
  const end = new AbortController();
  /** @type {Pulse} */
  let pulse = { state: "connecting", heartbeatMs: 0, clockOffsetMs: 0 };
  /** What ends it, whatever the connection is. @type {"unauthenticated" | "closed" | undefined} */
  let ended;
  /** @type {Snapshot | undefined} */
  let snapshot;
  /** What the snapshot was made from. @type {import("./inbox.js").Contents | undefined} */
  let from;
  /** The snapshot that listeners know. @type {Snapshot | undefined} */
  let told;
  let changing = false;
  /** @type {Set<() => void>} */
  const listeners = new Set();
  /** @type {Map<string, Set<(data: any) => void>>} */
  const handlers = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let expiry;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let refreshing;

  // --- What is told ------------------------------------------------------------------------------------------

  /** @returns {Snapshot} */
  function getSnapshot() {
    const contents = inbox.shown;
    const state = ended ?? (globalThis.navigator?.onLine === false ? "offline" : pulse.state);
    const { clockOffsetMs } = pulse;
    const isSame = contents === from && state === snapshot?.state && clockOffsetMs === snapshot.clockOffsetMs;
    if (snapshot && isSame) return snapshot;
    from = contents;
    const { items, counts, nextCursor, loaded } = contents;
    const present = items.filter(({ archived_at }) => archived_at === null);
    return (snapshot = { state, items: present, counts, loaded, more: nextCursor !== null, clockOffsetMs });
  }

  /** Something may have changed. However much changes at once, listeners are told once. */
  function change() {
    if (changing) return;
    changing = true;
    queueMicrotask(() => {
      changing = false;
      expire();
      if (getSnapshot() === told) return;
      told = getSnapshot();
      for (const listener of listeners) guarded(listener);
    });
  }

  /** Takes away what has expired, and comes back when the next one does. */
  function expire() {
    const now = Date.now() + pulse.clockOffsetMs;
    inbox.expire(now);
    clearTimeout(expiry);
    const next = Math.min(...inbox.shown.items.map(({ expires_at }) => (expires_at ? Date.parse(expires_at) : Infinity)));
    if (next < Infinity) expiry = setTimeout(change, Math.min(next - now, TIMER_MAX_MS));
  }

  /** A listener that fails is its owner's business: it takes nothing else with it. @param {() => void} call */
  function guarded(call) {
    try {
      call();
    } catch (error) {
      reportError(error);
    }
  }

  /**
   * @template {keyof Heard} K
   * @param {K} name
   * @param {Heard[K]} data
   */
  function emit(name, data) {
    for (const handler of handlers.get(name) ?? []) guarded(() => handler(data));
  }

  // --- What the server says ----------------------------------------------------------------------------------

  const stream = new Stream({
    open: (signal) => access.send("/v1/stream", { last_event_id: leadership.cursor }, { signal, cache: "no-store" }),
    heard: (events) => leadership.tell(events),
    connection: become,
  });

  const leadership = new Leadership(access.name, {
    snapshot: takeSnapshot,
    async lead(signal) {
      if (inbox.shown.loaded) become("reconnecting");
      await stream.run(signal).catch(refuse);
      if (!signal.aborted) stop("closed");
    },
    pulse: () => ({ ...pulse, heartbeatMs: stream.heartbeatMs }),
    asked: hurry,
    heard(events, theirs) {
      pulse = theirs;
      for (const { name, data } of events) hear(name, JSON.parse(data));
      change();
    },
  });

  /** How the stream is, if it is this tab that has it. @param {Pulse["state"]} state */
  function become(state) {
    if (!leadership.leads || state === pulse.state) return;
    pulse = { ...pulse, state };
    leadership.tell();
  }

  /** What a message takes on its way is no news of the clocks. @param {number} serverTime */
  function learnTime(serverTime) {
    const clockOffsetMs = serverTime - Date.now();
    if (Math.abs(clockOffsetMs - pulse.clockOffsetMs) > CLOCK_TOLERANCE_MS) pulse = { ...pulse, clockOffsetMs };
  }

  /** @param {string} name @param {any} data */
  function hear(name, data) {
    if (name === "reset") refresh(0);
    if (data.server_time) learnTime(Date.parse(data.server_time));
    const change = { name, data };
    // What the user has done elsewhere concerns her alone; what was taken back, perhaps everybody.
    if (isAbsent(inbox.shown, change)) refresh(name === "removed" ? Math.random() * SPREAD_MS : 0);
    const isNew = inbox.apply(change);
    if (name === "message" && isNew) emit("notification", data);
    if (name === "updated" || name === "removed" || name === "state" || name === "preferences") emit(name, data);
  }

  /** The snapshot that counts: a newer one takes the place of an older one that is still under way. */
  let newest = { given: Promise.resolve(""), over: new AbortController() };

  /** Takes a snapshot, however often it takes, and gives the cursor of its stream. @returns {Promise<string>} */
  function takeSnapshot() {
    clearTimeout(refreshing);
    newest.over.abort();
    const over = new AbortController();
    newest = { over, given: tryForSnapshot(over.signal) };
    return newest.given;
  }

  /** @param {number} waitMs */
  function refresh(waitMs) {
    clearTimeout(refreshing);
    // It repeats itself until it succeeds. If it fails, this tab has left.
    refreshing = setTimeout(() => takeSnapshot().catch(() => {}), waitMs);
  }

  /** @param {AbortSignal} signal @returns {Promise<string>} */
  async function tryForSnapshot(signal) {
    for (;;) {
      const limit = Math.min(Math.max(inbox.shown.items.length, PAGE_ITEMS), PAGE_ITEMS_MAX);
      const fetching = inbox.begin();
      let toldMs = 0;
      try {
        /** @type {Page} */
        const page = await access.json("GET", "/v1/inbox", { query: { limit }, signal });
        if (!signal.aborted) {
          if (!inbox.replace(fetching, page)) refresh(0);
          change();
          return page.stream_cursor;
        }
      } catch (error) {
        refuse(error);
        if (error instanceof Refusal) toldMs = error.retryAfterMs;
      } finally {
        inbox.abandon(fetching);
      }
      if (!signal.aborted) become("reconnecting");
      if (!signal.aborted) await backoff.wait(backoff.nextMs(toldMs), signal);
      if (signal.aborted && newest.over.signal !== signal) return newest.given;
      signal.throwIfAborted();
    }
  }

  // --- What the user does ------------------------------------------------------------------------------------

  /**
   * Shows at once what is being done, and takes it back if it fails.
   * @template T
   * @param {Omit<Mark, "at">} what
   * @param {() => Promise<T>} send
   */
  async function mark(what, send) {
    const pending = inbox.mark({ ...what, at: new Date(Date.now() + pulse.clockOffsetMs).toISOString() });
    change();
    try {
      const answer = await send();
      inbox.confirm(pending);
      return answer;
    } catch (error) {
      inbox.rollBack(pending);
      refuse(error);
      throw error;
    } finally {
      change();
    }
  }

  /** @param {"/read-all" | "/seen"} path @param {MarkSet} set */
  async function markAll(path, set) {
    // What arrives meanwhile has not been looked at.
    const up_to = inbox.shown.items[0]?.id;
    if (up_to) await mark({ up_to, set }, () => access.json("POST", `/v1/inbox${path}`, { body: { up_to } }));
  }

  /** @type {Promise<void> | undefined} */
  let loadingMore;

  async function loadMore() {
    const cursor = inbox.shown.nextCursor;
    if (cursor === null) return;
    const fetching = inbox.begin();
    try {
      const page = await access.json("GET", "/v1/inbox", { query: { limit: PAGE_ITEMS, cursor } });
      // Unless a snapshot has taken the place of what it continues.
      if (inbox.shown.nextCursor === cursor) inbox.append(fetching, page);
      change();
    } finally {
      inbox.abandon(fetching);
    }
  }

  // --- Beginning and end -------------------------------------------------------------------------------------

  /** Ends everything if that is what the error means. @param {unknown} error */
  function refuse(error) {
    if (error instanceof Unauthenticated) stop("unauthenticated");
  }

  /** @param {"unauthenticated" | "closed"} how */
  function stop(how) {
    ended ??= how;
    leave();
    end.abort();
    change();
  }

  function leave() {
    leadership.leave();
    newest.over.abort();
    clearTimeout(refreshing);
  }

  /** Whoever looks at a tab does not wait. */
  function hurry() {
    stream.wake();
    backoff.cut();
  }

  /** What the browser tells a page is worth more than any timer. @param {EventTarget} target @param {string} name */
  function on(target, name, /** @type {() => void} */ act) {
    target.addEventListener(name, act, { signal: end.signal });
  }

  if (globalThis.document) {
    const look = () => {
      leadership.join();
      backoff.cut();
      leadership.ask();
    };
    on(window, "online", () => {
      // The network may be another one now, where the old connection would only be found dead by its silence.
      stream.renew();
      look();
      change();
    });
    on(window, "offline", change);
    on(document, "visibilitychange", () => document.visibilityState === "visible" && look());
    // A page that is kept for the back button, or frozen, must not hold the stream that others wait for.
    on(window, "pagehide", leave);
    on(document, "freeze", leave);
    on(window, "pageshow", look);
    on(document, "resume", look);
  }
  leadership.join();

  return {
    inbox: {
      /**
       * A page of the inbox as it is on the server, beside what `getSnapshot` gives.
       * @param {{ status?: "all" | "unread" | "read" | "archived", category?: string, topic?: string, limit?: number,
       *   cursor?: string }} [query]
       * @returns {Promise<Page>}
       */
      list: (query) => access.json("GET", "/v1/inbox", { query }),

      /** @param {string} id @returns {Promise<Item>} */
      get: (id) => access.json("GET", `/v1/inbox/${encodeURIComponent(id)}`),

      /**
       * Marks one. It is shown at once, and taken back if it fails.
       * @param {string} id
       * @param {MarkSet} set
       * @returns {Promise<Item>}
       */
      update(id, set) {
        return mark({ ids: [id], set }, () => access.json("PATCH", `/v1/inbox/${encodeURIComponent(id)}`, { body: set }));
      },

      /** Marks all that are here, and all that are older. What arrives meanwhile stays as it is. */
      markAllRead: () => markAll("/read-all", { read: true }),
      markAllSeen: () => markAll("/seen", { seen: true }),

      /** Loads older ones, if there are any. */
      more: () => (loadingMore ??= loadMore().finally(() => (loadingMore = undefined))),
    },

    get counts() {
      return getSnapshot().counts;
    },

    /**
     * Calls a handler for each of these events. Returns what takes it back.
     * @template {keyof Heard} K
     * @param {K} name
     * @param {(data: Heard[K]) => void} handler
     */
    on(name, handler) {
      const all = handlers.get(name) ?? new Set();
      handlers.set(name, all.add(handler));
      return () => void all.delete(handler);
    },

    /** Calls a listener after every change. Returns what takes it back. @param {() => void} listener */
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },

    getSnapshot,

    /** For log-out too: nothing of the user is left. */
    close() {
      ended = "closed";
      clearTimeout(expiry);
      inbox.clear();
      stop("closed");
    },
  };
}

/** @typedef {ReturnType<typeof createClient>} Client */
