// One stream for all tabs of a browser that show the same user's inbox: one of them leads, the others listen to it.
//
// A lock (Web Locks) says who leads; it falls to the next tab when its holder is closed, navigates or crashes. A
// channel (BroadcastChannel) carries what the leader hears to the others. Both have the name that says whose inbox it
// is.
//
// Invariant: no tab misses an event, whoever leads when. It rests on these:
// * A line is a succession of leaders each of which went on from its own cursor. Each tab of the line has everything up
//   to its own: a leader tells all in order, and the channel gives every listener the same. So whatever a tab of the
//   line has not, the next leader tells, since it begins at or before what every one of them has.
// * A tab of no line listens first. When it hears of a line it takes the leader's cursor and then a snapshot: the
//   snapshot is newer than that cursor, and whatever is newer than the snapshot will be told.
// * A tab that begins to lead without a line takes its cursor from a snapshot of its own, and only then names a new
//   line. Everybody else hears of another line than theirs, and takes a snapshot.
// * A tab that cannot listen (frozen, or kept for the back button) leaves its line.
// An event may come twice at a hand-over, never not at all. Ids tell: what was heard is not heard again.
//
// A leader that does not answer (its page shows `alert()`, or is stopped in a debugger) is deposed by whoever misses
// it.
//
// What a browser offers it may also refuse, in a sandboxed frame or with site data blocked: a refusal counts as absence.
// Without Web Locks, locks.js provides the lock by the channel. Without the channel each tab leads itself.
//
// Deliberately absent: what events say, and requests.

/** @typedef {import("./events.js").Event} Event */
/** @typedef {import("./stream.js").StreamState} StreamState */

/**
 * @typedef {object} Pulse
 * @property {StreamState} state
 * @property {number} clockOffsetMs How far the server's clock is ahead of this machine's.
 */

/**
 * @typedef {object} Told What a leader tells.
 * @property {Pulse} pulse
 * @property {string} [line] None before the leader has a snapshot.
 * @property {string} [cursor] The id up to which everything has been told, this included.
 * @property {Event[]} events
 */

/** What a tab asks on coming, and on being looked at: where are we, and could you hurry? The leader answers all. */
const ASK = "ask";
/**
 * A leader answers at once; one that is only busy, on a slow machine, must not be taken for dead. Those who miss it do
 * not act together: up to twice as long.
 */
const ANSWER_MS = 5_000;
/** A leader that has said nothing for so long is asked whether it is there. */
const SILENCE_MS = 60_000;
/** Ids that a tab remembers. A hand-over repeats a few. */
const REMEMBERED_MAX = 1_000;

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
export function createLeadership(name, { takeSnapshot, keepOpen, heard, pulse, hurry }, browser = globalThis) {
  const { BroadcastChannel: Channel } = browser;
  /** Kinds of locks to try, the best first. @type {(() => any)[]} */
  const kinds = [() => browser.navigator?.locks, () => import("./locks.js")];
  /** Up to where this tab has everything. @type {string | undefined} */
  let cursor;
  /** @type {string | undefined} */
  let line;
  /** Aborted when this tab leads no more. @type {AbortSignal | undefined} */
  let reign;
  /** @type {string[]} */
  let remembered = [];
  /** @type {BroadcastChannel | undefined} */
  let channel;
  /** To lead: waiting for the lock, or having it. @type {AbortController | undefined} */
  let attempt;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let watch;

  const leads = () => reign?.aborted === false;

  /** @param {number} ms @param {() => void} act */
  function afterSilence(ms, act) {
    clearTimeout(watch);
    watch = setTimeout(act, ms);
  }

  /** Somebody looks at this tab: how is the stream? */
  function ask() {
    if (leads() || !channel) return hurry();
    channel.postMessage(ASK);
    afterSilence(ANSWER_MS * (1 + Math.random()), () => stand({ steal: true }));
  }

  /** The leader tells everybody, and itself. @param {Event[]} [events] */
  function tell(events = []) {
    if (!leads()) return;
    cursor = events.at(-1)?.id || cursor;
    /** @type {Told} */
    const told = { pulse: pulse(), line, cursor, events };
    channel?.postMessage(told);
    hear(told);
  }

  /** @param {MessageEvent<Told | typeof ASK>} message */
  function listen({ data }) {
    if (data === ASK) {
      tell();
      if (leads()) hurry();
      return;
    }
    if (data.line) {
      cursor = data.cursor;
      if (line !== data.line) takeSnapshot();
      line = data.line;
    }
    clearTimeout(watch);
    if (!leads() && data.pulse.state === "live") afterSilence(SILENCE_MS, ask);
    hear(data);
  }

  /** @param {Told} told */
  function hear({ events, pulse }) {
    const unheard = events.filter(({ id }) => !id || !remembered.includes(id));
    remembered = [...remembered, ...unheard.map(({ id }) => id)].slice(-REMEMBERED_MAX);
    heard(unheard, pulse);
  }

  /** Waits for the lock, or takes it away; then leads as long as it is ours. @param {LockOptions} how */
  async function stand(how) {
    attempt?.abort();
    const { signal } = (attempt = new AbortController());
    let held = false;
    if (!channel) return lead(signal);
    try {
      const locks = await kinds[0]?.();
      signal.throwIfAborted();
      // The standard allows a signal only for those who wait.
      await locks.request(name, { ...(how.steal ? how : { signal }), Channel }, () => {
        held = true;
        return lead(signal);
      });
    } catch {
      if (signal.aborted) return;
      // Absent or refused: try the next kind. After the last one this tab leads itself.
      if (!held && kinds.shift() && kinds.length < 1) channel = channel?.close() ?? undefined;
      stand({});
    }
  }

  /**
   * Leads. The lock is let go of as soon as the signal is aborted, whatever is still under way.
   * @param {AbortSignal} signal
   */
  function lead(signal) {
    clearTimeout(watch);
    reign = signal;
    const over = new Promise((resolve) => signal.addEventListener("abort", resolve));
    // If the token is refused, another tab may have a better one.
    return Promise.race([over, go(signal)]);
  }

  /** @param {AbortSignal} signal */
  async function go(signal) {
    tell();
    if (!line) {
      const own = await takeSnapshot();
      if (signal.aborted) return;
      // Whoever was deposed may have told of its line meanwhile. No two snapshots have the same cursor, so one names a
      // line as well.
      cursor ??= own;
      line ??= own;
      tell();
    }
    await keepOpen(signal);
  }

  return {
    get cursor() {
      return cursor;
    },

    leads,
    ask,
    tell,

    /** Begins to listen, and stands in line to lead. */
    join() {
      if (attempt) return;
      try {
        channel = new /** @type {any} */ (Channel)(name);
      } catch {}
      if (channel) {
        channel.onmessage = listen;
        ask();
      }
      stand({});
    },

    /** Lets go of everything at once, so that the next one leads before this tab is gone. */
    leave() {
      attempt?.abort();
      channel?.close();
      attempt = channel = line = cursor = undefined;
      clearTimeout(watch);
    },
  };
}
