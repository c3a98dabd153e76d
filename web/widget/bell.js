// <pregon-bell>: a button that says how many there are, and a panel with the inbox.
//
// The inbox is in the panel from the moment at which somebody is about to open it: it is loaded then.

import { createAnnouncer } from "./announcer.js";
import { createDesktop } from "./desktop.js";
import { PregonElement } from "./element.js";
import { find, fragment } from "./markup.js";
import { chime } from "./sound.js";

/** @typedef {import("../client/client.js").Client} Client */
/** @typedef {import("../client/client.js").Snapshot} Snapshot */
/** @typedef {import("./elements.js").PregonInbox} PregonInbox */
/** @typedef {import("./elements.js").PregonToasts} PregonToasts */

const COUNT_MAX = 99;
const GAP_PX = 8;
/** A pointer that only passes by opens nothing; one that crosses the gap to the panel closes nothing. */
const HOVER_MS = 250;

const MARKUP = `<button class="bell" part="bell" aria-haspopup="dialog" aria-expanded="false">
  <slot name="icon"><svg class="bell-icon" viewBox="0 0 40 40" aria-hidden="true"><path d="M13 25.5c1.6-1.4 2-3 2-6.5a5 5 0 0 1 10 0c0 3.5.4 5.1 2 6.5zM18 28.5a2.2 2.2 0 0 0 4 0"/></svg></slot><span class="badge" part="badge" aria-hidden="true" hidden></span>
</button>
<div class="panel" part="panel" popover role="dialog"></div>
<p class="visually-hidden" id="announcement" role="status"></p>`;

export class PregonBell extends PregonElement {
  /** @type {PregonInbox["renderItem"]} */
  renderItem;
  /** @type {ReturnType<PregonBell["build"]> | undefined} */
  #parts;
  /** Whether it is open only because the pointer is over it: the focus is where it was, and stays there. */
  #isPeek = false;

