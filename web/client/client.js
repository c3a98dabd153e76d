// The headless client of a user's inbox: what she has, kept as the server has it, in every tab.
//
//     const client = createClient({ server: "https://notify.example", user: "ana", token: () => fetchToken() });
//     client.subscribe(() => show(client.getSnapshot()));
//
// Invariant: a snapshot, then every event after it, in order. What `getSnapshot` gives never changes; it is another
// object whenever something has changed, and the same one until then.
//
// Deliberately absent: anything that is seen; storage, since cursors live in the memory of each tab.

import { createAccess, Refusal, Unauthenticated } from "./access.js";
import { createBackoff } from "./backoff.js";
import { eventsOf } from "./events.js";
import { createInbox, isOfAbsent } from "./inbox.js";
import { createLeadership } from "./leadership.js";
import { createStream } from "./stream.js";

export { Refusal, Unauthenticated };

const PAGE_ITEMS = 50;
/** The server gives no more at once. */
const PAGE_ITEMS_MAX = 100;
/** A recall reaches many clients at once. They do not ask the server together. */
const SPREAD_MS = 30_000;
/** What a greeting takes on its way is no news of the clocks. */
const CLOCK_STEP_MS = 1_000;
/** What a timer can wait. */
const TIMER_MAX_MS = 2 ** 31 - 1;
/** The status of an answer to one of too many requests. */
const TOO_MANY = 429;

/** @typedef {import("./inbox.js").Item} Item */
/** @typedef {import("./inbox.js").Page} Page */
/** @typedef {import("./inbox.js").Counts} Counts */
/** @typedef {import("./inbox.js").Mark} Mark */
/** @typedef {import("./inbox.js").MarkSet} MarkSet */
/** @typedef {import("./inbox.js").Fetching} Fetching */
/** @typedef {import("./leadership.js").Pulse} Pulse */
/** @typedef {"connecting" | "live" | "reconnecting" | "offline" | "unauthenticated" | "closed"} State */

/**
 * @typedef {object} Snapshot
 * @property {State} state
 * @property {readonly Item[]} items Those that are not archived, the newest first.
 * @property {Readonly<Counts>} counts
 * @property {boolean} loaded Whether there has been an answer at all.
 * @property {boolean} more Whether there are older ones.
 * @property {number} clockOffsetMs How far the server's clock is ahead of this machine's, in whole seconds.
 */

/**
 * @typedef {object} Heard What `on` tells of; but for the last, as it stands in the documentation of the stream.
 * @property {import("./inbox.js").Notification} notification It is new here. With `replay`, it is no news.
 * @property {import("./inbox.js").Notification} updated
 * @property {{ id: string, reason: string }} removed
 * @property {Mark} state
 * @property {Preferences} preferences
 * @property {Snapshot} change What `subscribe` tells of.
 * @property {Error} error Why nothing can be read of the server, where that is known.
 */

/** @typedef {{ muted: string[] }} Preferences Categories. */

/**
 * @param {object} options
 * @param {string} options.server Where the server is; relative to the page.
 * @param {string} options.user
 * @param {string | null | (() => string | null | undefined | Promise<string | null | undefined>)} [options.token]
 *   A function is asked again before what it gave ends, and when the server refuses it.
 * @param {string} [options.locale] The language to be told in, where a notification has several.
 * @param {number} [options.pageSize] How many items are asked for at a time: 1 to 100, 50 unless it is given.
 * @param {"fetch" | "eventsource"} [options.transport] How the stream comes. Where `fetch` cannot stream, it is the
 *   browser's own EventSource anyway.
 * @param {typeof globalThis.fetch} [options.fetch] Instead of the browser's own.
 */
