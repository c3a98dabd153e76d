import assert from 'node:assert/strict';
import { test } from 'node:test';
import { neighboursTable } from './neighbours.mjs';

const meta = { date: '2026-11-30', commit: 'abcdef0', machine: '2 cores', runs: 3 };
const run = (publish, more = {}) => ({
  publish_p99_ratio: publish, stream_p95_ratio: 1.25, abused_s: 5, errors: 0, peak_mib: 20.4,
  phases: {
    alone: { publish_p99_ms: 2, stream_p95_ms: 4, publish_max_ms: 90 },
    abused: { publish_p99_ms: 2 * publish, stream_p95_ms: 5, publish_max_ms: 60, stream_max_ms: 70.6, server_cores: 0.5 },
    after: {},
  },
  abuser: { begun: 5000, done: 4000, refused: 900, broken: 100 },
  ...more,
});
const row = (table, start) => table.split('\n').find((line) => line.startsWith(`| ${start}`)).split('|').map((cell) => cell.trim());

test('a row has the medians of its runs and the worst of what must not be', () => {
  const table = neighboursTable({ tickets: { meta, runs: [run(3), run(1), run(2, { errors: 7 })] } });
  assert.deepEqual(row(table, 'tickets').slice(2, -1), ['2', '4', '**2**', '4', '5', '1.25', '71', '**7**', '0.5', '20', '1,000', '20 %']);
  assert.match(table, /<sub>2026-11-30, commit abcdef0, 2 cores, median of 3 runs<\/sub>$/);
});

test('what keeps to the limits is not bold', () => {
  assert.ok(!neighboursTable({ tickets: { meta, runs: [run(1.5)] } }).includes('**'));
});

test('a run that failed is said, and the others count', () => {
  const table = neighboursTable({ tickets: { meta, runs: [{ failed: 'no | server' }, run(1)] } });
  assert.equal(row(table, 'tickets')[4], '1');
  assert.ok(table.includes('* tickets: **1 of 2 runs failed**: no \\| server'));
});

test('rows stand in the order of the list, each with its own commit where they differ', () => {
  const table = neighboursTable({ tickets: { meta, runs: [run(1)] }, mutes: { meta: { ...meta, commit: '1234567' }, runs: [run(1)] } });
  assert.ok(table.indexOf('| mutes') < table.indexOf('| tickets'));
  assert.match(table, /mutes: 2026-11-30, commit 1234567.*; tickets: 2026-11-30, commit abcdef0/);
});
