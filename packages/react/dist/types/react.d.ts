import { createClient } from "@pregon/client";
export type Client = import("@pregon/client").Client;
export type Snapshot = import("@pregon/client").Snapshot;
export type Notification = import("@pregon/client").Heard["notification"];
export type Options = Parameters<typeof createClient>[0];
/**
 * Has one client for all components below it, as long as they are for the same user of the same server. A token function
 * may be another one each time: the latest is asked.
 * @param {Options & { children?: import("react").ReactNode }} props
 * @returns {import("react").ReactElement}
 */
export declare function PregonProvider({ children, server, user, token, locale, transport, fetch }: Options & {
    children?: import("react").ReactNode;
}): import("react").ReactElement;
/** What she has, and what can be done with it. */
export declare function useInbox(): {
    state: import("@pregon/client").State;
    items: readonly import("@pregon/client").Item[];
    counts: Readonly<import("@pregon/client").Counts>;
    loaded: boolean;
    more: boolean;
    clockOffsetMs: number;
    /** @type {Client["inbox"]["list"]} */
    list: Client["inbox"]["list"];
    /** @type {Client["inbox"]["update"]} */
    update: Client["inbox"]["update"];
    markAllRead: () => Promise<void>;
    markAllSeen: () => Promise<void>;
    loadMore: () => Promise<void>;
    refresh: () => Promise<undefined>;
};
/** How many are unread. */
export declare function useUnreadCount(): number;
/**
 * Calls the latest listener for each notification that is new here. Gives how the stream is.
 * @param {(notification: Notification) => void} listener
 */
export declare function useNotificationStream(listener: (notification: Notification) => void): import("@pregon/client").State;
/** Which categories she has muted, once the server has said it, and how to change that. */
export declare function usePreferences(): {
    muted: string[] | undefined;
    /** @param {string[]} muted */
    update: (muted: string[]) => Promise<undefined>;
};
