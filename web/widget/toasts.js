// What <pregon-toasts> shows: what has just arrived, for a moment, at a corner of the page.
//
// Invariant: it takes no focus, and nothing in it is needed: all of it stands in the inbox too.

import { drawing, redraw } from "./draw.js";
import { find, fragment, lines, opensElsewhere, safeAddress } from "./markup.js";

/** @typedef {import("../client/client.js").Client} Client */
/** @typedef {import("../client/inbox.js").Notification} Notification */

const SHOWN_MS = 6_000;
const TOASTS_MAX = 3;

const TOAST = `<div class="toast" part="toast">${drawing("none", "toast-mark")}
  <div class="toast-words"><p class="toast-title" dir="auto"></p><p class="toast-message" dir="auto"><a></a></p></div>
  <button class="tool">${drawing("close")}</button></div>`;

export class Toasts {
  #element;
  /** @type {HTMLElement | undefined} */
  #list;

  /** @param {import("./elements.js").PregonToasts} element */
  constructor(element) {
    this.#element = element;
  }

  clear() {
    this.#list?.replaceChildren();
    if (this.#list?.matches(":popover-open")) this.#list.hidePopover();
  }

  begin() {
    if (this.#list) return;
    const root = this.#element.attachShadow({ mode: "open" });
    this.#element.dress(root);
    // A popover stands above everything else in the page, also above its dialogs.
    root.append(fragment('<div class="toasts" role="log" aria-live="off" popover="manual"></div>'));
    this.#list = find(root, ".toasts", HTMLElement);
  }

  /** @param {Client} client @param {AbortSignal} signal */
  listen(client, signal) {
    this.#element.during(client.on("notification", (notification) => {
      const { replay, silent } = notification;
      // In the bell, it is the bell that tells.
      if (this.#element.has("panel") || !this.#element.tell("notification", notification)) return;
      if (!replay && !silent) this.add(notification);
    }), signal);
    this.#element.during(client.on("removed", ({ id }) => this.#list?.querySelector(`[data-id="${CSS.escape(id)}"]`)?.remove()), signal);
  }

  show() {}

  /** Shows one, unless nobody looks. @param {Notification} notification */
  add(notification) {
    const { id, title, message, severity = "none", url } = notification;
    const list = this.#list;
    if (!list || document.hidden) return;
    const toast = find(fragment(TOAST), ".toast", HTMLElement);
    toast.dataset.id = id;
    toast.dataset.severity = severity;
    redraw(find(toast, "svg", SVGElement), severity);
    find(toast, ".toast-title", HTMLElement).textContent = lines(title ?? "");
    const link = find(toast, "a", HTMLAnchorElement);
    link.textContent = lines(message);
    const address = safeAddress(url);
    if (address) Object.assign(link, { href: address, rel: "noopener noreferrer" });
    const close = find(toast, "button", HTMLButtonElement);
    close.setAttribute("aria-label", this.#element.words.say("close"));
    const end = () => {
      toast.remove();
      if (list.childElementCount === 0 && list.matches(":popover-open")) list.hidePopover();
    };
    close.addEventListener("click", end);
    link.addEventListener("click", (event) => {
      this.#element.client?.inbox.update(id, { read: true }).catch(() => {});
      if (!opensElsewhere(event) && !this.#element.tell("select", { item: notification })) event.preventDefault();
      end();
    });
    list.append(toast);
    // The oldest one goes that nobody is reading.
    if (list.childElementCount > TOASTS_MAX) [...list.children].find((other) => !other.matches(":hover, :focus-within"))?.remove();
    if (!list.matches(":popover-open")) list.showPopover();
    // Whoever is reading it has time.
    const wait = () => setTimeout(() => (toast.matches(":hover, :focus-within") ? wait() : end()), SHOWN_MS);
    wait();
  }
}
