#!/usr/bin/env node
// Where the processor time of the server goes under the three main loads, by perf: how much of it in the kernel, and in
// which functions. Writes what is between the marks in docs/performance.md.
//
//   CARGO_PROFILE_RELEASE_STRIP=none cargo build --release --workspace && scripts/profile.mjs [--docs FOLDER]
//
// Needs: apt-get install linux-perf. Samples are taken by the processor's clock, so it works in a virtual machine too.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { flags, loads } from './bench/loads.mjs';
import { generate } from './bench/measure.mjs';
import { end, listening, pause, processes, root, run, start } from './bench/servers.mjs';

const { values } = parseArgs({ options: { docs: { type: 'string', default: join(root, 'docs') } } });
const ADDRESS = '127.0.0.1:8398';
const SAMPLES_PER_SECOND = 997;
const FUNCTIONS = 6;
/** The loads, and how much longer they last here: for enough samples. */
const profiled = { 'fast-10000': {}, 'burst': { count: 5000 }, 'users': {} };

const folder = mkdtempSync(join(tmpdir(), 'pregon-profile-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
const parts = [];
for (const [name, longer] of Object.entries(profiled)) {
  const load = loads(60)[name];
  const server = start('pregon', ADDRESS, join(folder, name));
  try {
    await listening(server, ADDRESS);
    const samples = join(folder, `${name}.perf`);
    const generator = generate('run', 'pregon', processes(server.child.pid), ADDRESS, [...flags({ ...load.options, ...longer }), '--pause']);
    // All are connected: what is measured is delivery alone.
    await generator.paused;
    const perf = run('perf', ['record', '-q', '-e', 'cpu-clock', '-F', SAMPLES_PER_SECOND, '-p', server.child.pid, '-o', samples], ['ignore', 'ignore', 'pipe']);
    await pause(1000);
    generator.child.stdin.end('\n');
    const figures = await generator.result;
    perf.child.kill('SIGINT');
    await perf.ended;
    if (figures.failed) throw new Error(`${name}: ${figures.failed}`);
    parts.push(table(load.title, shares(samples)));
    console.log(`\n${parts.at(-1)}`);
  } finally {
    await end(server);
  }
}
const page = join(values.docs, 'performance.md');
const marks = /(<!-- profiles -->)[^]*?(<!-- \/profiles -->)/;
const text = readFileSync(page, 'utf8');
if (!marks.test(text)) throw new Error(`${page} has no marks to put the profiles between`);
writeFileSync(page, text.replace(marks, (_, from, to) => [from, ...parts, to].join('\n\n')));

/** Shares of the samples: object file, function, percent. */
function shares(samples) {
  const report = execFileSync('perf', ['report', '-q', '-i', samples, '--stdio', '--no-children', '--sort', 'dso,sym', '--percent-limit', '0.01', '-F', 'overhead,dso,sym', '-t', '\t'], { stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 1 << 26 }).toString();
  const found = new Map();
  for (const line of report.split('\n')) {
    const [percent, file, symbol] = line.split('\t').map((cell) => cell.trim());
    if (!symbol) continue;
    const kernel = file.startsWith('[kernel');
    const name = short(symbol.replace(/^\[[k.]\]\s*/, ''));
    const key = `${kernel} ${name}`;
    found.set(key, { kernel, name, percent: Number.parseFloat(percent) + (found.get(key)?.percent ?? 0) });
  }
  return [...found.values()].toSorted((a, b) => b.percent - a.percent);
}

function table(title, shares) {
  const whole = shares.reduce((sum, { percent }) => sum + percent, 0);
  const share = (chosen) => ((100 * chosen.reduce((sum, { percent }) => sum + percent, 0)) / whole).toFixed(1);
  const [inKernel, outside] = [shares.filter(({ kernel }) => kernel), shares.filter(({ kernel }) => !kernel)];
  const top = (chosen) => chosen.slice(0, FUNCTIONS).map(({ name, percent }) => `\`${name}\` ${percent.toFixed(1)}`).join(', ');
  return [`**${title}**`, '', '| | % | most of it |', '|---|---|---|', `| in the kernel | ${share(inKernel)} | ${top(inKernel)} |`, `| outside | ${share(outside)} | ${top(outside)} |`].join('\n');
}

/** A function's name without its path, parameters and hash. */
function short(name) {
  const plain = name.replace(/::h[0-9a-f]{16}$/, '').replaceAll(/<([^<>]*)>/g, (_, inner) => `<${inner.split('::').at(-1)}>`);
  return plain.split('::').slice(-2).join('::').slice(0, 60).replaceAll('|', '\\|');
}
