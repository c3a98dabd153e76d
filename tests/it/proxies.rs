//! Proxies as Debian has them, in front of a server: nginx and `HAProxy`. Each says at the end what it has passed on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::server::within;

/// How nginx is set up: as most set it up, or so that it passes on whatever it can.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    Usual,
    Least,
}

/// A proxy that listens on two sockets in the file system.
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    pub(crate) http1: PathBuf,
    pub(crate) http2: PathBuf,
    child: Child,
    stdout: JoinHandle<String>,
    /// Where it writes what it has seen, unless to stdout.
    log: Option<PathBuf>,
}

/// A request as a proxy saw it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    /// It went to the server, at least in part.
    pub(crate) passed_on: bool,
    /// The server's own answer to it has come: one that a handler gave.
    pub(crate) answered: bool,
    pub(crate) target: String,
}

impl Proxy {
    pub(crate) async fn nginx(name: &'static str, care: Care, folder: &Path, server: SocketAddr) -> Proxy {
        let place = |what: &str| folder.join(format!("{name}-{what}"));
        let shown = |what: &str| place(what).display().to_string();
        let careless = if care == Care::Least {
            "proxy_request_buffering off; ignore_invalid_headers off; underscores_in_headers on;"
        } else {
            ""
        };
        let configuration = format!(
            "daemon off; master_process off; pid {pid}; error_log {errors} crit;
             events {{ worker_connections 1024; }}
             http {{
                 log_format seen '$status $upstream_addr $upstream_http_x_request_id $request_uri';
                 access_log {log} seen;
                 client_body_temp_path {body}; proxy_temp_path {proxy}; fastcgi_temp_path {fastcgi};
                 uwsgi_temp_path {uwsgi}; scgi_temp_path {scgi};
                 client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s;
                 lingering_time 1s; lingering_timeout 1s;
                 upstream pregon {{ server {server}; keepalive 8; keepalive_timeout 3s; }}
                 server {{
                     listen unix:{http1}; listen unix:{http2} http2;
                     {careless}
                     location / {{
                         proxy_pass http://pregon; proxy_http_version 1.1; proxy_set_header Connection '';
                         proxy_set_header Host $host; proxy_next_upstream off;
                     }}
                     # As most write it who mount something under a path.
                     location /notify/ {{
                         proxy_pass http://pregon/; proxy_http_version 1.1; proxy_set_header Connection '';
                     }}
                 }}
             }}",
            pid = shown("pid"),
            errors = shown("errors"),
            log = shown("log"),
            body = shown("body"),
            proxy = shown("proxy"),
            fastcgi = shown("fastcgi"),
            uwsgi = shown("uwsgi"),
            scgi = shown("scgi"),
            http1 = shown("1"),
            http2 = shown("2"),
        );
        std::fs::write(place("conf"), configuration).unwrap();
        let mut command = program("nginx");
        command.arg("-c").arg(place("conf")).arg("-p").arg(folder).arg("-e").arg(place("errors"));
        Proxy::start(name, command, place("1"), place("2"), Some(place("log"))).await
    }

    pub(crate) async fn haproxy(folder: &Path, server: SocketAddr) -> Proxy {
        let name = "haproxy";
        let place = |what: &str| folder.join(format!("{name}-{what}"));
        let configuration = format!(
            "global
    log stdout format raw local0
    nbthread 1
    maxconn 1000
defaults
    mode http
    log global
    option dontlognull
    log-format \"%ST %s %[var(txn.answered)] %HU\"
    timeout connect 5s
    timeout client 1s
    timeout http-request 1s
    timeout http-keep-alive 1s
    timeout server 30s
frontend front
    bind unix@{http1}
    bind unix@{http2} proto h2
    http-response set-var(txn.answered) res.hdr(x-request-id)
    default_backend back
backend back
    http-reuse always
    server pregon {server} pool-purge-delay 1s
",
            http1 = place("1").display(),
            http2 = place("2").display(),
        );
        std::fs::write(place("conf"), configuration).unwrap();
        let mut command = program("haproxy");
        command.arg("-db").arg("-f").arg(place("conf"));
        Proxy::start(name, command, place("1"), place("2"), None).await
    }

    async fn start(
        name: &'static str,
        mut command: Command,
        http1: PathBuf,
        http2: PathBuf,
        log: Option<PathBuf>,
    ) -> Proxy {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let stdout = tokio::spawn(whole(child.stdout.take().unwrap()));
        let listens = async {
            while UnixStream::connect(&http1).await.is_err() || UnixStream::connect(&http2).await.is_err() {
                assert!(child.try_wait().unwrap().is_none(), "{name} has ended");
                tokio::task::yield_now().await;
            }
        };
        within(listens).await;
        Proxy { name, http1, http2, child, stdout, log }
    }

    /// Ends it, and tells what it has seen.
    pub(crate) async fn end(mut self) -> Vec<Seen> {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        within(self.child.wait()).await.unwrap();
        let stdout = within(self.stdout).await.unwrap();
        let log = self.log.map_or(stdout, |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned());
        log.lines().map(seen).collect()
    }
}

fn seen(line: &str) -> Seen {
    let mut parts = line.splitn(4, ' ');
    let mut next = || parts.next().unwrap_or_default();
    let (status, server, answered, target) = (next(), next(), next(), next());
    Seen {
        status: status.parse().unwrap_or_default(),
        passed_on: !["-", "<NOSRV>", ""].contains(&server),
        answered: !["-", ""].contains(&answered),
        target: target.to_owned(),
    }
}

async fn whole(mut stdout: ChildStdout) -> String {
    let mut bytes = Vec::new();
    stdout.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A program of the system's, which not everybody's `PATH` leads to.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
    command
}
