// One measurement: a server of its own, a generator, and what came of it. Whatever goes wrong is a result that says so.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { flags } from './loads.mjs';
import { end, listening, pause, processes, programs, run, servers, start } from './servers.mjs';

const PORT = 8399;
const address = (number = 0) => `127.0.0.1:${PORT + number}`;
/** How long a generator may take beyond the time it is told to publish. */
const EXTRA_MS = 10 * 60_000;

/** Starts a generator; `paused` comes true when it waits for a line, `result` is what it has printed at the end. */
export function generate(command, server, pid, at, options) {
  const generator = run(programs.load, [command, '--server', at, '--pid', pid, ...servers[server].generator, ...options], ['pipe', 'pipe', 'pipe']);
  // Whoever ends early does not read its line.
  generator.child.stdin.on('error', () => {});
  let figures;
  let waiting;
  generator.paused = new Promise((resolve) => (waiting = resolve));
  createInterface({ input: generator.child.stdout }).on('line', (line) => {
    const value = JSON.parse(line);
    if (value.waiting) waiting(true);
    else figures = value;
  });
  generator.result = generator.ended.then((why) => {
    waiting(false);
    if (why === 0 && figures) return figures;
    return { ...figures, failed: generator.said.trim().replaceAll(/\s+/g, ' ') || `the generator ended (${why})` };
  });
  return generator;
}

const extra = (load, server) => (server.startsWith('pregon') ? (load.serve ?? []) : []);

/** Measures one row of a load once. */
export async function measure(load, row, scale) {
  const folders = [];
  const running = [];
  const bench = {
    folder: () => folders[folders.push(mkdtempSync(join(tmpdir(), 'pregon-bench-'))) - 1],
    keep: (program) => running[running.push(program) - 1],
  };
  const time = EXTRA_MS + (load.options.seconds ?? 0) * 1000;
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`not finished after ${time / 1000} s`)), time)));
  try {
    return await Promise.race([late, (load.kind === 'many' ? many : single)(load, row, scale, bench)]);
  } catch (error) {
    return { failed: String(error.message).trim().replaceAll(/\s+/g, ' ') };
  } finally {
    clearTimeout(timer);
    await Promise.all(running.map((program) => end(program)));
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  }
}

async function single(load, row, scale, bench) {
  const folder = bench.folder();
  let server = bench.keep(start(row.server, address(), folder, extra(load, row.server)));
  await listening(server, address());
  const resume = load.kind === 'resume';
  const options = [...flags({ ...load.options, ...row.options }, scale), ...(resume && servers[row.server].hello ? ['--hello'] : []), ...(load.kill ? ['--pause'] : [])];
  const generator = bench.keep(generate(resume ? 'resume' : 'run', row.server, processes(server.child.pid), address(), options));
  if (load.kill && (await generator.paused)) {
    await end(server, 'SIGKILL');
    server = bench.keep(start(row.server, address(), folder, extra(load, row.server)));
    // At once: whoever comes back after a crash does not wait until the server listens.
    generator.child.stdin.end(`${server.child.pid}\n`);
  }
  return generator.result;
}

/** Several servers, each with a generator of its own, as a process may open only so many descriptors. */
async function many(load, row, scale, bench) {
  const numbers = Array.from({ length: load.processes }, (_, number) => number);
  const started = numbers.map((number) => bench.keep(start(row.server, address(number), bench.folder(), extra(load, row.server))));
  await Promise.all(numbers.map((number) => listening(started[number], address(number))));
  await pause(1000);
  const resident = () => started.reduce((sum, { child }) => sum + residentBytes(child.pid), 0);
  const before = { resident: resident(), kernel: kernelBytes() };
  const options = [...flags({ ...load.options, ...row.options }, scale), '--pause'];
  const generators = numbers.map((number) => bench.keep(generate('run', row.server, String(started[number].child.pid), address(number), options)));
  await Promise.all(generators.map((generator) => generator.paused));
  const open = { resident: resident(), kernel: kernelBytes() };
  for (const generator of generators) generator.child.stdin.end('\n');
  const results = await Promise.all(generators.map((generator) => generator.result));
  const failed = results.find((result) => result.failed);
  if (failed) return failed;
  const connections = results.reduce((sum, result) => sum + result.connections, 0);
  const mebibytes = (bytes) => Math.round(bytes / 1_048_576);
  return {
    connections,
    closed: results.reduce((sum, result) => sum + result.closed, 0),
    bytes_per_connection: Math.round((open.resident - before.resident) / connections),
    resident_mib: mebibytes(open.resident),
    kernel_mib: mebibytes(open.kernel - before.kernel),
    connected_s: Math.max(...results.map((result) => result.connected_s)),
  };
}

const residentBytes = (pid) => Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;
/** What the kernel keeps for its objects, sockets among them, at both ends of the connections. */
const kernelBytes = () => Number(/^Slab:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))[1]) * 1024;
