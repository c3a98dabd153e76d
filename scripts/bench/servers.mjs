// The servers that are measured, and how each is started.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const release = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'release');
/** The programs; `--pregon` names another one. */
export const programs = { pregon: join(release, 'pregon'), load: join(release, 'pregon-load') };
const SERVER_KEY = 'a-key-for-the-bench';
const TOKEN_KEY = 'a-key-for-the-tokens-of-the-bench';
/** How long a server may take to listen. */
const START_MS_MAX = 30_000;

let certificateFolder;

/** A certificate that nobody vouches for, made once. */
function certificate() {
  if (!certificateFolder) {
    certificateFolder = mkdtempSync(join(tmpdir(), 'pregon-bench-tls-'));
    process.once('exit', () => rmSync(certificateFolder, { recursive: true, force: true }));
    const options = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
    execFileSync('openssl', ['req', '-x509', ...options, '-keyout', join(certificateFolder, 'key.pem'), '-out', join(certificateFolder, 'cert.pem')], { stdio: 'pipe' });
  }
  return ['--tls-cert', join(certificateFolder, 'cert.pem'), '--tls-key', join(certificateFolder, 'key.pem')];
}

/** `command(address, folder)` is what is run; `generator` is what the generator has to be told. */
const pregon = ({ access = ['--open-user-id'], tls = () => [], generator = [] } = {}) => ({
  command: (address, folder) => [programs.pregon, 'serve', '--listen', address, '--server-key', SERVER_KEY, ...access, ...tls(), '--data-dir', folder, '--log', 'error', '--drain', '0s'],
  generator: ['--key', SERVER_KEY, ...generator],
  hello: true,
});
const reference = (name) => ({ command: (address) => [programs.load, name, '--listen', address], generator: [], hello: false });

export const servers = {
  'pregon': pregon(),
  'pregon-token': pregon({ access: ['--jwt-key', TOKEN_KEY], generator: ['--token-key', TOKEN_KEY] }),
  'pregon-tls': pregon({ tls: certificate, generator: ['--transport', 'tls'] }),
  'pregon-h2': pregon({ tls: certificate, generator: ['--transport', 'h2'] }),
  'floor': reference('floor'),
  'bare': reference('bare'),
  'naive': reference('naive'),
  'nchan': {
    command: (address, folder) => {
      writeFileSync(join(folder, 'nginx.conf'), nchan(address, folder));
      return ['nginx', '-c', join(folder, 'nginx.conf'), '-p', folder];
    },
    generator: [],
    hello: false,
  },
};

const nchan = (address, folder) => `
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off; user root; worker_processes 2; worker_rlimit_nofile 20000;
pid ${folder}/nginx.pid; error_log ${folder}/error.log crit;
events { worker_connections 18000; }
http {
  access_log off; nchan_shared_memory_size 1024M; keepalive_requests 100000000; keepalive_timeout 600s;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  server {
    listen ${address} backlog=4096;
    location = /notifications {
      nchan_subscriber eventsource; nchan_channel_id "u$arg_user_id" everyone;
      nchan_subscriber_first_message newest; nchan_subscriber_timeout 0;
    }
    location ~ ^/v1/users/([^/]+)/notifications$ { nchan_publisher; nchan_channel_id "u$1"; nchan_message_buffer_length 200; }
    location = /v1/broadcast { nchan_publisher; nchan_channel_id everyone; nchan_message_buffer_length 2000; }
  }
}
`;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs a program; `ended` gives why it ended, `said` is the end of what it wrote to stderr. */
export function run(program, options, stdio) {
  const child = spawn(program, options.map(String), { stdio });
  const running = { child, said: '' };
  child.stderr.on('data', (part) => (running.said = (running.said + part).slice(-2000)));
  running.ended = new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(signal ?? code));
  });
  return running;
}

/** Starts a server; gives it at once. */
export function start(name, address, folder, more = []) {
  const [program, ...options] = servers[name].command(address, folder);
  return run(program, [...options, ...more], ['ignore', 'ignore', 'pipe']);
}

/** Waits until a server listens; fails if it ends instead. */
export async function listening(server, address) {
  let over;
  server.ended.then((why) => (over = why));
  const [host, port] = address.split(':');
  const tried = () =>
    new Promise((resolve) => {
      const socket = connect(Number(port), host);
      socket.once('connect', () => resolve(true) ?? socket.destroy());
      socket.once('error', () => resolve(false));
    });
  for (const begun = Date.now(); !(await tried()); await pause(50)) {
    if (over !== undefined) throw new Error(`the server ended (${over}): ${server.said}`);
    if (Date.now() - begun > START_MS_MAX) throw new Error('the server does not listen');
  }
}

/** Ends a program, the hard way if it does not go. */
export async function end(running, signal = 'SIGTERM') {
  running.child.kill(signal);
  const hard = setTimeout(() => running.child.kill('SIGKILL'), 20_000);
  await running.ended;
  clearTimeout(hard);
}

/** A process and its children: nginx works in children. */
export function processes(pid) {
  const children = execFileSync('ps', ['-o', 'pid=', '--ppid', pid, '--pid', pid]).toString();
  return children.split('\n').map((line) => line.trim()).filter(Boolean).join(',');
}
