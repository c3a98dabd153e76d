// One stream for all tabs of a browser that show the same user's inbox: one of them leads, the others listen to it.
//
// A lock (Web Locks) says who leads; it falls to the next tab when its holder is closed, navigates or crashes. A channel
// (BroadcastChannel) carries what the leader hears to the others. Both have the name that says whose inbox it is.
//
// Invariant: no tab misses an event, whoever leads when. It rests on these:
// * A line is a succession of leaders each of which went on from its own cursor, and each tab of the line has everything
//   up to its own. A leader tells all in order, and the channel gives every listener the same. So whatever a tab of the
//   line has not, the next leader tells, since it begins at or before what every one of them has.
// * A tab of no line listens first. When it hears of a line it takes the leader's cursor and then a snapshot: the
//   snapshot is newer than that cursor, and whatever is newer than the snapshot will be told.
// * A tab that begins to lead without a line takes its cursor from a snapshot of its own, and only then names a new line.
//   Everybody else hears of another line than theirs, and takes a snapshot.
// * A tab that cannot listen (frozen, or kept for the back button) leaves its line.
// An event may come twice at a hand-over, never not at all. Ids tell: what was heard is not heard again.
//
// A leader that does not answer (its page shows `alert()`, or is stopped in a debugger) is deposed by whoever misses it.
//
// Deliberately absent: what events say, and requests. Without Web Locks or BroadcastChannel each tab leads itself.

/** @typedef {import("./events.js").ServerEvent} ServerEvent */
/** @typedef {import("./stream.js").StreamState} StreamState */

/**
 * @typedef {object} Pulse How the leader's stream is.
 * @property {StreamState} state
 * @property {number} heartbeatMs
 * @property {number} clockOffsetMs How far the server's clock is ahead of this machine's.
 */

/**
 * @typedef {object} Told What a leader tells.
 * @property {Pulse} pulse
 * @property {string} [line] None before the leader has a snapshot.
 * @property {string} [cursor] The id up to which everything has been told, this included.
 * @property {ServerEvent[]} events
 */

/** What a tab asks on coming, and on being looked at: where are we, and could you hurry? The leader answers all. */
const ASK = "ask";
/**
 * A leader answers at once; one that is only busy, on a slow machine, must not be taken for dead. Those who miss it do not
 * act together: up to twice as long.
 */
const ANSWER_MS = 5_000;
/** A live leader tells at least every second heartbeat, give or take a fifth. */
const HEARTBEATS_UNTOLD = 6;
/** Events that a tab remembers. A hand-over repeats a few. */
const REMEMBERED_MAX = 1_000;

/**
 * @typedef {object} LeadershipHandlers
 * @property {() => Promise<string>} snapshot Takes one, begun before this returns; gives the cursor that belongs to it.
 *   It does not give up: it fails only if the tab has left, or the token is refused.
 * @property {(signal: AbortSignal) => Promise<void>} lead Keeps the stream open. If it ends by itself, this tab leads no more.
 * @property {(events: ServerEvent[], pulse: Pulse) => void} heard
 * @property {() => Pulse} pulse
 * @property {() => void} asked
 */

/**
 * What of the browser is used; a test has its own.
 * @typedef {object} Surroundings
 * @property {Pick<LockManager, "request">} [locks]
 * @property {new (name: string) => BroadcastChannel} [Channel]
 */

export class Leadership {
  /** Up to where this tab has everything. @type {string | undefined} */
  cursor;
  leads = false;

  #name;
  #on;
  #locks;
  #Channel;
  /** @type {string | undefined} */
  #line;
  /** @type {Set<string>} */
  #remembered = new Set();
  /** @type {BroadcastChannel | undefined} */
  #channel;
  /** Aborted when this tab leaves. @type {AbortController | undefined} */
  #stay;
  /** Aborted when another attempt to lead takes this one's place. @type {AbortController | undefined} */
  #attempt;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #watch;

  /**
   * @param {string} name
   * @param {LeadershipHandlers} handlers
   * @param {Surroundings} [surroundings]
   */
  constructor(name, handlers, { locks, Channel } = browser()) {
    this.#name = name;
    this.#on = handlers;
    this.#locks = locks;
    this.#Channel = locks && Channel;
  }

