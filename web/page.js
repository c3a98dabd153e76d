// The page: a list that the server has rendered, kept up to date by the stream.
//
// Invariant: whatever somebody else wrote reaches the document as text, and an address only through `safeAddress`.

import { Stream } from "./stream.js";

const MOST_ROWS = 500;
/** A blink of a connection is nobody's business. */
const QUIET_RECONNECT_MS = 2_000;
/** What arrives within a moment of each other is one burst and gets one sentence. */
const BURST_MS = 500;
const BETWEEN_SENTENCES_MS = 5_000;
const TIMES_EVERY_MS = 30_000;

/** @typedef {"info" | "success" | "warning" | "error"} Severity */

/**
 * @typedef {object} Notification
 * @property {string} id
 * @property {string} timestamp
 * @property {string} message
 * @property {string} [title]
 * @property {Severity} [severity]
 * @property {string} [url]
 * @property {true} [replay] It is older than the connection that brought it.
 */

/**
 * @typedef {object} PageData What the server put into the page beside the list.
 * @property {string} lang
 * @property {string} userId
 * @property {string} cursor
 * @property {number} heartbeatMs
 * @property {Record<Severity, string>} severities
 * @property {typeof import("./languages/es.json")} strings
 */

/**
 * @template {Element} T
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} type
 */
function find(root, selector, type) {
  const element = root.querySelector(selector);
  if (element instanceof type) return element;
  throw new Error(`the page has no ${selector}`);
}

/** @param {Document} page @returns {PageData} */
function dataOf(page) {
  return JSON.parse(find(page, "#page", HTMLScriptElement).text);
}

const data = dataOf(document);
const list = find(document, "#notices", HTMLOListElement);
const empty = find(document, "#empty", HTMLElement);
const blankRow = find(document, "#row", HTMLTemplateElement);

// --- Times ---------------------------------------------------------------------------------------------------

