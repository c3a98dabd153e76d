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
 * @property {Readonly<Counts>} counts
 * @property {string | null} nextCursor Where older ones are.
 * @property {boolean} loaded
 */

/** What an inbox of the server holds, unless it is told otherwise. */
const ITEMS_MAX = 1_000;

/** @type {Contents} */
const NOTHING = { items: [], counts: { unread: 0, unseen: 0, total: 0 }, nextCursor: null, loaded: false };

/** @typedef {{ mark: Mark, heard: boolean, confirmed: boolean }} Pending */
/** @typedef {{ heard: Change[], confirmed: Pending[] }} Fetching A page under way. */

export class Inbox {
  #base = NOTHING;
  /** @type {Contents | undefined} */
  #shown;
  /** @type {Pending[]} */
  #pending = [];
  /** @type {Set<Fetching>} */
  #fetching = new Set();

  /** What to show. The same object until something changes. @returns {Contents} */
  get shown() {
    return (this.#shown ??= this.#pending.reduce((contents, { mark }) => marked(contents, mark), this.#base));
  }

  /** @param {Contents} base */
  #become(base) {
    this.#base = base;
    this.#shown = undefined;
  }

  // --- What the server says ----------------------------------------------------------------------------------

  /** Takes an event of the stream. Returns whether it says anything new. @param {Change} change */
  apply(change) {
    for (const { heard } of this.#fetching) heard.push(change);
    const before = this.#base;
    this.#become(applied(before, change));
    if (change.name === "state") this.#drop((pending) => settles(change.data, pending));
    return this.#base !== before;
  }

  /** A page is asked for: from now on, what arrives is remembered for it. @returns {Fetching} */
  begin() {
    const fetching = { heard: [], confirmed: this.#pending.filter(({ confirmed }) => confirmed) };
    this.#fetching.add(fetching);
    return fetching;
  }

  /**
   * The page is there: it takes the place of everything.
   * @param {Fetching} fetching
   * @param {Page} page
   * @returns {boolean} Whether the counts are certain. They are not if something was marked meanwhile: what a mark says
   *   about counts is older or newer than what the page says, and nothing tells which.
   */
  replace(fetching, { data: items, counts, next_cursor: nextCursor }) {
    this.#fetching.delete(fetching);
    this.#become(fetching.heard.reduce(applied, { items, counts, nextCursor, loaded: true }));
    // The server had done these before it was asked.
    this.#drop((pending) => fetching.confirmed.includes(pending));
    return !fetching.heard.some(({ name }) => name === "state");
  }

  /** The page is there: it comes after what is there. @param {Fetching} fetching @param {Page} page */
  append(fetching, { data, next_cursor: nextCursor }) {
    this.#fetching.delete(fetching);
    const { items, counts } = this.#base;
    const known = new Set(items.map(({ id }) => id));
    const all = [...items, ...data.filter(({ id }) => !known.has(id))];
    this.#become({ ...fetching.heard.reduce(applied, { ...this.#base, items: all, nextCursor }), counts });
  }

  /** The page does not come. @param {Fetching} fetching */
  abandon(fetching) {
    this.#fetching.delete(fetching);
  }

  /** What has expired is nobody's any more. Nobody is told when the time comes. @param {number} now On the server's clock. */
  expire(now) {
    const [gone, items] = split(this.#base.items, ({ expires_at }) => Date.parse(expires_at ?? "") <= now);
    if (gone.length > 0) this.#become({ ...this.#base, items, counts: sum(this.#base.counts, tally(gone), -1) });
  }

  clear() {
    this.#pending = [];
    this.#become(NOTHING);
  }

  // --- What the user does ------------------------------------------------------------------------------------

  /** Shows a mark as if it were done. @param {Mark} mark @returns {Pending} */
  mark(mark) {
    const pending = { mark, heard: false, confirmed: false };
    this.#pending.push(pending);
    this.#shown = undefined;
    return pending;
  }

  /**
   * The server has done it. If the stream has said so as well, or there is nothing to say, it is over. Otherwise it
   * goes on being shown until the stream has got there: the answer overtakes it.
   * @param {Pending} pending
   */
  confirm(pending) {
    pending.confirmed = true;
    const { items, counts } = this.#base;
    const after = marked(this.#base, pending.mark);
    const changes = after.items.some((item, index) => item !== items[index]) || !isSame(after.counts, counts);
    if (pending.heard || !changes) this.rollBack(pending);
  }

  /** It was not done, or is part of the base by now. @param {Pending} pending */
  rollBack(pending) {
    this.#drop((other) => other === pending);
  }

  /** @param {(pending: Pending) => boolean} over */
  #drop(over) {
    this.#pending = this.#pending.filter((pending) => !over(pending));
    this.#shown = undefined;
  }
}

/** @param {Contents} contents @param {Change} change @returns {Contents} */
function applied(contents, { name, data }) {
  const { items, counts } = contents;
  const old = items.find(({ id }) => id === data.id);
  if (name === "message" && !old && !isOlder(data, contents)) {
    const { replay, ...notification } = data;
    /** @type {Item} */
    const item = { ...notification, seen_at: null, read_at: null, archived_at: null };
    const all = [item, ...items];
    const nextCursor = all.length > ITEMS_MAX ? null : contents.nextCursor;
    return { ...contents, items: all.slice(0, ITEMS_MAX), counts: sum(counts, tally([item])), nextCursor };
  }
  if (name === "updated" && old) {
    const { replay, ...notification } = data;
    const { seen_at, read_at, archived_at } = old;
    const item = { ...notification, seen_at, read_at, archived_at };
    return { ...contents, items: items.map((other) => (other === old ? item : other)) };
  }
  if (name === "removed" && old) {
    return { ...contents, items: items.filter((other) => other !== old), counts: sum(counts, tally([old]), -1) };
  }
  return name === "state" ? marked(contents, data) : contents;
}

/**
 * Whether a notification belongs to what is not loaded. A tab that has just taken a snapshot may hear a replay of more
 * than it holds.
 * @param {Notification} notification
 * @param {Contents} contents
 */
function isOlder({ timestamp }, { items, nextCursor }) {
  const oldest = items.at(-1);
  return nextCursor !== null && oldest !== undefined && timestamp < oldest.timestamp;
}

/** @param {Contents} contents @param {Mark} mark @returns {Contents} */
function marked(contents, { ids, up_to, set, at, counts }) {
  const first = up_to === undefined ? 0 : contents.items.findIndex(({ id }) => id === up_to);
  const concerned = (/** @type {Item} */ { id }, /** @type {number} */ index) => {
    return ids ? ids.includes(id) : first >= 0 && index >= first;
  };
  const items = contents.items.map((item, index) => (concerned(item, index) ? itemMarked(item, set, at) : item));
  if (counts) return { ...contents, items, counts };
  // Those that are not loaded are older than all that are, so a mark of all up to one of these is one of all of those.
  const rest = sum(contents.counts, tally(contents.items), -1);
  if (!ids && set.read) rest.unread = 0;
  if (!ids && (set.read || set.seen)) rest.unseen = 0;
  return { ...contents, items, counts: sum(rest, tally(items)) };
}

/**
 * The server's rule: what is read has been seen, and what was not seen cannot have been read. What is so already keeps
 * its time, and an item that does not change stays the same object.
 * @param {Item} item
 * @param {MarkSet} set
 * @param {string} at
 * @returns {Item}
 */
function itemMarked(item, set, at) {
  const seen = set.read ? true : set.seen;
  const read = set.seen === false && set.read === undefined ? false : set.read;
  const time = (/** @type {string | null} */ was, /** @type {boolean | undefined} */ wanted) => {
    return wanted === undefined ? was : wanted ? (was ?? at) : null;
  };
  const seen_at = time(item.seen_at, seen);
  const read_at = time(item.read_at, read);
  const archived_at = time(item.archived_at, set.archived);
  const same = seen_at === item.seen_at && read_at === item.read_at && archived_at === item.archived_at;
  return same ? item : { ...item, seen_at, read_at, archived_at };
}

/**
 * Whether a pending mark is over, now that the stream has said this one. Its own is recognised by what it says. One
 * that the server has already confirmed gives way to whatever the stream says next about the same notifications.
 * @param {Mark} said
 * @param {Pending} pending
 */
function settles(said, pending) {
  const { mark } = pending;
  const keyOf = (/** @type {Mark} */ { ids, up_to, set }) => JSON.stringify([ids, up_to, set.seen, set.read, set.archived]);
  pending.heard ||= keyOf(said) === keyOf(mark);
  return pending.confirmed && (pending.heard || !said.ids || !mark.ids || mark.ids.some((id) => said.ids?.includes(id)));
}

/**
 * Whether an event concerns what is not here, so that only a page can tell what has come of it.
 * @param {Contents} contents
 * @param {Change} change
 */
export function isAbsent({ items, nextCursor, loaded }, { name, data }) {
  const has = (/** @type {string} */ id) => items.some((item) => item.id === id);
  if (!loaded) return false;
  if (name === "removed") return nextCursor !== null && !has(data.id);
  if (name !== "state") return false;
  return data.up_to ? !has(data.up_to) : data.set.archived === false && !data.ids?.every(has);
}

/** @param {readonly Item[]} items @returns {Counts} */
function tally(items) {
  const present = items.filter(({ archived_at }) => archived_at === null);
  return {
    unread: present.filter(({ read_at }) => read_at === null).length,
    unseen: present.filter(({ seen_at }) => seen_at === null).length,
    total: present.length,
  };
}

/** @param {Counts} one @param {Counts} other */
function isSame(one, other) {
  return one.unread === other.unread && one.unseen === other.unseen && one.total === other.total;
}

/** @param {Counts} one @param {Counts} other @param {1 | -1} [sign] */
function sum(one, other, sign = 1) {
  /** Never below nothing: what has expired without being loaded has never been taken off. */
  const add = (/** @type {keyof Counts} */ key) => Math.max(0, one[key] + sign * other[key]);
  return { unread: add("unread"), unseen: add("unseen"), total: add("total") };
}

/**
 * @param {readonly Item[]} items
 * @param {(item: Item) => boolean} test
 * @returns {[Item[], Item[]]} Those that pass, and the others.
 */
function split(items, test) {
  return [items.filter(test), items.filter((item) => !test(item))];
}
