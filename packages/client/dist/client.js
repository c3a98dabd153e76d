// ../web/client/access.js
var Refusal = class extends Error {
  /** @param {Response} response @param {{ code?: string, detail?: string }} [problem] */
  constructor({ status, headers }, { code, detail = `status ${status}` } = {}) {
    super(detail);
    this.status = status;
    this.code = code;
    const told = headers.get("retry-after") ?? "";
    this.retryAfterMs = Math.max(0, Number(told) * 1e3 || Date.parse(told) - Date.now() || 0);
  }
};
var Unauthenticated = class extends Error {
};
function createAccess({ server, user, token, locale, fetch = globalThis.fetch }) {
  const base = new URL(server, globalThis.location?.href).href.replace(/\/$/, "");
  let given;
  async function ask() {
    await void 0;
    try {
      return typeof token === "function" ? await token() : token;
    } catch (error) {
      given = void 0;
      throw error;
    }
  }
  function urlOf(path, query) {
    const url = new URL(base + path);
    const set = JSON.parse(JSON.stringify({ user_id: user, lang: locale, ...query }));
    url.search = String(new URLSearchParams(set));
    return url;
  }
  async function send(path, query, init) {
    for (let tries = typeof token === "function" ? 2 : 1; tries > 0; tries -= 1) {
      const used = given ??= ask();
      const word = await used;
      const headers = { ...init?.headers, ...word && { authorization: `Bearer ${word}` } };
      const response = await fetch(urlOf(path, query), { ...init, headers });
      if (![401, 403].includes(response.status)) return response;
      await response.body?.cancel();
      if (given === used) given = void 0;
    }
    throw new Unauthenticated("the token is refused, or there is none");
  }
  return {
    /**
     * Names what only clients of the same server, user and language may share. A list in JSON has one reading, so two
     * users have two names, however they are called.
     */
    name: `pregon ${JSON.stringify([base, user, locale])}`,
    urlOf,
    send,
    /**
     * Sends a request whose answer is JSON.
     * @param {string} method
     * @param {string} path
     * @param {{ query?: Query, body?: object, signal?: AbortSignal }} [options]
     * @returns {Promise<any>}
     */
    async json(method, path, { query, body, signal } = {}) {
      const headers = body && { "content-type": "application/json" };
      const keepalive = body !== void 0;
      const response = await send(path, query, { method, headers, body: JSON.stringify(body), signal, keepalive });
      if (response.ok) return response.json();
      throw new Refusal(response, await response.json().catch(() => {
      }));
    },
    /** Asks for a fresh token while the old one is still good. Gives whether there is one to go on with. */
    async renew() {
      const old = await given;
      const fresh = await ask();
      if (!fresh || fresh === old) return false;
      given = fresh;
      return true;
    }
  };
}

// ../web/client/backoff.js
var FIRST_WAIT_MS = 1e3;
var LONGEST_WAIT_MS = 3e4;
var GOOD_LIFE_MS = 1e4;
function createBackoff() {
  let endWait = () => {
  };
  return {
    /**
     * Gives what an attempt gives, once one succeeds. Fails when the token is refused, or at the end of an attempt or a
     * wait in which the signal was aborted.
     * @template T
     * @param {(live: () => void) => Promise<T>} attempt It says when it is good so far. It fails with `retryAfterMs` if
     *   the server has said how long to wait.
     * @param {AbortSignal} signal
     * @param {() => void} failed Told of each failure, before the wait.
     * @returns {Promise<T>}
     */
    async insist(attempt, signal, failed) {
      for (let failures = 0; ; failures += 1) {
        let liveSince = Infinity;
        let waitMs = 0;
        try {
          return await attempt(() => liveSince = Date.now());
        } catch (error) {
          if (signal.aborted || error instanceof Unauthenticated) throw error;
          waitMs = /** @type {{ retryAfterMs?: number }} */
          error.retryAfterMs ?? 0;
        }
        failed();
        if (Date.now() - liveSince >= GOOD_LIFE_MS) failures = 0;
        waitMs += Math.random() * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures);
        await new Promise((resolve) => setTimeout(endWait = () => resolve(void 0), waitMs));
        signal.throwIfAborted();
      }
    },
    /** There is news: whoever waits has waited long enough. */
    cut() {
      endWait();
    }
  };
}

