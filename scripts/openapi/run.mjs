#!/usr/bin/env node
// Runs schemathesis against a server of its own: requests made from /openapi.json, as they should be and as they should
// not, and every answer held against it. What is switched off, and why, stands in schemathesis.toml.
// Run: cargo build && scripts/openapi/run.mjs PATH-OF-SCHEMATHESIS [its options]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const program = process.env.PREGON_BIN ?? join(here, '..', '..', 'target', 'debug', 'pregon');
const [schemathesis, ...options] = process.argv.slice(2);
const key = 'a-key-for-schemathesis';
const folder = mkdtempSync(join(tmpdir(), 'pregon-openapi-'));

/** Without `open_user_id`: every request must show who sends it. */
async function start() {
  const args = ['serve', '--listen', '127.0.0.1:0', '--data-dir', folder, '--log', 'warn'];
  const env = { ...process.env, PREGON_SERVER_KEY: key, PREGON_JWT_KEY: 'a-secret-of-thirty-two-characters' };
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const ready = once(createInterface({ input: child.stdout }), 'line');
  const [line] = await Promise.race([ready, ended.then(([code]) => Promise.reject(new Error(`pregon ended with ${code}`)))]);
  return { child, ended, url: JSON.parse(line).url };
}

async function ask(url, path, init = {}) {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const answer = await fetch(url + path, { headers, ...init });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

const server = await start();
let code = 1;
try {
  const post = (path, body) => ask(server.url, path, { method: 'POST', body: JSON.stringify(body) });
  const { token } = await post('/v1/tokens', { user_id: '1', expires_in: '1h' });
  await post('/v1/users/1/notifications', { message: 'La primera' });
  // Only the server makes cursors: one that is made up is refused, as it should be.
  const { stream_cursor: cursor } = await ask(server.url, '/v1/users/1/inbox');
  // The document says where the server is only as seen from itself; with such an address the tool takes parameters that it
  // added itself for wrong ones of ours.
  const args = ['--config-file', join(here, 'schemathesis.toml'), 'run', `${server.url}/openapi.json`, '--url', server.url, ...options];
  const env = { ...process.env, SERVER_KEY: key, USER_TOKEN: token, CURSOR: cursor, PYTHONPATH: here, PYTHONDONTWRITEBYTECODE: '1' };
  const run = spawn(schemathesis, args, { cwd: folder, env, stdio: 'inherit' });
  [code] = await once(run, 'exit');
  server.child.kill('SIGTERM');
  const [ended] = await server.ended;
  if (ended !== 0) throw new Error(`pregon ended with ${ended}`);
} finally {
  server.child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = code ?? 1;
