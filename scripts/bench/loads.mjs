// What is asked of the servers, and the figures that are shown.
//
// `rows` are the servers, or objects with a name, a server and options of their own. `serve` are further options for
// pregon. `ratios` are figures that are also shown as a multiple of another row's.
import { existsSync } from 'node:fs';

const all = ['pregon', 'floor', 'bare', 'naive', 'nchan'];
const secure = ['pregon-tls', 'pregon-h2'];
const ten = { connections: 10_000, users: 10_000 };

/** Processor time beside the two that it is judged by. */
const judged = [{ of: 'cpu_s_per_million', to: 'floor' }, { of: 'cpu_s_per_million', to: 'nchan' }];

const deaf = (seconds) => ({
  title: `1,000 broadcasts/s of 1 KiB to 100 who read, beside some who never do, for ${seconds} s`,
  // What they are compared with is steady from its first second on: a minute of it tells as much as ten.
  rows: [{ name: 'pregon, nobody deaf', server: 'pregon', options: { seconds: Math.min(seconds, 60) } }, { name: 'pregon, 10,000 deaf', server: 'pregon', options: { deaf: 10_000 } }],
  options: { connections: 100, users: 100, rate: 1000, bytes: 1024, publishers: 64, seconds },
  figures: ['p50_ms', 'p90_ms', 'p99_ms', 'growth_mib', 'tcp_growth_mib', 'tcp_bytes_per_deaf', 'deaf_cut', 'lost'],
  ratios: [{ of: 'p99_ms', to: 'pregon, nobody deaf' }],
});

const resumed = (names) =>
  names.flatMap((server) => [
    { name: `${server}, to everyone`, server },
    { name: `${server}, to each user`, server, options: { 'per-user': true } },
  ]);

