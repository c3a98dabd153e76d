// What an element does until its body is there; the elements need little of a browser for that.

import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.HTMLElement = EventTarget;
globalThis.addEventListener = () => {};
const { PregonToasts } = await import("../widget/elements.js");

/** Toasts whose body comes when the test says so, or does not. */
function toasts() {
  const loads = [];
  const shown = [];
  class Toasts extends PregonToasts {
    load() {
      return new Promise((resolve, reject) => loads.push({ resolve: () => resolve(new Body()), reject }));
    }
  }
  class Body {
    clear() {}
    begin() {}
    add({ id }) {
      shown.push(id);
    }
  }
  return { element: new Toasts(), loads, shown };
}

test("what arrives before toasts can be shown is shown when they can, the newest ten", async () => {
  const { element, loads, shown } = toasts();
  // The bell may be faster than the element is in the page.
  element.add({ id: "0" });
  const beginning = element.begin(new AbortController().signal);
  for (let id = 1; id <= 10; id += 1) element.add({ id: String(id) });
  loads[0].resolve();
  await beginning;
  element.add({ id: "11" });
  assert.equal(shown.join(), "1,2,3,4,5,6,7,8,9,10,11");
});

test("what has arrived for one user is never shown to another", async () => {
  const { element, loads, shown } = toasts();
  const end = new AbortController();
  const first = element.begin(end.signal);
  element.add({ id: "hers" });
  end.abort();
  const second = element.begin(new AbortController().signal);
  for (const load of loads) load.resolve();
  await assert.rejects(first, { name: "AbortError" });
  await second;
  element.add({ id: "his" });
  assert.deepEqual(shown, ["his"]);
});

test("a body that cannot be had is asked for again, and the page is told", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const { element, loads } = toasts();
  const errors = [];
  element.addEventListener("pregon-error", ({ detail }) => errors.push(detail.error.message));
  const beginning = element.begin(new AbortController().signal);
  loads[0].reject(new TypeError("no network"));
  while (loads.length < 2) await Promise.race([beginning, new Promise((resolve) => setTimeout(resolve))]);
  loads[1].resolve();
  await beginning;
  assert.deepEqual(errors, ["no network"]);
  assert.ok(element.body);
});
