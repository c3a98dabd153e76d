// WebKitGTK, by WebDriver, in a window on a screen that nobody sees. Each device is a browser of its own, with a driver
// of its own: a driver has one session.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { Builder, Capabilities, Key, Origin } from "selenium-webdriver";
import { killProcessOf } from "./processes.mjs";

const MINI_BROWSER = process.env.MINI_BROWSER ?? "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser";

/** Free as of now. The driver cannot choose one itself. */
async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  await once(listener, "close");
  return port;
}

/** A driver that listens. It and whatever it starts end together. */
async function startDriver() {
  const port = await freePort();
  const driver = spawn("WebKitWebDriver", [`--port=${port}`], {
    detached: true,
    stdio: "ignore",
    // Tests run as root in a container, where its sandbox has no place.
    env: { ...process.env, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1", LIBGL_ALWAYS_SOFTWARE: "1", LANG: "es_ES.UTF-8" },
  });
  const failed = once(driver, "error").then(([error]) => Promise.reject(error));
  failed.catch(() => {});
  const url = `http://127.0.0.1:${port}`;
  const answers = async () => {
    for (;;) {
      if (await fetch(`${url}/status`).then(({ ok }) => ok, () => false)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  await Promise.race([answers(), failed]);
  return { url, pid: driver.pid, kill: () => process.kill(-driver.pid, "SIGKILL") };
}

export async function launch({ timeoutMs }) {
  return { newDevice: () => newDevice(timeoutMs), close() {} };
}

async function newDevice(timeoutMs) {
  const { url, pid, kill } = await startDriver();
  const capabilities = new Capabilities({
    browserName: "MiniBrowser",
    "webkitgtk:browserOptions": { binary: MINI_BROWSER, args: ["--automation"] },
  });
  const driver = await new Builder().usingServer(url).withCapabilities(capabilities).build().catch((error) => {
    kill();
    throw error;
  });
  await driver.manage().setTimeouts({ script: timeoutMs, pageLoad: timeoutMs });

  // The driver looks at one tab at a time, so whoever wants another one waits.
  let turn = Promise.resolve();
  const inTurn = (act) => {
    const own = turn.then(act);
    turn = own.catch(() => {});
    return own;
  };

  let hasTab = false;
  let first;
  return {
    newTab: () => inTurn(async () => {
      // The first one is there already.
      if (hasTab) await driver.switchTo().newWindow("tab");
      hasTab = true;
      const handle = await driver.getWindowHandle();
      const here = (act) => inTurn(async () => {
        await driver.switchTo().window(handle);
        return act();
      });
      return {
        go: (url) => here(async () => {
          await driver.get(url);
          if (first) await driver.executeScript(first);
        }),
        run: (script) => here(() => run(driver, script)),
        // A script whose page is kept meanwhile is never answered, so the driver waits until the page is there.
        goBack: () => here(() => driver.navigate().back()),
        pressAt: ({ x, y }) => here(() => driver.actions().move({ x, y, origin: Origin.VIEWPORT }).click().perform()),
        press: (key) => here(() => driver.actions().sendKeys(named(key)).perform()),
        resize: (width, height) => here(() => driver.manage().window().setRect({ x: 0, y: 0, width, height })),
        crash: () => here(() => killProcessOf(pid, (script) => run(driver, script))),
        close: () => here(() => driver.close()),
      };
    }),
    atFirst: (script) => void (first = script),
    async close() {
      // Whatever it says to that, it ends.
      await Promise.race([driver.quit(), new Promise((resolve) => setTimeout(resolve, 2_000).unref())]).catch(() => {});
      kill();
    },
  };
}

/** A key as this driver calls it: an arrow is `ARROW_UP`, and a letter is itself. */
function named(key) {
  return Key[key.replace(/(?<=[a-z])(?=[A-Z])/, "_").toUpperCase()] ?? key;
}

/** A script's value, or what it has thrown. */
async function run(driver, script) {
  const { value, error } = await driver.executeAsyncScript(`
    const done = arguments[0];
    (${script.trim().replace(/;$/, "")}).then((value) => done({ value }), (error) => done({ error: String(error) }));
  `);
  if (error) throw new Error(error);
  return value;
}