  /** Begins to listen, and stands in line to lead. */
  join() {
    if (this.#stay) return;
    this.#stay = new AbortController();
    if (this.#Channel) {
      this.#channel = new this.#Channel(this.#name);
      this.#channel.onmessage = ({ data }) => (data === ASK ? this.#answer() : this.#listen(data));
      this.ask();
    }
    this.#stand({});
  }

  /** Lets go of everything at once, so that the next one leads before this tab is gone. */
  leave() {
    this.#stay?.abort();
    this.#stay = undefined;
    this.#channel?.close();
    this.#channel = undefined;
    this.#line = this.cursor = undefined;
    clearTimeout(this.#watch);
  }

  /** Somebody looks at this tab: how is the stream? */
  ask() {
    if (this.leads || !this.#channel) return this.#on.asked();
    this.#channel.postMessage(ASK);
    this.#afterSilence(ANSWER_MS * (1 + Math.random()), () => this.#stand({ steal: true }));
  }

  /** The leader tells everybody, and itself. @param {ServerEvent[]} [events] */
  tell(events = []) {
    if (!this.leads) return;
    this.cursor = events.at(-1)?.id || this.cursor;
    /** @type {Told} */
    const told = { pulse: this.#on.pulse(), line: this.#line, cursor: this.cursor, events };
    this.#channel?.postMessage(told);
    this.#hear(told);
  }

  #answer() {
    if (!this.leads) return;
    this.tell();
    this.#on.asked();
  }

  /** @param {Told} told */
  #listen(told) {
    const { line, cursor, pulse } = told;
    if (line && cursor) {
      this.cursor = cursor;
      if (line !== this.#line) {
        this.#line = line;
        // It repeats itself until it succeeds. If it fails, this tab has left.
        this.#on.snapshot().catch(() => {});
      }
    }
    clearTimeout(this.#watch);
    if (!this.leads && pulse.state === "live") {
      this.#afterSilence(HEARTBEATS_UNTOLD * pulse.heartbeatMs, () => this.ask());
    }
    this.#hear(told);
  }

  /** @param {Told} told */
  #hear({ events, pulse }) {
    const unheard = events.filter(({ id }) => !id || !this.#remembered.has(id));
    for (const { id } of unheard) this.#remembered.add(id);
    for (const id of this.#remembered) {
      if (this.#remembered.size <= REMEMBERED_MAX) break;
      this.#remembered.delete(id);
    }
    this.#on.heard(unheard, pulse);
  }

  /** @param {number} ms @param {() => void} act */
  #afterSilence(ms, act) {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(act, ms);
  }

  /** Waits for the lock, or takes it away; then leads as long as it is ours. @param {{ steal?: boolean }} how */
  async #stand(how) {
    const stay = this.#stay;
    if (!stay) return;
    this.#attempt?.abort();
    const attempt = (this.#attempt = new AbortController());
    const end = new AbortController();
    const signal = AbortSignal.any([stay.signal, end.signal]);
    if (!this.#locks) return this.#lead(signal);
    try {
      // The standard allows a signal only for those who wait.
      const options = how.steal ? how : { signal: AbortSignal.any([stay.signal, attempt.signal]) };
      await this.#locks.request(this.#name, options, () => this.#lead(signal));
    } catch {
      // Given up, or deposed: whoever is still here stands in line again.
      end.abort();
      if (!attempt.signal.aborted) this.#stand({});
    }
  }

  /** Leads. The lock is let go of as soon as the signal is aborted, whatever is still under way. @param {AbortSignal} signal */
  #lead(signal) {
    if (signal.aborted) return;
    clearTimeout(this.#watch);
    this.leads = true;
    /** @type {Promise<void>} */
    const deposed = new Promise((resolve) => signal.addEventListener("abort", () => resolve(this.#resign())));
    // If the token is refused, another tab may have a better one.
    return Promise.race([deposed, this.#go(signal).catch(() => {}).finally(() => signal.aborted || this.#resign())]);
  }

  #resign() {
    this.leads = false;
  }

  /** @param {AbortSignal} signal */
  async #go(signal) {
    this.tell();
    if (!this.#line) {
      const cursor = await this.#on.snapshot();
      if (signal.aborted) return;
      // Whoever was deposed may have told of its line meanwhile.
      this.cursor ??= cursor;
      this.#line ??= crypto.randomUUID?.() ?? "alone";
      this.tell();
    }
    await this.#on.lead(signal);
  }
}

/** @returns {Surroundings} */
function browser() {
  return { locks: globalThis.navigator?.locks, Channel: globalThis.BroadcastChannel };
}
