#!/usr/bin/env node
// Measures how much one abusive client costs all other users, and writes the table into docs/performance.md.
//
//   cargo build --release --workspace
//   scripts/neighbours.mjs [--rounds 3] [--only mutes,streams,…] [--pregon FILE] [--docs FOLDER] [--no-docs]
//                          [--alone 4] [--abused 6] [--after 2]   (seconds of the three phases)
//
// Each abuse has a new server and a new store. Server and clients are in a network namespace of their own, with addresses
// that are not loopback ones: limits for each address hold there as they do in the open. That takes root, or a kernel that
// lets users make namespaces.
//
// All figures go to target/neighbours.json; those of the document are kept in docs/performance.json.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { abuses, neighboursTable } from './bench/neighbours.mjs';
import { end, listening, programs, root, run } from './bench/servers.mjs';

const text = (preset) => ({ type: 'string', default: preset });
const { values } = parseArgs({
  options: { 'rounds': text('3'), 'only': text(), 'pregon': text(programs.pregon), 'docs': text(join(root, 'docs')), 'no-docs': { type: 'boolean' }, 'alone': text('4'), 'abused': text('6'), 'after': text('2'), 'inside': { type: 'boolean' } },
});
const chosen = values.only?.split(',') ?? Object.keys(abuses);
for (const name of chosen) if (!(name in abuses)) throw new Error(`${name} is none of ${Object.keys(abuses).join(', ')}`);

/** The server's address is in TEST-NET-1 (RFC 5737), all of whose addresses are this machine's inside of the namespace. */
const ADDRESS = '192.0.2.1:8399';
const SERVER_KEY = 'a-key-for-the-neighbours';
const TOKEN_KEY = 'a-key-for-the-tokens-of-neighbours';

if (!values.inside) {
  const namespace = process.getuid() === 0 ? ['--net'] : ['--net', '--map-root-user'];
  const prepare = 'ip link set lo up && ip addr add 192.0.2.1/24 dev lo && exec "$@"';
  const again = [process.execPath, ...process.argv.slice(1), '--inside'];
  const { status } = spawnSync('unshare', [...namespace, 'sh', '-c', prepare, 'sh', ...again], { stdio: 'inherit' });
  process.exit(status ?? 1);
}

const CODE = ['src', 'crates', '.cargo', 'Cargo.toml', 'Cargo.lock', 'config.default.toml'];
const git = (...words) => execFileSync('git', [...words, '--', ...CODE], { cwd: root }).toString().trim();
const commit = values.pregon === programs.pregon ? git('log', '-1', '--format=%h') + (git('status', '--porcelain') ? '-dirty' : '') : values.pregon;
const kernel = execFileSync('uname', ['-sr']).toString().trim();
const rounds = Number(values.rounds);
const meta = { date: new Date().toISOString().slice(0, 10), commit, machine: `${cpus().length} cores, ${cpus()[0].model}, ${kernel}`, runs: rounds };

const measured = Object.fromEntries(chosen.map((name) => [name, { meta: { ...meta, title: abuses[name] }, runs: [] }]));
let failures = 0;
// In turn, so that whatever else the machine does falls on all alike.
for (let round = 0; round < rounds; round += 1) {
  for (const name of chosen) {
    const figures = await measure(name);
    measured[name].runs.push(figures);
    failures += figures.failed ? 1 : 0;
    console.error(`${name}: ${figures.failed ? `FAILED: ${figures.failed}` : summary(figures)}`);
  }
}
console.log(`\n${neighboursTable(measured)}`);
mkdirSync(join(root, 'target'), { recursive: true });
writeFileSync(join(root, 'target', 'neighbours.json'), JSON.stringify(measured, null, 1) + '\n');
if (!values['no-docs']) document(values.docs);
if (failures > 0) {
  console.error(`${failures} measurements failed`);
  process.exitCode = 1;
}

/** One abuse, once, with a server of its own. */
async function measure(abuse) {
  const folder = mkdtempSync(join(tmpdir(), 'pregon-neighbours-'));
  const options = ['--listen', ADDRESS, '--server-key', SERVER_KEY, '--jwt-key', TOKEN_KEY, '--data-dir', folder, '--log', 'error', '--drain', '0s'];
  const server = run(values.pregon, ['serve', ...options], ['ignore', 'ignore', 'pipe']);
  try {
    await listening(server, ADDRESS);
    const phases = ['alone', 'abused', 'after'].flatMap((phase) => [`--${phase}`, values[phase]]);
    const generator = run(programs.load, ['neighbours', abuse, '--server', ADDRESS, '--pid', server.child.pid, '--key', SERVER_KEY, '--token-key', TOKEN_KEY, ...phases], ['ignore', 'pipe', 'pipe']);
    let output = '';
    generator.child.stdout.on('data', (part) => (output += part));
    const why = await generator.ended;
    return why === 0 ? JSON.parse(output) : { failed: generator.said.trim().replaceAll(/\s+/g, ' ') || `the generator ended (${why})` };
  } catch (error) {
    return { failed: String(error.message).trim() };
  } finally {
    await end(server);
    rmSync(folder, { recursive: true, force: true });
  }
}

function summary({ phases: { alone, abused, after }, ...figures }) {
  const times = (name) => `${name} ms ${alone[`${name}_ms`]} → ${abused[`${name}_ms`]} → ${after[`${name}_ms`]}`;
  const example = [alone, abused, after].find((phase) => phase.example)?.example;
  return [
    `publish × ${figures.publish_p99_ratio}`, `stream × ${figures.stream_p95_ratio}`, `errors ${figures.errors}${example ? ` (${example.slice(0, 120)})` : ''}`,
    ...['publish_p50', 'publish_p99', 'stream_p50', 'stream_p95', 'generator_p99'].map(times),
    `cores ${alone.server_cores} → ${abused.server_cores}`, `MiB ${figures.resident_before_mib} → ${figures.peak_mib}`, `abuser ${JSON.stringify(figures.abuser)}`,
  ].join(' · ');
}

/** Puts new rows beside the old ones, and makes the table from all. */
function document(folder) {
  const file = join(folder, 'performance.json');
  const known = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  known.neighbours = { ...known.neighbours, ...measured };
  writeFileSync(file, JSON.stringify(known, null, 1) + '\n');
  const page = join(folder, 'performance.md');
  const marks = /(<!-- neighbours -->)[^]*?(<!-- \/neighbours -->)/;
  const before = readFileSync(page, 'utf8');
  if (!marks.test(before)) throw new Error(`${page} has no marks to put the table between`);
  // A function, since the text may hold what a replacement would take for a reference.
  writeFileSync(page, before.replace(marks, (_, from, to) => [from, neighboursTable(known.neighbours), to].join('\n\n')));
}
