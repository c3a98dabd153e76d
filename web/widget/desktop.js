// Notifications of the system, for whoever has asked for them and looks elsewhere.
//
// Invariant: one per browser, however many tabs there are; and the browser is asked for permission only by a press.

import { safeAddress } from "./markup.js";

/** As long as it takes all tabs to hear of it. */
const CLAIMED_MS = 5_000;

/** Asks for permission. Only after the reader has pressed something. */
export async function askForDesktop() {
  return "Notification" in globalThis && (await Notification.requestPermission()) === "granted";
}

export function isDesktopGranted() {
  return "Notification" in globalThis && Notification.permission === "granted";
}

export function createDesktop() {
  return {
    /**
     * @param {import("../client/inbox.js").Notification} notification
     * @param {() => void} open What to do when it is pressed and leads nowhere.
     */
    show({ id, title, message, url }, open) {
      if (!document.hidden || !isDesktopGranted()) return;
      const show = () => {
        const shown = new Notification(title ?? message, { body: title ? message : "", tag: id });
        shown.addEventListener("click", () => {
          focus();
          shown.close();
          const address = safeAddress(url);
          if (address) location.assign(address);
          else open();
        });
        return new Promise((resolve) => setTimeout(resolve, CLAIMED_MS));
      };
      // Each tab has heard of it. The first one to claim it shows it.
      if (navigator.locks) navigator.locks.request(`pregon desktop ${id}`, { ifAvailable: true }, (lock) => lock && show());
      else show();
    },
  };
}
