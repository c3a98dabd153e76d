// What the user has: what the server has said, in its order, and on top of it what she has done here and the server has
// not confirmed yet.
//
// Invariants:
// * Each notification is there once, by its id, the newest first in the order of the server's log. No clock of ours
//   decides about order.
// * What is shown is the base, which only the server's pages and events change, with the pending marks applied to it.
//   So a mark that fails is rolled back by forgetting it, whatever has arrived meanwhile.
// * A page that was under way while events arrived gets them applied again. It may have had some of them already, but
//   they are a stretch of the log without holes, and to repeat such a stretch ends where the stretch ends.
//
// Deliberately absent: sockets, timers, other tabs. Everything in here happens at once.

/** @typedef {"info" | "success" | "warning" | "error"} Severity */

/**
 * @typedef {object} Notification
 * @property {string} id
 * @property {string} timestamp
 * @property {string} message
 * @property {string} [title]
 * @property {Severity} [severity]
 * @property {string} [category]
 * @property {string} [url]
 * @property {string} [icon]
 * @property {{ name: string, avatar_url?: string }} [actor]
 * @property {{ id: string, label: string, url?: string, style?: "primary" | "secondary" | "danger" }[]} [actions]
 * @property {true} [silent]
 * @property {unknown} [data]
 * @property {string} [expires_at]
 * @property {true} [replay] It is older than the connection that brought it.
 */

/** @typedef {{ seen_at: string | null, read_at: string | null, archived_at: string | null }} Marks */
/** @typedef {Readonly<Omit<Notification, "replay"> & Marks>} Item */
/** @typedef {{ unread: number, unseen: number, total: number }} Counts What is archived is not counted. */
/** @typedef {{ data: Item[], next_cursor: string | null, counts: Counts, stream_cursor: string }} Page */
/** @typedef {{ seen?: boolean, read?: boolean, archived?: boolean }} MarkSet What is absent stays as it is. */

/**
 * @typedef {object} Mark What the user has done: to these, or to all up to one, or to all.
 * @property {string[]} [ids]
 * @property {string} [up_to]
 * @property {MarkSet} set
 * @property {string} at
 * @property {Counts} [counts] Those after it, if the server says it.
 */

/** @typedef {{ name: string, data: any }} Change An event of the stream, parsed. */

/**
 * @typedef {object} Contents
 * @property {readonly Item[]} items The newest first, also those that were archived since they are here.
 * @property {Counts} rest What is counted and not here.
 * @property {string | null} nextCursor Where older ones are.
 * @property {boolean} loaded
 */

/** What an inbox of the server holds, unless it is told otherwise. */
const ITEMS_MAX = 1_000;

const NONE = { unread: 0, unseen: 0, total: 0 };

/** @type {Contents} */
const NOTHING = { items: [], rest: NONE, nextCursor: null, loaded: false };

/** @typedef {{ mark: Mark, isHeard?: boolean, isConfirmed?: boolean }} Pending */
/** @typedef {{ heard: Change[], confirmed: Pending[] }} Fetching A page under way. */

