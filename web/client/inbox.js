// What the user has: what the server has said, in its order, and on top of it what she has done here and the server has
// not confirmed yet.
//
// Invariants:
// * Each notification is there once, by its id, the newest first in the order of the server's log. No clock of ours
//   decides about order.
// * What is shown is the base, which only the server's pages, events and answers change, with the pending marks on it.
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
 * @property {Counts} counts Of all that there are, here or not.
 * @property {string | null} nextCursor Where older ones are.
 * @property {boolean} loaded
 */

/** What an inbox of the server holds, unless it is told otherwise. */
const ITEMS_MAX = 1_000;

/** @type {Contents} */
const NOTHING = { items: [], counts: tally([]), nextCursor: null, loaded: false };

/** @typedef {Mark & { isHeard?: boolean }} Pending */
/** @typedef {Change[]} Fetching A page under way: what has arrived since it was asked for. */

export function createInbox() {
  let base = NOTHING;
  /** @type {Contents | undefined} */
  let shown;
  /** @type {Pending[]} */
  let pending = [];
  /** @type {Set<Fetching>} */
  const fetching = new Set();

  /** @param {Contents} next */
  function become(next) {
    if (next !== base) shown = undefined;
    base = next;
  }

  /** Takes an event of the stream. Returns whether it says anything new. @param {Change} change */
  function apply(change) {
    const before = base;
    for (const heard of fetching) heard.push(change);
    for (const one of pending) one.isHeard ||= change.name === "state" && words(one) === words(change.data);
    become(applied(base, change));
    return base !== before;
  }

  /** @param {Pending} one */
  function drop(one) {
    pending = pending.filter((other) => other !== one);
    shown = undefined;
  }

  return {
    /** What to show. The same object until something changes. */
    get shown() {
      return (shown ??= pending.reduce(marked, base));
    },

    // --- What the server says --------------------------------------------------------------------------------

    apply,

    /** A page is asked for: from now on, what arrives is remembered for it. */
    begin() {
      /** @type {Fetching} */
      const heard = [];
      fetching.add(heard);
      return heard;
    },

    /** The page has come, or does not come. @param {Fetching} heard */
    end: (heard) => fetching.delete(heard),

    /**
     * The page takes the place of everything.
     * @param {Fetching} heard
     * @param {Page} answer
     * @returns {boolean} Whether the counts are certain. They are not if something was marked meanwhile: what a mark
     *   says about counts is older or newer than what the page says, and nothing tells which.
     */
    replace(heard, { data: items, counts, next_cursor: nextCursor }) {
      become(heard.reduce(applied, { items, counts, nextCursor, loaded: true }));
      return !heard.some(({ name }) => name === "state");
    },

    /** The page comes after what is here, and was counted before. @param {Fetching} heard @param {Page} answer */
    append(heard, { data, next_cursor: nextCursor }) {
      const { counts } = base;
      const older = data.filter(({ id }) => !has(base, id));
      become({ ...heard.reduce(applied, { ...base, items: [...base.items, ...older], nextCursor }), counts });
    },

    /**
     * What has expired is nobody's any more. Nobody is told when the time comes.
     * @param {number} now On the server's clock.
     */
    expire(now) {
      const items = base.items.filter(({ expires_at }) => !(Date.parse(expires_at ?? "") <= now));
      if (items.length < base.items.length) become(withItems(base, items));
    },

    /** Nothing of the user is left. */
    clear() {
      pending = [];
      become(NOTHING);
    },

    // --- What the user does ----------------------------------------------------------------------------------

    /** Shows a mark as if it were done. @param {Pending} one */
    mark(one) {
      pending.push(one);
      shown = undefined;
      return one;
    },

    /**
     * The server has done it, and its word is as good as the stream's. If the stream has said so already, it may have
     * said more since.
     * @param {Pending} one
     */
    confirm(one) {
      drop(one);
      if (!one.isHeard) apply({ name: "state", data: one });
    },

    /** It was not done. */
    rollBack: drop,
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
  // What is new has no marks, what is edited keeps them.
  const { seen_at = null, read_at = null, archived_at = null } = old ?? {};
  const item = { ...notification, seen_at, read_at, archived_at };
  const oldest = items.at(-1);
  // What is older than all that is here belongs to what is not loaded: a tab that has just taken a snapshot may hear a
  // replay of more than it holds.
  const isOlder = nextCursor !== null && oldest && data.timestamp < oldest.timestamp;
  if (name === "message" && !old && !isOlder) {
    const all = [item, ...items];
    const after = withItems(contents, all.slice(0, ITEMS_MAX));
    return all.length > ITEMS_MAX ? { ...after, nextCursor: null } : after;
  }
  if (name === "updated" && old) return withItems(contents, items.map((other) => (other === old ? item : other)));
  return name === "removed" && old ? withItems(contents, items.filter((other) => other !== old)) : contents;
}

/** @param {Contents} contents @param {Mark} mark @returns {Contents} */
function marked(contents, { ids, up_to, set, at, counts }) {
  let isConcerned = !ids && !up_to;
  const items = contents.items.map((item) => {
    isConcerned ||= item.id === up_to;
    return isConcerned || ids?.includes(item.id) ? itemMarked(item, set, at) : item;
  });
  const after = withItems(contents, items);
  if (counts) after.counts = counts;
  else if (!ids) {
    // What is not loaded is older than all that is, so a mark of all up to one of these is one of all of those.
    const { unread, unseen } = tally(items);
    if (set.read) after.counts.unread = unread;
    if (set.read || set.seen) after.counts.unseen = unseen;
  }
  return after;
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

/** What a mark says, by which its own event is known. @param {Mark} mark */
function words({ ids, up_to, set: { seen, read, archived } }) {
  return JSON.stringify([ids, up_to, seen, read, archived]);
}

/** @param {readonly Item[]} items @returns {Counts} */
function tally(items) {
  const present = items.filter(({ archived_at }) => !archived_at);
  const unread = present.filter(({ read_at }) => !read_at).length;
  const unseen = present.filter(({ seen_at }) => !seen_at).length;
  return { unread, unseen, total: present.length };
}

/** Other items, and what that changes about the counts. @param {Contents} contents @param {readonly Item[]} items */
function withItems(contents, items) {
  const [before, counts] = [tally(contents.items), tally(items)];
  for (const key of /** @type {(keyof Counts)[]} */ (Object.keys(counts))) {
    // Never below nothing: what has expired without being loaded has never been taken off.
    counts[key] = Math.max(0, contents.counts[key] + counts[key] - before[key]);
  }
  return { ...contents, items, counts };
}
