// ../packages/react/react.js
import { createClient } from "@pregon/client";
import {
  createContext,
  createElement,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore
} from "react";
var EMPTY = {
  state: "connecting",
  items: [],
  counts: { unread: 0, unseen: 0, total: 0 },
  loaded: false,
  more: false,
  clockOffsetMs: 0
};
var ClientContext = createContext(
  /** @type {Client | undefined} */
  void 0
);
function PregonProvider({ children, server, user, token, locale, transport, fetch }) {
  const [client, setClient] = useState(
    /** @type {Client | undefined} */
    void 0
  );
  const latest = useRef(token);
  useEffect(() => void (latest.current = token));
  const isAsked = typeof token === "function";
  useEffect(() => {
    const ask = () => typeof latest.current === "function" ? latest.current() : latest.current;
    const made = createClient({ server, user, token: isAsked ? ask : token, locale, transport, fetch });
    setClient(made);
    return () => {
      made.close();
      setClient(void 0);
    };
  }, [server, user, isAsked || token, locale, transport, fetch]);
  return createElement(ClientContext.Provider, { value: client }, children);
}
function useSnapshot(client, select) {
  const { subscribe, getSnapshot } = useMemo(() => ({
    subscribe: (listener) => client?.subscribe(listener) ?? (() => {
    }),
    getSnapshot: () => client?.getSnapshot() ?? EMPTY
  }), [client]);
  return useSyncExternalStore(subscribe, () => select(getSnapshot()), () => select(EMPTY));
}
function needed(client) {
  if (client) return client;
  throw new Error("there is no client: the component is not below a <PregonProvider>, or not in a browser yet");
}
function useInbox() {
  const client = useContext(ClientContext);
  const snapshot = useSnapshot(client, (snapshot2) => snapshot2);
  const acts = useMemo(() => ({
    /** @type {Client["inbox"]["list"]} */
    list: async (query) => needed(client).inbox.list(query),
    /** @type {Client["inbox"]["update"]} */
    update: async (id, set) => needed(client).inbox.update(id, set),
    markAllRead: async () => needed(client).inbox.markAllRead(),
    markAllSeen: async () => needed(client).inbox.markAllSeen(),
    loadMore: async () => needed(client).inbox.more(),
    refresh: async () => void await needed(client).refresh()
  }), [client]);
  return useMemo(() => ({ ...snapshot, ...acts }), [snapshot, acts]);
}
function useUnreadCount() {
  return useSnapshot(useContext(ClientContext), ({ counts }) => counts.unread);
}
function useNotificationStream(listener) {
  const client = useContext(ClientContext);
  const latest = useRef(listener);
  useEffect(() => void (latest.current = listener));
  useEffect(() => client?.on("notification", (notification) => latest.current(notification)), [client]);
  return useSnapshot(client, ({ state }) => state);
}
function usePreferences() {
  const client = useContext(ClientContext);
  const [muted, setMuted] = useState(
    /** @type {string[] | undefined} */
    void 0
  );
  useEffect(() => {
    setMuted(void 0);
    if (!client) return void 0;
    let isOver = false;
    const undo = client.on("preferences", ({ muted: muted2 }) => setMuted(muted2));
    client.preferences.get().then(({ muted: muted2 }) => isOver || setMuted((known) => known ?? muted2), () => {
    });
    return () => {
      isOver = true;
      undo();
    };
  }, [client]);
  return useMemo(() => ({
    muted,
    /** @param {string[]} muted */
    update: async (muted2) => void await needed(client).preferences.update({ muted: muted2 })
  }), [client, muted]);
}
export {
  PregonProvider,
  useInbox,
  useNotificationStream,
  usePreferences,
  useUnreadCount
};
