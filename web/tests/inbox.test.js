import assert from "node:assert/strict";
import { test } from "node:test";
import { createInbox, isOfAbsent } from "../client/inbox.js";

const AT = "2026-11-24T09:00:00.000Z";
const LATER = "2026-11-24T10:00:00.000Z";

function item(id, marks = {}) {
  return { id, timestamp: AT, message: `Message ${id}`, seen_at: null, read_at: null, archived_at: null, ...marks };
}

function page(items, { counts, next_cursor = null } = {}) {
  const unread = items.filter(({ read_at }) => !read_at).length;
  const unseen = items.filter(({ seen_at }) => !seen_at).length;
  counts ??= { unread, unseen, total: items.length };
  return { data: items, counts, next_cursor, stream_cursor: "cursor" };
}

function inboxOf(items, options) {
  const inbox = createInbox();
  inbox.replace(inbox.begin(), page(items, options));
  return inbox;
}

const arrives = (id, fields = {}) => {
  return { name: "message", data: { id, timestamp: AT, message: `Message ${id}`, ...fields } };
};
const says = (data) => ({ name: "state", data: { at: LATER, ...data } });
const counts = (unread, unseen, total) => ({ unread, unseen, total });
const ids = (inbox) => inbox.shown.items.map(({ id }) => id).join("");
const readIds = (inbox) => inbox.shown.items.filter(({ read_at }) => read_at).map(({ id }) => id).join("");

test("an inbox is what the page says, then each arrival in front, once", () => {
  const inbox = inboxOf([item("b"), item("a", { seen_at: AT, read_at: AT })]);
  assert.equal(inbox.apply(arrives("c")), true);
  assert.equal(inbox.apply(arrives("c")), false, "it is known");
  assert.equal(inbox.apply(arrives("a", { replay: true })), false);
  assert.equal(ids(inbox), "cba");
  assert.deepEqual(inbox.shown.counts, counts(2, 2, 3));
});

test("order is the server's, whatever the clocks and ids say", () => {
  const inbox = inboxOf([item("a", { timestamp: AT })]);
  inbox.apply(arrives("z", { timestamp: "2020-01-01T00:00:00.000Z" }));
  inbox.apply(arrives("b", { timestamp: "2030-01-01T00:00:00.000Z" }));
  assert.equal(ids(inbox), "bza");
});

test("what is shown is the same object until something changes, and is never changed itself", () => {
  const inbox = inboxOf([item("b"), item("a")]);
  const before = inbox.shown;
  const copy = structuredClone(before);
  assert.equal(inbox.shown, before);
  inbox.apply({ name: "heartbeat", data: {} });
  assert.equal(inbox.shown, before);
  inbox.apply(says({ ids: ["a"], set: { read: true }, counts: counts(1, 1, 2) }));
  inbox.mark({ ids: ["b"], set: { archived: true }, at: AT });
  assert.notEqual(inbox.shown, before);
  assert.deepEqual(before, copy);
  assert.equal(inbox.shown.items[1].read_at, LATER);
  assert.equal(before.items[1].read_at, null);
});

test("what is edited keeps its marks, what is taken back is gone, and what is archived stays known", () => {
  const inbox = inboxOf([item("c"), item("b", { seen_at: AT }), item("a")]);
  inbox.apply({ name: "updated", data: { id: "b", timestamp: AT, message: "New", replay: true } });
  assert.deepEqual(inbox.shown.items[1], item("b", { message: "New", seen_at: AT }));
  inbox.apply({ name: "removed", data: { id: "a", reason: "recalled" } });
  assert.equal(ids(inbox), "cb");
  assert.deepEqual(inbox.shown.counts, counts(2, 1, 2));
  inbox.apply(says({ ids: ["c"], set: { archived: true }, counts: counts(1, 0, 1) }));
  inbox.apply(says({ ids: ["c"], set: { archived: false }, counts: counts(2, 1, 2) }));
  assert.equal(ids(inbox), "cb", "it comes back to where it was");
});

test("marks mean what they mean on the server", () => {
  const [none, seen, read] = [item("a"), item("a", { seen_at: AT }), item("a", { seen_at: AT, read_at: AT })];
  for (const [before, set, seen_at, read_at] of [
    [none, { read: true }, LATER, LATER],
    [none, { seen: true }, LATER, null],
    [seen, { read: true }, AT, LATER],
    [read, { read: true }, AT, AT],
    [read, { read: false }, AT, null],
    [read, { seen: false }, null, null],
    [read, { seen: false, read: true }, AT, AT],
    [none, { archived: true }, null, null],
  ]) {
    const inbox = inboxOf([before]);
    inbox.apply(says({ ids: ["a"], set, counts: counts(0, 0, 0) }));
    const after = inbox.shown.items[0];
    assert.deepEqual([after.seen_at, after.read_at], [seen_at, read_at], JSON.stringify([before, set]));
  }
});

