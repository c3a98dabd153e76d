// The page around the inbox: its title and icon say what is new, its buttons what only the page can do.

import en from "./languages/en.js";
import es from "./languages/es.js";
import { askForDesktop, isDesktopGranted } from "./widget/desktop.js";
import { PregonElement } from "./widget/element.js";
import { Inbox } from "./widget/inbox.js";
import { find } from "./widget/markup.js";
import { createNotifier } from "./widget/notifier.js";
import { complete } from "./widget/words.js";

const YEAR_S = 365 * 24 * 3600;

/** Nothing of it has to be loaded first: it is in this page from the beginning, and its looks have come with it. */
class PageInbox extends PregonElement {
  body = new Inbox(this);
}

complete({ en, es });
customElements.define("pregon-inbox", PageInbox);
const inbox = find(document, "pregon-inbox", PageInbox);
// Whoever has come with a token in the address goes on with it.
const token = new URLSearchParams(location.search).get("access_token");
if (token) {
  inbox.getToken = token;
  // The server repeats it in no link.
  const language = find(document, ".masthead-link", HTMLAnchorElement);
  language.addEventListener("click", () => {
    const address = new URL(language.href);
    address.searchParams.set("access_token", token);
    language.href = address.href;
  });
}

// --- The title, the icon of the tab and of the application ----------------------------------------------------------

const plainTitle = document.title;
const icon = find(document, "link[rel=icon]", HTMLLinkElement);
const { href: plainIcon } = icon;
let unseen = 0;

function showTitle() {
  document.title = unseen > 0 ? `(${unseen}) ${plainTitle}` : plainTitle;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unseen = 0;
  showTitle();
});

inbox.addEventListener("pregon-change", (event) => {
  const { unread } = /** @type {CustomEvent} */ (event).detail;
  icon.href = (unread > 0 && icon.dataset.unread) || plainIcon;
  if ("setAppBadge" in navigator) navigator.setAppBadge(unread).catch(() => {});
});

// --- What has arrived -----------------------------------------------------------------------------------------------

const notifier = createNotifier(new AbortController().signal);

inbox.addEventListener("pregon-notification", (event) => {
  const notification = /** @type {CustomEvent} */ (event).detail;
  if (document.hidden) unseen += 1;
  showTitle();
  if (!notification.replay && !notification.silent) notifier.show(notification, () => {});
});

inbox.addEventListener("pregon-sign-in", (event) => {
  // The server, or what stands before it, knows how to sign in.
  event.preventDefault();
  location.reload();
});

// --- Buttons --------------------------------------------------------------------------------------------------------

/** @param {string} id @param {(button: HTMLButtonElement) => void} act */
function enable(id, act) {
  const button = find(document, `#${id}`, HTMLButtonElement);
  button.hidden = false;
  button.addEventListener("click", () => act(button));
}

enable("shortcuts", () => inbox.body.showShortcuts());

enable("theme", () => {
  const { documentElement } = document;
  const isDark = getComputedStyle(documentElement).colorScheme === "dark" ||
    (!documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  documentElement.dataset.theme = isDark ? "light" : "dark";
  document.cookie = `pregon-theme=${documentElement.dataset.theme}; SameSite=Lax; Max-Age=${YEAR_S}`;
});

if ("Notification" in globalThis && !isDesktopGranted()) {
  enable("desktop", async (button) => {
    const isGranted = await askForDesktop();
    button.textContent = (isGranted ? button.dataset.on : button.dataset.refused) ?? "";
    button.disabled = true;
  });
}
