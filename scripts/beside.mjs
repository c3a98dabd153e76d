#!/usr/bin/env node
// Measures two builds of this server in turn, in one run: what a change has cost or gained, whatever the machine does.
//
//   scripts/beside.mjs --before FILE [--runs 5] [--loads connect,steady-1000,…] [--pregon FILE] [--rows pregon,pregon-token]
//
// Prints a table for each load: the medians of both, and the median of their quotients round by round.
import { parseArgs } from 'node:util';
import { loads as allLoads, rows } from './bench/loads.mjs';
import { measure } from './bench/measure.mjs';
import { table } from './bench/report.mjs';
import { programs } from './bench/servers.mjs';

const text = (preset) => ({ type: 'string', default: preset });
const { values } = parseArgs({ options: { before: text(), runs: text('5'), loads: text('connect,steady-1000,users,burst'), pregon: text(programs.pregon), rows: text('pregon,pregon-token') } });
if (!values.before) throw new Error('--before must name the other build');
const builds = { now: values.pregon, before: values.before };
const runs = Number(values.runs);
const loads = allLoads(60);
const meta = { date: new Date().toISOString().slice(0, 10), commit: 'two builds', machine: 'in turn', runs };

let failures = 0;
for (const name of values.loads.split(',')) {
  const load = loads[name];
  if (!load) throw new Error(`${name} is none of ${Object.keys(loads).join(', ')}`);
  for (const row of rows(load, values.rows.split(','))) {
    const title = row.name === 'pregon' ? load.title : `${load.title}: ${row.name}`;
    const measured = Object.fromEntries(Object.keys(builds).map((build) => [build, { meta: { ...meta, title }, runs: [] }]));
    for (let round = 0; round < runs; round += 1) {
      for (const [build, program] of Object.entries(builds)) {
        programs.pregon = program;
        const figures = await measure(load, row, 1);
        measured[build].runs.push(figures);
        failures += figures.failed ? 1 : 0;
      }
    }
    const compared = load.figures.filter((figure) => figure !== 'lost');
    console.log(`\n${table({ rows: Object.keys(builds), figures: load.figures, ratios: compared.map((of) => ({ of, to: 'before' })) }, measured)}`);
  }
}
if (failures > 0) {
  console.error(`${failures} measurements failed`);
  process.exitCode = 1;
}
