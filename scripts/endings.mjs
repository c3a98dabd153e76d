#!/usr/bin/env node
// How streams end: when the server drains, when they are old, and when their peers vanish without a word. Writes what is
// between the marks in docs/performance.md.
//
//   cargo build --release && scripts/endings.mjs [--connections 2000] [--docs FOLDER]
//
// For the last part it is root, and makes a network namespace of its own; without being root, it leaves that part out.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { end, listening, pause, programs, root, run } from './bench/servers.mjs';

const { values } = parseArgs({ options: { connections: { type: 'string', default: '2000' }, docs: { type: 'string', default: join(root, 'docs') }, inside: { type: 'string' } } });
const connections = Number(values.connections);
const LOOPBACK = '127.0.0.1:8397';
const [NAMESPACE, NEAR, FAR, NEAR_ADDRESS, FAR_ADDRESS] = ['pregon-far', 'pregon-near', 'pregon-veth', '10.231.77.1', '10.231.77.2'];

/** Opens streams and says of each when it has ended, in ms since `begun`. */
async function open(address, count) {
  const [host, port] = address.split(':');
  const ended = [];
  let begun;
  const one = (number) => new Promise((resolve, reject) => {
    const socket = connect(Number(port), host, () => socket.write(`GET /notifications?user_id=${number} HTTP/1.1\r\nHost: localhost\r\n\r\n`));
    socket.once('data', resolve);
    socket.once('error', reject);
    socket.on('error', () => {});
    socket.once('close', () => ended.push(performance.now() - begun));
    socket.resume();
  });
  for (let number = 0; number < count; number += 100) {
    await Promise.all(Array.from({ length: Math.min(100, count - number) }, (_, at) => one(number + at)));
  }
  begun = performance.now();
  return { ended, all: async () => { while (ended.length < count) await pause(20); return ended; } };
}

// In the namespace: only opens streams, says so, and stays until it is ended.
if (values.inside) {
  await open(values.inside, connections);
  console.log('open');
  await new Promise(() => {});
}

const folder = mkdtempSync(join(tmpdir(), 'pregon-endings-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
const server = async (address, ...more) => {
  const running = run(programs.pregon, ['serve', '--listen', address, '--server-key', 'a-key-for-the-endings', '--open-user-id', '--data-dir', mkdtempSync(join(folder, 'data-')), '--log', 'error', ...more], ['ignore', 'ignore', 'pipe']);
  await listening(running, address);
  return running;
};
const seconds = (ms) => (ms / 1000).toFixed(1);
/** Most that ended within the same tenth of a second. */
const together = (ended) => Math.max(...ended.reduce((tenths, ms) => tenths.set(Math.floor(ms / 100), (tenths.get(Math.floor(ms / 100)) ?? 0) + 1), new Map()).values());
const row = (what, ended) => `| ${what} | ${seconds(Math.min(...ended))} | ${seconds(ended.toSorted((a, b) => a - b)[Math.floor(ended.length / 2)])} | ${seconds(Math.max(...ended))} | ${together(ended)} |`;
const rows = [];
const note = (line) => rows.push(line) && console.error(line);

{
  const running = await server(LOOPBACK, '--drain', '5s');
  const streams = await open(LOOPBACK, connections);
  running.child.kill('SIGTERM');
  note(row('SIGTERM with `--drain 5s`', await streams.all()));
  await running.ended;
}
{
  const running = await server(LOOPBACK, '--stream-age-max', '10s');
  const streams = await open(LOOPBACK, connections);
  note(row('`--stream-age-max 10s`', await streams.all()));
  await end(running);
}
if (process.getuid() === 0) note(row('peers gone without a word', await vanished()));

const page = join(values.docs, 'performance.md');
const marks = /(<!-- endings -->)[^]*?(<!-- \/endings -->)/;
const text = readFileSync(page, 'utf8');
if (!marks.test(text)) throw new Error(`${page} has no marks to put the endings between`);
const table = [`| ${connections.toLocaleString('en')} streams | first s | median s | last s | most within 0.1 s |`, '|---|---|---|---|---|', ...rows].join('\n');
console.log(table);
writeFileSync(page, text.replace(marks, (_, from, to) => [from, table, to].join('\n\n')));

/** Streams of peers whose network takes their packets and answers nothing; ends as the server's descriptors tell. */
async function vanished() {
  const ip = (...words) => execFileSync('ip', words, { stdio: 'pipe' });
  const tidy = () => {
    for (const words of [['link', 'del', NEAR], ['netns', 'del', NAMESPACE]]) {
      try { ip(...words); } catch { /* It was not there. */ }
    }
  };
  tidy();
  process.once('exit', tidy);
  ip('netns', 'add', NAMESPACE);
  ip('link', 'add', NEAR, 'type', 'veth', 'peer', 'name', FAR, 'netns', NAMESPACE);
  ip('addr', 'add', `${NEAR_ADDRESS}/30`, 'dev', NEAR);
  ip('link', 'set', NEAR, 'up');
  ip('-n', NAMESPACE, 'addr', 'add', `${FAR_ADDRESS}/30`, 'dev', FAR);
  ip('-n', NAMESPACE, 'link', 'set', FAR, 'up');
  const address = `${NEAR_ADDRESS}:8397`;
  const running = await server(address);
  const folder = `/proc/${running.child.pid}/fd`;
  const target = (name) => { try { return readlinkSync(join(folder, name)); } catch { return ''; } };
  /** Sockets alone: the store opens files as it needs them. */
  const descriptors = () => readdirSync(folder).filter((name) => target(name).startsWith('socket:')).length;
  const before = descriptors();
  const peers = spawn('ip', ['netns', 'exec', NAMESPACE, process.execPath, process.argv[1], '--inside', address, '--connections', String(connections)], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => createInterface({ input: peers.stdout }).once('line', resolve));
  // The address of the other end stays known, and nobody there has it any more: packets leave and are dropped.
  const far = JSON.parse(ip('-j', '-n', NAMESPACE, 'link', 'show', FAR))[0].address;
  ip('neigh', 'replace', FAR_ADDRESS, 'lladdr', far, 'dev', NEAR, 'nud', 'permanent');
  ip('-n', NAMESPACE, 'addr', 'del', `${FAR_ADDRESS}/30`, 'dev', FAR);
  const begun = performance.now();
  const ended = [];
  while (ended.length < connections) {
    const gone = before + connections - descriptors();
    while (ended.length < gone && ended.length < connections) ended.push(performance.now() - begun);
    await pause(50);
  }
  peers.kill('SIGKILL');
  await end(running);
  return ended;
}
