export type Event = import("./events.js").Event;
export type StreamState = import("./stream.js").StreamState;
export type Pulse = {
    state: StreamState;
    /**
     * How far the server's clock is ahead of this machine's.
     */
    clockOffsetMs: number;
};
export type Told = {
    pulse: Pulse;
    /**
     * None before the leader has a snapshot.
     */
    line?: string;
    /**
     * The id up to which everything has been told, this included.
     */
    cursor?: string;
    events: Event[];
};
/**
 * @param {string} name
 * @param {object} handlers
 * @param {() => Promise<string | undefined>} handlers.takeSnapshot Gives the cursor that belongs to it. Events from the
 *   call on are not lost. It does not give up: it gives nothing only if the tab has left.
 * @param {(signal: AbortSignal) => Promise<void>} handlers.keepOpen Keeps the stream open. Before it ends
 *   by itself, the tab leaves.
 * @param {(events: Event[], pulse: Pulse) => void} handlers.heard
 * @param {() => Pulse} handlers.pulse
 * @param {() => void} handlers.hurry
 * @param {object} [browser]
 * @param {{ locks?: Pick<LockManager, "request"> }} [browser.navigator]
 * @param {new (name: string) => BroadcastChannel} [browser.BroadcastChannel]
 */
export declare function createLeadership(name: string, { takeSnapshot, keepOpen, heard, pulse, hurry }: {
    takeSnapshot: () => Promise<string | undefined>;
    keepOpen: (signal: AbortSignal) => Promise<void>;
    heard: (events: Event[], pulse: Pulse) => void;
    pulse: () => Pulse;
    hurry: () => void;
}, browser?: {
    navigator?: {
        locks?: Pick<LockManager, "request">;
    };
    BroadcastChannel?: new (name: string) => BroadcastChannel;
}): {
    readonly cursor: string | undefined;
    leads: () => boolean;
    ask: () => void;
    tell: (events?: Event[]) => void;
    /** Begins to listen, and stands in line to lead. */
    join(): void;
    /** Lets go of everything at once, so that the next one leads before this tab is gone. */
    leave(): void;
};
