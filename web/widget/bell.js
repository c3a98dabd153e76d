// <pregon-bell>: a button that says how many there are, and a panel with the inbox.
//
// The inbox is in the panel from the moment at which somebody is about to open it: it is loaded then.

import { createAnnouncer } from "./announcer.js";
import { isDesktopGranted } from "./desktop.js";
import { PregonElement } from "./element.js";
import { panel } from "./elements.js";
import { find, fragment } from "./markup.js";

/** @typedef {import("../client/client.js").Client} Client */
/** @typedef {import("../client/client.js").Snapshot} Snapshot */
/** @typedef {import("./elements.js").PregonInbox} PregonInbox */
/** @typedef {import("./elements.js").PregonToasts} PregonToasts */

const COUNT_MAX = 99;
const GAP_PX = 8;
/** With less room than this beside the button, the panel covers it. */
const ROOM_MIN_PX = 360;
/** A pointer that only passes by opens nothing; one that crosses the gap to the panel closes nothing. */
const HOVER_MS = 250;

const MARKUP = `<button class="bell" part="bell" aria-haspopup="dialog" aria-expanded="false">
  <slot name="icon"><svg class="bell-icon" viewBox="0 0 40 40" aria-hidden="true"><path d="M13 25.5c1.6-1.4 2-3 2-6.5a5 5 0 0 1 10 0c0 3.5.4 5.1 2 6.5zM18 28.5a2.2 2.2 0 0 0 4 0"/></svg></slot><span class="badge" part="badge" aria-hidden="true" hidden></span>
</button>
<div class="panel" part="panel" popover role="dialog"></div>
<p class="visually-hidden" id="announcement" role="status"></p>`;

export class PregonBell extends PregonElement {
  /** A page may have set it before. @type {PregonInbox["renderItem"]} */
  renderItem = Reflect.get(this, "renderItem");
  /** @type {ReturnType<PregonBell["build"]> | undefined} */
  #parts;
  /** Whether it is open only because the pointer is over it: the focus is where it was, and stays there. */
  #isPeek = false;
  /** Not at once: to be placed may change a size. */
  #sizes = new ResizeObserver(() => requestAnimationFrame(() => this.#place()));

  clear() {
    const { badge, panel } = (this.#parts ??= this.build());
    badge.hidden = true;
    panel.setAttribute("aria-label", this.words.say("notifications"));
    this.#name(0);
    this.changed();
  }

  changed() {
    const { button, panel, inbox, toasts } = (this.#parts ??= this.build());
    // A panel that is moved with its page is closed, and nobody is told.
    button.setAttribute("aria-expanded", String(panel.matches(":popover-open")));
    for (const element of [inbox, toasts]) {
      for (const name of PregonBell.observedAttributes) {
        const value = this.getAttribute(name);
        if (value === null) element.removeAttribute(name);
        else element.setAttribute(name, value);
      }
      element.setAttribute("locale", this.getAttribute("locale") ?? this.words.lang);
      element.getToken = this.getToken;
    }
    super.changed();
  }

  /** @param {AbortSignal} signal */
  begin(signal) {
    for (const name of ["resize", "scroll"]) {
      addEventListener(name, () => this.#place(), { signal, capture: true, passive: true });
    }
  }

  /** @param {Client} client @param {AbortSignal} signal */
  listen(client, signal) {
    /** @type {Promise<void | ReturnType<typeof import("./notifier.js").createNotifier>> | undefined} */
    let coming;
    const notifier = () => {
      const isWanted = this.has("desktop") && isDesktopGranted();
      return isWanted ? (coming ??= panel().then(({ createNotifier }) => createNotifier(signal)).catch(() => {})) : undefined;
    };
    notifier();
    this.during(client.on("notification", (notification) => {
      const isWanted = this.tell("notification", notification);
      if (notification.replay || notification.silent || !isWanted) return;
      this.#parts?.announcer.arrived();
      if (this.has("toasts")) this.#toast(notification);
      if (this.has("sound") && !document.hidden) panel().then(({ chime }) => chime(), () => {});
      notifier()?.then((notifier) => notifier?.show(notification, () => this.open()));
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
    parts.inbox.renderItem = (item, row) => this.renderItem?.(item, row);
    // What both would say, the bell says: whether the panel is open or not.
    for (const element of [parts.inbox, parts.toasts]) element.setAttribute("panel", "");
    for (const name of ["ready", "change", "state"]) root.addEventListener(`pregon-${name}`, (event) => event.stopPropagation());
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
      if (isOpen) this.#sizes.observe(parts.panel);
      else this.#sizes.disconnect();
      parts.button.setAttribute("aria-expanded", String(isOpen));
      // Whoever has gone on to something else stays there.
      const isLost = document.activeElement === document.body && !this.#isPeek;
      if (!isOpen && (isLost || parts.panel.contains(root.activeElement))) parts.button.focus();
    });
    // Who goes on to the page by the Tab key leaves it behind, not open above the page.
    this.addEventListener("focusout", ({ relatedTarget }) => {
      if (relatedTarget) this.close();
    });
    for (const element of [parts.button, parts.panel]) {
      this.#hover(element, "pointerenter", () => this.#show(true));
      this.#hover(element, "pointerleave", () => this.#isPeek && !parts.panel.contains(root.activeElement) && this.close());
    }
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
    if (!this.has("toasts")) parts.toasts.remove();
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

  /**
   * What a mouse does, where the page wants that. A finger has no such thing.
   * @param {HTMLElement} element
   * @param {string} name
   * @param {() => void} act
   */
  #hover(element, name, act) {
    element.addEventListener(name, (event) => {
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
    const { panel, inbox, toasts } = this.#parts ?? {};
    if (!panel || !inbox || !toasts) return;
    const isOpen = panel.matches(":popover-open");
    this.#isPeek = isPeek && (this.#isPeek || !isOpen);
    if (isOpen) return;
    this.#prepare();
    toasts.clear();
    inbox.retry();
    panel.showPopover();
    this.#place();
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
    const room = Math.min(innerHeight, Math.max(ROOM_MIN_PX, isAbove ? at.top : below)) - 2 * GAP_PX;
    panel.style.setProperty("--room", `${Math.floor(room)}px`);
    const shown = Math.min(height, room);
    /** @type {(place: number, size: number, whole: number) => string} */
    const within = (place, size, whole) => `${Math.max(GAP_PX, Math.min(place, whole - size - GAP_PX))}px`;
    panel.style.top = within(isAbove ? at.top - GAP_PX - shown : at.bottom + GAP_PX, shown, innerHeight);
    panel.style.left = within(isAtEnd ? at.right - width : at.left, width, innerWidth);
  }
}
