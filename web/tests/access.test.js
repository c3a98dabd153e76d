import assert from "node:assert/strict";
import { test } from "node:test";
import { createAccess, Refusal, Unauthenticated } from "../client/access.js";

/** A server that takes these tokens; without a list, everybody. */
function serverOf(...good) {
  const requests = [];
  async function fetch(url, { method = "GET", headers, body } = {}) {
    const token = headers.authorization?.slice("Bearer ".length);
    requests.push({ method, path: url.pathname + url.search, token, body });
    await Promise.resolve();
    const passes = good.length === 0 || good.includes(token);
    return passes ? Response.json({ well: true }) : Response.json({ code: "token_expired" }, { status: 401 });
  }
  return { requests, fetch };
}

const SERVER = "https://notify.example";

test("a request says who it is for, in which language, and on whose word", async () => {
  const { requests, fetch } = serverOf();
  const access = createAccess({ server: `${SERVER}/on/`, user: "ana&co", token: "t", locale: "es", fetch });
  await access.json("POST", "/v1/inbox/seen", { query: { limit: 5, cursor: undefined }, body: { up_to: "x" } });
  assert.deepEqual(requests, [
    { method: "POST", path: "/on/v1/inbox/seen?user_id=ana%26co&lang=es&limit=5", token: "t", body: '{"up_to":"x"}' },
  ]);
});

test("a token that is refused is asked for once more", async () => {
  const { requests, fetch } = serverOf("second");
  const tokens = ["first", "second", "third"];
  const access = createAccess({ server: SERVER, user: "ana", token: () => tokens.shift(), fetch });
  assert.deepEqual(await access.json("GET", "/v1/inbox"), { well: true });
  await access.json("GET", "/v1/inbox");
  assert.deepEqual(requests.map(({ token }) => token), ["first", "second", "second"]);
});

test("the second refusal stands, and so does the first where there is nobody to ask", async () => {
  for (const [token, requested] of [[() => "bad", 2], [async () => null, 2], ["bad", 1], [undefined, 1]]) {
    const { requests, fetch } = serverOf("good");
    const access = createAccess({ server: SERVER, user: "ana", token, fetch });
    await assert.rejects(access.json("GET", "/v1/inbox"), Unauthenticated);
    assert.equal(requests.length, requested, String(token));
  }
});

test("requests that are refused together ask for one token", async () => {
  const { fetch } = serverOf("token 2");
  let asked = 0;
  const access = createAccess({ server: SERVER, user: "ana", token: async () => `token ${(asked += 1)}`, fetch });
  await Promise.all(Array.from({ length: 5 }, () => access.json("GET", "/v1/inbox")));
  assert.equal(asked, 2);
});

test("a back end that cannot give a token has not refused anybody", async () => {
  const { fetch } = serverOf("token");
  let isDown = true;
  const atOnce = () => {
    if (isDown) throw new TypeError("no network");
    return "token";
  };
  for (const token of [atOnce, async () => atOnce()]) {
    isDown = true;
    const access = createAccess({ server: SERVER, user: "ana", token, fetch });
    await assert.rejects(access.json("GET", "/v1/inbox"), TypeError);
    isDown = false;
    await access.json("GET", "/v1/inbox");
  }
});

test("a fresh token takes the place of the one in use, and only a fresh one does", async () => {
  const { requests, fetch } = serverOf();
  const tokens = ["first", "first", null, "second"];
  const access = createAccess({ server: SERVER, user: "ana", token: () => tokens.shift(), fetch });
  await access.json("GET", "/v1/inbox");
  assert.deepEqual([await access.renew(), await access.renew()], [false, false], "the same one, and none");
  await access.json("GET", "/v1/inbox");
  assert.equal(await access.renew(), true);
  await access.json("GET", "/v1/inbox");
  assert.deepEqual(requests.map(({ token }) => token), ["first", "first", "second"]);

  const fixed = createAccess({ server: SERVER, user: "ana", token: "fixed", fetch });
  await fixed.json("GET", "/v1/inbox");
  assert.equal(await fixed.renew(), false, "there is nobody to ask");
});

test("any other answer is told as it is", async () => {
  const problem = { code: "draining", detail: "soon" };
  const answer = () => Response.json(problem, { status: 503, headers: { "retry-after": "2" } });
  const access = createAccess({ server: SERVER, user: "ana", fetch: async () => answer() });
  await assert.rejects(access.json("GET", "/v1/inbox"), (error) => {
    assert.ok(error instanceof Refusal);
    assert.deepEqual([error.status, error.code, error.message, error.retryAfterMs], [503, "draining", "soon", 2_000]);
    return true;
  });
  const badGateway = () => new Response("<h1>", { status: 502 });
  const html = createAccess({ server: SERVER, user: "ana", fetch: async () => badGateway() });
  await assert.rejects(html.json("GET", "/v1/inbox"), { status: 502, code: undefined });
});

test("whoever differs in server, user or language has another name", () => {
  const names = [
    ["https://a.example", "ana"], ["https://a.example/", "ana", "es"], ["https://a.example", "luis"],
    ["https://b.example", "ana"], ["https://a.example", "ana\",\"es"], ["https://a.example", "[\"ana\"]"],
  ].map(([server, user, locale]) => createAccess({ server, user, locale }).name);
  assert.equal(new Set(names).size, names.length, names.join("\n"));
  const nameAt = (server) => createAccess({ server, user: "ana" }).name;
  assert.equal(nameAt("https://a.example"), nameAt("https://a.example/"));
});

test("Retry-After is seconds or a date, and anything else is nothing", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.parse("2026-11-24T09:00:00Z") });
  for (const [header, waitMs] of [
    ["", 0],
    ["3", 3_000],
    ["Tue, 24 Nov 2026 09:00:07 GMT", 7_000],
    ["Tue, 24 Nov 2026 08:59:00 GMT", 0],
    ["soon", 0],
  ]) {
    const response = new Response(null, { status: 503, headers: { "retry-after": header } });
    assert.equal(new Refusal(response).retryAfterMs, waitMs, header);
  }
});
