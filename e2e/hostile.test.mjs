// Whatever is published is text. Nothing of it may run, load, or break the page out of its width.

import assert from "node:assert/strict";
import { test } from "node:test";
import { openLive, shownIds, until, useBrowser } from "./browser.mjs";
import { startServer } from "./server.mjs";

const newContext = useBrowser();

const TEXTS = [
  "<script>hit = 1</script>",
  "</script><script>hit = 1</script>",
  "<img src=x onerror=hit=1>",
  "<svg onload=hit=1>",
  "<svg><animate onbegin=hit=1 attributeName=x dur=1s>",
  "<iframe srcdoc='<script>parent.hit = 1</script>'></iframe>",
  "<body onload=hit=1>",
  "<style>* { display: none }</style>",
  "<link rel=stylesheet href=https://lejos.example/x.css>",
  "<meta http-equiv=refresh content='0;url=https://lejos.example/'>",
  "<base href=https://lejos.example/>",
  "<form action=https://lejos.example/><input autofocus onfocus=hit=1>",
  "<details open ontoggle=hit=1>",
  "<math><mtext><mglyph><style><img src=x onerror=hit=1>",
  "<!-- comentario --><![CDATA[ <b>x</b> ]]>",
  "</p></li></ol></template><h1>fuera</h1>",
  "\"><img src=x onerror=hit=1>",
  "' onmouseover='hit=1' x='",
  "` onclick=hit=1 `",
  "&lt;b&gt; &amp; &quot;ya escapado&quot; &#39; &#x2f; &nbsp;",
  "{{ 7 * 7 }} {% raw %} {# nada #} ${7*7} #{7*7} <%= 7 %>",
  "javascript:hit=1",
  "Primera línea\nSegunda línea\n\nCuarta",
  "data: {\"message\":\"falsa\"}\n\ndata: {\"message\":\"falsa\"}\n\nevent: reset\ndata: {}\n\n",
  "retroceso\rsolo\rdentro",
  "Windows\r\ntermina\r\nasí",
  "\nid: 0\nretry: 1\n:comentario",
  "separadores\u2028de línea\u2029y párrafo",
  "\u202Eal revés\u202C \u2066aislado\u2069 \u200Fderecha",
  "\uFEFFmarca al principio\u200B\u200Csin ancho\u200D",
  "👩‍👩‍👧‍👦 🏳️‍🌈 🇪🇸 é ñ \u{1F600} \u{10FFFF}",
  "مرحبا بالعالم، لديك إشعار جديد",
  "שלום עולם (2) <b>",
  "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘",
  "   espacios   al   borde   ",
  "\ttabulador\tdentro\t",
  "palabra".repeat(1_400),
  "https://lejos.example/" + "a".repeat(3_000),
  "constructor", "__proto__", "undefined", "null", "[object Object]",
];

const ADDRESSES = [
  "javascript:hit=1",
  "JaVaScRiPt:hit=1",
  " javascript:hit=1",
  "java\tscript:hit=1",
  "java\nscript:hit=1",
  "\u0001javascript:hit=1",
  "javascript&colon;hit=1",
  "javascript://lejos.example/%0ahit=1",
  "vbscript:hit=1",
  "data:text/html,<script>hit=1</script>",
  "blob:https://lejos.example/1",
  "file:///etc/passwd",
  "//lejos.example/",
  "/\\lejos.example/",
  "/\t/lejos.example/",
  "\\\\lejos.example\\",
  "https:lejos.example",
  "https://a.example/\" onclick=\"hit=1",
  "https://a.example/'><script>hit=1</script>",
  "mailto:ana@ejemplo.example?subject=<b>",
  "/pedidos?q=<b>&x=\"1\"",
];

/** HTML gives a carriage return the meaning of a line end, and so does the page when it arrives. */
const asShown = (text) => text.replace(/\r\n?/g, "\n");

async function assertHarmless(page) {
  assert.equal(await page.evaluate(() => window.hit), undefined, "something was executed");
  assert.deepEqual(await page.locator("h1").allTextContents(), ["Notificaciones en Tiempo Real"]);
  for (const width of [320, 1000]) {
    await page.setViewportSize({ width, height: 800 });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `the page is ${overflow} px wider than ${width} px`);
    const clipped = await page.locator(".notice-words").evaluateAll((all) => {
      return all.filter((words) => words.scrollWidth > words.clientWidth).map((words) => words.textContent.slice(0, 80));
    });
    assert.deepEqual(clipped, [], `cut off at ${width} px`);
  }
}

function watchRequests(context, server) {
  const strangers = [];
  context.on("request", (request) => {
    if (new URL(request.url()).origin !== server.url) strangers.push(request.url());
  });
  context.on("page", (page) => page.on("dialog", (dialog) => {
    strangers.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss();
  }));
  return strangers;
}

test("a hostile message or title stays text, when it arrives and when the server renders it", async (t) => {
  assert.ok(TEXTS.length >= 30);
  const server = await startServer(t);
  const context = await newContext(t);
  const strangers = watchRequests(context, server);
  const page = await openLive(context, server.page("ana"));

  for (const [index, text] of TEXTS.entries()) {
    // A title is for a line, so the server may want it shorter than a message. Every message it takes as it is.
    const titled = await server.request("POST", "/v1/users/ana/notifications", { title: text, message: "Con título" });
    const id = titled.status === 201 ? (await titled.json()).id : undefined;
    assert.ok(id || (titled.status >= 400 && titled.status < 500), `title ${index}: ${titled.status}`);
    if (!id) t.diagnostic(`refused as a title: ${JSON.stringify(text).slice(0, 60)}`);
    const message = await server.publish("ana", { message: text });
    await until("both have arrived", async () => (await shownIds(page))[0] === message);

    const assertShown = async (how) => {
      const shown = page.locator(`[data-id="${message}"] .notice-message`);
      assert.equal(await shown.textContent(), asShown(text), `message ${index}, ${how}`);
      if (!id) return;
      const title = page.locator(`[data-id="${id}"] .notice-title`);
      assert.equal(await title.textContent(), asShown(text), `title ${index}, ${how}`);
    };
    await assertShown("arrived");
    if (index % 20 === 19 || index === TEXTS.length - 1) {
      await assertHarmless(page);
      await page.reload();
      await until("the page is live", async () => (await page.locator("#state[data-state=live]").count()) === 1);
      await assertShown("rendered by the server");
      await assertHarmless(page);
    }
  }
  assert.deepEqual(strangers, []);
});

