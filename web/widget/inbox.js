// What <pregon-inbox> shows: the list with its tabs, in a page or in the panel of the bell.
//
// Invariant: what is shown is what the client has. Nothing that is being read moves because something has arrived: what
// comes while the reader is further down waits behind a button.

import { createAnnouncer } from "./announcer.js";
import { drawing } from "./draw.js";
import drawings from "./drawings.js";
import { createFeed } from "./feed.js";
import { find, fragment, opensElsewhere, safeAddress } from "./markup.js";
import { createMenu } from "./menu.js";
import { createNote } from "./note.js";
import { PLACEHOLDER, showFailure } from "./placeholder.js";
import { createRows } from "./row.js";
import { createSelection } from "./selection.js";
import { showShortcuts } from "./shortcuts.js";
import { TABS, createTabs } from "./tabs.js";
import { createTimes } from "./times.js";

/** @typedef {import("../client/client.js").Item} Item */
/** @typedef {import("../client/client.js").Client} Client */
/** @typedef {import("../client/client.js").Snapshot} Snapshot */

/** A blink of a connection is nobody's business. */
const QUIET_RECONNECT_MS = 2_000;
const TIMES_EVERY_MS = 30_000;
/** Whoever looks for this long has seen it. */
const SEEN_AFTER_MS = 1_000;
/** With fewer than these to look at, or than are asked for at a time, more are loaded. */
const ENOUGH_ITEMS = 20;
/** What was read by one press can be taken back, as long as it is not more requests than a browser should make. */
const UNDO_ITEMS_MAX = 50;

const MARKUP = `<div class="inbox" part="inbox">
  <div class="head" part="header">
    <slot name="header"><h2 class="name" part="title"></h2></slot>
    <p class="count" dir="auto"></p>
    <p class="status" id="state" part="status" hidden></p>
    <button class="quiet" data-do="read-all"></button>
    <button class="tool shut" data-do="close">${drawing("close")}</button>
  </div>
  <div class="bar">
    <div class="tabs" part="tabs" role="tablist"></div>
    <div class="filters"><select class="category" hidden></select><input class="search" type="search" maxlength="100"></div>
  </div>
  <div class="scroll" id="panel" role="tabpanel">
    <i class="edge"></i>
    <button class="pill" part="pill" data-do="show-held" hidden></button>
    ${PLACEHOLDER}
    <div class="days" id="notices"></div>
    <div class="empty" id="empty" part="empty" hidden><slot name="empty">${drawings.empty}<h3></h3><p></p></slot></div>
    <div class="foot"><button class="choice" data-do="more" hidden></button><p class="end" hidden></p><i class="edge"></i></div>
  </div>
  <slot name="footer"></slot>
  <div class="note" part="toast" hidden><span class="note-text" role="status"></span><button class="note-act"></button><button class="tool note-close">${drawing("close")}</button></div>
  <div class="menu" part="menu" popover role="menu">${["mute", "copy-link"].map((act) => `<button role="menuitem" data-menu="${act}"></button>`).join("")}</div>
  <dialog class="shortcuts" closedby="any"><h3></h3><dl></dl><form method="dialog"><button class="choice"></button></form></dialog>
  <p class="visually-hidden" id="announcement" role="status"></p>
</div>`;

export class Inbox {
  #element;
  /** @type {import("./selection.js").Filter} */
  #filter = { tab: "all", category: "", words: "" };
  /** What waits behind the button. @type {Set<string>} */
  #held = new Set();
  /** What has arrived and was not shown yet. @type {Set<string>} */
  #arrived = new Set();
  #isNearEnd = false;
  #isLoadingMore = false;
  /** More was refused: by itself it is not asked for again before the connection is another one, or she wants it. */
  #hasFailedMore = false;
  /** The newest one when the server would not hear that all are seen: it is told so with the next one. @type {string | undefined} */
  #unseeable;
  #isInView = false;
  /** Whether what the server has drawn has given way to what the client has. */
  #hasShown = false;
  /** @type {ReturnType<Inbox["build"]> | undefined} */
  #parts;
  /** @type {ReturnType<typeof createSelection> | undefined} */
  #selection;
  /** The state of the connection, and the one that is shown. @type {Snapshot["state"] | undefined} */
  #state;
  /** @type {Snapshot["state"] | undefined} */
  #shownState;

