export type Severity = "info" | "success" | "warning" | "error";
export type Notification = {
    id: string;
    timestamp: string;
    message: string;
    title?: string;
    severity?: Severity;
    category?: string;
    url?: string;
    icon?: string;
    actor?: {
        name: string;
        avatar_url?: string;
    };
    actions?: {
        id: string;
        label: string;
        url?: string;
        style?: "primary" | "secondary" | "danger";
    }[];
    silent?: true;
    data?: unknown;
    expires_at?: string;
    /**
     * It is older than the connection that brought it.
     */
    replay?: true;
};
export type Marks = {
    seen_at: string | null;
    read_at: string | null;
    archived_at: string | null;
};
export type Item = Readonly<Omit<Notification, "replay"> & Marks>;
export type Counts = {
    unread: number;
    unseen: number;
    total: number;
};
export type Page = {
    data: Item[];
    next_cursor: string | null;
    counts: Counts;
    stream_cursor: string;
};
export type MarkSet = {
    seen?: boolean;
    read?: boolean;
    archived?: boolean;
};
export type Mark = {
    ids?: string[];
    up_to?: string;
    set: MarkSet;
    at: string;
    /**
     * Those after it, if the server says it.
     */
    counts?: Counts;
};
export type Change = {
    name: string;
    data: any;
};
export type Contents = {
    /**
     * The newest first, also those that were archived since they are here.
     */
    items: readonly Item[];
    /**
     * Of all that there are, here or not.
     */
    counts: Counts;
    /**
     * Where older ones are.
     */
    nextCursor: string | null;
    loaded: boolean;
};
export type Pending = {
    mark: Mark;
    isHeard?: boolean;
};
export type Fetching = Change[];
/** @typedef {{ mark: Mark, isHeard?: boolean }} Pending */
/** @typedef {Change[]} Fetching A page under way: what has arrived since it was asked for. */
export declare function createInbox(): {
    /** What to show. The same object until something changes. */
    readonly shown: Contents;
    apply: (change: Change) => boolean;
    /** A page is asked for: from now on, what arrives is remembered for it. */
    begin(): Fetching;
    /** The page has come, or does not come. @param {Fetching} heard */
    end: (heard: Fetching) => boolean;
    /**
     * The page takes the place of everything.
     * @param {Fetching} heard
     * @param {Page} answer
     * @returns {boolean} Whether the counts are certain. They are not if something was marked meanwhile: what a mark
     *   says about counts is older or newer than what the page says, and nothing tells which.
     */
    replace(heard: Fetching, { data: items, counts, next_cursor: nextCursor }: Page): boolean;
    /** The page comes after what is here, and was counted before. @param {Fetching} heard @param {Page} answer */
    append(heard: Fetching, { data, next_cursor: nextCursor }: Page): void;
    /**
     * What has expired is nobody's any more. Nobody is told when the time comes.
     * @param {number} now On the server's clock.
     */
    expire(now: number): void;
    /** Nothing of the user is left. */
    clear(): void;
    /** Shows a mark as if it were done. @param {Mark} mark @returns {Pending} */
    mark(mark: Mark): Pending;
    /**
     * The server has done it, and its word is as good as the stream's. If the stream has said so already, it may have
     * said more since.
     * @param {Pending} one
     */
    confirm(one: Pending): void;
    /** It was not done. */
    rollBack: (one: Pending) => void;
};
/**
 * Whether an event concerns what is not here, so that only a page can tell what has come of it.
 * @param {Contents} contents
 * @param {Change} change
 */
export declare function isOfAbsent(contents: Contents, { name, data: { id, up_to, ids, set } }: Change): any;