test("a mark is shown at once, counted, and over when the stream has said it and the server has answered", () => {
  for (const order of [["heard", "confirmed"], ["confirmed", "heard"]]) {
    const inbox = inboxOf([item("b"), item("a")]);
    const pending = inbox.mark({ ids: ["b"], set: { read: true }, at: AT });
    assert.equal(readIds(inbox), "b");
    assert.deepEqual(inbox.shown.counts, counts(1, 1, 2));
    for (const step of order) {
      if (step === "confirmed") inbox.confirm(pending);
      else inbox.apply(says({ ids: ["b"], set: { read: true }, counts: counts(1, 1, 2) }));
      assert.equal(readIds(inbox), "b", `${order}: ${step}`);
      assert.deepEqual(inbox.shown.counts, counts(1, 1, 2));
    }
    // Another device takes it back: nothing of ours stands in the way any more.
    inbox.apply(says({ ids: ["b"], set: { read: false }, counts: counts(2, 1, 2) }));
    assert.equal(readIds(inbox), "", String(order));
    assert.deepEqual(inbox.shown.counts, counts(2, 1, 2));
  }
});

test("a mark that fails is rolled back, and what has arrived meanwhile stays", () => {
  const inbox = inboxOf([item("b"), item("a")]);
  const pending = inbox.mark({ ids: ["b"], set: { archived: true }, at: AT });
  inbox.apply(arrives("c"));
  inbox.apply(says({ ids: ["a"], set: { read: true }, counts: counts(2, 2, 3) }));
  assert.deepEqual(inbox.shown.counts, counts(1, 1, 2));
  inbox.rollBack(pending);
  assert.equal(ids(inbox), "cba");
  assert.equal(inbox.shown.items[1].archived_at, null);
  assert.equal(readIds(inbox), "a");
  assert.deepEqual(inbox.shown.counts, counts(2, 2, 3));
});

test("of two marks of the same, one may fail and the other stays", () => {
  const inbox = inboxOf([item("a")]);
  const archived = inbox.mark({ ids: ["a"], set: { archived: true }, at: AT });
  inbox.mark({ ids: ["a"], set: { read: true }, at: AT });
  inbox.rollBack(archived);
  assert.deepEqual(inbox.shown.items, [item("a", { seen_at: AT, read_at: AT })]);
});

test("an answer that comes late does not undo what another device has done since", () => {
  const inbox = inboxOf([item("a")]);
  const pending = inbox.mark({ ids: ["a"], set: { read: true }, at: AT });
  inbox.apply(says({ ids: ["a"], set: { read: true }, counts: counts(0, 0, 1) }));
  inbox.apply(says({ ids: ["a"], set: { read: false }, counts: counts(1, 0, 1) }));
  inbox.confirm(pending);
  assert.equal(readIds(inbox), "");
  assert.deepEqual(inbox.shown.counts, counts(1, 0, 1));
});

test("a mark that changes nothing is never said on the stream, and is over with the answer", () => {
  const inbox = inboxOf([item("a", { seen_at: AT, read_at: AT })]);
  inbox.confirm(inbox.mark({ ids: ["a"], set: { read: true }, at: LATER }));
  inbox.apply(says({ ids: ["a"], set: { read: false }, counts: counts(1, 0, 1) }));
  assert.equal(readIds(inbox), "");
});

test("what the server has confirmed goes on being shown until the stream gets there, or a later snapshot", () => {
  const inbox = inboxOf([item("a")]);
  const early = inbox.begin();
  const pending = inbox.mark({ ids: ["a"], set: { read: true }, at: AT });
  inbox.confirm(pending);
  inbox.replace(early, page([item("a")]));
  assert.equal(readIds(inbox), "a", "this snapshot may be older than the mark");
  inbox.replace(inbox.begin(), page([item("a", { seen_at: AT, read_at: AT })]));
  inbox.apply(says({ ids: ["a"], set: { read: false }, counts: counts(1, 0, 1) }));
  assert.equal(readIds(inbox), "", "this one was not");
});

test("all read races an arrival: what has arrived since stays unread", () => {
  const inbox = inboxOf([item("b"), item("a")], { counts: counts(7, 7, 7), next_cursor: "older" });
  const pending = inbox.mark({ up_to: "b", set: { read: true }, at: AT });
  assert.deepEqual(inbox.shown.counts, counts(0, 0, 7));
  inbox.apply(arrives("c"));
  assert.equal(readIds(inbox), "ba");
  assert.deepEqual(inbox.shown.counts, counts(1, 1, 8));
  inbox.confirm(pending);
  assert.deepEqual(inbox.shown.counts, counts(1, 1, 8));
  inbox.apply(says({ up_to: "b", set: { read: true }, counts: counts(1, 1, 8) }));
  assert.equal(readIds(inbox), "ba");
  assert.deepEqual(inbox.shown.counts, counts(1, 1, 8));
});