test("every hostile text is the same text in the server's own HTML", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t, { javaScriptEnabled: false });
  const page = await context.newPage();
  for (let start = 0; start < TEXTS.length; start += 25) {
    const texts = TEXTS.slice(start, start + 25);
    const user = `lote-${start}`;
    for (const text of texts) await server.publish(user, { message: text });
    await page.goto(server.page(user));
    const shown = await page.locator("#notices .notice-message").evaluateAll((all) => all.map((one) => one.textContent));
    assert.deepEqual(shown.toReversed(), texts.map(asShown));
  }
});

test("a hostile address never becomes a link that leads anywhere else than it says", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t);
  const strangers = watchRequests(context, server);
  const page = await openLive(context, server.page("ana"));
  const taken = [];
  for (const url of ADDRESSES) {
    const answer = await server.request("POST", "/v1/users/ana/notifications", { message: "Enlace", url });
    if (answer.status === 201) taken.push({ url, id: (await answer.json()).id });
    else assert.ok(answer.status >= 400 && answer.status < 500, `${url}: ${answer.status}`);
  }
  t.diagnostic(`taken by the server: ${JSON.stringify(taken.map(({ url }) => url))}`);

  const assertLinks = async () => {
    for (const { url, id } of taken) {
      const links = await page.locator(`[data-id="${id}"] a[href]`).evaluateAll((all) => all.map((link) => {
        const { protocol, origin, href } = link;
        return { protocol, origin, href, written: link.getAttribute("href"), handlers: link.getAttributeNames() };
      }));
      for (const { protocol, origin, written, handlers } of links) {
        assert.equal(written, url);
        assert.deepEqual(handlers.filter((name) => name !== "id"), ["href", "rel"]);
        assert.ok(["http:", "https:", "mailto:"].includes(protocol), `${url} became ${protocol}`);
        if (url.startsWith("/")) assert.equal(origin, server.url, `${url} leads to ${origin}`);
      }
    }
    await assertHarmless(page);
  };
  const last = await server.publish("ana", { message: "Un enlace de verdad", url: "/pedidos?n=1&m=2" });
  await until("all have arrived", async () => (await shownIds(page))[0] === last);
  assert.equal(await page.locator(`[data-id="${last}"] a[href]`).getAttribute("href"), "/pedidos?n=1&m=2");
  await assertLinks();
  await page.reload();
  await assertLinks();
  assert.deepEqual(strangers, []);
});

test("the page itself refuses a hostile address, whatever a server may have let through", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t);
  const events = ADDRESSES.map((url, index) => {
    const notification = { id: `n${index}`, timestamp: "2026-01-01T00:00:00.000Z", message: `Enlace ${index}`, url };
    return `data: ${JSON.stringify(notification)}\n\n`;
  });
  await context.route("**/v1/stream?*", (route) => {
    return route.fulfill({ contentType: "text/event-stream", body: `retry: 600000\n\n${events.join("")}` });
  });
  const page = await context.newPage();
  await page.goto(server.page("ana"));
  await page.getByText(`Enlace ${ADDRESSES.length - 1}`).waitFor();
  const links = await page.locator("#notices a[href]").evaluateAll((all) => all.map((link) => link.getAttribute("href")));
  assert.deepEqual(links, ADDRESSES.slice(-4).toReversed());
});

test("a hostile user name is a name like any other", async (t) => {
  const server = await startServer(t);
  const context = await newContext(t);
  const strangers = watchRequests(context, server);
  for (const name of ["</script><script>hit=1</script>", "\"'><img/src=x/onerror=hit=1>", "a&lang=en#b?c%20+/..", "{{7*7}}"]) {
    const page = await openLive(context, server.page(encodeURIComponent(name), "&lang=es"));
    assert.equal(await page.locator(".owner-name bdi").textContent(), name);
    const id = await server.publish(encodeURIComponent(name), "Para un nombre raro");
    await until("it has arrived", async () => (await shownIds(page)).includes(id));
    await assertHarmless(page);
    await page.getByRole("link", { name: "English" }).click();
    await page.waitForURL(/lang=en$/);
    assert.equal(new URL(page.url()).searchParams.get("user_id"), name);
    assert.deepEqual(await shownIds(page), [id]);
  }
  assert.deepEqual(strangers, []);
});

test("what no text can be is refused at the door", async (t) => {
  const server = await startServer(t);
  const bodies = [
    '{"message":"a\\u0000b"}', '{"message":"a\\u001bb"}', '{"message":"a\\u0085b"}',
    '{"message":"a\\ud800b"}', '{"message":""}', '{"message":7}', '{"message"',
  ];
  for (const body of bodies) {
    const answer = await fetch(`${server.url}/v1/users/ana/notifications`, {
      method: "POST",
      headers: { authorization: `Bearer ${server.key}`, "content-type": "application/json" },
      body,
    });
    assert.ok(answer.status >= 400 && answer.status < 500, `${body}: ${answer.status}`);
  }
  assert.deepEqual(await server.ids("ana"), []);
});