// ../web/client/events.js
async function* eventsOf(response) {
  const { status, ok, headers, body } = response;
  if (status === 204) return;
  if (!ok || !body || !headers.get("content-type")?.startsWith("text/event-stream")) throw new Refusal(response);
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let retryAfterMs = 0;
  for (; ; ) {
    const { done, value } = await reader.read();
    if (done) throw { retryAfterMs };
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop() ?? "";
    yield blocks.flatMap((block) => {
      const lines = block.split("\n").map((line) => line.split(/: ?(.*)/s));
      const { event: name = "message", id = "", data, retry } = Object.fromEntries(lines);
      if (retry) retryAfterMs = Number(retry);
      return data ? [{ name, id, data: JSON.parse(data) }] : [];
    });
  }
}

// ../web/client/inbox.js
var ITEMS_MAX = 1e3;
var NOTHING = { items: [], counts: { unread: 0, unseen: 0, total: 0 }, nextCursor: null, loaded: false };
function createInbox() {
  let base = NOTHING;
  let shown;
  let pending = [];
  const fetching = /* @__PURE__ */ new Set();
  function become(next) {
    if (next !== base) shown = void 0;
    base = next;
  }
  function apply(change) {
    const before = base;
    for (const heard of fetching) heard.push(change);
    for (const one of pending) one.isHeard ||= change.name === "state" && words(one.mark) === words(change.data);
    become(applied(base, change));
    return base !== before;
  }
  function drop(one) {
    pending = pending.filter((other) => other !== one);
    shown = void 0;
  }
  return {
    /** What to show. The same object until something changes. */
    get shown() {
      return shown ??= pending.reduce((contents, { mark }) => marked(contents, mark), base);
    },
    // --- What the server says --------------------------------------------------------------------------------
    apply,
    /** A page is asked for: from now on, what arrives is remembered for it. */
    begin() {
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
    /** Shows a mark as if it were done. @param {Mark} mark @returns {Pending} */
    mark(mark) {
      const one = { mark };
      pending.push(one);
      shown = void 0;
      return one;
    },
    /**
     * The server has done it, and its word is as good as the stream's. If the stream has said so already, it may have
     * said more since.
     * @param {Pending} one
     */
    confirm(one) {
      drop(one);
      if (!one.isHeard) apply({ name: "state", data: one.mark });
    },
    /** It was not done. */
    rollBack: drop
  };
}
function has({ items }, id) {
  return items.some((item) => item.id === id);
}
function isOfAbsent(contents, { name, data: { id, up_to, ids, set } }) {
  const isAbsent = (id2) => !has(contents, id2);
  if (name === "removed") return contents.nextCursor !== null && isAbsent(id);
  if (name !== "state" || !contents.loaded) return false;
  return up_to ? isAbsent(up_to) : set.archived === false && ids?.some(isAbsent);
}
function applied(contents, { name, data }) {
  if (name === "state") return marked(contents, data);
  const { replay, ...notification } = data;
  const { items, nextCursor } = contents;
  const old = items.find(({ id }) => id === data.id);
  const oldest = items.at(-1);
  const isOlder = nextCursor !== null && oldest && data.timestamp < oldest.timestamp;
  if (name === "message" && !old && !isOlder) {
    const all = [{ ...notification, seen_at: null, read_at: null, archived_at: null }, ...items];
    const after = withItems(contents, all.slice(0, ITEMS_MAX));
    return all.length > ITEMS_MAX ? { ...after, nextCursor: null } : after;
  }
  if (name === "updated" && old) {
    const { seen_at, read_at, archived_at } = old;
    const item = { ...notification, seen_at, read_at, archived_at };
    return withItems(contents, items.map((other) => other === old ? item : other));
  }
  return name === "removed" && old ? withItems(contents, items.filter((other) => other !== old)) : contents;
}
function marked(contents, { ids, up_to, set, at, counts }) {
  let isConcerned = !ids && !up_to;
  const items = contents.items.map((item) => {
    isConcerned ||= item.id === up_to;
    return isConcerned || ids?.includes(item.id) ? itemMarked(item, set, at) : item;
  });
  const after = withItems(contents, items);
  if (counts) return { ...after, counts };
  if (!ids) {
    const { unread, unseen } = tally(items);
    if (set.read) after.counts.unread = unread;
    if (set.read || set.seen) after.counts.unseen = unseen;
  }
  return after;
}
function itemMarked(item, { seen, read, archived }, at) {
  const time = (was, wanted) => wanted === void 0 ? was : wanted ? was ?? at : null;
  const after = {
    ...item,
    seen_at: time(item.seen_at, read || seen),
    read_at: time(item.read_at, read ?? (seen === false ? false : void 0)),
    archived_at: time(item.archived_at, archived)
  };
  return JSON.stringify(after) === JSON.stringify(item) ? item : after;
}
function words({ ids, up_to, set: { seen, read, archived } }) {
  return JSON.stringify([ids, up_to, seen, read, archived]);
}
function tally(items) {
  const present = items.filter(({ archived_at }) => !archived_at);
  const without = (mark) => present.filter((item) => !item[mark]).length;
  return { unread: without("read_at"), unseen: without("seen_at"), total: present.length };
}
function withItems(contents, items) {
  const [before, after] = [tally(contents.items), tally(items)];
  const count = (key) => Math.max(0, contents.counts[key] + after[key] - before[key]);
  return { ...contents, items, counts: { unread: count("unread"), unseen: count("unseen"), total: count("total") } };
}

// ../web/client/leadership.js
var ASK = "ask";
var ANSWER_MS = 5e3;
var SILENCE_MS = 6e4;
var REMEMBERED_MAX = 1e3;
function createLeadership(name, { takeSnapshot, keepOpen, heard, pulse, hurry }, browser = globalThis) {
  const locks = browser.navigator?.locks;
  let cursor;
  let line;
  let reign;
  let remembered = [];
  let channel;
  let attempt;
  let watch;
  const leads = () => reign?.aborted === false;
  function afterSilence(ms, act) {
    clearTimeout(watch);
    watch = setTimeout(act, ms);
  }
  function ask() {
    if (leads() || !channel) return hurry();
    channel.postMessage(ASK);
    afterSilence(ANSWER_MS * (1 + Math.random()), () => stand({ steal: true }));
  }
  function tell(events = []) {
    if (!leads()) return;
    cursor = events.at(-1)?.id || cursor;
    const told = { pulse: pulse(), line, cursor, events };
    channel?.postMessage(told);
    hear(told);
  }
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
  function hear({ events, pulse: pulse2 }) {
    const unheard = events.filter(({ id }) => !id || !remembered.includes(id));
    remembered = [...remembered, ...unheard.map(({ id }) => id)].slice(-REMEMBERED_MAX);
    heard(unheard, pulse2);
  }
  async function stand(how) {
    attempt?.abort();
    const { signal } = attempt = new AbortController();
    try {
      if (!locks) return await lead(signal);
      await locks.request(name, how.steal ? how : { signal }, () => lead(signal));
    } catch {
      if (!signal.aborted) stand({});
    }
  }
  function lead(signal) {
    clearTimeout(watch);
    reign = signal;
    const over = new Promise((resolve) => signal.addEventListener("abort", resolve));
    return Promise.race([over, go(signal)]);
  }
  async function go(signal) {
    tell();
    if (!line) {
      const own = await takeSnapshot();
      if (signal.aborted) return;
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
      if (locks && browser.BroadcastChannel) {
        channel = new browser.BroadcastChannel(name);
        channel.onmessage = listen;
        ask();
      }
      stand({});
    },
    /** Lets go of everything at once, so that the next one leads before this tab is gone. */
    leave() {
      attempt?.abort();
      channel?.close();
      attempt = channel = line = cursor = void 0;
      clearTimeout(watch);
    }
  };
}

// ../web/client/stream.js
var HEARTBEAT_MS = 15e3;
var HEARTBEATS_MISSED = 2.5;
function createStream({ open, heard, become }) {
  const backoff = createBackoff();
  let heartbeatMs = HEARTBEAT_MS;
  let silentAt = Infinity;
  let connection = new AbortController();
  let isMoving = false;
  async function connect(signal, live) {
    const own = connection = new AbortController();
    const ended = AbortSignal.any([signal, own.signal]);
    isMoving = false;
    let timer;
    const expectOne = () => {
      const ms = HEARTBEATS_MISSED * heartbeatMs;
      clearTimeout(timer);
      silentAt = Date.now() + ms;
      timer = setTimeout(() => own.abort(), ms);
    };
    try {
      expectOne();
      for await (const events of open(ended)) {
        if (ended.aborted || Date.now() > silentAt) throw new Error("too late");
        const hello = events.find(({ name }) => name === "hello");
        if (hello) {
          heartbeatMs = hello.data.heartbeat_ms;
          live();
          become("live");
        }
        expectOne();
        if (events.length > 0) heard(events);
      }
    } finally {
      clearTimeout(timer);
      silentAt = Infinity;
      own.abort();
    }
  }
  return {
    /**
     * Keeps a stream open until the server says that there is nothing to come back for (204). Fails when the user's
     * token is refused, or in the end when the signal is aborted.
     * @param {AbortSignal} signal
     */
    run: (signal) => backoff.insist(async (live) => {
      for (; ; ) {
        try {
          return await connect(signal, live);
        } catch (error) {
          if (!isMoving) throw error;
        }
      }
    }, signal, () => become("reconnecting")),
    /**
     * Cuts a wait short, and does not trust a timer that a frozen tab could not run.
     * @param {boolean} [isBetter] Another connection is better, whatever this one is. It takes its place at once, and
     *   nobody is told.
     */
    wake(isBetter = Date.now() > silentAt) {
      backoff.cut();
      isMoving ||= isBetter;
      if (isBetter) connection.abort();
    }
  };
}

// ../web/client/client.js
var PAGE_ITEMS = 50;
var PAGE_ITEMS_MAX = 100;
var SPREAD_MS = 3e4;
var CLOCK_STEP_MS = 1e3;
var TIMER_MAX_MS = 2 ** 31 - 1;
function createClient(options) {
  const access = createAccess(options);
  const inbox = createInbox();
  const backoff = createBackoff();
  const end = new AbortController();
  let pulse = { state: "connecting", clockOffsetMs: 0 };
  let ended;
  let shown;
  let snapshot;
  let told;
  let changing;
  const listeners = new EventTarget();
  let expiry;
  let refreshing;
  let presence = new AbortController();
  let wanted = {};
  function getSnapshot() {
    const state = ended ?? (globalThis.navigator?.onLine === false ? "offline" : pulse.state);
    const { clockOffsetMs } = pulse;
    if (shown === inbox.shown && snapshot.state === state && snapshot.clockOffsetMs === clockOffsetMs) return snapshot;
    shown = inbox.shown;
    const { counts, loaded, nextCursor } = shown;
    const items = shown.items.filter(({ archived_at }) => !archived_at);
    return snapshot = { state, items, counts, loaded, more: nextCursor !== null, clockOffsetMs };
  }
  function change() {
    changing ??= Promise.resolve().then(() => {
      changing = void 0;
      expire();
      if (told !== getSnapshot()) emit("change", told = snapshot);
    });
  }
  function expire() {
    const now = Date.now() + pulse.clockOffsetMs;
    inbox.expire(now);
    clearTimeout(expiry);
    const ends = inbox.shown.items.flatMap(({ expires_at }) => expires_at ? Date.parse(expires_at) : []);
    if (ends.length > 0) expiry = setTimeout(change, Math.min(Math.min(...ends) - now, TIMER_MAX_MS));
  }
  function on(name, listener) {
    const hear2 = ({ detail }) => listener(detail);
    listeners.addEventListener(name, hear2);
    return () => listeners.removeEventListener(name, hear2);
  }
  function emit(name, detail) {
    listeners.dispatchEvent(new CustomEvent(name, { detail }));
  }
  const stream = createStream({
    async *open(signal) {
      const after = { last_event_id: leadership.cursor };
      if (options.transport === "eventsource" || !("body" in Response.prototype)) {
        const { eventsBySource } = await import("./eventsource.js");
        yield* eventsBySource(access, after, signal);
      } else yield* eventsOf(await access.send("/v1/stream", after, { signal, cache: "no-store" }));
    },
    heard: (events) => leadership.tell(events),
    become
  });
  const leadership = createLeadership(access.name, {
    takeSnapshot,
    async keepOpen(signal) {
      if (inbox.shown.loaded) become("reconnecting");
      await stream.run(signal).then(() => stop("closed"), refuse);
    },
    heard(events, theirs) {
      pulse = theirs;
      events.forEach(hear);
      change();
    },
    pulse: () => pulse,
    hurry
  });
  function become(state) {
    if (!leadership.leads() || state === pulse.state) return;
    pulse = { ...pulse, state };
    leadership.tell();
  }
  function hear(event) {
    const { name, data } = event;
    if (name === "hello") {
      const steps = Math.round((Date.parse(data.server_time) - Date.now()) / CLOCK_STEP_MS);
      pulse = { ...pulse, clockOffsetMs: steps * CLOCK_STEP_MS };
    }
    if (name === "token_expiring") renew(Date.parse(data.expires_at));
    if (name === "reset") refreshIn(0);
    if (isOfAbsent(inbox.shown, event)) refreshIn(name === "removed" ? Math.random() * SPREAD_MS : 0);
    const isNew = inbox.apply(event);
    if (name !== "message") emit(name, data);
    else if (isNew) emit("notification", data);
  }
  function renew(end2) {
    const leftMs = end2 - pulse.clockOffsetMs - Date.now();
    setTimeout(async () => {
      if (leadership.leads() && await access.renew().catch(() => {
      })) stream.wake(true);
    }, Math.random() * leftMs / 2);
  }
  function takeSnapshot() {
    clearTimeout(refreshing);
    const own = wanted = {};
    const attempt = async () => {
      const limit = Math.min(Math.max(inbox.shown.items.length, PAGE_ITEMS), PAGE_ITEMS_MAX);
      const { stream_cursor } = await take({ limit }, (heard, answer) => {
        if (own === wanted && !inbox.replace(heard, answer)) refreshIn(0);
      });
      return stream_cursor;
    };
    return backoff.insist(attempt, presence.signal, () => become("reconnecting")).catch(refuse);
  }
  async function take(query, use) {
    const { signal } = presence;
    const heard = inbox.begin();
    try {
      const answer = await access.json("GET", "/v1/inbox", { query, signal });
      signal.throwIfAborted();
      use(heard, answer);
      return answer;
    } finally {
      inbox.end(heard);
      change();
    }
  }
  function refreshIn(waitMs) {
    clearTimeout(refreshing);
    refreshing = setTimeout(takeSnapshot, waitMs);
  }
  async function mark(what, method, path, body) {
    const pending = inbox.mark({ ...what, at: new Date(Date.now() + pulse.clockOffsetMs).toISOString() });
    change();
    try {
      const answer = await access.json(method, `/v1/inbox/${path}`, { body });
      inbox.confirm(pending);
      return answer;
    } catch (error) {
      inbox.rollBack(pending);
      refuse(error);
      throw error;
    } finally {
      change();
    }
  }
  async function markAll(path, set) {
    const up_to = inbox.shown.items[0]?.id;
    if (up_to) await mark({ up_to, set }, "POST", path, { up_to });
  }
  let loadingMore;
  async function loadMore() {
    const cursor = inbox.shown.nextCursor;
    if (cursor === null) return;
    await take({ limit: PAGE_ITEMS, cursor }, (heard, answer) => {
      if (inbox.shown.nextCursor === cursor) inbox.append(heard, answer);
    });
  }
  function refuse(error) {
    if (error instanceof Unauthenticated) stop("unauthenticated");
  }
  function stop(how) {
    ended ??= how;
    leave();
    end.abort();
    change();
  }
  function leave() {
    presence.abort();
    leadership.leave();
    hurry();
    clearTimeout(refreshing);
  }
  function hurry() {
    stream.wake();
    backoff.cut();
  }
  function look() {
    if (presence.signal.aborted) presence = new AbortController();
    leadership.join();
    backoff.cut();
    leadership.ask();
  }
  const news = globalThis.document && [
    [window, {
      online() {
        become("reconnecting");
        stream.wake(true);
        look();
        change();
      },
      offline: change,
      // A page that is kept for the back button, or frozen, must not hold the stream that others wait for.
      pagehide: leave,
      pageshow: look
    }],
    [document, { freeze: leave, resume: look, visibilitychange: () => document.hidden || look() }]
  ];
  for (const [target, acts] of news ?? []) {
    for (const [name, act] of Object.entries(acts)) target.addEventListener(name, act, { signal: end.signal });
  }
  leadership.join();
  return {
    inbox: {
      /**
       * A page of the inbox as it is on the server, beside what `getSnapshot` gives.
       * @param {{ status?: "all" | "unread" | "read" | "archived", category?: string, topic?: string, limit?: number,
       *   cursor?: string }} [query]
       * @returns {Promise<Page>}
       */
      list: (query) => access.json("GET", "/v1/inbox", { query }),
      /** @param {string} id @returns {Promise<Item>} */
      get: (id) => access.json("GET", `/v1/inbox/${id}`),
      /**
       * Marks one. It is shown at once, and taken back if it fails.
       * @param {string} id
       * @param {MarkSet} set
       * @returns {Promise<Item>}
       */
      update: (id, set) => mark({ ids: [id], set }, "PATCH", id, set),
      /** Marks all that are here, and all that are older. What arrives meanwhile stays as it is. */
      markAllRead: () => markAll("read-all", { read: true }),
      markAllSeen: () => markAll("seen", { seen: true }),
      /** Loads older ones, if there are any. */
      more: () => loadingMore ??= loadMore().finally(() => loadingMore = void 0)
    },
    preferences: {
      /** What she does not want. @returns {Promise<Preferences>} */
      get: () => access.json("GET", "/v1/inbox/preferences"),
      /**
       * Mutes these categories and no others, from here on.
       * @param {Preferences} body
       * @returns {Promise<Preferences>}
       */
      update: (body) => access.json("PUT", "/v1/inbox/preferences", { body })
    },
    get counts() {
      return getSnapshot().counts;
    },
    on,
    /** Calls a listener after every change. Returns what takes it back. @param {() => void} listener */
    subscribe: (listener) => on("change", listener),
    getSnapshot,
    /** Asks the server anew, whatever is here, until it answers. */
    refresh: takeSnapshot,
    /** For log-out too: nothing of the user is left. */
    close() {
      ended = "closed";
      inbox.clear();
      stop("closed");
    }
  };
}
export {
  Refusal,
  Unauthenticated,
  createClient
};
