// A real server for a test: the binary, on a port of its own, with a data directory of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const BINARY = process.env.PREGON_BIN ?? fileURLToPath(new URL("../target/debug/pregon", import.meta.url));

/**
 * Starts a server that ends with the test. Only users 1 and 2 hear from its demo, so a test whose subject it is not
 * takes other users and sees nothing but what it has published itself.
 */
export async function startServer(t, ...args) {
  const server = new Server(args);
  t.after(() => server.remove());
  await server.start();
  return server;
}

class Server {
  #args;
  #process;
  #directories = [];
  #port = 0;

  constructor(args) {
    this.#args = args;
  }

  /** Starts, or starts again on the same port with the same key and data. */
  async start() {
    this.dataDir ??= await this.#newDirectory();
    const args = ["dev", "--listen", `127.0.0.1:${this.#port}`, "--data-dir", this.dataDir];
    if (!this.#args.includes("--demo-interval")) args.push("--demo-interval", "1h");
    if (this.key) args.push("--server-key", this.key);
    this.#process = spawn(BINARY, [...args, ...this.#args], { stdio: ["ignore", "pipe", "pipe"] });

    let talk = "";
    this.#process.stderr.on("data", (data) => (talk += data));
    const failed = once(this.#process, "error").then(([error]) => Promise.reject(error));
    const ended = once(this.#process, "exit").then(([code]) => {
      throw new Error(`the server ended with ${code} before it was ready:\n${talk}`);
    });
    const line = once(createInterface({ input: this.#process.stdout }), "line");
    const [ready] = await Promise.race([line, failed, ended]);
    // Whichever lost the race may still fail later, when nobody waits for it any more.
    for (const loser of [failed, ended, line]) loser.catch(() => {});

    const { url, server_key } = JSON.parse(ready);
    this.url = url;
    this.key ??= server_key;
    this.#port = Number(new URL(url).port);
  }

  /** Asks the server to drain, and returns its exit code. */
  async stop() {
    return this.#end("SIGTERM");
  }

  /** Takes its power away. */
  async kill() {
    return this.#end("SIGKILL");
  }

  async #end(signal) {
    const child = this.#process;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exit = once(child, "exit");
    child.kill(signal);
    const [code] = await exit;
    return code;
  }

  /** The next start finds nothing: another log, with another epoch. */
  async forget() {
    this.dataDir = await this.#newDirectory();
  }

  async #newDirectory() {
    const directory = await mkdtemp(join(tmpdir(), "pregon-e2e-"));
    this.#directories.push(directory);
    return directory;
  }

  async remove() {
    await this.kill();
    for (const directory of this.#directories) await rm(directory, { recursive: true, force: true });
  }

  get port() {
    return this.#port;
  }

  /** Sends a request with the server key. A string is sent as plain text, anything else as JSON. */
  request(method, path, body) {
    const text = typeof body === "string";
    return fetch(this.url + path, {
      method,
      headers: {
        authorization: `Bearer ${this.key}`,
        "content-type": text ? "text/plain; charset=utf-8" : "application/json",
      },
      body: text || body === undefined ? body : JSON.stringify(body),
    });
  }

  /** Publishes and returns the id. */
  async publish(user, notification) {
    return this.#created(`/v1/users/${user}/notifications`, notification);
  }

  async broadcast(notification) {
    return this.#created("/v1/broadcast", notification);
  }

  async publishToTopic(topic, notification) {
    return this.#created(`/v1/topics/${topic}/notifications`, notification);
  }

  async #created(path, notification) {
    const answer = await this.request("POST", path, notification);
    if (answer.status !== 201) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()).id;
  }

  page(user, query = "") {
    return `${this.url}/?user_id=${user}${query}`;
  }

  /** The ids that the server itself puts into a user's page, newest first. */
  async ids(user) {
    const html = await (await fetch(this.page(user))).text();
    return [...html.matchAll(/data-id="([^"]+)"/g)].map(([, id]) => id);
  }
}