  /**
   * @param {import("./element.js").PregonElement & { renderItem?: (item: Item, row: HTMLElement) => void }} element It may
   *   change a row after it was filled.
   */
  constructor(element) {
    this.#element = element;
  }

  clear() {
    const parts = this.#parts;
    this.#selection = undefined;
    this.#state = this.#shownState = undefined;
    this.#held.clear();
    Object.assign(this.#filter, { category: "", words: "" });
    if (!parts) return;
    parts.note.hide();
    parts.shortcuts.close();
    parts.search.value = parts.category.value = parts.count.textContent = "";
    for (const part of [parts.status, parts.readAll, parts.pill, parts.more, parts.end]) part.hidden = true;
    // What the server has drawn stays until there is something to take its place.
    if (!this.#hasShown) return;
    parts.feed.show([], () => false);
    parts.empty.hidden = true;
    parts.tabs.show(this.#filter.tab, { counts: { unread: 0, unseen: 0, total: 0 }, loaded: false });
  }

  /** @param {AbortSignal} signal */
  begin(signal) {
    const parts = this.#parts?.words.lang === this.#element.words.lang ? this.#parts : this.build();
    this.#parts = parts;
    const { say } = this.#element.words;
    parts.name.textContent = say("notifications");
    parts.readAll.textContent = say("read_all");
    parts.search.placeholder = say("search");
    parts.search.setAttribute("aria-label", say("search"));
    parts.category.setAttribute("aria-label", say("category"));
    parts.more.textContent = say("more");
    parts.end.textContent = say("end");
    for (const close of parts.root.querySelectorAll(".note-close, .shut")) close.setAttribute("aria-label", say("close"));
    this.#filter.tab = TABS.find((tab) => tab === this.#element.getAttribute("tab")) ?? this.#filter.tab;

    const ticking = setInterval(() => {
      parts.feed.tick();
      // What was today may be yesterday.
      this.#showList();
    }, TIMES_EVERY_MS);
    this.#element.during(() => clearInterval(ticking), signal);
    const view = new IntersectionObserver((entries) => {
      this.#isInView = entries.at(-1)?.isIntersecting ?? false;
      this.#see();
    });
    view.observe(parts.scroll);
    this.#element.during(() => view.disconnect(), signal);
    const edges = new IntersectionObserver((entries) => this.#watchEdges(entries), { rootMargin: "0px 0px 400px 0px" });
    for (const edge of parts.root.querySelectorAll(".edge")) edges.observe(edge);
    this.#element.during(() => edges.disconnect(), signal);
    document.addEventListener("visibilitychange", () => this.#see(), { signal });
  }

  /** @param {Client} client @param {AbortSignal} signal */
  listen(client, signal) {
    const selection = (this.#selection = createSelection(client, () => this.#showList()));
    this.#element.during(() => selection.end(), signal);
    for (const name of /** @type {const} */ (["state", "removed", "updated"])) this.#element.during(client.on(name, () => selection.spoil()), signal);
    this.#element.during(client.on("notification", (notification) => {
      const { id, replay, silent } = notification;
      this.#arrived.add(id);
      if (!this.#isAtTop() && this.#element.checkVisibility()) this.#held.add(id);
      // In the panel, it is the bell that tells.
      if (this.#element.has("panel") || !this.#element.tell("notification", notification)) return;
      if (!replay && !silent) this.#parts?.announcer.arrived();
    }), signal);
  }

  /** Builds what is in it, once. What the server has drawn stays until there is something to take its place. */
  build() {
    const { words } = this.#element;
    const root = this.#element.shadowRoot ?? this.#element.attachShadow({ mode: "open" });
    const drawn = root.querySelectorAll("#notices > .day");
    const drawnEmpty = root.querySelector(".empty:not([hidden])");
    const content = fragment(MARKUP);
    find(content, "#notices", HTMLElement).append(...drawn);
    find(content, ".skeleton", HTMLElement).hidden = drawn.length > 0 || drawnEmpty !== null;
    if (drawnEmpty) find(content, ".empty", HTMLElement).hidden = false;
    if (drawnEmpty) find(content, ".empty slot", HTMLElement).replaceChildren(...drawnEmpty.children);
    const links = root.querySelectorAll("link");
    // What the server has drawn brings its own sheet.
    if (links.length === 0) this.#element.dress(root);
    root.replaceChildren(...links, content);

    const times = createTimes(words, () => Date.now() + (this.#element.client?.getSnapshot().clockOffsetMs ?? 0));
    const rows = createRows({ words, times, server: () => this.#element.settings.server, render: (item, row) => this.#element.renderItem?.(item, row) });
    const act = (/** @type {string} */ name, /** @type {HTMLElement} */ row, /** @type {Event} */ event) => this.#act(name, row, event);
    const left = () => this.focusTab();
    const get = (/** @type {string} */ selector) => find(root, selector, HTMLElement);
    const noteHost = get(".note");
    const parts = {
      words, root, rows, noteHost,
      feed: createFeed(get("#notices"), { times, rows, act, left }),
      note: createNote(noteHost, left),
      menu: createMenu(get(".menu"), (name, row) => this.#act(name, row), left),
      announcer: createAnnouncer(get("#announcement"), () => this.#element.words),
      tabs: createTabs(get(".tabs"), words, (tab) => this.#choose({ tab })),
      name: get(".name"), count: get(".count"), status: get("#state"), readAll: get("[data-do=read-all]"),
      category: find(root, ".category", HTMLSelectElement), search: find(root, ".search", HTMLInputElement),
      pill: get(".pill"), skeleton: get(".skeleton"), days: get("#notices"),
      empty: get("#empty"), more: get("[data-do=more]"), end: get(".end"), scroll: get(".scroll"), shortcuts: find(root, "dialog", HTMLDialogElement),
    };
    get(".inbox").addEventListener("click", (event) => this.#press(event));
    parts.category.addEventListener("change", () => this.#choose({ category: parts.category.value }));
    parts.search.addEventListener("input", () => this.#choose({ words: parts.search.value }));
    return parts;
  }

  focusTab() {
    this.#parts?.tabs.focus(this.#filter.tab);
  }

  // --- What is shown -------------------------------------------------------------------------------------------

  /** @param {Snapshot} snapshot */
  show(snapshot) {
    const { state, counts, loaded } = snapshot;
    const parts = this.#parts;
    if (!parts) return;
    const { say } = this.#element.words;
    parts.count.textContent = loaded && counts.unread > 0 ? say("count", { count: counts.unread }) : "";
    this.#hide(parts.readAll, counts.unread === 0);
    const wanted = (this.#element.getAttribute("tabs") ?? TABS.join()).split(/[,\s]+/);
    parts.tabs.limit(wanted);
    if (!wanted.includes(this.#filter.tab)) this.#filter.tab = TABS.find((tab) => wanted.includes(tab)) ?? "all";
    parts.tabs.show(this.#filter.tab, snapshot);
    parts.scroll.setAttribute("aria-labelledby", `tab-${this.#filter.tab}`);
    this.#showState(state);
    this.#showList();
  }

  /** What has the focus does not go away with it. @param {HTMLElement} part @param {boolean} isHidden */
  #hide(part, isHidden) {
    if (isHidden && part.matches(":focus-within")) this.focusTab();
    part.hidden = isHidden;
  }

  /** @param {Snapshot["state"]} state */
  #showState(state) {
    if (state === this.#state) return;
    this.#state = state;
    const tell = () => {
      const parts = this.#parts;
      if (!parts || state !== this.#state) return;
      this.#shownState = state;
      this.#hasFailedMore = false;
      this.#unseeable = undefined;
      // What is archived could perhaps not be had until now.
      if (state === "live") this.#selection?.spoil();
      parts.status.dataset.state = state;
      parts.status.textContent = this.#element.words.say(`state_${state}`);
      parts.status.hidden = false;
      this.#showList();
    };
    if (state === "reconnecting") setTimeout(tell, QUIET_RECONNECT_MS);
    else tell();
  }

  /** Says that something cannot be shown, and what can be done. @param {boolean} hasFailed Whether it was asked for in vain. */
  #showFailure(hasFailed) {
    const { root } = this.#parts ?? {};
    if (!root) return false;
    const isExpired = this.#shownState === "unauthenticated";
    const failure = find(root, ".failure", HTMLElement);
    this.#hide(failure, !(isExpired || hasFailed) || failure.hidden !== false);
    const expired = isExpired ? ["state_unauthenticated", "expired_text", "sign_in"] : undefined;
    showFailure(root, isExpired || hasFailed, this.#element.words, expired);
    return isExpired || hasFailed;
  }

  #showList() {
    const parts = this.#parts;
    const selected = this.#selection?.of(this.#filter);
    if (!parts || !selected) return;
    const { say } = this.#element.words;
    const { items, more, loaded } = selected;
    const hasFailed = this.#showFailure(selected.hasFailed || (!loaded && this.#shownState === "reconnecting"));
    if (!loaded && this.#hasShown) parts.feed.show([], () => false);
    if (!loaded && this.#hasShown) parts.empty.hidden = true;
    parts.skeleton.hidden = loaded || hasFailed || parts.days.childElementCount > 0 || !parts.empty.hidden;
    if (!loaded) return;
    this.#hasShown = true;
    const visible = items.filter(({ id }) => !this.#held.has(id));
    parts.feed.show(visible, ({ id }) => this.#arrived.has(id));
    parts.menu.follow();
    this.#arrived.clear();
    const held = items.length - visible.length;
    parts.pill.hidden = held === 0;
    parts.pill.textContent = `↑ ${say("pill", { count: held })}`;

    const isEmpty = items.length === 0 && !more;
    const isFiltered = Boolean(this.#filter.category || this.#filter.words);
    const what = isFiltered ? "nothing_found" : this.#filter.tab === "all" ? "empty" : `empty_${this.#filter.tab}`;
    parts.empty.hidden = !isEmpty || hasFailed;
    find(parts.empty, "h3", HTMLElement).textContent = say(`${what}_title`);
    find(parts.empty, "p", HTMLElement).textContent = (what === "empty" && this.#element.getAttribute("empty-text")) || say(`${what}_text`);
    parts.more.hidden = !more;
    parts.end.hidden = more || isEmpty;
    this.#showCategories();
    const enough = Math.min(ENOUGH_ITEMS, this.#element.client?.pageSize ?? 0);
    if (more && !this.#hasFailedMore && (items.length < enough || this.#isNearEnd)) this.#loadMore();
    this.#see();
  }

  #showCategories() {
    const { category } = this.#parts ?? {};
    // The one that is chosen is there as long as it is, though nothing may be left in it.
    const names = this.#selection?.categories(this.#filter.category) ?? [];
    if (!category || names.join() === category.dataset.names) return;
    category.dataset.names = names.join();
    const option = (/** @type {string} */ value, /** @type {string} */ text) => new Option(text, value, false, value === this.#filter.category);
    category.replaceChildren(option("", this.#element.words.say("every_category")), ...names.map((name) => option(name, name)));
    category.hidden = names.length < 2 && !this.#filter.category;
  }

  /** What is in front of the reader's eyes for a moment, she has seen. */
  #see() {
    const newest = () => this.#element.client?.getSnapshot().items[0]?.id;
    const isSeen = () => {
      const unseen = this.#element.client?.getSnapshot().counts.unseen ?? 0;
      return unseen > 0 && !document.hidden && this.#isInView && this.#element.checkVisibility() && newest() !== this.#unseeable;
    };
    if (!isSeen() || this.#seeing) return;
    this.#seeing = setTimeout(() => {
      this.#seeing = undefined;
      const id = newest();
      if (isSeen()) this.#element.client?.inbox.markAllSeen().catch(() => (this.#unseeable = id));
    }, SEEN_AFTER_MS);
  }

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #seeing;

  /** Whether the beginning of the list is in view, or is still to come. No observer knows it as early as it is asked here. */
  #isAtTop() {
    const { scroll, root } = this.#parts ?? {};
    if (!scroll || !root) return true;
    const { bottom } = find(root, ".edge", HTMLElement).getBoundingClientRect();
    return bottom >= Math.max(0, scroll.getBoundingClientRect().top);
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #watchEdges(entries) {
    for (const { target, isIntersecting } of entries) {
      if (target.parentElement?.matches(".foot")) this.#isNearEnd = isIntersecting;
    }
    if (this.#isAtTop()) this.#held.clear();
    this.#showList();
  }

  async #loadMore() {
    if (this.#isLoadingMore) return;
    this.#isLoadingMore = true;
    this.#parts?.feed.busy(true);
    const isLoaded = await Promise.resolve(this.#selection?.more(this.#filter)).then(() => true, () => false);
    this.#hasFailedMore = !isLoaded;
    this.#parts?.feed.busy(false);
    // Where it has failed, the button is still there. Otherwise a page that does not fill the view asks for the next one,
    // once it is in its place.
    setTimeout(() => {
      this.#isLoadingMore = false;
      if (isLoaded) this.#showList();
    });
  }

  // --- What the reader does ------------------------------------------------------------------------------------

  /** @param {Partial<import("./selection.js").Filter>} change */
  #choose(change) {
    Object.assign(this.#filter, change);
    this.#held.clear();
    this.#hasFailedMore = false;
    if (change.tab) this.#parts?.scroll.scrollTo({ top: 0 });
    this.#element.changed();
  }

  /** @param {Event} event */
  #press({ target }) {
    const button = target instanceof Element ? target.closest("[data-do]") : null;
    if (!(button instanceof HTMLElement)) return;
    switch (button.dataset.do) {
      case "read-all": return this.#readAll();
      case "more": return this.#loadMore();
      case "close": return /** @type {HTMLElement | null} */ (this.#element.closest("[popover]"))?.hidePopover();
      case "show-held":
        this.#held.clear();
        this.#showList();
        find(this.#parts?.root ?? document, ".edge", HTMLElement).scrollIntoView({ block: "end" });
        return this.#parts?.feed.focusFirst();
      case "retry":
        if (this.#state === "unauthenticated" && !this.#element.tell("sign-in", {})) return;
        this.#hasFailedMore = false;
        this.#selection?.spoil();
        return this.#element.refresh();
    }
  }

  /** Shows a mark that the client makes, and says so if it fails. @param {Promise<unknown> | undefined} marking */
  async #mark(marking) {
    try {
      await marking;
      return true;
    } catch (error) {
      this.#element.tell("error", { error });
      this.#parts?.note.say(this.#element.words.say("failed_mark"));
      return false;
    }
  }

  async #readAll() {
    const { client } = this.#element;
    if (!client) return;
    const { items, counts } = client.getSnapshot();
    const unread = items.filter(({ read_at }) => !read_at).map(({ id }) => id);
    const canUndo = unread.length === counts.unread && unread.length <= UNDO_ITEMS_MAX;
    if (!(await this.#mark(client.inbox.markAllRead()))) return;
    const undo = () => void this.#mark(Promise.all(unread.map((id) => client.inbox.update(id, { read: false }))));
    this.#parts?.note.say(this.#element.words.say("all_read"), this.#element.words.say("undo"), canUndo ? undo : undefined);
  }

  /** @param {string} name @param {HTMLElement} row @param {Event} [event] */
  async #act(name, row, event) {
    const parts = this.#parts;
    const item = parts?.rows.itemOf(row);
    const { client } = this.#element;
    if (!parts || !item || !client) return;
    const { say } = this.#element.words;
    switch (name) {
      case "select": return this.#select(item, row, event);
      case "opened": return item.read_at ? undefined : this.#mark(client.inbox.update(item.id, { read: true }));
      case "read": return this.#mark(client.inbox.update(item.id, { read: !item.read_at }));
      case "read-all": return this.#readAll();
      case "unread": return this.#choose({ tab: "unread" });
      case "shortcuts": return this.showShortcuts();
      case "menu":
        // What the browser itself would do about a button that has a menu.
        event?.preventDefault();
        return parts.menu.toggle(row, {
          mute: item.category && say("mute", { category: item.category }),
          "copy-link": navigator.clipboard && safeAddress(item.url) && say("copy_link"),
        });
      case "copy-link":
        if (!(await this.#mark(navigator.clipboard.writeText(new URL(safeAddress(item.url) ?? "", location.href).href)))) return;
        return parts.note.say(say("copied"));
      case "mute": return this.#mute(item.category ?? "");
      case "archive": {
        const isArchived = !item.archived_at;
        const done = this.#mark(this.#selection?.archive(item, isArchived));
        // On a slow line the one could overtake the other.
        const undo = () => void done.then(() => this.#mark(this.#selection?.archive(item, !isArchived)));
        return parts.note.say(say(isArchived ? "archived" : "restored"), say("undo"), undo);
      }
      case "action": {
        const button = event?.target instanceof Element ? event.target.closest("[data-action]") : null;
        const action = item.actions?.find(({ id }) => button instanceof HTMLElement && id === button.dataset.action);
        if (!opensElsewhere(event) && !this.#element.tell("action", { item, action })) event?.preventDefault();
        if (!item.read_at) this.#mark(client.inbox.update(item.id, { read: true }));
      }
    }
  }

  /** @param {Item} item @param {HTMLElement} row @param {Event} [event] */
  #select(item, row, event) {
    const link = row.querySelector(":is(.notice-title, .notice-message) a[href]");
    const isOnLink = event?.type === "click" && event.target instanceof Node && link?.contains(event.target);
    // Wherever the row is pressed, it is its link that is pressed.
    if (link instanceof HTMLAnchorElement && !isOnLink) {
      if (!opensElsewhere(event)) return link.click();
      open(link.href, "_blank", "noopener,noreferrer");
    }
    if (!item.read_at) this.#mark(this.#element.client?.inbox.update(item.id, { read: true }));
    if (!opensElsewhere(event) && !this.#element.tell("select", { item })) event?.preventDefault();
  }

  /** @param {string} category */
  async #mute(category) {
    const { client } = this.#element;
    if (!client) return;
    const { say } = this.#element.words;
    const change = async (/** @type {(muted: string[]) => string[]} */ next) => {
      const { muted } = await client.preferences.get();
      await client.preferences.update({ muted: next(muted) });
    };
    const undo = () => void this.#mark(change((muted) => muted.filter((name) => name !== category)));
    const isDone = await this.#mark(change((muted) => [...new Set([...muted, category])]));
    if (isDone) this.#parts?.note.say(say("muted", { category }), say("undo"), undo);
  }

  showShortcuts() {
    if (this.#parts) showShortcuts(this.#parts.shortcuts, this.#element.words);
  }
}