const relative = new Intl.RelativeTimeFormat(data.lang, { numeric: "auto" });
const exact = new Intl.DateTimeFormat(data.lang, { dateStyle: "full", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(data.lang, { dateStyle: "medium" });

/** How far the server's clock is ahead of ours: a reader whose clock is wrong still reads "2 minutes ago". */
let clockOffsetMs = 0;

/** @param {Date} time */
function age(time) {
  const seconds = Math.max(0, (Date.now() + clockOffsetMs - time.getTime()) / 1000);
  if (seconds < 60) return relative.format(0, "second");
  if (seconds < 3600) return relative.format(-Math.floor(seconds / 60), "minute");
  if (seconds < 86400) return relative.format(-Math.floor(seconds / 3600), "hour");
  if (seconds < 7 * 86400) return relative.format(-Math.floor(seconds / 86400), "day");
  return day.format(time);
}

/** @param {HTMLTimeElement} element */
function showAge(element) {
  const time = new Date(element.dateTime);
  // A time that cannot be read stays as it is written: it must not take the rest of the page with it.
  if (Number.isNaN(time.getTime())) return;
  element.textContent = age(time);
  element.title = exact.format(time);
}

function showAges() {
  for (const element of list.getElementsByTagName("time")) showAge(element);
}

// --- Rows ----------------------------------------------------------------------------------------------------

/** @type {Set<string>} */
const known = new Set();

/**
 * The same rule as in page.html.
 * @param {string} url
 */
function safeAddress(url) {
  return /^(?:https?:\/\/|mailto:|\/(?![/\\]))[^\t\n\r]*$/i.test(url) ? url : undefined;
}

/** @param {string} text Gives lone carriage returns the meaning that HTML gives them in the server's own rows. */
function lines(text) {
  return text.replace(/\r\n?/g, "\n");
}

/** @param {Notification} notification */
function rowFor(notification) {
  const row = find(document.importNode(blankRow.content, true), ".notice", HTMLLIElement);
  const title = find(row, ".notice-title a", HTMLAnchorElement);
  const message = find(row, ".notice-message a", HTMLAnchorElement);
  const time = find(row, "time", HTMLTimeElement);

  row.dataset.id = notification.id;
  if (notification.severity) {
    row.dataset.severity = notification.severity;
    find(row, "use", SVGUseElement).setAttribute("href", `#mark-${notification.severity}`);
    find(row, ".notice-severity", HTMLElement).textContent = data.severities[notification.severity];
  }
  title.textContent = lines(notification.title ?? "");
  message.textContent = lines(notification.message);

  const address = notification.url && safeAddress(notification.url);
  if (address) {
    const link = notification.title ? title : message;
    link.href = address;
    link.rel = "noopener noreferrer";
  }

  time.dateTime = notification.timestamp;
  showAge(time);
  return row;
}

/** Makes what stands around the rows agree with them: call it after every change of the list. */
function settle() {
  while (list.children.length > MOST_ROWS) list.lastElementChild?.remove();
  known.clear();
  for (const row of list.children) known.add(/** @type {HTMLElement} */ (row).dataset.id ?? "");
  list.hidden = known.size === 0;
  empty.hidden = known.size > 0;
}

/** @param {Notification} notification */
function arrive(notification) {
  if (known.has(notification.id)) return;
  const row = rowFor(notification);
  row.classList.add("notice-new");
  list.prepend(row);
  settle();
  if (!notification.replay) announce();
  if (document.hidden) countUnseen();
}

/** @param {string} id */
function rowOf(id) {
  return [...list.children].find((row) => /** @type {HTMLElement} */ (row).dataset.id === id);
}

/** @param {Notification} notification */
function update(notification) {
  rowOf(notification.id)?.replaceWith(rowFor(notification));
}

/** @param {string[]} ids */
function remove(ids) {
  for (const id of ids) rowOf(id)?.remove();
  settle();
}

/** The server could not continue after our cursor, so what it has now takes the place of what we show. */
async function snapshot() {
  const response = await fetch(location.href, { cache: "no-store" });
  if (!response.ok) throw new Error(`the page answered ${response.status}`);
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const { cursor } = dataOf(fresh);
  list.replaceChildren(...find(fresh, "#notices", HTMLOListElement).children);
  settle();
  showAges();
  return cursor;
}

// --- What is said about it -----------------------------------------------------------------------------------

const announcement = find(document, "#announcement", HTMLElement);
const plural = new Intl.PluralRules(data.lang);
let unannounced = 0;
let lastSentenceAt = -Infinity;

function announce() {
  unannounced += 1;
  if (unannounced > 1) return;
  // The same sentence twice is only heard twice if it was away in between.
  announcement.textContent = "";
  const wait = lastSentenceAt + BETWEEN_SENTENCES_MS - performance.now();
  setTimeout(() => {
    const { new_one, new_other } = data.strings;
    const sentence = plural.select(unannounced) === "one" ? new_one : new_other;
    announcement.textContent = sentence.replace("{count}", String(unannounced));
    unannounced = 0;
    lastSentenceAt = performance.now();
  }, Math.max(BURST_MS, wait));
}

const plainTitle = document.title;
let unseen = 0;

function countUnseen() {
  unseen += 1;
  document.title = `(${unseen}) ${plainTitle}`;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unseen = 0;
  document.title = plainTitle;
  showAges();
});

// --- The state of the connection -----------------------------------------------------------------------------

const chip = find(document, "#state", HTMLElement);
/** @type {ReturnType<typeof setTimeout> | undefined} */
let patience;
let live = false;

/** @param {"connecting" | "live" | "reconnecting" | "offline"} state */
function showState(state) {
  chip.dataset.state = state;
  chip.textContent = data.strings[state];
  chip.hidden = false;
}

function judgeState() {
  clearTimeout(patience);
  if (!navigator.onLine) return showState("offline");
  if (live) return showState("live");
  patience = setTimeout(showState, QUIET_RECONNECT_MS, "reconnecting");
}

addEventListener("online", judgeState);
addEventListener("offline", judgeState);

// --- Start ---------------------------------------------------------------------------------------------------

settle();
showAges();
setInterval(showAges, TIMES_EVERY_MS);
showState("connecting");

const url = new URL("/notifications", location.href);
url.searchParams.set("user_id", data.userId);
url.searchParams.set("lang", data.lang);

new Stream(url.href, data.cursor, data.heartbeatMs, {
  notification: arrive,
  updated: update,
  removed: ({ id }) => remove([id]),
  // What is archived is not on this page. All else that can be marked does not show here yet.
  state: ({ ids, set }) => remove(set.archived ? (ids ?? []) : []),
  snapshot,
  connection(state) {
    live = state === "live";
    judgeState();
  },
  time(serverTime) {
    clockOffsetMs = Date.parse(serverTime) - Date.now();
  },
});
