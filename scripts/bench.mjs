#!/usr/bin/env node
// Measures this server beside others, in turn, in one run, and writes the figures of docs/performance.md.
//
//   scripts/bench.mjs [--runs 5] [--servers pregon,nchan,…] [--loads burst,…] [--deaf-seconds 60]
//                     [--pregon FILE] [--docs FOLDER] [--scale 1]
//
// Needs: cargo build --release --workspace; for nchan: apt-get install nginx-light libnginx-mod-nchan.
// The generator shares the machine with the server: only ratios within one run mean something.
//
// What is measured goes to target/bench.json, and into docs/performance.json in place of what was there of the same load
// and server; from all of that, docs/performance.md between its marks and the pictures are made anew. With a --scale other
// than 1 (a smaller load, for trying out), the documents are left alone unless --docs names a folder.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { loads as allLoads, rows } from './bench/loads.mjs';
import { measure } from './bench/measure.mjs';
import { bars, figure, plots, table } from './bench/report.mjs';
import { programs, root, servers } from './bench/servers.mjs';

const text = (preset) => ({ type: 'string', default: preset });
const { values } = parseArgs({
  options: { 'runs': text('5'), 'servers': text(), 'loads': text(), 'deaf-seconds': text('60'), 'pregon': text(programs.pregon), 'docs': text(), 'scale': text('1'), 'out': text(join(root, 'target', 'bench.json')) },
});
programs.pregon = values.pregon;
const runs = Number(values.runs);
const scale = Number(values.scale);
const docs = values.docs ?? (scale === 1 ? join(root, 'docs') : undefined);
const loads = allLoads(Number(values['deaf-seconds']));
const chosenLoads = chosen(values.loads, loads) ?? Object.keys(loads).filter((name) => !loads[name].named);
const chosenServers = chosen(values.servers, servers);

function chosen(list, known) {
  const names = list?.split(',');
  const unknown = names?.find((name) => !(name in known));
  if (unknown !== undefined) throw new Error(`${unknown} is none of ${Object.keys(known).join(', ')}`);
  return names;
}

const CODE = ['src', 'crates', '.cargo', 'Cargo.toml', 'Cargo.lock', 'config.default.toml'];
const git = (...words) => execFileSync('git', [...words, '--', ...CODE], { cwd: root }).toString().trim();
const commit = git('log', '-1', '--format=%h') + (git('status', '--porcelain') ? '-dirty' : '');
const kernel = execFileSync('uname', ['-sr']).toString().trim();
const meta = { date: new Date().toISOString().slice(0, 10), commit, machine: `${cpus().length} cores, ${cpus()[0].model}, ${kernel}`, runs };
const results = {};
let failures = 0;

for (const name of chosenLoads) {
  const load = loads[name];
  const measured = Object.fromEntries(rows(load, chosenServers).map((row) => [row.name, { meta: { ...meta, title: load.title }, runs: [] }]));
  // In turn, so that whatever else the machine does falls on all alike.
  for (let round = 0; round < runs; round += 1) {
    for (const row of rows(load, chosenServers)) {
      const figures = await measure(load, row, scale);
      measured[row.name].runs.push(figures);
      failures += figures.failed ? 1 : 0;
      console.error(`${name}: ${row.name}: ${figures.failed ? `FAILED: ${figures.failed}` : load.figures.map((wanted) => `${wanted}=${figures[wanted]}`).join(' ')}`);
    }
  }
  if (Object.keys(measured).length === 0) continue;
  results[name] = measured;
  console.log(`\n${table(load, measured)}`);
  // After each load: whoever stops a long run keeps what there is.
  mkdirSync(dirname(values.out), { recursive: true });
  writeFileSync(values.out, JSON.stringify({ meta, results }, null, 1) + '\n');
  if (docs) document(docs, { [name]: measured });
}
if (failures > 0) {
  console.error(`${failures} measurements failed`);
  process.exitCode = 1;
}

/** Puts new results beside the old ones, and makes the documents from all. */
function document(folder, fresh) {
  const file = join(folder, 'performance.json');
  const known = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  for (const [name, measured] of Object.entries(fresh)) known[name] = { ...known[name], ...measured };
  mkdirSync(join(folder, 'img'), { recursive: true });
  writeFileSync(file, JSON.stringify(known, null, 1) + '\n');
  const parts = [];
  for (const [name, load] of Object.entries(loads)) {
    if (!known[name]) continue;
    parts.push(table(load, known[name]));
    for (const plot of plots.filter((plot) => plot.load === name)) {
      const drawn = rows(load).map((row) => [row.name, figure(known[name][row.name]?.runs ?? [], plot.figure)]).filter(([, value]) => value > 0);
      if (drawn.length === 0) continue;
      writeFileSync(join(folder, 'img', plot.file), bars(plot.title, plot.better, drawn));
      parts.push(`![${plot.title}](img/${plot.file})`);
    }
  }
  const page = join(folder, 'performance.md');
  const before = existsSync(page) ? readFileSync(page, 'utf8') : '';
  const marks = /(<!-- figures -->)[^]*?(<!-- \/figures -->)/;
  if (!marks.test(before)) return console.error(`${page} has no marks to put the figures between`);
  // A function, since the text may hold what a replacement would take for a reference.
  writeFileSync(page, before.replace(marks, (_, from, to) => [from, ...parts, to].join('\n\n')));
}