export function createInbox() {
  let base = NOTHING;
  /** @type {Contents & { counts: Counts } | undefined} */
  let shown;
  /** @type {Pending[]} */
  let pending = [];
  /** @type {Set<Fetching>} */
  const fetching = new Set();

  /** @param {Contents} next */
  function become(next) {
    base = next;
    shown = undefined;
  }

  /** @param {(one: Pending) => boolean | undefined} over */
  function drop(over) {
    pending = pending.filter((one) => !over(one));
    shown = undefined;
  }

  function show() {
    const contents = pending.reduce((contents, { mark }) => marked(contents, mark), base);
    return { ...contents, counts: sum(contents.rest, tally(contents.items)) };
  }

  return {
    /** What to show. The same object until something changes. */
    get shown() {
      return (shown ??= show());
    },

    // --- What the server says --------------------------------------------------------------------------------

    /** Takes an event of the stream. Returns whether it says anything new. @param {Change} change */
    apply(change) {
      for (const { heard } of fetching) heard.push(change);
      const before = base;
      const after = applied(base, change);
      if (after !== before) become(after);
      if (change.name === "state") drop((one) => isSettled(one, change.data));
      return after !== before;
    },

    /** A page is asked for: from now on, what arrives is remembered for it. @returns {Fetching} */
    begin() {
      const page = { heard: [], confirmed: pending.filter(({ isConfirmed }) => isConfirmed) };
      fetching.add(page);
      return page;
    },

    /** The page has come, or does not come. @param {Fetching} page */
    end: (page) => fetching.delete(page),

    /**
     * The page takes the place of everything.
     * @param {Fetching} page
     * @param {Page} answer
     * @returns {boolean} Whether the counts are certain. They are not if something was marked meanwhile: what a mark
     *   says about counts is older or newer than what the page says, and nothing tells which.
     */
    replace({ heard, confirmed }, { data: items, counts, next_cursor: nextCursor }) {
      const rest = sum(counts, tally(items), -1);
      become(heard.reduce(applied, { items, rest, nextCursor, loaded: true }));
      // The server had done these before it was asked.
      drop((one) => confirmed.includes(one));
      return !heard.some(({ name }) => name === "state");
    },

    /** The page comes after what is here. @param {Fetching} page @param {Page} answer */
    append({ heard }, { data, next_cursor: nextCursor }) {
      const counts = sum(base.rest, tally(base.items));
      const older = data.filter(({ id }) => !has(base, id));
      const all = heard.reduce(applied, { ...base, items: [...base.items, ...older], nextCursor });
      become({ ...all, rest: sum(counts, tally(all.items), -1) });
    },

    /**
     * What has expired is nobody's any more. Nobody is told when the time comes.
     * @param {number} now On the server's clock.
     */
    expire(now) {
      const items = base.items.filter(({ expires_at }) => !(Date.parse(expires_at ?? "") <= now));
      if (items.length < base.items.length) become({ ...base, items });
    },

    /** Nothing of the user is left. */
    clear() {
      pending = [];
      become(NOTHING);
    },

    // --- What the user does ----------------------------------------------------------------------------------

    /** Shows a mark as if it were done. @param {Mark} mark @returns {Pending} */
    mark(mark) {
      const one = { mark };
      pending.push(one);
      shown = undefined;
      return one;
    },

    /**
     * The server has done it. If the stream has said so as well, or there is nothing to say, it is over. Otherwise it
     * goes on being shown until the stream has got there: the answer overtakes it.
     * @param {Pending} one
     */
    confirm(one) {
      one.isConfirmed = true;
      const changesNothing = () => JSON.stringify(marked(base, one.mark)) === JSON.stringify(base);
      if (one.isHeard || changesNothing()) drop((other) => other === one);
    },

    /** It was not done. @param {Pending} one */
    rollBack: (one) => drop((other) => other === one),
  };
}

/** @param {Contents} contents @param {string} id */
function has({ items }, id) {
  return items.some((item) => item.id === id);
}

/**
 * Whether an event concerns what is not here, so that only a page can tell what has come of it.
 * @param {Contents} contents
 * @param {Change} change
 */
export function isOfAbsent(contents, { name, data: { id, up_to, ids, set } }) {
  const isAbsent = (/** @type {string} */ id) => !has(contents, id);
  if (name === "removed") return contents.nextCursor !== null && isAbsent(id);
  if (name !== "state" || !contents.loaded) return false;
  return up_to ? isAbsent(up_to) : set.archived === false && ids?.some(isAbsent);
}

