// What of a user's inbox is being looked at.
//
// Invariant: what is not archived comes from the client, which is told of every change; so whatever is marked here or
// elsewhere moves between the tabs by itself. What is archived is asked for, and asked for again when it has changed.

/** @typedef {import("../client/client.js").Client} Client */
/** @typedef {import("../client/client.js").Item} Item */
/** @typedef {"all" | "unread" | "archived"} Tab */
/** @typedef {{ tab: Tab, category: string, words: string }} Filter */
/** @typedef {{ items: readonly Item[], more: boolean, loaded: boolean, hasFailed: boolean }} Selected */

/** Changes that come together are asked about together. */
const GATHER_MS = 50;

/** @param {Item} item @param {Filter} filter */
function fits({ read_at, category = "", title = "", message, actor }, { tab, category: wanted, words }) {
  if (tab === "unread" && read_at) return false;
  if (wanted && category !== wanted) return false;
  const plain = (/** @type {string} */ text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const text = plain(`${title} ${message} ${actor?.name ?? ""}`);
  return plain(words).split(/\s+/).every((word) => text.includes(word));
}

/**
 * @param {Client} client
 * @param {() => void} changed Called when what is archived has changed.
 */
export function createSelection(client, changed) {
  /** @type {Item[]} */
  let archived = [];
  /** @type {string | null | undefined} Where older ones are; undefined before anything was asked for. */
  let cursor;
  /** @type {Promise<void> | undefined} */
  let asking;
  let isStale = true;
  let hasFailed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let gathering;

  /** Asks for what is archived: all of it that was shown, or what comes after it. @param {string} [from] */
  const ask = (from) => (asking ??= load(from));

  /** @param {string} [from] */
  async function load(from) {
    isStale = hasFailed = false;
    try {
      const limit = from ? client.pageSize : Math.min(100, Math.max(client.pageSize, archived.length));
      const page = await client.inbox.list({ status: "archived", limit, cursor: from });
      archived = from ? [...archived, ...page.data] : page.data;
      cursor = page.next_cursor;
    } catch {
      // Not by itself again: the reader says when.
      hasFailed = true;
    } finally {
      asking = undefined;
      changed();
    }
  }

  return {
    /** Whatever has changed may concern what is archived. */
    spoil() {
      isStale = true;
      clearTimeout(gathering);
      gathering = setTimeout(changed, GATHER_MS);
    },

    /** @param {Filter} filter @returns {Selected} */
    of(filter) {
      if (filter.tab === "archived") {
        if (isStale) ask();
        const items = archived.filter((item) => fits(item, filter));
        return { items, more: Boolean(cursor), loaded: cursor !== undefined, hasFailed };
      }
      const { items, more, loaded, counts } = client.getSnapshot();
      const all = items.filter((item) => fits(item, filter));
      // All that are unread are here as soon as there are as many as the server counts.
      const isWhole = filter.tab === "unread" && items.filter(({ read_at }) => !read_at).length >= counts.unread;
      return { items: all, more: more && !isWhole, loaded, hasFailed: false };
    },

    /** Loads what comes after what is here. @param {Filter} filter */
    async more({ tab }) {
      if (tab !== "archived") return client.inbox.more();
      await ask(cursor ?? undefined);
      if (hasFailed) throw new Error("what is archived cannot be had");
    },

    /** Moves one into the archive, or back. It is shown at once. @param {Item} item @param {boolean} isArchived */
    async archive(item, isArchived) {
      if (!isArchived) archived = archived.filter(({ id }) => id !== item.id);
      try {
        await client.inbox.update(item.id, { archived: isArchived });
      } catch (error) {
        isStale = true;
        changed();
        throw error;
      }
    },

    /** The categories of what is here, and the one that is chosen. @param {string} [chosen] */
    categories(chosen) {
      const all = [...client.getSnapshot().items, ...archived].flatMap(({ category }) => category ?? []);
      return [...new Set(chosen ? [...all, chosen] : all)].sort((one, other) => one.localeCompare(other));
    },

    end: () => clearTimeout(gathering),
  };
}
