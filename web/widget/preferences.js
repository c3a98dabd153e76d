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
    this.#element.during(client.on("preferences", take), signal);
    client.preferences.get().then(take, (error) => signal.aborted || this.#element.tell("error", { error }));
  }

  /** @param {Snapshot} snapshot */
  show({ items }) {
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
    const before = this.#muted ?? [];
    const others = before.filter((other) => other !== name);
    this.#muted = isWanted ? others : [...others, name];
    try {
      await this.#element.client?.preferences.update({ muted: this.#muted });
    } catch (error) {
      this.#muted = before;
      this.#element.tell("error", { error });
    }
    this.#element.changed();
  }
}