export function createClient(options) {
  const access = createAccess(options);
  const inbox = createInbox();
  const backoff = createBackoff();
  const end = new AbortController();
  const pageSize = Math.min(Math.max(options.pageSize ?? PAGE_ITEMS, 1), PAGE_ITEMS_MAX);
  /** @type {Pulse} */
  let pulse = { state: "connecting", clockOffsetMs: 0 };
  /** The browser says so, and nothing has been heard since: it may be wrong. */
  let isOffline = globalThis.navigator?.onLine === false;
  /** What ends it, whatever the connection is. @type {"unauthenticated" | "closed" | undefined} */
  let ended;
  /** What the snapshot was made from. @type {typeof inbox.shown | undefined} */
  let shown;
  /** @type {Snapshot} */
  let snapshot;
  /** The snapshot that listeners know. @type {Snapshot | undefined} */
  let told;
  /** @type {Promise<void> | undefined} */
  let changing;
  const listeners = new EventTarget();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let expiry;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let refreshing;
  /** Aborted when this tab leaves; it may come back. */
  let presence = new AbortController();
  /** The snapshot that was asked for last. */
  let wanted = {};

  // --- What is told ------------------------------------------------------------------------------------------

  /** @returns {Snapshot} */
  function getSnapshot() {
    const state = ended ?? (isOffline ? "offline" : pulse.state);
    const { clockOffsetMs } = pulse;
    if (shown === inbox.shown && snapshot.state === state && snapshot.clockOffsetMs === clockOffsetMs) return snapshot;
    shown = inbox.shown;
    const { counts, loaded, nextCursor } = shown;
    return (snapshot = {
      state,
      items: shown.items.filter(({ archived_at }) => !archived_at),
      counts,
      loaded,
      more: nextCursor !== null,
      clockOffsetMs,
    });
  }

  /** However much changes at once, listeners are told once. */
  function change() {
    changing ??= Promise.resolve().then(() => {
      changing = undefined;
      expire();
      if (told !== getSnapshot()) emit("change", (told = snapshot));
    });
  }

  /** Takes away what has expired, and comes back when the next one does. */
  function expire() {
    const now = Date.now() + pulse.clockOffsetMs;
    inbox.expire(now);
    clearTimeout(expiry);
    const waits = inbox.shown.items.flatMap(({ expires_at }) => (expires_at ? Date.parse(expires_at) - now : []));
    if (waits.length > 0) expiry = setTimeout(change, Math.min(...waits, TIMER_MAX_MS));
  }

  /**
   * Calls a listener for each of these events. Returns what takes it back. A listener that fails is its owner's
   * business: the browser reports it, and goes on with the others.
   * @template {keyof Heard} K
   * @param {K} name
   * @param {(data: Heard[K]) => void} listener
   */
  function on(name, listener) {
    const hear = (/** @type {any} */ { detail }) => listener(detail);
    listeners.addEventListener(name, hear);
    return () => listeners.removeEventListener(name, hear);
  }

  /** @param {string} name @param {unknown} detail */
  function emit(name, detail) {
    listeners.dispatchEvent(new CustomEvent(name, { detail }));
  }

  // --- What the server says ----------------------------------------------------------------------------------

  /** A stream after what has been heard. @param {AbortSignal} signal */
  async function* listen(signal) {
    const after = { last_event_id: leadership.cursor };
    if (options.transport === "eventsource" || !("body" in Response.prototype)) {
      const { eventsBySource } = await import("./eventsource.js");
      yield* eventsBySource(access, after, signal);
    } else yield* eventsOf(await access.send("/v1/stream", after, { signal, cache: "no-store" }));
  }

  const stream = createStream({
    async *open(signal, isMute) {
      if (!isMute) return yield* listen(signal);
      const { eventsByPolls } = await import("./polls.js");
      yield* eventsByPolls(access, leadership.cursor, signal, listen, () => stream.wake(true));
    },
    heard: (events) => leadership.tell(events),
    become,
  });

  const leadership = createLeadership(access.name, {
    takeSnapshot,
    async keepOpen(signal) {
      if (inbox.shown.loaded) become("reconnecting");
      await stream.run(signal).then(() => stop("closed"), refuse);
    },
    heard(events, theirs) {
      pulse = theirs;
      if (events.length > 0) isOffline = false;
      events.forEach(hear);
      change();
    },
    pulse: () => pulse,
    hurry,
  });

  /** How the stream is, if it is this tab that has it. @param {Pulse["state"]} state */
  function become(state) {
    if (!leadership.leads() || state === pulse.state) return;
    pulse = { ...pulse, state };
    leadership.tell();
  }

  /** @param {import("./events.js").Event} event */
  function hear(event) {
    const { name, data } = event;
    if (name === "hello") {
      const steps = Math.round((Date.parse(data.server_time) - Date.now()) / CLOCK_STEP_MS);
      pulse = { ...pulse, clockOffsetMs: steps * CLOCK_STEP_MS };
    }
    if (name === "token_expiring") renew(Date.parse(data.expires_at));
    if (name === "reset") refreshIn(0);
    // What the user has done elsewhere concerns her alone; what was taken back, perhaps everybody.
    if (isOfAbsent(inbox.shown, event)) refreshIn(name === "removed" ? Math.random() * SPREAD_MS : 0);
    const isNew = inbox.apply(event);
    if (name !== "message") emit(name, data);
    else if (isNew) emit("notification", data);
  }

  /**
   * Goes over to a fresh token while the old one is still good: nobody notices. Not at the same moment as all others
   * whom the server has told.
   * @param {number} end On the server's clock.
   */
  function renew(end) {
    const leftMs = end - pulse.clockOffsetMs - Date.now();
    setTimeout(async () => {
      // If there is none to be had, the stream ends with its token, and whoever opens the next one asks again.
      if (leadership.leads() && (await access.renew().catch(() => {}))) stream.wake(true);
    }, (Math.random() * leftMs) / 2);
  }

  /** Takes a snapshot that begins now, however often it takes, and gives the cursor of its stream. */
  function takeSnapshot() {
    clearTimeout(refreshing);
    const attempt = async () => {
      // Each attempt anew: what is shown is never older than the cursor that the stream goes on from.
      const own = (wanted = {});
      const limit = Math.min(Math.max(inbox.shown.items.length, pageSize), PAGE_ITEMS_MAX);
      const { stream_cursor } = await take({ limit }, (heard, answer) => {
        // Whoever has asked for one since wants a newer one.
        if (own === wanted && !inbox.replace(heard, answer)) refreshIn(0);
      });
      return stream_cursor;
    };
    return backoff.insist(attempt, presence.signal, (error) => {
      become("reconnecting");
      // All that a page learns where it may not read the answer.
      if (error instanceof TypeError) import("./refused.js").then(({ explain }) => explain(access, emit)).catch(() => {});
    }).catch(refuse);
  }

  /**
   * Asks for a page, and remembers with it what arrives meanwhile.
   * @param {import("./access.js").Query} query
   * @param {(heard: Fetching, answer: Page) => void} use
   */
  async function take(query, use) {
    const { signal } = presence;
    const heard = inbox.begin();
    try {
      /** @type {Page} */
      const answer = await access.json("GET", "/v1/inbox", { query, signal });
      signal.throwIfAborted();
      use(heard, answer);
      return answer;
    } finally {
      inbox.end(heard);
      change();
    }
  }

  /** @param {number} waitMs */
  function refreshIn(waitMs) {
    clearTimeout(refreshing);
    refreshing = setTimeout(takeSnapshot, waitMs);
  }

  // --- What the user does ------------------------------------------------------------------------------------

  /** The change that was asked for last. @type {Promise<unknown>} */
  let before = Promise.resolve();
  /** For each change that waits for its turn: call it, and the change is sent. @type {Set<() => void>} */
  const turns = new Set();

  /**
   * Asks for a change, and again when the server says that there were too many: then nothing was done. Changes are sent
   * one after the other, since of two marks of one item the last one must win. Only when the page is left does none wait,
   * since none could be sent afterwards.
   * @param {"PATCH" | "POST" | "PUT"} method
   * @param {string} path
   * @param {object} body
   * @returns {Promise<any>}
   */
  function write(method, path, body) {
    return (before = new Promise((/** @type {(_?: undefined) => void} */ go) => {
      turns.add(go);
      const next = () => turns.delete(go) && go();
      before.then(next, next);
    }).then(() => backoff.insist(
      () => access.json(method, path, { body }), end.signal, ({ status }) => status === TOO_MANY,
    )));
  }

  /**
   * Shows at once what is being done, also while the server puts it off, and takes it back if it fails.
   * @param {Omit<Mark, "at">} what
   * @param {"PATCH" | "POST"} method
   * @param {string} path
   * @param {object} body
   */
  async function mark(what, method, path, body) {
    const pending = inbox.mark({ ...what, at: new Date(Date.now() + pulse.clockOffsetMs).toISOString() });
    change();
    try {
      const answer = await write(method, `/v1/inbox/${path}`, body);
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

  /** @param {"read-all" | "seen"} path @param {MarkSet} set */
  async function markAll(path, set) {
    // What arrives meanwhile has not been looked at.
    const up_to = inbox.shown.items[0]?.id;
    if (up_to) await mark({ up_to, set }, "POST", path, { up_to });
  }

  /** @type {Promise<void> | undefined} */
  let loadingMore;

  async function loadMore() {
    const cursor = inbox.shown.nextCursor;
    if (cursor === null) return;
    await take({ limit: pageSize, cursor }, (heard, answer) => {
      // Not if a snapshot has taken the place of what it continues.
      if (inbox.shown.nextCursor === cursor) inbox.append(heard, answer);
    });
  }

  // --- Beginning and end -------------------------------------------------------------------------------------

  /** Ends everything if that is what the error means. @param {unknown} error @returns {undefined} */
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
    presence.abort();
    leadership.leave();
    hurry();
    for (const go of turns) go();
    clearTimeout(refreshing);
  }

  /** Nobody waits any longer, whether for a better time or in vain. */
  function hurry() {
    stream.wake();
    backoff.cut();
  }

  /** Whoever looks at a tab does not wait. */
  function look() {
    if (presence.signal.aborted) presence = new AbortController();
    leadership.join();
    backoff.cut();
    leadership.ask();
  }

  // What the browser tells a page is worth more than any timer.
  /** @type {[EventTarget, Record<string, () => void>][]} */
  const news = globalThis.document && [
    [window, {
      online() {
        isOffline = false;
        // The network may be another one now, where the old connection would only be found dead by its silence.
        become("reconnecting");
        stream.wake(true);
        look();
        change();
      },
      offline() {
        isOffline = true;
        change();
      },
      // A page that is kept for the back button, or frozen, must not hold the stream that others wait for.
      pagehide: leave,
      pageshow: look,
    }],
    [document, { freeze: leave, resume: look, visibilitychange: () => document.hidden || look() }],
  ];
  for (const [target, acts] of news ?? []) {
    for (const [name, act] of Object.entries(acts)) target.addEventListener(name, act, { signal: end.signal });
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
      get: (id) => access.json("GET", `/v1/inbox/${id}`),

      /**
       * Marks one. It is shown at once, and taken back if it fails.
       * @param {string} id
       * @param {MarkSet} set
       * @returns {Promise<Item>}
       */
      update: (id, set) => mark({ ids: [id], set }, "PATCH", id, set),

      /** Marks all that are here, and all that are older. What arrives meanwhile stays as it is. */
      markAllRead: () => markAll("read-all", { read: true }),
      markAllSeen: () => markAll("seen", { seen: true }),

      /** Loads older ones, if there are any. */
      more: () => (loadingMore ??= loadMore().finally(() => (loadingMore = undefined))),
    },

    preferences: {
      /** What she does not want. @returns {Promise<Preferences>} */
      get: () => access.json("GET", "/v1/inbox/preferences"),

      /**
       * Mutes these categories and no others, from here on.
       * @param {Preferences} body
       * @returns {Promise<Preferences>}
       */
      update: (body) => write("PUT", "/v1/inbox/preferences", body),
    },

    /** How many items are asked for at a time. */
    pageSize,

    get counts() {
      return getSnapshot().counts;
    },

    on,

    /** Calls a listener after every change. Returns what takes it back. @param {() => void} listener */
    subscribe: (listener) => on("change", listener),

    getSnapshot,

    /** Asks the server anew, whatever is here, until it answers. Nobody waits for a better time to come back. */
    refresh() {
      leadership.ask();
      return takeSnapshot();
    },

    /** For log-out too: nothing of the user is left. */
    close() {
      ended = "closed";
      inbox.clear();
      stop("closed");
    },
  };
}

/** @typedef {ReturnType<typeof createClient>} Client */
