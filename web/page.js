// The page: a list that the server has rendered, kept as the client has it.
//
// Invariant: whatever somebody else wrote reaches the document as text, and an address only through `safeAddress`.

import { createClient } from "./client/client.js";

const MOST_ROWS = 500;
/** A blink of a connection is nobody's business. */
const QUIET_RECONNECT_MS = 2_000;
/** What arrives within a moment of each other is one burst and gets one sentence. */
const BURST_MS = 500;
const BETWEEN_SENTENCES_MS = 5_000;
const TIMES_EVERY_MS = 30_000;

/** @typedef {import("./client/client.js").Item} Item */

/**
 * @typedef {object} PageData What the server put into the page beside the list.
 * @property {string} lang
 * @property {string} userId
 * @property {Record<NonNullable<Item["severity"]>, string>} severities
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

/** @type {PageData} */
const data = JSON.parse(find(document, "#page", HTMLScriptElement).text);
const list = find(document, "#notices", HTMLOListElement);
const empty = find(document, "#empty", HTMLElement);
const blankRow = find(document, "#row", HTMLTemplateElement);

// --- Times ---------------------------------------------------------------------------------------------------

const relative = new Intl.RelativeTimeFormat(data.lang, { numeric: "auto" });
const exact = new Intl.DateTimeFormat(data.lang, { dateStyle: "full", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(data.lang, { dateStyle: "medium" });

/** @param {Date} time */
function age(time) {
  const seconds = Math.max(0, (Date.now() + client.getSnapshot().clockOffsetMs - time.getTime()) / 1000);
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

/** @param {Item} notification */
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

/** What can be seen of a notification in its row. @param {Item} notification */
function face({ title = "", message, severity, url }) {
  return JSON.stringify([lines(title), lines(message), severity ?? "none", (url && safeAddress(url)) ?? null]);
}

/** The same, from the row itself: the server has drawn it, or we have. @param {HTMLElement} row */
function faceOf(row) {
  const [title, message] = [".notice-title", ".notice-message"].map((part) => row.querySelector(part)?.textContent);
  const address = row.querySelector("a[href]")?.getAttribute("href") ?? null;
  return JSON.stringify([title, message, row.dataset.severity, address]);
}

/** Ids of what has arrived and was not drawn yet. @type {Set<string>} */
const arrived = new Set();

/** Makes the list what the client has. A row that stays is not touched, whoever is reading it. */
function showList() {
  const { items, loaded } = client.getSnapshot();
  if (!loaded) return;
  const wanted = new Map(items.slice(0, MOST_ROWS).map((item) => [item.id, item]));
  const rows = new Map(Array.from(list.children, (row) => [/** @type {HTMLElement} */ (row).dataset.id ?? "", row]));
  for (const [id, row] of rows) if (!wanted.has(id)) row.remove();
  let place = list.firstElementChild;
  for (const [id, item] of wanted) {
    const row = /** @type {HTMLElement | undefined} */ (rows.get(id));
    if (row && row === place) place = row.nextElementSibling;
    else list.insertBefore(row ?? newRow(item), place);
    if (row && faceOf(row) !== face(item)) row.replaceWith(rowFor(item));
  }
  arrived.clear();
  list.hidden = wanted.size === 0;
  empty.hidden = wanted.size > 0;
}

/** @param {Item} item */
function newRow(item) {
  const row = rowFor(item);
  row.classList.toggle("notice-new", arrived.has(item.id));
  return row;
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

/** @param {"connecting" | "live" | "reconnecting" | "offline" | "unauthenticated"} state */
function showState(state) {
  chip.dataset.state = state;
  chip.textContent = data.strings[state];
  chip.hidden = false;
}

/** @type {string | undefined} */
let judged;

function judgeState() {
  const { state } = client.getSnapshot();
  if (state === judged) return;
  judged = state;
  clearTimeout(patience);
  if (state === "reconnecting") patience = setTimeout(showState, QUIET_RECONNECT_MS, state);
  else showState(state === "closed" ? "offline" : state);
}

// --- Start ---------------------------------------------------------------------------------------------------

const client = createClient({
  server: "/",
  user: data.userId,
  token: new URLSearchParams(location.search).get("access_token"),
  locale: data.lang,
});

client.on("notification", ({ id, replay }) => {
  arrived.add(id);
  if (!replay) announce();
  if (document.hidden) countUnseen();
});
client.subscribe(showList);
client.subscribe(judgeState);
judgeState();
showAges();
setInterval(showAges, TIMES_EVERY_MS);
