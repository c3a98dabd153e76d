#!/usr/bin/env node
// Runs the release build as a newcomer would, `pregon dev`, and prints what it costs: time until it is ready, until the
// first notification is in a listener's hands, resident memory at rest, size of the program, number of crates.
// Fails if a notification takes 5 s or more. Run: cargo build --release && scripts/first-minute.mjs
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const program = join(root, 'target', 'release', 'pregon');
const since = (start) => Number(process.hrtime.bigint() - start) / 1e6;

/** Starts `pregon dev` on a free port; resolves when it is ready. */
async function start() {
  const started = process.hrtime.bigint();
  const child = spawn(program, ['dev', '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const line = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve);
    child.once('error', reject);
    ended.then((code) => reject(new Error(`pregon ended with ${code}`)));
  });
  return { child, ended, readyMs: since(started), url: JSON.parse(line).url };
}

async function stop({ child, ended }) {
  child.kill('SIGTERM');
  const code = await ended;
  if (code !== 0) throw new Error(`pregon ended with ${code}`);
}

/** Time until a stream that is opened at once holds a notification of the demo. */
async function firstNotificationMs(url) {
  const started = process.hrtime.bigint();
  const response = await fetch(`${url}/notifications?user_id=1&since=earliest`);
  const decoder = new TextDecoder();
  let received = '';
  for await (const part of response.body) {
    received += decoder.decode(part, { stream: true });
    if (received.includes('Notificación para el usuario 1')) return since(started);
  }
  throw new Error(`the stream ended after: ${received}`);
}

const residentKiB = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

const runs = [];
for (let run = 0; run < 5; run += 1) {
  const server = await start();
  const notificationMs = await firstNotificationMs(server.url);
  runs.push({ readyMs: server.readyMs, notificationMs, residentMiB: residentKiB(server.child.pid) / 1024 });
  await stop(server);
}
const tree = execFileSync('cargo', ['tree', '--locked', '-e', 'normal', '--prefix', 'none'], { cwd: root }).toString();
const crates = new Set(tree.split('\n').map((line) => line.split(' (')[0].trim()).filter(Boolean)).size;
const figures = {
  ready_ms: Math.round(median(runs.map((run) => run.readyMs))),
  first_notification_ms: Math.round(median(runs.map((run) => run.notificationMs))),
  resident_mib: Number(median(runs.map((run) => run.residentMiB)).toFixed(1)),
  program_mib: Number((statSync(program).size / 2 ** 20).toFixed(1)),
  crates,
};
console.log(JSON.stringify(figures));
if (runs.some((run) => run.notificationMs >= 5000)) {
  console.error('a notification took 5 s or more');
  process.exit(1);
}
