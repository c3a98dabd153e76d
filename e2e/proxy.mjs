// A bad network on demand: a TCP proxy between the browser and the server.

import { once } from "node:events";
import { connect, createServer } from "node:net";

export async function startProxy(t, server) {
  const proxy = new Proxy(server);
  t.after(() => proxy.refuse());
  await proxy.restore();
  return proxy;
}

class Proxy {
  #server;
  #listener;
  #port = 0;
  #sockets = new Set();
  /** What happens to a new connection. */
  #treat = (socket) => this.#forward(socket);
  #isBlackHole = false;
  #keepsStreams = false;

  /** How many streams it has kept to itself. */
  kept = 0;
  /** How many requests got the canned answer. */
  answered = 0;
  /** How many pieces of data went into the black hole. */
  swallowed = 0;

  constructor(server) {
    this.#server = server;
  }

  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  page(user) {
    return `${this.url}/?user_id=${user}`;
  }

  /** Destroys every open connection. New ones are treated as before. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Nobody listens any more. */
  async refuse() {
    if (!this.#listener?.listening) return;
    const closed = once(this.#listener, "close");
    this.#listener.close();
    this.cut();
    await closed;
  }

  /** Answers whatever is asked with these bytes. */
  answer(bytes) {
    this.answered = 0;
    this.#treat = (socket) => {
      socket.once("data", () => {
        this.answered += 1;
        socket.end(bytes);
      });
    };
    this.cut();
  }

  /** Keeps every connection open, accepts new ones, and lets nothing through. */
  blackHole() {
    this.#isBlackHole = true;
    this.swallowed = 0;
    this.#treat = (socket) => socket.on("data", () => (this.swallowed += 1));
  }

  /** Lets an answer through when it is complete, as some proxies and antiviruses do: a stream never is. */
  keepStreams(keeps = true) {
    this.#keepsStreams = keeps;
    this.cut();
  }

  /** A healthy network again. What the black hole holds has no other end any more and is cut. */
  async restore() {
    this.#treat = (socket) => this.#forward(socket);
    if (this.#isBlackHole) this.cut();
    this.#isBlackHole = false;
    if (this.#listener?.listening) return;
    this.#listener = createServer((socket) => {
      this.#keep(socket);
      this.#treat(socket);
    });
    this.#listener.listen(this.#port, "127.0.0.1");
    await once(this.#listener, "listening");
    this.#port = this.#listener.address().port;
  }

  #keep(socket) {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    // A connection that breaks is what this proxy is for.
    socket.on("error", () => {});
  }

  #forward(browser) {
    const server = connect(this.#server.port, "127.0.0.1");
    this.#keep(server);
    let isKept = false;
    for (const [from, to] of [[browser, server], [server, browser]]) {
      from.on("data", (data) => {
        if (from === server && !isKept && data.includes("text/event-stream")) {
          isKept = this.#keepsStreams;
          if (isKept) this.kept += 1;
        }
        if (isKept && from === server) return;
        if (!this.#isBlackHole) to.write(data);
        else if (from === browser) this.swallowed += 1;
      });
      from.on("close", () => {
        if (!this.#isBlackHole) to.destroy();
      });
    }
  }
}
