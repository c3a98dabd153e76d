// What all elements have in common: whose client they use, which language they speak, and what they tell the page.

import { acquire, hasEnded, nameOf, tokenFrom } from "./connection.js";
import { tagOf, wordsIn } from "./words.js";

/** @typedef {import("../client/client.js").Client} Client */
/** @typedef {import("../client/client.js").Snapshot} Snapshot */
/** @typedef {import("./connection.js").Settings} Settings */

/**
 * @typedef {object} Body
 * @property {() => void} clear Nothing is left of whoever was shown.
 * @property {(signal: AbortSignal) => void} begin
 * @property {(client: Client, signal: AbortSignal) => void} listen
 * @property {(snapshot: Snapshot) => void} show
 */

/** Outside of a browser there is nothing to be an element of: the module can be imported all the same. */
const Base = /** @type {typeof HTMLElement} */ (globalThis.HTMLElement ?? class {});

export class PregonElement extends Base {
  static observedAttributes = ["server", "user", "token", "token-url", "locale", "tabs", "badge", "toasts", "placement", "page-size"];

  /** @type {CSSStyleSheet[]} */
  static #sheets = [];

  /** How all of them look, where the page does not say so itself. @param {string} css */
  static addSheet(css) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    PregonElement.#sheets.push(sheet);
  }

  /** The client, once there is one. @type {Client | undefined} */
  client;
  /** What is seen of it, if that is not the element itself. @type {Body | undefined} */
  body;
  /** @type {ReturnType<typeof wordsIn>} */
  words = wordsIn(["en"]);
  /** What takes back everything that was asked for on behalf of the client. @type {AbortController} */
  #use = new AbortController();
  /** @type {(() => Settings["token"]) | undefined} */
  #getToken;
  #name = "";
  #isSettling = false;
  /** @type {Snapshot | undefined} */
  #told;

  /** Gives a token, and another one when the server refuses that. @type {Settings["token"] | undefined} */
  get getToken() {
    return this.#getToken?.();
  }

  set getToken(token) {
    this.#getToken = token === undefined ? undefined : () => token;
    this.#settle();
  }

  connectedCallback() {
    // A page may have set it before this file was there.
    if (Object.hasOwn(this, "getToken")) {
      const { getToken } = this;
      Reflect.deleteProperty(this, "getToken");
      this.getToken = getToken;
    }
    this.#settle();
  }

  disconnectedCallback() {
    this.#settle();
  }

  attributeChangedCallback() {
    this.#settle();
  }

  /** @returns {Settings} */
  get settings() {
    const url = this.getAttribute("token-url");
    return {
      server: this.getAttribute("server") ?? new URL("../../..", import.meta.url).href,
      user: this.getAttribute("user"),
      token: this.getToken ?? (url === null ? this.getAttribute("token") : tokenFrom(url)),
      locale: tagOf(this.getAttribute("locale")),
      pageSize: Math.round(Number(this.getAttribute("page-size"))) || undefined,
    };
  }

  /** Whether an attribute is set. `toasts="false"` is how frameworks write that it is not. @param {string} name */
  has(name) {
    return (this.getAttribute(name) ?? "false") !== "false";
  }

  /** However much changes at once, it is taken up once. */
  #settle() {
    if (this.#isSettling) return;
    this.#isSettling = true;
    queueMicrotask(() => {
      this.#isSettling = false;
      const given = this.settings;
      // Whoever names neither a user nor a token is about to.
      const settings = this.isConnected && (given.user ?? given.token) ? given : undefined;
      const name = settings ? nameOf(settings) + this.#languages() : "";
      if (name === this.#name) return settings && this.changed();
      this.#name = name;
      this.#use.abort();
      this.client = undefined;
      this.#told = undefined;
      this.words = wordsIn(this.#languages());
      this.clear();
      if (settings) this.#join(settings);
    });
  }

  /** With whoever it is for as at the beginning. */
  #again = () => {
    this.#name = "";
    this.#settle();
  };

  /** Its own, then the page's, then the browser's. */
  #languages() {
    /** @type {Element | undefined} */
    let place = this;
    let page = null;
    while (place && !page) {
      page = place.closest("[lang]")?.getAttribute("lang") ?? null;
      const root = place.getRootNode();
      place = root instanceof ShadowRoot ? root.host : undefined;
    }
    return [this.getAttribute("locale"), page, ...navigator.languages];
  }

  /** @param {Settings} settings */
  async #join(settings) {
    const use = (this.#use = new AbortController());
    const { signal } = use;
    const { client: coming, release } = acquire({ ...settings, locale: settings.locale ?? this.words.lang }, this.#again);
    signal.addEventListener("abort", release);
    try {
      const [client] = await Promise.all([coming, this.begin(signal)]);
      if (signal.aborted) return;
      this.client = client;
      // Who has signed in, in another tab or window, comes back to this one.
      const look = async () => {
        if (document.hidden || client.getSnapshot().state !== "unauthenticated") return;
        const { token } = settings;
        if (typeof token !== "function" || (await token())) this.#again();
      };
      for (const name of ["focus", "visibilitychange"]) {
        addEventListener(name, () => look().catch(() => {}), { signal, capture: true });
      }
      this.listen(client, signal);
      this.during(client.on("error", (error) => this.tell("error", { error })), signal);
      this.during(client.subscribe(() => this.#tell(client)), signal);
      this.#tell(client);
    } catch (error) {
      if (!signal.aborted) this.tell("error", { error });
    }
  }

  /** Gives what is in it its looks. @param {ShadowRoot} root */
  dress(root) {
    root.adoptedStyleSheets = PregonElement.#sheets;
  }

  /** Takes something back when the client is no longer used. @param {() => void} undo @param {AbortSignal} signal */
  during(undo, signal) {
    signal.addEventListener("abort", undo);
  }

  /** @param {Client} client */
  #tell(client) {
    const snapshot = client.getSnapshot();
    const before = this.#told;
    this.#told = snapshot;
    this.show(snapshot);
    const { counts, state, loaded } = snapshot;
    if (state !== before?.state) this.tell("state", { state });
    if (loaded && !before?.loaded) this.tell("ready", { counts });
    if (loaded && JSON.stringify(counts) !== JSON.stringify(before?.counts)) this.tell("change", { ...counts });
  }

  /**
   * Tells the page. Returns whether it wants what would happen by itself.
   * @param {string} name
   * @param {object} detail
   */
  tell(name, detail) {
    return this.dispatchEvent(new CustomEvent(`pregon-${name}`, { detail, bubbles: true, composed: true, cancelable: true }));
  }

  /** Asks the server again, and for another token if the last one was refused. */
  refresh() {
    if (this.client && !hasEnded(this.client)) return this.client.refresh();
    this.#again();
  }

  markAllRead() {
    return this.client?.inbox.markAllRead();
  }

  // --- What each element does in its own way -------------------------------------------------------------------

  /** It is for somebody else now, or for nobody. */
  clear() {
    this.body?.clear();
  }

  /**
   * It is in a page, and there will be a client.
   * @param {AbortSignal} signal
   * @returns {void | Promise<void>} Whether there is something to wait for before anything is shown.
   */
  begin(signal) {
    this.body?.begin(signal);
  }

  /** There is a client. @param {Client} client @param {AbortSignal} signal */
  listen(client, signal) {
    this.body?.listen(client, signal);
  }

  /** Something is different. @param {Snapshot} snapshot */
  show(snapshot) {
    this.body?.show(snapshot);
  }

  /** An attribute is different, but not the client. */
  changed() {
    if (this.client) this.show(this.client.getSnapshot());
  }
}
