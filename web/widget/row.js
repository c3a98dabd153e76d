// One notification as a row. page.html draws the same for readers without JavaScript.

import { drawing, redraw } from "./draw.js";
import { find, fragment, lines, safeAddress } from "./markup.js";

/** @typedef {import("../client/client.js").Item} Item */

/** What can be done with a row from its buttons. */
const TOOLS = /** @type {const} */ (["read", "archive", "menu"]);
const ACTIONS_MAX = 2;

const BLANK = `<article class="notice" part="item" tabindex="0">
  <span class="notice-unread"></span>
  <span class="notice-mark" part="avatar">${drawing("none")}<img alt="" hidden></span>
  <div class="notice-words">
    <span class="notice-severity visually-hidden"></span>
    <p class="notice-title" part="heading" dir="auto"><a></a></p>
    <p class="notice-message" part="body" dir="auto"><a></a></p>
    <p class="notice-actions" part="actions"></p>
  </div>
  <time class="notice-time" part="time" dir="auto"></time>
  <div class="notice-tools">${TOOLS.map((tool) => `<button class="tool" part="action" data-act="${tool}">${drawing(tool)}</button>`).join("")}</div>
</article>`;

/**
 * A picture that may be shown. One from elsewhere would tell a stranger who reads what and when.
 * @param {string | undefined} url
 * @param {() => string} server
 */
function safePicture(url, server) {
  const address = safeAddress(url);
  if (!address) return undefined;
  const { href, origin } = new URL(address, location.href);
  return [location.origin, new URL(server(), location.href).origin].includes(origin) ? href : undefined;
}

/**
 * @param {object} options
 * @param {import("./words.js").Words} options.words
 * @param {import("./times.js").Times} options.times
 * @param {() => string} options.server
 * @param {((item: Item, row: HTMLElement) => void) | undefined} options.render What the page changes in a row.
 */
export function createRows({ words: { say }, times, server, render }) {
  /** What each row shows. @type {WeakMap<Element, Item>} */
  const shown = new WeakMap();

  /** @param {HTMLElement} row @param {Item} item @param {Item} [before] What it showed. */
  function fill(row, item, before) {
    const { id, title = "", message, severity, url, icon, actor, actions = [], category } = item;
    const isUnread = !item.read_at;
    row.dataset.id = id;
    row.dataset.severity = severity ?? "none";
    row.classList.toggle("is-unread", isUnread);
    row.part.toggle("item-unread", isUnread);

    // The word says without colour or weight what the dot beside it says.
    const unread = find(row, ".notice-unread", HTMLElement);
    unread.replaceChildren(...(isUnread ? [fragment('<span class="dot" part="dot"></span><span class="visually-hidden"></span>')] : []));
    if (isUnread) find(unread, ".visually-hidden", HTMLElement).textContent = say("unread");

    redraw(find(row, ".notice-mark svg", SVGElement), severity ?? "none");
    const picture = find(row, "img", HTMLImageElement);
    const source = safePicture(actor?.avatar_url, server) ?? safePicture(icon, server);
    if (source) picture.src = source;
    picture.hidden = !source;

    find(row, ".notice-severity", HTMLElement).textContent = severity ? say(`severity_${severity}`) : "";
    const [heading, body] = [".notice-title a", ".notice-message a"].map((part) => find(row, part, HTMLAnchorElement));
    const address = safeAddress(url);
    for (const [link, text, isMain] of /** @type {const} */ ([[heading, title, title !== ""], [body, message, title === ""]])) {
      if (!link) continue;
      link.textContent = lines(text);
      link.id = `${isMain ? "name" : "more"}-${id}`;
      // A link that is one for a moment only has lost the focus.
      if (!address || !isMain) link.removeAttribute("href");
      else if (link.getAttribute("href") !== address) Object.assign(link, { href: address, rel: "noopener noreferrer" });
    }
    row.setAttribute("aria-labelledby", `name-${id}`);
    if (title) row.setAttribute("aria-describedby", `more-${id}`);
    else row.removeAttribute("aria-describedby");

    const hasOthers = JSON.stringify(actions) !== JSON.stringify(before?.actions ?? []);
    if (hasOthers) find(row, ".notice-actions", HTMLElement).replaceChildren(...actions.slice(0, ACTIONS_MAX).map((action) => {
      const target = safeAddress(action.url);
      const button = document.createElement(target ? "a" : "button");
      button.className = "choice";
      button.part.add("action");
      button.dataset.action = action.id;
      button.dataset.style = action.style ?? "secondary";
      button.textContent = action.label;
      if (target) Object.assign(button, { href: target, rel: "noopener noreferrer" });
      return button;
    }));

    const time = find(row, "time", HTMLTimeElement);
    time.dateTime = item.timestamp;
    times.show(time);

    const tools = { read: isUnread ? "read" : "unread_again", archive: item.archived_at ? "restore" : "archive", menu: "menu" };
    for (const tool of TOOLS) {
      const button = find(row, `[data-act=${tool}]`, HTMLButtonElement);
      button.type = "button";
      button.title = say(tools[tool]);
      button.setAttribute("aria-label", button.title);
    }
    redraw(find(row, "[data-act=archive] svg", SVGElement), item.archived_at ? "restore" : "archive");
    find(row, "[data-act=menu]", HTMLElement).hidden = !category && !address;
    render?.(item, row);
  }

  return {
    /** @param {Item} item */
    create(item) {
      const row = find(fragment(BLANK), "article", HTMLElement);
      this.update(row, item);
      return row;
    },

    /** A row that shows the item already is not touched, whoever is reading it. @param {HTMLElement} row @param {Item} item */
    update(row, item) {
      if (shown.get(row) === item) return;
      const before = shown.get(row);
      shown.set(row, item);
      fill(row, item, before);
    },

    /** What a row shows. @param {Element | null | undefined} row */
    itemOf: (row) => (row ? shown.get(row) : undefined),
  };
}
