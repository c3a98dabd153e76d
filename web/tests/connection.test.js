import assert from "node:assert/strict";
import { test } from "node:test";
import { nameOf } from "../widget/connection.js";

test("only what shows the same has the same client", () => {
  const base = { server: "https://notify.example", user: "ana", token: null, locale: "es" };
  const [one, other] = [() => "token", () => "token"];
  const all = [base, { ...base, user: "luis" }, { ...base, server: "https://other.example" }, { ...base, locale: "en" },
    { ...base, pageSize: 10 },
    { ...base, token: "x" }, { ...base, user: null, token: "x" }, { ...base, token: one }, { ...base, token: other }];
  assert.equal(new Set(all.map(nameOf)).size, all.length);
  for (const settings of all) assert.equal(nameOf({ ...settings }), nameOf(settings));
});
