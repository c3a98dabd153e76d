// What else can be done with a row. One menu serves all rows.

import { find } from "./markup.js";

/**
 * @param {HTMLElement} host
 * @param {(act: string, row: HTMLElement) => void} act
 * @param {() => void} left The row that it belongs to is gone.
 */
export function createMenu(host, act, left) {
  /** @type {HTMLElement | undefined} */
  let row;
  /** @type {HTMLButtonElement | undefined} */
  let opener;
  const choices = () => [...host.querySelectorAll("button")].filter((choice) => !choice.hidden);

  function close() {
    if (host.matches(":popover-open")) host.hidePopover();
  }

  host.addEventListener("keydown", (event) => {
    const all = choices();
    const at = all.findIndex((choice) => choice.matches(":focus"));
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Tab") close();
    if (!step) return;
    event.preventDefault();
    all[(at + step + all.length) % all.length]?.focus();
  });
  host.addEventListener("click", (event) => {
    const choice = event.target instanceof Element ? event.target.closest("[data-menu]") : null;
    close();
    if (choice instanceof HTMLElement && row) act(choice.dataset.menu ?? "", row);
  });
  host.addEventListener("toggle", (event) => {
    const isOpen = /** @type {ToggleEvent} */ (event).newState === "open";
    opener?.setAttribute("aria-expanded", String(isOpen));
    // It stands beside its button, which would move away below it.
    if (isOpen) addEventListener("scroll", close, { capture: true, passive: true });
    else removeEventListener("scroll", close, { capture: true });
    if (!isOpen && host.matches(":focus-within")) opener?.focus();
  });

  return {
    /**
     * Opens it beside a row's button; closes it if it is that row's already.
     * @param {HTMLElement} ofRow
     * @param {Record<string, string | undefined>} labels Of each choice; what has none is not there.
     */
    toggle(ofRow, labels) {
      const isOwn = host.matches(":popover-open") && row === ofRow;
      close();
      opener?.setAttribute("aria-expanded", "false");
      if (isOwn) return;
      row = ofRow;
      opener = find(ofRow, "[data-act=menu]", HTMLButtonElement);
      // A press on it is none beside the menu, which would close it before the press is told of.
      opener.popoverTargetElement = host;
      for (const choice of host.querySelectorAll("button")) {
        const label = labels[choice.dataset.menu ?? ""];
        choice.hidden = label === undefined;
        choice.textContent = label ?? "";
      }
      host.showPopover();
      const anchor = opener.getBoundingClientRect();
      const { offsetWidth, offsetHeight } = host;
      const isBelow = anchor.bottom + offsetHeight + 8 < innerHeight;
      const isRightToLeft = getComputedStyle(host).direction === "rtl";
      const left = isRightToLeft ? anchor.left : anchor.right - offsetWidth;
      host.style.top = `${isBelow ? anchor.bottom + 4 : Math.max(8, anchor.top - offsetHeight - 4)}px`;
      host.style.left = `${Math.min(Math.max(8, left), innerWidth - offsetWidth - 8)}px`;
      choices()[0]?.focus();
    },

    /** Goes with its row. */
    follow() {
      if (!host.matches(":popover-open") || row?.isConnected) return;
      close();
      left();
    },
  };
}