/** @param {Contents} contents @param {Change} change @returns {Contents} */
function applied(contents, { name, data }) {
  if (name === "state") return marked(contents, data);
  const { replay, ...notification } = data;
  const { items, nextCursor } = contents;
  const old = items.find(({ id }) => id === data.id);
  const oldest = items.at(-1);
  // What is older than all that is here belongs to what is not loaded: a tab that has just taken a snapshot may hear a
  // replay of more than it holds.
  const isOlder = nextCursor !== null && oldest && data.timestamp < oldest.timestamp;
  if (name === "message" && !old && !isOlder) {
    const all = [{ ...notification, seen_at: null, read_at: null, archived_at: null }, ...items];
    return { ...contents, items: all.slice(0, ITEMS_MAX), nextCursor: all.length > ITEMS_MAX ? null : nextCursor };
  }
  if (name === "updated" && old) {
    const { seen_at, read_at, archived_at } = old;
    const item = { ...notification, seen_at, read_at, archived_at };
    return { ...contents, items: items.map((other) => (other === old ? item : other)) };
  }
  return name === "removed" && old ? { ...contents, items: items.filter((other) => other !== old) } : contents;
}

/** @param {Contents} contents @param {Mark} mark @returns {Contents} */
function marked(contents, { ids, up_to, set, at, counts }) {
  let isConcerned = !ids && !up_to;
  const items = contents.items.map((item) => {
    isConcerned ||= item.id === up_to;
    return isConcerned || ids?.includes(item.id) ? itemMarked(item, set, at) : item;
  });
  const rest = counts ? sum(counts, tally(items), -1) : { ...contents.rest };
  // What is not loaded is older than all that is, so a mark of all up to one of these is one of all of those.
  if (!ids && !counts) {
    if (set.read) rest.unread = 0;
    if (set.read || set.seen) rest.unseen = 0;
  }
  return { ...contents, items, rest };
}

/**
 * The server's rule: what is read has been seen, and what was not seen cannot have been read. What is so already keeps
 * its time, and an item that does not change stays the same object.
 * @param {Item} item
 * @param {MarkSet} set
 * @param {string} at
 * @returns {Item}
 */
function itemMarked(item, { seen, read, archived }, at) {
  /** @type {(was: string | null, wanted: boolean | undefined) => string | null} */
  const time = (was, wanted) => (wanted === undefined ? was : wanted ? (was ?? at) : null);
  const after = {
    ...item,
    seen_at: time(item.seen_at, read || seen),
    read_at: time(item.read_at, read ?? (seen === false ? false : undefined)),
    archived_at: time(item.archived_at, archived),
  };
  return JSON.stringify(after) === JSON.stringify(item) ? item : after;
}

/**
 * Whether a pending mark is over, now that the stream has said this one. Its own is recognised by what it says. One
 * that the server has already confirmed gives way to whatever the stream says next about the same notifications.
 * @param {Pending} one
 * @param {Mark} said
 */
function isSettled(one, said) {
  const { mark } = one;
  const wordsOf = (/** @type {Mark} */ { ids, up_to, set: { seen, read, archived } }) => {
    return JSON.stringify([ids, up_to, seen, read, archived]);
  };
  one.isHeard ||= wordsOf(said) === wordsOf(mark);
  return one.isConfirmed && (one.isHeard || !mark.ids || !said.ids || mark.ids.some((id) => said.ids?.includes(id)));
}

/** @param {readonly Item[]} items @returns {Counts} */
function tally(items) {
  const present = items.filter(({ archived_at }) => !archived_at);
  const without = (/** @type {"read_at" | "seen_at"} */ mark) => present.filter((item) => !item[mark]).length;
  return { unread: without("read_at"), unseen: without("seen_at"), total: present.length };
}

/** @param {Counts} one @param {Counts} other @param {1 | -1} [sign] @returns {Counts} */
function sum(one, other, sign = 1) {
  // Never below nothing: what has expired without being loaded has never been taken off.
  const add = (/** @type {keyof Counts} */ key) => Math.max(0, one[key] + sign * other[key]);
  return { unread: add("unread"), unseen: add("unseen"), total: add("total") };
}
