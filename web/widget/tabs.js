// The tabs: which part of the inbox is shown, and how many there are in each.

import { find, fragment } from "./markup.js";

/** @typedef {import("./selection.js").Tab} Tab */

/** @type {readonly Tab[]} */
export const TABS = ["all", "unread", "archived"];

const TAB = '<button class="tab" part="tab" role="tab" aria-controls="panel"><span></span> <span class="tab-count"></span></button>';

/**
 * @param {HTMLElement} host
 * @param {import("./words.js").Words} words
 * @param {(tab: Tab) => void} choose
 */
export function createTabs(host, { say }, choose) {
  host.setAttribute("aria-label", say("tabs"));
  const all = new Map(TABS.map((name) => {
    const tab = find(fragment(TAB), "button", HTMLButtonElement);
    tab.id = `tab-${name}`;
    find(tab, "span", HTMLElement).textContent = say(`tab_${name}`);
    tab.addEventListener("click", () => choose(name));
    return [name, tab];
  }));
  host.replaceChildren(...all.values());

  host.addEventListener("keydown", (event) => {
    const names = TABS.filter((name) => !all.get(name)?.hidden);
    const at = names.findIndex((name) => all.get(name)?.getAttribute("aria-selected") === "true");
    const forward = getComputedStyle(host).direction === "rtl" ? -1 : 1;
    const to = { ArrowRight: at + forward, ArrowLeft: at - forward, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const name = names.at(to % names.length);
    if (!name) return;
    choose(name);
    all.get(name)?.focus();
  });

  return {
    /** @param {readonly string[]} wanted */
    limit(wanted) {
      for (const [name, tab] of all) tab.hidden = !wanted.includes(name);
    },

    /** @param {Tab} selected @param {Pick<import("../client/client.js").Snapshot, "counts" | "loaded">} snapshot */
    show(selected, { counts, loaded }) {
      for (const [name, tab] of all) {
        tab.setAttribute("aria-selected", String(name === selected));
        tab.tabIndex = name === selected ? 0 : -1;
        const count = { all: counts.total, unread: counts.unread, archived: 0 }[name];
        find(tab, ".tab-count", HTMLElement).textContent = loaded && count > 0 ? String(count) : "";
      }
    },

    /** @param {Tab} name */
    focus: (name) => all.get(name)?.focus(),
  };
}
