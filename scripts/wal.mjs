#!/usr/bin/env node
// Shows that the store's -wal is bounded while people read all the time: publishes at a rate, beside readers who begin again
// as soon as they have an answer, and looks at both files once a second.
//
//   cargo build --release
//   scripts/wal.mjs [--seconds 300] [--rate 1500] [--readers 10] [--pregon FILE]
//
// It fails if the -wal was larger than docs/operations.md says, or if a publish failed.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { end, listening, programs, run } from './bench/servers.mjs';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '300' }, rate: { type: 'string', default: '1500' }, readers: { type: 'string', default: '10' }, pregon: { type: 'string', default: programs.pregon } },
});
const [seconds, rate, readers] = [values.seconds, values.rate, values.readers].map(Number);

const ADDRESS = '127.0.0.1:8398';
const SERVER_KEY = 'a-key-for-the-wal';
/** Reads under way are ended at 64 MiB; a MiB more is committed until they have ended. */
const WAL_BYTES_MAX = 65 * 2 ** 20;
/** Each of the readers' pages looks at all that their user has, and finds nothing. */
const READ = '/v1/inbox?user_id=reader&category=none';
const MESSAGE = 'x'.repeat(500);
const TICK_MS = 20;

const folder = mkdtempSync(join(tmpdir(), 'pregon-wal-'));
const server = run(values.pregon, ['serve', '--listen', ADDRESS, '--server-key', SERVER_KEY, '--open-user-id', '--data-dir', folder, '--log', 'warn', '--drain', '0s'], ['ignore', 'ignore', 'pipe']);
const agent = new Agent({ keepAlive: true, maxSockets: 64 });
const ask = (method, path, body) =>
  new Promise((answered) => {
    const headers = { 'authorization': `Bearer ${SERVER_KEY}`, 'content-type': 'application/json' };
    const asked = request(`http://${ADDRESS}${path}`, { method, agent, headers }, (answer) => {
      answer.resume();
      answer.on('end', () => answered(answer.statusCode));
    });
    asked.on('error', () => answered(0));
    asked.end(body && JSON.stringify(body));
  });
const bytes = (name) => statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0;
const MiB = (count) => (count / 2 ** 20).toFixed(1);

try {
  await listening(server, ADDRESS);
  for (let batch = 0; batch < 10; batch += 1) {
    await ask('POST', '/v1/notifications/batch', Array.from({ length: 100 }, () => ({ to: 'user:reader', message: MESSAGE })));
  }
  const statuses = { published: {}, read: {} };
  const count = (kind, status) => (statuses[kind][status] = (statuses[kind][status] ?? 0) + 1);
  const largest = { wal: 0, file: 0 };
  const begun = performance.now();
  const passed = () => (performance.now() - begun) / 1000;
  const reading = Array.from({ length: readers }, async () => {
    while (passed() < seconds) count('read', await ask('GET', READ));
  });
  let sent = 0;
  const publishing = new Set();
  const looking = setInterval(() => {
    [largest.wal, largest.file] = [Math.max(largest.wal, bytes('pregon.db-wal')), Math.max(largest.file, bytes('pregon.db'))];
    console.error(`${passed().toFixed(0)} s: -wal ${MiB(bytes('pregon.db-wal'))} MiB, file ${MiB(bytes('pregon.db'))} MiB`);
  }, 1000);
  while (passed() < seconds) {
    for (; sent < passed() * rate && publishing.size < 1000; sent += 1) {
      const published = ask('POST', '/v1/notifications', { to: `user:${sent % 1000}`, message: MESSAGE }).then((status) => {
        count('published', status);
        publishing.delete(published);
      });
      publishing.add(published);
    }
    await new Promise((later) => setTimeout(later, TICK_MS));
  }
  await Promise.all([...publishing, ...reading]);
  clearInterval(looking);
  const took = passed();
  const failed = Object.keys(statuses.published).some((status) => status !== '201');
  console.log(JSON.stringify({ seconds: Number(took.toFixed(1)), published_per_s: Math.round((statuses.published[201] ?? 0) / took), reads_per_s: Math.round((statuses.read[200] ?? 0) / took), ...statuses, wal_MiB_max: MiB(largest.wal), file_MiB_max: MiB(largest.file), wal_MiB_at_rest: MiB(bytes('pregon.db-wal')) }));
  if (largest.wal > WAL_BYTES_MAX || failed) process.exitCode = 1;
} finally {
  agent.destroy();
  await end(server);
  if (server.said) console.error(server.said);
  rmSync(folder, { recursive: true, force: true });
}
