import assert from "node:assert/strict";
import { test } from "node:test";
import { createParser } from "../client/events.js";

/** A stream with everything that may stand in one, and what it says. */
const TEXT = [
  ": a comment\n\n",
  "event: hello\nid: 1\nretry: 2000\ndata: {\"epoch\":\"a\"}\n\n",
  "id: 2\ndata: first line\ndata:second line\ndata:  two spaces, one is ours\n\n",
  "id: 3\r\ndata: CR LF\r\n\r\n",
  "id: 4\rdata: CR alone\r\r",
  "data: no id of its own\n\n",
  "id: 5\nevent: unheard\n\n",
  "event: after\ndata\n\n",
  "unknown: field\ndata: a: b\nretry: soon\nid: 6\0\n\n",
  "data: ñ👩‍👩‍👧 \u2028 \u0085\n\n",
  "data: never ended\n",
].join("");

const EVENTS = [
  ["hello", "1", "{\"epoch\":\"a\"}"],
  ["message", "2", "first line\nsecond line\n two spaces, one is ours"],
  ["message", "3", "CR LF"],
  ["message", "4", "CR alone"],
  ["message", "4", "no id of its own"],
  ["after", "5", ""],
  ["message", "5", "a: b"],
  ["message", "5", "ñ👩‍👩‍👧 \u2028 \u0085"],
];

function parsed(pieces) {
  const parser = createParser();
  const events = pieces.flatMap((piece) => parser.push(piece)).map(({ name, id, data }) => [name, id, data]);
  return { events, retryMs: parser.retryMs };
}

test("a stream says what the standard says it says", () => {
  assert.deepEqual(parsed([TEXT]), { events: EVENTS, retryMs: 2000 });
});

test("it says the same wherever it is cut", () => {
  for (let cut = 0; cut <= TEXT.length; cut += 1) {
    assert.deepEqual(parsed([TEXT.slice(0, cut), TEXT.slice(cut)]).events, EVENTS, `cut at ${cut}`);
  }
  assert.deepEqual(parsed([...TEXT].flatMap((character) => character.split(""))).events, EVENTS, "unit by unit");
});

test("it says the same in pieces of any size", () => {
  let random = 1;
  for (let round = 0; round < 300; round += 1) {
    const pieces = [];
    for (let at = 0; at < TEXT.length;) {
      // A generator that anybody can repeat.
      random = (random * 48271) % 2147483647;
      const size = random % 23;
      pieces.push(TEXT.slice(at, at + size));
      at += size;
    }
    assert.deepEqual(parsed(pieces).events, EVENTS, JSON.stringify(pieces));
  }
});

test("an event is given as soon as it is complete", () => {
  const parser = createParser();
  assert.deepEqual(parser.push("data: one\n\ndata: tw").map(({ data }) => data), ["one"]);
  assert.deepEqual(parser.push("o\n").map(({ data }) => data), []);
  assert.deepEqual(parser.push("\n").map(({ data }) => data), ["two"]);
});
