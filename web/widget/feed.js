// The list of rows: grouped by day, kept as it is told, moved through by keys.
//
// Invariants:
// * The rows are those of the items that were shown last, in their order, each once. One that stays keeps its element.
// * The focus never moves because something has arrived, also if its row moves to another day. If the row that has it goes
//   away, the next one gets it.

import { find, fragment } from "./markup.js";

/** @typedef {import("../client/client.js").Item} Item */

/** @type {Record<string, number>} */
const STEPS = { j: 1, PageDown: 1, k: -1, PageUp: -1 };

/** @type {Record<string, string>} */
const KEYS = { Enter: "select", r: "read", u: "read", e: "archive", A: "read-all", g: "go", "?": "shortcuts" };

/**
 * @param {HTMLElement} host
 * @param {object} options
 * @param {import("./times.js").Times} options.times
 * @param {ReturnType<typeof import("./row.js").createRows>} options.rows
 * @param {(act: string, row: HTMLElement, event: Event) => void} options.act What is done with a row, by pointer or by key.
 * @param {() => void} options.left The row with the focus is gone, and there is no other.
 */
export function createFeed(host, { times, rows, act, left }) {
  /** @type {Map<string, HTMLElement>} */
  const shown = new Map();
  /** @type {Map<string, HTMLElement>} */
  const days = new Map();

  /** @param {string} name */
  function dayOf(name) {
    const day = find(fragment('<section class="day" part="group"><h3 dir="auto"></h3><div class="rows" role="feed" part="feed"></div></section>'), "section", HTMLElement);
    find(day, "h3", HTMLElement).textContent = name;
    find(day, ".rows", HTMLElement).setAttribute("aria-label", name);
    days.set(name, day);
    return day;
  }

  /** Puts an element where it belongs, unless it is there. @param {Element} parent @param {Element} element @param {Element | null} place */
  function put(parent, element, place) {
    if (element === place) return place.nextElementSibling;
    parent.insertBefore(element, place);
    return place;
  }

  const all = () => [...host.querySelectorAll(".notice")].filter((row) => row instanceof HTMLElement);
  const root = () => /** @type {Document | ShadowRoot} */ (host.getRootNode());
  const focused = () => root().activeElement?.closest(".notice") ?? null;

  /** @param {HTMLElement} row @param {number} step */
  function move(row, step) {
    const order = all();
    const next = order[order.indexOf(row) + step];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }

  /** Whether words of a row are marked: whoever has done that wants to copy them. @param {HTMLElement} row */
  function isMarked(row) {
    const shadow = root();
    try {
      // Of what is marked in a shadow tree, a selection tells only if it is asked for by name. Not every browser can, and
      // some took the names in another form.
      const ranges = shadow instanceof ShadowRoot ? getSelection()?.getComposedRanges?.({ shadowRoots: [shadow] }) : undefined;
      return ranges?.some(({ collapsed, startContainer }) => !collapsed && row.contains(startContainer)) ?? false;
    } catch {
      return false;
    }
  }

  let lastKey = "";
  host.addEventListener("keydown", (event) => {
    const row = focused();
    const { key } = event;
    // A key that is held down moves on, and does everything else once.
    if (event.repeat && !STEPS[key]) return;
    if (!(row instanceof HTMLElement) || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = STEPS[key];
    // A button or a link that has the focus has its own meaning for this key.
    const what = key === "Enter" && root().activeElement !== row ? undefined : KEYS[key];
    if (step) move(row, step);
    else if (lastKey === "g" && key === "u") act("unread", row, event);
    else if (what && what !== "go") act(what, row, event);
    else if (what === undefined) return;
    lastKey = key;
    event.preventDefault();
  });

  host.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : host;
    const row = target.closest(".notice");
    if (!(row instanceof HTMLElement)) return;
    const tool = target.closest("[data-act], [data-action]");
    // The second press of a double one was for the row that has gone from there.
    if (tool instanceof HTMLElement && event.detail > 1 && tool.dataset.act === "archive") return;
    if (tool instanceof HTMLElement) act(tool.dataset.act ?? "action", row, event);
    else if (!isMarked(row)) act("select", row, event);
    // A link can be dragged over too.
    else event.preventDefault();
  });
  host.addEventListener("auxclick", (event) => {
    const row = event.target instanceof Element && event.button === 1 && event.target.closest("a[href]")?.closest(".notice");
    if (row instanceof HTMLElement) act("opened", row, event);
  });

  return {
    /**
     * @param {readonly Item[]} items
     * @param {(item: Item) => boolean} isNews Whether to point out that it has just arrived.
     */
    show(items, isNews) {
      const order = all();
      const had = focused();
      const active = root().activeElement;
      const byDay = new Map(items.map((item) => [times.day(item.timestamp), /** @type {Item[]} */ ([])]));
      for (const item of items) byDay.get(times.day(item.timestamp))?.push(item);
      const wanted = new Set(items.map(({ id }) => id));
      for (const [id, row] of shown) if (!wanted.has(id)) row.remove(), shown.delete(id);
      for (const [name, day] of days) if (!byDay.has(name)) day.remove(), days.delete(name);

      let position = 0;
      /** @type {Element | null} */
      let dayPlace = host.firstElementChild;
      for (const [name, group] of byDay) {
        const day = days.get(name) ?? dayOf(name);
        dayPlace = put(host, day, dayPlace);
        const list = find(day, ".rows", HTMLElement);
        /** @type {Element | null} */
        let place = list.firstElementChild;
        for (const item of group) {
          const isNew = !shown.has(item.id);
          const row = shown.get(item.id) ?? rows.create(item);
          if (isNew && isNews(item)) row.classList.add("notice-new");
          shown.set(item.id, row);
          rows.update(row, item);
          place = put(list, row, place);
          row.setAttribute("aria-posinset", String((position += 1)));
          row.setAttribute("aria-setsize", "-1");
        }
      }
      // What the server has drawn, or what was there before the days changed.
      for (const other of [...host.children]) if (![...days.values()].includes(/** @type {HTMLElement} */ (other))) other.remove();

      if (had instanceof HTMLElement && !had.isConnected) {
        const at = order.indexOf(had);
        const next = [...order.slice(at + 1), ...order.slice(0, at).reverse()].find((row) => row.isConnected);
        if (next) next.focus();
        else left();
      } else if (had instanceof HTMLElement && active instanceof HTMLElement && root().activeElement !== active) {
        (active.isConnected ? active : had).focus();
      }
    },

    /** @param {boolean} isBusy */
    busy(isBusy) {
      for (const list of host.querySelectorAll(".rows")) list.setAttribute("aria-busy", String(isBusy));
    },

    /** Tells the times anew. */
    tick() {
      for (const time of host.getElementsByTagName("time")) times.show(time);
    },

    focusFirst: () => all()[0]?.focus(),
  };
}
