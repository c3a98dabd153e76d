// <pregon-inbox>, <pregon-toasts> and <pregon-preferences>: what a page has of them from the beginning. What is seen of them,
// their bodies, is loaded when the first one is in a page.
//
// Invariant: whatever a page does with such an element before its body is there has the same effect as afterwards, as soon
// as that can be; and a body that cannot be had is asked for again.

import { createBackoff } from "../client/backoff.js";
import { PregonElement } from "./element.js";
import { find, fragment } from "./markup.js";
import { PLACEHOLDER, showFailure } from "./placeholder.js";
import { complete } from "./words.js";

/** @typedef {import("../client/client.js").Client} Client */
/** @typedef {import("../client/client.js").Snapshot} Snapshot */
/** @typedef {import("../client/inbox.js").Item} Item */
/** @typedef {import("../client/inbox.js").Notification} Notification */

/** @typedef {import("./element.js").Body} Body */

/** What can wait to be shown. */
const EARLY_MAX = 10;

/** @type {Promise<typeof import("./panel.js")> | undefined} */
let coming;
let failures = 0;

/** What is loaded when there is something to see: all bodies, with their looks and words. */
export function panel() {
  return (coming ??= load().catch((error) => {
    coming = undefined;
    throw error;
  }));
}

async function load() {
  /** @type {typeof import("./panel.js")} */
  const loaded = await import("./panel.js").catch(() => {
    // Some browsers remember of an address that there was no module at it, for as long as the page is there. Bundlers, which
    // cannot know this one, shall leave it as it is.
    const other = import.meta.url.replace(/[^/]*$/, `panel.js?${(failures += 1)}`);
    return import(/* webpackIgnore: true */ /* @vite-ignore */ other);
  });
  PregonElement.addSheet(loaded.style);
  complete(loaded.languages);
  return loaded;
}

/** @template {Body} B */
class LateElement extends PregonElement {
  /** @type {B | undefined} */
  body = undefined;
  #backoff = createBackoff();

  /** @param {AbortSignal} signal */
  async begin(signal) {
    addEventListener("online", () => this.retry(), { signal });
    const load = () => this.load().catch((error) => {
      this.tell("error", { error });
      throw error;
    });
    const body = this.body ?? (await this.#backoff.insist(load, signal, () => this.failed()));
    signal.throwIfAborted();
    this.body = body;
    super.begin(signal);
  }

  /** Tries at once whatever is waiting to be tried again. */
  retry() {
    this.#backoff.cut();
  }

  /** Makes its body, each in its own way. @returns {Promise<B>} */
  load() {
    return Promise.reject();
  }

  /** The body could not be had. */
  failed() {}
}

/** @extends {LateElement<import("./inbox.js").Inbox>} */
export class PregonInbox extends LateElement {
  /** Changes a row after it was filled. A page may have set it before. @type {((item: Item, row: HTMLElement) => void) | undefined} */
  renderItem = Reflect.get(this, "renderItem");
  /** What is to be done when there is something to see. */
  #whenThere = () => {};
  /** What is seen until then. @type {ShadowRoot | undefined} */
  #placeholder;

  async load() {
    const { Inbox } = await panel();
    return new Inbox(this);
  }

  /** @param {AbortSignal} signal */
  async begin(signal) {
    if (!this.#placeholder) this.#wait();
    this.#show(false);
    await super.begin(signal);
    this.#whenThere();
    this.#whenThere = () => {};
  }

  #wait() {
    const root = (this.#placeholder = this.attachShadow({ mode: "open" }));
    this.dress(root);
    root.append(fragment(PLACEHOLDER));
    find(root, ".choice", HTMLElement).addEventListener("click", () => this.retry());
  }

  retry() {
    this.#show(false);
    super.retry();
  }

  failed() {
    this.#show(true);
  }

  /** Shows that something is on its way, or that it could not be had. @param {boolean} hasFailed */
  #show(hasFailed) {
    const root = this.#placeholder;
    if (!root || this.body) return;
    showFailure(root, hasFailed, this.words);
    find(root, ".skeleton", HTMLElement).hidden = hasFailed;
  }

  /** Moves the focus to the selected tab. If there is none yet, as soon as there is, unless it has gone elsewhere. */
  focusTab() {
    if (this.body) return this.body.focusTab();
    const { activeElement } = document;
    this.#whenThere = () => void (document.activeElement === activeElement && this.body?.focusTab());
  }

  showShortcuts() {
    this.body?.showShortcuts();
  }
}

/** @extends {LateElement<import("./toasts.js").Toasts>} */
export class PregonToasts extends LateElement {
  /** What has arrived before there is something to show it. @type {Notification[]} */
  #early = [];

  async load() {
    const { Toasts } = await panel();
    return new Toasts(this);
  }

  /** @param {AbortSignal} signal */
  async begin(signal) {
    this.during(() => this.#early.splice(0), signal);
    await super.begin(signal);
    for (const notification of this.#early.splice(0)) this.body?.add(notification);
  }

  /** Shows one, unless nobody looks. @param {Notification} notification */
  add(notification) {
    if (this.body) this.body.add(notification);
    else this.#early = [...this.#early, notification].slice(-EARLY_MAX);
  }
}

/** @extends {LateElement<import("./preferences.js").Preferences>} */
export class PregonPreferences extends LateElement {
  static observedAttributes = [...PregonElement.observedAttributes, "categories"];

  async load() {
    const { Preferences } = await panel();
    return new Preferences(this);
  }
}
