import assert from "node:assert/strict";
import { test } from "node:test";
import { createSelection } from "../widget/selection.js";

const settled = () => new Promise((resolve) => setTimeout(resolve));

function item(id, fields = {}) {
  return { id, timestamp: "2026-11-24T09:00:00.000Z", message: `Message ${id}`, seen_at: null, read_at: null, archived_at: null, ...fields };
}

/** A client of these items; what it is asked for waits until the test answers. */
function clientOf(items, { unread = items.length, more = false } = {}) {
  const asked = [];
  const client = {
    pageSize: 50,
    getSnapshot: () => ({ items, more, loaded: true, counts: { unread, unseen: 0, total: items.length } }),
    inbox: {
      list: (query) => new Promise((resolve, reject) => asked.push({ query, resolve, reject })),
      update: (id, set) => new Promise((resolve, reject) => asked.push({ id, set, resolve, reject })),
    },
  };
  return { client, asked };
}

const ids = ({ items }) => items.map(({ id }) => id).join("");
const everything = { tab: "all", category: "", words: "" };
const page = (items, next_cursor = null) => ({ data: items, next_cursor, counts: {}, stream_cursor: "" });

test("a tab, a category and words narrow what there is down", () => {
  const { client } = clientOf([
    item("a", { category: "pagos", title: "Café", message: "Solo" }),
    item("b", { category: "pagos", read_at: "then", message: "Té con leche" }),
    item("c", { actor: { name: "Ana López" } }),
  ]);
  const selection = createSelection(client, () => {});
  assert.equal(ids(selection.of(everything)), "abc");
  assert.equal(ids(selection.of({ ...everything, tab: "unread" })), "ac");
  assert.equal(ids(selection.of({ ...everything, category: "pagos" })), "ab");
  assert.equal(ids(selection.of({ ...everything, words: "cafe SOLO" })), "a");
  assert.equal(ids(selection.of({ ...everything, words: "lopez" })), "c");
  assert.equal(ids(selection.of({ ...everything, words: "leche solo" })), "");
  assert.deepEqual(selection.categories(), ["pagos"]);
});

test("no more is loaded for what is unread once there are as many as are counted", () => {
  const items = [item("a"), item("b", { read_at: "then" })];
  for (const [unread, more] of [[1, false], [2, true]]) {
    const selection = createSelection(clientOf(items, { unread, more: true }).client, () => {});
    assert.equal(selection.of({ ...everything, tab: "unread" }).more, more, `${unread} unread`);
    assert.equal(selection.of(everything).more, true);
  }
});

test("what is archived is asked for once, and again when something has changed", async () => {
  const { client, asked } = clientOf([]);
  let changes = 0;
  const selection = createSelection(client, () => (changes += 1));
  const archived = { ...everything, tab: "archived" };
  assert.deepEqual(selection.of(archived), { items: [], more: false, loaded: false, hasFailed: false });
  selection.of(archived);
  assert.equal(asked.length, 1, "asked once");
  asked[0].resolve(page([item("a"), item("b")], "next"));
  await settled();
  assert.equal(changes, 1);
  assert.equal(ids(selection.of(archived)), "ab");
  assert.equal(selection.of(archived).more, true);
  assert.equal(asked.length, 1);

  selection.more(archived);
  asked[1].resolve(page([item("c")]));
  await settled();
  assert.equal(asked[1].query.cursor, "next");
  assert.equal(ids(selection.of(archived)), "abc");

  // Something changes while it is asked for: what comes is old already.
  selection.spoil();
  selection.of(archived);
  selection.spoil();
  asked[2].resolve(page([item("a")]));
  await settled();
  assert.equal(ids(selection.of(archived)), "a");
  assert.equal(asked.length, 4, "asked again");
  selection.end();
});

test("what cannot be had is said, and not asked for without end", async () => {
  const { client, asked } = clientOf([]);
  const archived = { ...everything, tab: "archived" };
  const selection = createSelection(client, () => {});
  selection.of(archived);
  asked[0].reject(new Error("503"));
  await settled();
  assert.equal(selection.of(archived).hasFailed, true);
  selection.of(archived);
  assert.equal(asked.length, 1);
  selection.spoil();
  assert.equal(selection.of(archived).hasFailed, false);
  assert.equal(asked.length, 2);
  selection.end();
});

test("more that cannot be had is told to whoever has asked for it, and waits for what is under way", async () => {
  const { client, asked } = clientOf([]);
  const archived = { ...everything, tab: "archived" };
  const selection = createSelection(client, () => {});
  selection.of(archived);
  asked[0].resolve(page([item("a")], "next"));
  await settled();
  const asking = [selection.more(archived), selection.more(archived)].map((more) => assert.rejects(more));
  assert.equal(asked.length, 2, "asked once");
  asked[1].reject(new TypeError("no network"));
  await Promise.all(asking);
  assert.equal(ids(selection.of(archived)), "a");
});

test("what is moved back leaves the archive at once, and is there again if that fails", async () => {
  const { client, asked } = clientOf([]);
  const archived = { ...everything, tab: "archived" };
  const selection = createSelection(client, () => {});
  selection.of(archived);
  asked[0].resolve(page([item("a"), item("b")]));
  await settled();
  const moving = selection.archive(item("a"), false);
  assert.equal(ids(selection.of(archived)), "b");
  asked[1].reject(new Error("500"));
  await assert.rejects(moving);
  selection.of(archived);
  asked[2].resolve(page([item("a"), item("b")]));
  await settled();
  assert.equal(ids(selection.of(archived)), "ab");
});