export const loads = (deafSeconds) => ({
  'idle': { title: '10,000 idle connections of 10,000 users', rows: [...all, ...secure], options: { ...ten, count: 0, rest: 5 }, figures: ['bytes_per_connection', 'connect_cpu_us', 'connected_s'] },
  // Beside the one above it tells what each further connection takes.
  'idle-2000': { title: '2,000 idle connections of 2,000 users', rows: ['pregon', 'floor'], options: { connections: 2000, users: 2000, count: 0, rest: 5 }, figures: ['bytes_per_connection'] },
  // bare never notices that somebody has left, so that there would be nothing to see.
  'churn': { title: '10,000 idle connections, after 10,000 have come and gone five times', rows: ['pregon', ...secure, 'floor', 'naive', 'nchan'], options: { ...ten, churn: 5, count: 0, rest: 5 }, figures: ['bytes_per_connection', 'bytes_after_churn', 'descriptors_after_churn'] },
  'many': { title: '200,000 idle connections on 13 processes', kind: 'many', rows: ['pregon'], processes: 13, options: { connections: 15_385, users: 15_385, count: 0, rest: 5 }, serve: ['--streams-max', 16_000], figures: ['connections', 'bytes_per_connection', 'resident_mib', 'kernel_mib', 'connected_s'] },
  'heartbeats': { title: '19,000 idle connections with a heartbeat every 15 s, for 60 s', rows: ['pregon'], options: { connections: 19_000, users: 19_000, count: 0, rest: 60 }, serve: ['--streams-max', 19_500, '--heartbeat', '15s'], figures: ['rest_cpu_share', 'bytes_per_connection'] },
  'connect': { title: '10,000 connections, with and without something to check', rows: ['pregon', 'pregon-token', ...secure], options: { ...ten, count: 0, rest: 1 }, figures: ['connect_cpu_us', 'connects_per_s'] },
  'steady-10000': { title: 'Fan-out to 10,000 at 50,000 deliveries/s', rows: [...all, ...secure], options: { ...ten, rate: 5, seconds: 8 }, figures: ['p50_ms', 'p99_ms', 'cpu_s_per_million'], ratios: judged },
  'steady-1000': { title: 'Fan-out to 1,000 at 50,000 deliveries/s', rows: [...all, ...secure], options: { connections: 1000, users: 1000, rate: 50, seconds: 8 }, figures: ['p50_ms', 'p99_ms', 'cpu_s_per_million'], ratios: judged },
  'fast-10000': { title: 'Fan-out to 10,000 at 100,000 deliveries/s', rows: all, options: { ...ten, rate: 10, seconds: 8 }, figures: ['p50_ms', 'p99_ms', 'cpu_s_per_million'], ratios: judged },
  // The others would owe more at the end than anyone waits for, or take all memory.
  'sustained': { title: 'Fan-out to 10,000 at 2,000,000 deliveries/s for 30 s', rows: ['pregon', 'bare', 'naive'], options: { ...ten, rate: 200, seconds: 30, publishers: 64 }, figures: ['deliveries_per_s', 'p50_ms', 'p99_ms', 'cpu_s_per_million', 'growth_mib', 'lost'] },
  'burst': { title: 'Burst: 1,000 broadcasts to 10,000, as fast as they are acknowledged', rows: [...all, ...secure], options: { ...ten, count: 1000, publishers: 64, seconds: 100 }, figures: ['deliveries_per_s', 'cpu_s_per_million', 'growth_mib', 'lost'] },
  'users': { title: '10,000 users, 64 publishers, closed loop', rows: all, options: { ...ten, 'per-user': true, publishers: 64, seconds: 6 }, figures: ['publishes_per_s', 'publish_p99_ms', 'p99_ms', 'lost'] },
  'users-2000': { title: '10,000 users at 2,000 publishes/s', rows: all, options: { ...ten, 'per-user': true, publishers: 64, rate: 2000, seconds: 6 }, figures: ['p50_ms', 'p99_ms', 'lost'] },
  // What a publish costs by itself, of two builds beside each other: nobody reads.
  'publish': { title: '5,000 users who do not listen, 16 publishes under way', named: true, rows: ['pregon'], options: { connections: 0, users: 5000, 'per-user': true, publishers: 16, seconds: 8 }, figures: ['publishes_per_s', 'publish_cpu_us', 'publish_p50_ms', 'publish_p99_ms'] },
  'deaf': deaf(deafSeconds),
  // Ten minutes each: not among those that are measured unless it is named.
  'deaf-long': { ...deaf(600), named: true },
  'resume': { title: '1,000 clients come back, each having missed 100', kind: 'resume', rows: resumed(['pregon', 'nchan']), options: { connections: 1000, users: 1000, missed: 100, publishers: 64 }, figures: ['attached_s', 'caught_up_s', 'p99_ms', 'cpu_s', 'lost'] },
  'resume-after-kill': { title: 'The same, after SIGKILL and a new start', kind: 'resume', kill: true, rows: resumed(['pregon']), options: { connections: 1000, users: 1000, missed: 100, publishers: 64 }, figures: ['attached_s', 'caught_up_s', 'p99_ms', 'cpu_s', 'growth_mib', 'lost'] },
  'herd': { title: '10,000 clients that have missed nothing come back after SIGKILL and a new start', kind: 'resume', kill: true, rows: ['pregon'], options: { ...ten, missed: 0 }, figures: ['attached_s', 'attaches_per_s', 'attached_p50_ms', 'attached_p99_ms', 'cpu_us_per_listener', 'growth_mib'] },
});

/** The rows of a load that are to be measured, all alike. */
export function rows(load, chosen) {
  const installed = (server) => server !== 'nchan' || existsSync('/usr/sbin/nginx');
  const whole = load.rows.map((row) => (typeof row === 'string' ? { name: row, server: row } : row));
  return whole.filter(({ server }) => (chosen ? chosen.includes(server) : installed(server)));
}

/** The options as a command line takes them; `scale` makes them smaller, for trying out. */
export function flags(options, scale = 1) {
  const scaled = ['connections', 'users', 'deaf', 'seconds', 'rest', 'count'];
  const value = (name, number) => (scale !== 1 && scaled.includes(name) && number > 0 ? Math.max(1, Math.round(number * scale)) : number);
  return Object.entries(options).flatMap(([name, given]) => (given === true ? [`--${name}`] : [`--${name}`, value(name, given)]));
}
