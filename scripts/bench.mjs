#!/usr/bin/env node
// Measures this server beside others, in turn, in one run, and prints the tables of docs/performance.md.
//
//   scripts/bench.mjs [--runs 5] [--servers pregon,floor,bare,naive,nchan] [--loads burst,…]
//
// Needs: cargo build --release --workspace; for nchan: apt-get install nginx-light libnginx-mod-nchan.
// The generator shares the machine with the server: only ratios within one run mean something.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect } from 'node:net';
import { parseArgs } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const release = join(root, 'target', 'release');
const KEY = 'a-key-for-the-bench';
const PORT = 8399;
const ADDRESS = `127.0.0.1:${PORT}`;

/** Starts each server; gives the child whose end is waited for. */
const servers = {
  pregon: (folder) =>
    run(join(release, 'pregon'), ['serve', '--listen', ADDRESS, '--server-key', KEY, '--open-user-id', '--data-dir', folder, '--log', 'error', '--drain', '0s']),
  floor: () => run(join(release, 'pregon-load'), ['floor', '--listen', ADDRESS]),
  bare: () => run(join(release, 'pregon-load'), ['bare', '--listen', ADDRESS]),
  naive: () => run(join(release, 'pregon-load'), ['naive', '--listen', ADDRESS]),
  nchan: (folder) => {
    writeFileSync(join(folder, 'nginx.conf'), NCHAN(folder));
    return run('nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder]);
  },
};

const NCHAN = (folder) => `
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off; user root; worker_processes 2; worker_rlimit_nofile 20000;
pid ${folder}/nginx.pid; error_log ${folder}/error.log crit;
events { worker_connections 18000; }
http {
  access_log off; nchan_shared_memory_size 1024M; keepalive_requests 100000000; keepalive_timeout 600s;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  server {
    listen ${ADDRESS} backlog=4096;
    location = /notifications {
      nchan_subscriber eventsource; nchan_channel_id "u$arg_user_id" everyone;
      nchan_subscriber_first_message newest; nchan_subscriber_timeout 0;
    }
    location ~ ^/v1/users/([^/]+)/notifications$ { nchan_publisher; nchan_channel_id "u$1"; nchan_message_buffer_length 100; }
    location = /v1/broadcast { nchan_publisher; nchan_channel_id everyone; nchan_message_buffer_length 2000; }
  }
}
`;

/** What is asked of each, and the figures that are shown. */
const loads = {
  'idle': { title: '10,000 idle connections of 10,000 users', options: ['--connections', 10000, '--users', 10000, '--count', 0, '--rest', 5], figures: ['bytes_per_connection', 'connect_cpu_us', 'connected_s'] },
  'steady-10000': { title: 'Fan-out to 10,000 at 50,000 deliveries/s', options: ['--connections', 10000, '--users', 10000, '--rate', 5, '--seconds', 8], figures: ['p50_ms', 'p99_ms', 'cpu_s_per_million'] },
  'steady-1000': { title: 'Fan-out to 1,000 at 50,000 deliveries/s', options: ['--connections', 1000, '--users', 1000, '--rate', 50, '--seconds', 8], figures: ['p50_ms', 'p99_ms', 'cpu_s_per_million'] },
  'fast-10000': { title: 'Fan-out to 10,000 at 100,000 deliveries/s', options: ['--connections', 10000, '--users', 10000, '--rate', 10, '--seconds', 8], figures: ['p50_ms', 'p99_ms', 'cpu_s_per_million'] },
  'burst': { title: 'Burst: 1,000 broadcasts to 10,000, as fast as they are acknowledged', options: ['--connections', 10000, '--users', 10000, '--count', 1000, '--publishers', 64, '--seconds', 100], figures: ['deliveries_per_s', 'cpu_s_per_million', 'growth_mib', 'lost'] },
  'users': { title: '10,000 users, 64 publishers, closed loop', options: ['--connections', 10000, '--users', 10000, '--per-user', '--publishers', 64, '--seconds', 6], figures: ['publishes_per_s', 'publish_p99_ms', 'p99_ms', 'lost'] },
  'users-2000': { title: '10,000 users at 2,000 publishes/s', options: ['--connections', 10000, '--users', 10000, '--per-user', '--publishers', 64, '--rate', 2000, '--seconds', 6], figures: ['p50_ms', 'p99_ms', 'lost'] },
};

function run(program, options) {
  return spawn(program, options.map(String), { stdio: 'ignore' });
}

function listening() {
  return new Promise((resolve) => {
    const socket = connect(PORT, '127.0.0.1');
    socket.once('connect', () => resolve(true) ?? socket.destroy());
    socket.once('error', () => resolve(false));
  });
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The process and its children: nginx works in children. */
function processes(pid) {
  const children = execFileSync('ps', ['-o', 'pid=', '--ppid', pid, '--pid', pid]).toString();
  return children.split('\n').map((line) => line.trim()).filter(Boolean).join(',');
}

async function measure(server, load) {
  const folder = mkdtempSync(join(tmpdir(), 'pregon-bench-'));
  const child = servers[server](folder);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  try {
    while (!(await listening())) {
      if (child.exitCode !== null) throw new Error(`${server} ended with ${child.exitCode}`);
      await pause(50);
    }
    const key = server === 'pregon' ? ['--key', KEY] : [];
    const options = ['run', '--server', ADDRESS, '--pid', processes(child.pid), ...key, ...loads[load].options.map(String)];
    const generator = spawn(join(release, 'pregon-load'), options, { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let talk = '';
    generator.stdout.on('data', (part) => (out += part));
    generator.stderr.on('data', (part) => (talk += part));
    const code = await new Promise((resolve) => generator.once('close', resolve));
    if (code !== 0) return { failed: talk.split('\n')[0] || `exit ${code}`, ...(out ? JSON.parse(out) : {}) };
    return JSON.parse(out);
  } finally {
    child.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '5' }, servers: { type: 'string' }, loads: { type: 'string' }, out: { type: 'string', default: join(root, 'target', 'bench.json') } },
});
const chosenServers = values.servers?.split(',') ?? Object.keys(servers).filter((name) => name !== 'nchan' || existsSync('/usr/sbin/nginx'));
const chosenLoads = values.loads?.split(',') ?? Object.keys(loads);
const results = {};
for (const load of chosenLoads) {
  results[load] = Object.fromEntries(chosenServers.map((server) => [server, []]));
  // In turn, so that whatever else the machine does falls on all alike.
  for (let round = 0; round < Number(values.runs); round += 1) {
    for (const server of chosenServers) {
      const figures = await measure(server, load);
      results[load][server].push(figures);
      console.error(`${load} ${server} ${figures.failed ?? loads[load].figures.map((name) => `${name}=${figures[name]}`).join(' ')}`);
    }
  }
}

const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root }).toString().trim();
const kernel = execFileSync('uname', ['-sr']).toString().trim();
const meta = { date: new Date().toISOString().slice(0, 10), commit, machine: `${cpus().length} cores, ${cpus()[0].model}, ${kernel}`, runs: Number(values.runs) };
writeFileSync(values.out, JSON.stringify({ meta, results }, null, 1) + '\n');
for (const load of chosenLoads) {
  const { title, figures } = loads[load];
  console.log(`\n### ${title}\n\n| | ${figures.map((name) => name.replaceAll('_', ' ')).join(' | ')} |\n|---${'|---'.repeat(figures.length)}|`);
  for (const server of chosenServers) {
    const good = results[load][server].filter((figures) => !figures.failed);
    const cells = figures.map((name) => (good.length === 0 ? 'failed' : median(good.map((figures) => figures[name])).toLocaleString('en')));
    console.log(`| ${server} | ${cells.join(' | ')} |`);
  }
}
console.log(`\n${JSON.stringify(meta)}`);
