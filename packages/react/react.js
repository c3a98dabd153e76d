// React hooks over the client.
//
// Invariant: all components below one provider show the same snapshot. On a server, and in the first render in a
// browser, there is no client, and everything is empty: both say the same, and nothing is opened where nobody looks.
//
// Deliberately absent: anything that is drawn.

import { createClient } from "@pregon/client";
import {
  createContext, createElement, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore,
} from "react";

/** @typedef {import("@pregon/client").Client} Client */
/** @typedef {import("@pregon/client").Snapshot} Snapshot */
/** @typedef {import("@pregon/client").Heard["notification"]} Notification */
/** @typedef {Parameters<typeof createClient>[0]} Options */

/** @type {Snapshot} */
const EMPTY = {
  state: "connecting", items: [], counts: { unread: 0, unseen: 0, total: 0 }, loaded: false, more: false, clockOffsetMs: 0,
};

const ClientContext = createContext(/** @type {Client | undefined} */ (undefined));

/**
 * Has one client for all components below it, as long as they are for the same user of the same server. A token function
 * may be another one each time: the latest is asked.
 * @param {Options & { children?: import("react").ReactNode }} props
 * @returns {import("react").ReactElement}
 */
export function PregonProvider({ children, server, user, token, locale, pageSize, transport, fetch }) {
  const [client, setClient] = useState(/** @type {Client | undefined} */ (undefined));
  const latest = useRef(token);
  useEffect(() => void (latest.current = token));
  const isAsked = typeof token === "function";
  useEffect(() => {
    const ask = () => (typeof latest.current === "function" ? latest.current() : latest.current);
    const made = createClient({ server, user, token: isAsked ? ask : token, locale, pageSize, transport, fetch });
    setClient(made);
    return () => {
      made.close();
      setClient(undefined);
    };
  }, [server, user, isAsked || token, locale, pageSize, transport, fetch]);
  return createElement(ClientContext.Provider, { value: client }, children);
}

/**
 * @template T
 * @param {Client | undefined} client
 * @param {(snapshot: Snapshot) => T} select What the component shows; the same value as long as it is.
 */
function useSnapshot(client, select) {
  const { subscribe, getSnapshot } = useMemo(() => ({
    subscribe: (/** @type {() => void} */ listener) => client?.subscribe(listener) ?? (() => {}),
    getSnapshot: () => client?.getSnapshot() ?? EMPTY,
  }), [client]);
  return useSyncExternalStore(subscribe, () => select(getSnapshot()), () => select(EMPTY));
}

/** @param {Client | undefined} client */
function needed(client) {
  if (client) return client;
  throw new Error("there is no client: the component is not below a <PregonProvider>, or not in a browser yet");
}

/** What she has, and what can be done with it. */
export function useInbox() {
  const client = useContext(ClientContext);
  const snapshot = useSnapshot(client, (snapshot) => snapshot);
  const acts = useMemo(() => ({
    /** @type {Client["inbox"]["list"]} */
    list: async (query) => needed(client).inbox.list(query),
    /** @type {Client["inbox"]["update"]} */
    update: async (id, set) => needed(client).inbox.update(id, set),
    markAllRead: async () => needed(client).inbox.markAllRead(),
    markAllSeen: async () => needed(client).inbox.markAllSeen(),
    loadMore: async () => needed(client).inbox.more(),
    refresh: async () => void (await needed(client).refresh()),
  }), [client]);
  return useMemo(() => ({ ...snapshot, ...acts }), [snapshot, acts]);
}

/** How many are unread. */
export function useUnreadCount() {
  return useSnapshot(useContext(ClientContext), ({ counts }) => counts.unread);
}

/**
 * Calls the latest listener for each notification that is new here. Gives how the stream is.
 * @param {(notification: Notification) => void} listener
 */
export function useNotificationStream(listener) {
  const client = useContext(ClientContext);
  const latest = useRef(listener);
  useEffect(() => void (latest.current = listener));
  useEffect(() => client?.on("notification", (notification) => latest.current(notification)), [client]);
  return useSnapshot(client, ({ state }) => state);
}

/** Which categories she has muted, once the server has said it, and how to change that. */
export function usePreferences() {
  const client = useContext(ClientContext);
  const [muted, setMuted] = useState(/** @type {string[] | undefined} */ (undefined));
  useEffect(() => {
    setMuted(undefined);
    if (!client) return undefined;
    let isOver = false;
    const undo = client.on("preferences", ({ muted }) => setMuted(muted));
    // What the stream has said meanwhile is newer.
    client.preferences.get().then(({ muted }) => isOver || setMuted((known) => known ?? muted), () => {});
    return () => {
      isOver = true;
      undo();
    };
  }, [client]);
  return useMemo(() => ({
    muted,
    /** @param {string[]} muted */
    update: async (muted) => void (await needed(client).preferences.update({ muted })),
  }), [client, muted]);
}
