// Notifications of the system, for whoever has asked for them and looks elsewhere.
//
// Invariant: one per browser, however many tabs there are, and none while the reader looks at one of them. Where the
// browser has no Web Locks or refuses them, each hidden tab shows its own.

import { isDesktopGranted } from "./desktop.js";
import { safeAddress } from "./markup.js";

/** As long as it takes all tabs to hear of it. */
const CLAIMED_MS = 5_000;
/** Held by each tab that is being looked at. */
const LOOKING = "pregon looking";

/** @param {AbortSignal} signal Aborted when nobody wants them any more. */
export function createNotifier(signal) {
  /** A tab says that it is being looked at, as long as it is. */
  async function look() {
    if (document.hidden || signal.aborted) return;
    try {
      await navigator.locks.request(LOOKING, { mode: "shared" }, () => document.hidden ? undefined : new Promise((resolve) => {
        document.addEventListener("visibilitychange", resolve, { once: true });
        signal.addEventListener("abort", resolve);
      }));
    } catch {
      // Then `show` is refused too.
    }
  }

  document.addEventListener("visibilitychange", look, { signal });
  look();

  /** @param {import("../client/inbox.js").Notification} notification @param {() => void} open */
  function show({ id, title, message, url }, open) {
    try {
      const shown = new Notification(title ?? message, { body: title ? message : "", tag: id });
      shown.addEventListener("click", () => {
        focus();
        shown.close();
        const address = safeAddress(url);
        if (address) location.assign(address);
        else open();
      });
    } catch {
      // On a telephone a page may have the permission, and no way to use it.
    }
  }

  return {
    /**
     * @param {import("../client/inbox.js").Notification} notification
     * @param {() => void} open What to do when it is pressed and leads nowhere.
     */
    async show(notification, open) {
      if (!document.hidden || !isDesktopGranted()) return;
      const { held } = await Promise.resolve().then(() => navigator.locks.query()).catch(() => ({ held: undefined }));
      if (!held) return show(notification, open);
      if (held.some(({ name }) => name === LOOKING)) return;
      // Each tab has heard of it. The first one to claim it shows it.
      return navigator.locks.request(`pregon desktop ${notification.id}`, { ifAvailable: true }, async (lock) => {
        if (!lock) return;
        show(notification, open);
        await new Promise((resolve) => setTimeout(resolve, CLAIMED_MS));
      });
    },
  };
}
