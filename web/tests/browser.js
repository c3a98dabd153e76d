// What the leader protocol uses of a browser, by the rules of the standards and without a browser: several tabs live in
// one test, and messages are on their way until the test delivers them.

/** Web Locks, exclusive ones: who waits, who holds, who is robbed. */
export class Locks {
  #holders = new Map();
  #queues = new Map();

  request(name, { signal, steal } = {}, callback) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const request = { callback, resolve, reject };
      const queue = this.#queues.get(name) ?? [];
      this.#queues.set(name, queue);
      signal?.addEventListener("abort", () => {
        const place = queue.indexOf(request);
        if (place < 0) return;
        queue.splice(place, 1);
        reject(signal.reason);
      });
      if (steal) {
        this.#holders.get(name)?.reject(new DOMException("stolen", "AbortError"));
        this.#holders.delete(name);
        queue.unshift(request);
      } else queue.push(request);
      queueMicrotask(() => this.#grant(name));
    });
  }

  #grant(name) {
    const queue = this.#queues.get(name);
    if (this.#holders.has(name) || queue.length === 0) return;
    const request = queue.shift();
    this.#holders.set(name, request);
    Promise.resolve(request.callback({ name })).then(request.resolve, request.reject).finally(() => {
      if (this.#holders.get(name) !== request) return;
      this.#holders.delete(name);
      this.#grant(name);
    });
  }
}

/** BroadcastChannel: whoever listens when something is posted gets it, in order, when the test says so. */
export class Channels {
  #open = new Set();
  #waiting = [];
  posted = 0;

  /** The class that a tab is given. */
  get Channel() {
    const channels = this;
    return class {
      onmessage = null;
      constructor(name) {
        this.name = name;
        channels.#open.add(this);
      }
      postMessage(message) {
        channels.posted += 1;
        for (const other of channels.#open) {
          if (other !== this && other.name === this.name) channels.#waiting.push([other, structuredClone(message)]);
        }
      }
      close() {
        channels.#open.delete(this);
      }
    };
  }

  /** Delivers one message, and what of its effects follows at once. Returns whether there was one. */
  async deliver(to = () => true) {
    const place = this.#waiting.findIndex(([channel]) => to(channel));
    if (place < 0) return false;
    const [[channel, data]] = this.#waiting.splice(place, 1);
    if (this.#open.has(channel)) channel.onmessage?.({ data });
    await settled();
    return true;
  }

  async deliverAll() {
    await settled();
    while (await this.deliver());
  }
}

/** Whatever can happen without a timer has happened. */
export async function settled() {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}