  /** @param {AbortSignal} signal */
  begin(signal) {
    const parts = (this.#parts ??= this.build());
    const { inbox, toasts } = parts;
    for (const element of [inbox, toasts]) {
      for (const name of PregonBell.observedAttributes) {
        const value = this.getAttribute(name);
        if (value === null) element.removeAttribute(name);
        else element.setAttribute(name, value);
      }
      element.setAttribute("locale", this.getAttribute("locale") ?? this.words.lang);
      element.getToken = this.getToken;
    }
    inbox.renderItem = (item, row) => this.renderItem?.(item, row);
    parts.panel.setAttribute("aria-label", this.words.say("notifications"));
    this.#name(0);
    for (const name of ["resize", "scroll"]) {
      addEventListener(name, () => this.#place(), { signal, capture: true, passive: true });
    }
  }

  /** @param {Client} client @param {AbortSignal} signal */
  listen(client, signal) {
    const desktop = createDesktop();
    this.during(client.on("notification", (notification) => {
      const isWanted = this.tell("notification", notification);
      if (notification.replay || notification.silent || !isWanted) return;
      this.#parts?.announcer.arrived();
      if (this.hasAttribute("toasts")) this.#toast(notification);
      if (this.hasAttribute("sound") && !document.hidden) chime();
      if (this.hasAttribute("desktop")) desktop.show(notification, () => this.open());
    }), signal);
  }

  /** @param {import("../client/inbox.js").Notification} notification */
  #toast(notification) {
    const { root, panel, toasts } = this.#parts ?? {};
    if (!root || !toasts || panel?.matches(":popover-open")) return;
    if (!toasts.isConnected) root.append(toasts);
    toasts.add(notification);
  }

  build() {
    const root = this.attachShadow({ mode: "open" });
    this.dress(root);
    root.append(fragment(MARKUP));
    const parts = {
      root,
      button: find(root, ".bell", HTMLButtonElement),
      badge: find(root, ".badge", HTMLElement),
      panel: find(root, ".panel", HTMLElement),
      announcer: createAnnouncer(find(root, "#announcement", HTMLElement), () => this.words),
      inbox: /** @type {PregonInbox} */ (document.createElement("pregon-inbox")),
      toasts: /** @type {PregonToasts} */ (document.createElement("pregon-toasts")),
    };
    // What both would say, the bell says: whether the panel is open or not.
    for (const element of [parts.inbox, parts.toasts]) element.setAttribute("panel", "");
    for (const name of ["ready", "change", "state"]) {
      root.addEventListener(`pregon-${name}`, (event) => {
        event.stopPropagation();
        this.#place();
      });
    }
    for (const hint of ["pointerenter", "focusin"]) parts.button.addEventListener(hint, () => this.#prepare());
    // A press on it is none beside the panel, which would close it before the press is told of.
    parts.button.popoverTargetElement = parts.panel;
    parts.button.addEventListener("click", (event) => {
      event.preventDefault();
      clearTimeout(this.#hovering);
      if (parts.panel.matches(":popover-open") && !this.#isPeek) this.close();
      else this.open();
    });
    parts.panel.addEventListener("toggle", (event) => {
      const isOpen = /** @type {ToggleEvent} */ (event).newState === "open";
      parts.button.setAttribute("aria-expanded", String(isOpen));
      const active = root.activeElement;
      if (!isOpen && (this.#isPeek ? parts.panel.contains(active) : !active || parts.panel.contains(active))) parts.button.focus();
    });
    this.#hover("pointerenter", () => this.#show(true));
    this.#hover("pointerleave", () => this.#isPeek && !parts.panel.contains(root.activeElement) && this.close());
    return parts;
  }

  /** @param {Snapshot} snapshot */
  show({ counts, loaded }) {
    const parts = this.#parts;
    if (!parts) return;
    const what = this.getAttribute("badge") ?? "unread";
    const count = what === "unseen" ? counts.unseen : counts.unread;
    parts.badge.hidden = !loaded || count === 0 || what === "none";
    parts.badge.classList.toggle("badge-dot", what === "dot");
    parts.badge.textContent = what === "dot" ? "" : count > COUNT_MAX ? `${COUNT_MAX}+` : String(count);
    this.#name(loaded ? counts.unread : 0);
    if (!this.hasAttribute("toasts")) parts.toasts.remove();
  }

  /** @param {number} count */
  #name(count) {
    const { say } = this.words;
    const name = say("notifications");
    this.#parts?.button.setAttribute("aria-label", count > 0 ? `${name}, ${say("count", { count })}` : name);
  }

  /** What is not in a page is not loaded. */
  #prepare() {
    const { panel, inbox } = this.#parts ?? {};
    if (panel && inbox && !inbox.isConnected) panel.append(inbox);
  }

  /** What a mouse does, where the page wants that. A finger has no such thing. @param {string} name @param {() => void} act */
  #hover(name, act) {
    this.addEventListener(name, (event) => {
      clearTimeout(this.#hovering);
      const isMouse = /** @type {PointerEvent} */ (event).pointerType === "mouse";
      if (isMouse && this.getAttribute("open-on") === "hover") this.#hovering = setTimeout(act, HOVER_MS);
    });
  }

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #hovering;

  open() {
    this.#show(false);
    this.#parts?.inbox.focusTab();
  }

  /** @param {boolean} isPeek */
  #show(isPeek) {
    const { panel, inbox } = this.#parts ?? {};
    if (!panel || !inbox) return;
    const isOpen = panel.matches(":popover-open");
    this.#isPeek = isPeek && (this.#isPeek || !isOpen);
    if (isOpen) return;
    this.#prepare();
    inbox.retry();
    panel.showPopover();
    this.#place();
    this.changed();
    inbox.changed();
  }

  close() {
    const { panel } = this.#parts ?? {};
    if (panel?.matches(":popover-open")) panel.hidePopover();
  }

  /** Beside the button, on the side that was asked for, and wholly in view. On a small screen, all of it (style.js). */
  #place() {
    const { panel, button } = this.#parts ?? {};
    if (!panel?.matches(":popover-open") || !button) return;
    const [side, align] = (this.getAttribute("placement") ?? "bottom-end").split("-");
    const at = button.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = panel;
    const below = innerHeight - at.bottom;
    const isAbove = side === "top" ? at.top > Math.min(height, below) : below < height + GAP_PX && at.top > below;
    const isAtEnd = (align !== "start") !== (getComputedStyle(this).direction === "rtl");
    const room = (isAbove ? at.top : below) - 2 * GAP_PX;
    panel.style.setProperty("--room", `${Math.floor(room)}px`);
    const top = isAbove ? at.top - GAP_PX - Math.min(height, room) : at.bottom + GAP_PX;
    const left = isAtEnd ? at.right - width : at.left;
    panel.style.top = `${top}px`;
    panel.style.left = `${Math.max(GAP_PX, Math.min(left, innerWidth - width - GAP_PX))}px`;
  }
}