test("a mark of all without an end marks all that are there", () => {
  const inbox = inboxOf([item("b"), item("a")]);
  inbox.apply(says({ set: { read: true }, counts: counts(0, 0, 2) }));
  inbox.apply(arrives("c"));
  assert.equal(readIds(inbox), "ba");
});

test("what arrives while a snapshot is under way is there once, whether the snapshot has it or not", () => {
  for (const inPage of [[], [item("b")], [item("c", { seen_at: LATER, read_at: LATER }), item("b")]]) {
    const inbox = inboxOf([item("a")]);
    const fetching = inbox.begin();
    inbox.apply(arrives("b"));
    inbox.apply(arrives("c"));
    inbox.apply(says({ ids: ["c"], set: { read: true }, counts: counts(2, 2, 3) }));
    inbox.apply(arrives("d"));
    inbox.apply({ name: "removed", data: { id: "d", reason: "recalled" } });
    assert.equal(inbox.replace(fetching, page([...inPage, item("a")])), false, "something was marked meanwhile");
    assert.equal(ids(inbox), "cba", `${inPage.length} in the page`);
    assert.equal(readIds(inbox), "c");
    assert.deepEqual(inbox.shown.counts, counts(2, 2, 3));
  }
});

test("older ones come after what is there, each once, with what was said of them while they were on their way", () => {
  const inbox = inboxOf([item("d"), item("c")], { counts: counts(4, 4, 4), next_cursor: "older" });
  const fetching = inbox.begin();
  inbox.apply(says({ ids: ["a"], set: { read: true }, counts: counts(3, 3, 4) }));
  inbox.apply(arrives("e"));
  inbox.append(fetching, page([item("c"), item("b"), item("a")]));
  assert.equal(ids(inbox), "edcba");
  assert.equal(readIds(inbox), "a");
  assert.deepEqual(inbox.shown.counts, counts(4, 4, 5));
  assert.equal(inbox.shown.nextCursor, null);
});

test("a replay of more than a snapshot holds puts nothing old on top", () => {
  const inbox = inboxOf([item("z", { timestamp: LATER })], { counts: counts(9, 9, 9), next_cursor: "older" });
  assert.equal(inbox.apply(arrives("b", { replay: true })), false);
  assert.equal(ids(inbox), "z");
  assert.deepEqual(inbox.shown.counts, counts(9, 9, 9));
});

test("a page that does not come leaves nothing behind", () => {
  const inbox = inboxOf([item("a")]);
  const fetching = inbox.begin();
  inbox.end(fetching);
  inbox.apply(arrives("b"));
  assert.deepEqual(fetching, []);
});

test("what has expired is gone on time, on the server's clock", () => {
  const inbox = inboxOf([item("b", { expires_at: LATER }), item("a")]);
  inbox.expire(Date.parse(LATER) - 1);
  assert.equal(ids(inbox), "ba");
  inbox.expire(Date.parse(LATER));
  assert.equal(ids(inbox), "a");
  assert.deepEqual(inbox.shown.counts, counts(1, 1, 1));
});

test("an inbox keeps the newest thousand", () => {
  const inbox = inboxOf([]);
  for (let number = 1; number <= 1_002; number += 1) inbox.apply(arrives(`n${number}`));
  assert.equal(inbox.shown.items.length, 1_000);
  assert.equal(inbox.shown.items.at(-1).id, "n3");
});

test("what is said of something that is not here is noticed where it matters", () => {
  const all = inboxOf([item("a")]).shown;
  const first = inboxOf([item("a")], { next_cursor: "older" }).shown;
  for (const [contents, change, expected] of [
    [first, { name: "removed", data: { id: "a" } }, false],
    [first, { name: "removed", data: { id: "old" } }, true],
    [all, { name: "removed", data: { id: "old" } }, false],
    [all, says({ ids: ["old"], set: { read: true } }), false],
    [all, says({ ids: ["old"], set: { archived: false } }), true],
    [all, says({ ids: ["a"], set: { archived: false } }), false],
    [all, says({ up_to: "a", set: { read: true } }), false],
    [all, says({ up_to: "archived", set: { read: true } }), true],
    [all, says({ set: { read: true } }), false],
    [all, arrives("b"), false],
    [createInbox().shown, { name: "removed", data: { id: "old" } }, false],
  ]) {
    assert.equal(Boolean(isOfAbsent(contents, change)), expected, JSON.stringify(change));
  }
});
