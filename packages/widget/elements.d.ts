// What TypeScript knows of the elements in HTML and of their events.

import type { Client, Counts, Item, Snapshot } from "./dist/types/client/client.js";
import type { Notification } from "./dist/types/client/inbox.js";
import type { PregonBell, PregonInbox, PregonPreferences, PregonToasts } from "./dist/types/widget/pregon.js";

export * from "./dist/types/widget/pregon.js";
export type { Client, Counts, Item, Notification, Snapshot };

export interface PregonEventMap {
  "pregon-ready": CustomEvent<{ counts: Counts }>;
  "pregon-notification": CustomEvent<Notification>;
  "pregon-select": CustomEvent<{ item: Item }>;
  "pregon-action": CustomEvent<{ item: Item; action: unknown }>;
  "pregon-change": CustomEvent<Counts>;
  "pregon-state": CustomEvent<{ state: Snapshot["state"] }>;
  "pregon-sign-in": CustomEvent<unknown>;
  "pregon-error": CustomEvent<{ error: Error }>;
}

declare global {
  interface HTMLElementTagNameMap {
    "pregon-bell": PregonBell;
    "pregon-inbox": PregonInbox;
    "pregon-preferences": PregonPreferences;
    "pregon-toasts": PregonToasts;
  }
  interface HTMLElementEventMap extends PregonEventMap {}
  interface DocumentEventMap extends PregonEventMap {}
  interface WindowEventMap extends PregonEventMap {}
}
