// What <pregon-preferences> shows: which categories a user wants to receive.

import { find, fragment } from "./markup.js";

/** @typedef {import("../client/client.js").Client} Client */
/** @typedef {import("../client/client.js").Snapshot} Snapshot */

const MARKUP = `<fieldset class="preferences" part="preferences"><legend></legend><p></p><div class="switches"></div></fieldset>`;

export class Preferences {
  #element;
  /** @type {HTMLElement | undefined} */
  #host;
  /** @type {string[] | undefined} */
  #muted;
  /** @type {Snapshot["state"] | undefined} */
  #state;
  /** Asks what she does not want. What is said while nobody listens is not said again. */
  #ask = () => {};

  /** @param {import("./elements.js").PregonPreferences} element */
  constructor(element) {
    this.#element = element;
  }

  clear() {
    this.#muted = undefined;
    this.#host?.querySelector(".switches")?.replaceChildren();
  }

  begin() {
    if (!this.#host) {
      const root = this.#element.attachShadow({ mode: "open" });
      this.#element.dress(root);
      root.append(fragment(MARKUP));
      this.#host = find(root, "fieldset", HTMLElement);
    }
    find(this.#host, "legend", HTMLElement).textContent = this.#element.words.say("preferences");
  }

  /** @param {Client} client @param {AbortSignal} signal */
  listen(client, signal) {
    const take = (/** @type {{ muted: string[] }} */ { muted }) => {
      if (signal.aborted) return;
      this.#muted = muted;
      this.#element.changed();
    };
    let heard = 0;
    this.#element.during(client.on("preferences", (preferences) => {
      heard += 1;
      take(preferences);
    }), signal);
    this.#ask = () => {
      const before = heard;
      client.preferences.get().then((preferences) => {
        // What has been heard since is newer.
        if (heard === before) take(preferences);
      }, (error) => signal.aborted || this.#element.tell("error", { error }));
    };
    this.#ask();
  }

  /** @param {Snapshot} snapshot */
  show({ items, state }) {
    const isBack = state === "live" && this.#state === "reconnecting";
    this.#state = state;
    if (isBack) this.#ask();
    const host = this.#host;
    const muted = this.#muted;
    if (!host || !muted) return;
    const named = (this.#element.getAttribute("categories") ?? "").split(",").map((name) => name.trim()).filter(Boolean);
    const known = named.length > 0 ? named : items.flatMap(({ category }) => category ?? []);
    const names = [...new Set([...known, ...muted])].sort((one, other) => one.localeCompare(other));
    find(host, "p", HTMLElement).textContent = this.#element.words.say(names.length > 0 ? "preferences_text" : "no_preferences");
    const switches = find(host, ".switches", HTMLElement);
    const boxes = new Map([...switches.querySelectorAll("input")].map((box) => [box.value, box]));
    for (const [name, box] of boxes) if (!names.includes(name)) box.parentElement?.remove();
    for (const name of names) {
      const box = boxes.get(name) ?? this.#switch(switches, name);
      box.checked = !muted.includes(name);
    }
  }

  /** @param {HTMLElement} host @param {string} name */
  #switch(host, name) {
    const label = find(fragment('<label class="switch"><span dir="auto"></span><input type="checkbox" role="switch"></label>'), "label", HTMLElement);
    find(label, "span", HTMLElement).textContent = name;
    const box = find(label, "input", HTMLInputElement);
    box.value = name;
    box.addEventListener("change", () => this.#change(name, box.checked));
    host.append(label);
    return box;
  }

  /** @param {string} name @param {boolean} isWanted */
  async #change(name, isWanted) {
    const { client } = this.#element;
    const before = this.#muted ?? [];
    const without = (/** @type {string[]} */ names) => names.filter((other) => other !== name);
    const change = (/** @type {string[]} */ names) => (isWanted ? without(names) : [...without(names), name]);
    this.#muted = change(before);
    try {
      // Of what she has said elsewhere meanwhile nothing is taken back.
      const now = await client?.preferences.get();
      if (now) await client?.preferences.update({ muted: change(now.muted) });
    } catch (error) {
      this.#muted = before;
      this.#element.tell("error", { error });
    }
    this.#element.changed();
  }
}
