//! The end of a server: every request has an answer, nobody can hold it, and with a socket that is handed over the next server
//! goes on where it ended.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cli::pregon;
use crate::process::Running;
use crate::server::{KEY, within};

/// Publishers at once: one half keeps its connections, the other opens one for each publish.
const PUBLISHERS: usize = 16;
/// What each has published before anything happens.
const WARM: usize = 20;

/// What has become of a publish.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Answered(u16),
    Refused,
    /// Nobody knows whether it has been published.
    Unanswered(String),
}

struct Publisher {
    address: String,
    keeps: bool,
    connection: Option<BufReader<TcpStream>>,
}

impl Publisher {
    async fn publish(&mut self) -> Outcome {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match TcpStream::connect(&self.address).await {
                Ok(connection) => BufReader::new(connection),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Outcome::Refused,
                Err(error) => return Outcome::Unanswered(error.to_string()),
            },
        };
        match ask(&mut connection, self.keeps).await {
            Ok((status, closes)) => {
                self.connection = (!closes).then_some(connection);
                Outcome::Answered(status)
            }
            Err(error) => Outcome::Unanswered(error.to_string()),
        }
    }
}

/// Publishes on a connection; the status of the answer, and whether it says that the connection ends.
async fn ask(connection: &mut BufReader<TcpStream>, keeps: bool) -> std::io::Result<(u16, bool)> {
    let body = json!({"to": "everyone", "message": "Hola"}).to_string();
    let connected = if keeps { "keep-alive" } else { "close" };
    let request = format!(
        "POST /v1/notifications HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\nconnection: {connected}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await?;
    let (mut status, mut closes, mut length) = (0, false, 0);
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().unwrap();
        } else if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        } else if line.is_empty() {
            break;
        }
        closes |= line == "connection: close";
    }
    connection.read_exact(&mut vec![0; length]).await?;
    Ok((status, closes))
}

/// Publishers at work, each until it is refused or told to stop.
struct Load {
    running: JoinSet<Vec<Outcome>>,
    published: mpsc::UnboundedReceiver<()>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn on(address: &str) -> Load {
        let (report, published) = mpsc::unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = JoinSet::new();
        for number in 0..PUBLISHERS {
            let (report, stop) = (report.clone(), Arc::clone(&stop));
            let mut client = Publisher { address: address.into(), keeps: number % 2 == 0, connection: None };
            running.spawn(async move {
                let mut outcomes = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let outcome = client.publish().await;
                    let is_last = !matches!(outcome, Outcome::Answered(_));
                    outcomes.push(outcome);
                    let _ = report.send(());
                    if is_last {
                        break;
                    }
                }
                outcomes
            });
        }
        Load { running, published, stop }
    }

    /// Waits until so many more have been published.
    async fn published(&mut self, count: usize) {
        for _ in 0..count {
            within(self.published.recv()).await;
        }
    }

    async fn outcomes(self) -> Vec<Outcome> {
        within(self.running.join_all()).await.into_iter().flatten().collect()
    }
}

fn count(outcomes: &[Outcome], wanted: &Outcome) -> u64 {
    outcomes.iter().filter(|outcome| *outcome == wanted).count() as u64
}

/// Mutant: idle connections are closed at once, whether or not their next request is under way.
#[tokio::test(flavor = "multi_thread")]
async fn no_publish_is_left_without_an_answer_when_the_server_ends() {
    let folder = TempDir::new().unwrap();
    let mut server = Running::start(&folder, &["--drain", "1s", "--open-user-id"], Stdio::null()).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let stream = server.http.get(format!("{}/notifications?user_id=1", server.url)).send();
        streams.push(within(stream).await.unwrap());
    }
    let mut load = Load::on(server.address());
    load.published(PUBLISHERS * WARM).await;
    let asked = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await, Some(0));
    // Promised is the drain time and a second; the rest is for a busy machine.
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    let outcomes = load.outcomes().await;
    let published = count(&outcomes, &Outcome::Answered(201));
    let refused = count(&outcomes, &Outcome::Refused);
    let other: Vec<_> =
        outcomes.iter().filter(|outcome| ![Outcome::Answered(201), Outcome::Refused].contains(outcome)).collect();
    assert_eq!((other, refused), (vec![], PUBLISHERS as u64));
    let next = Running::start(&folder, &[], Stdio::null()).await;
    assert_eq!(next.metric("pregon_log_head").await, published);
}

/// Under load, systemd's part being played by the test: it has the socket, and starts one server after the other.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_socket_that_is_handed_over_a_restart_refuses_no_publish() {
    let folder = TempDir::new().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let start = async || {
        let mut command = Command::new("sh");
        // The process that listens must be the one that is named.
        let script = r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" serve --drain 100ms --listen 127.0.0.1:1 3<&0 </dev/null"#;
        command.args(["-c", script, env!("CARGO_BIN_EXE_pregon")]).env_clear().kill_on_drop(true);
        command.stdin(OwnedFd::from(socket.try_clone().unwrap())).stderr(Stdio::null());
        Running::of(command, &folder).await
    };
    let mut first = start().await;
    assert_eq!(first.address(), address, "the address is the socket's");
    let mut load = Load::on(&address);
    load.published(PUBLISHERS * WARM).await;
    first.signal(Signal::TERM);
    assert_eq!(first.ended().await, Some(0));
    let next = start().await;
    load.published(PUBLISHERS * WARM).await;
    load.stop.store(true, Ordering::Relaxed);
    let outcomes = load.outcomes().await;
    let others: Vec<_> = outcomes.iter().filter(|outcome| **outcome != Outcome::Answered(201)).collect();
    assert_eq!(others, Vec::<&Outcome>::new());
    assert_eq!(next.metric("pregon_log_head").await, outcomes.len() as u64);
}

/// That it is closed for the end, and not for its own limit, is tested in `listener/http1.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_while_the_server_goes_on_to_serve() {
    let folder = TempDir::new().unwrap();
    let mut server = Running::start(&folder, &["--drain", "1m", "--open-user-id"], Stdio::null()).await;
    // The drain lasts as long as the last of them.
    let mut streams = Vec::new();
    for _ in 0..20 {
        let stream = server.http.get(format!("{}/notifications?user_id=1", server.url)).send();
        streams.push(within(stream).await.unwrap());
    }
    let mut idle = BufReader::new(within(TcpStream::connect(server.address())).await.unwrap());
    assert_eq!(within(ask(&mut idle, true)).await.unwrap(), (201, false));
    server.signal(Signal::TERM);
    assert_eq!(within(idle.read(&mut [0])).await.unwrap(), 0);
    let mut next = BufReader::new(within(TcpStream::connect(server.address())).await.unwrap());
    assert_eq!(within(ask(&mut next, true)).await.unwrap(), (201, true));
    let ready = within(server.http.get(format!("{}/readyz", server.url)).send()).await.unwrap();
    assert_eq!(ready.status(), 503);
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await, Some(130), "the second signal ends it at once");
}

/// Each of them held the end for 5 to 15 seconds.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_hold_the_end() {
    let folder = TempDir::new().unwrap();
    let mut server = Running::start(&folder, &["--open-user-id"], Stdio::null()).await;
    for _ in 0..40 {
        assert_eq!(server.publish(&"x".repeat(16_000)).await, 201);
    }
    let connected = async |sends: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut connection = within(socket.connect(server.address().parse().unwrap())).await.unwrap();
        connection.write_all(sends.as_bytes()).await.unwrap();
        connection
    };
    let silent = connected("").await;
    let half_a_head = connected("GET /healthz HTTP/1.1\r\nhost: loc").await;
    let slow_body = connected(&format!(
        "POST /v1/broadcast HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\ncontent-length: 100\r\n\r\nHo"
    ))
    .await;
    let stuck = connected("GET /notifications?user_id=1&since=earliest HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    within(stuck.readable()).await.unwrap();
    let mut idle = connected("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let mut answer = [0; 4096];
    assert!(within(idle.read(&mut answer)).await.unwrap() > 0);
    let asked = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(within(idle.read(&mut answer)).await.unwrap(), 0, "it is closed in good order");
    assert_eq!(server.ended().await, Some(0));
    // Promised is a second; the rest is for a busy machine.
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    drop((silent, half_a_head, slow_body, stuck));
}

/// Names of what is in a folder.
fn entries(folder: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// `pregon dev`, whose temporary folders are in that one.
fn dev(folder: &TempDir) -> Command {
    let mut command = pregon(&["dev", "--listen", "127.0.0.1:0"]);
    command.env("TMPDIR", folder.path()).env("PREGON_SERVER_KEY", KEY).stderr(Stdio::null());
    command
}

/// Mutant: the second signal ends the process at once, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn dev_leaves_nothing_behind_however_it_is_told_to_end() {
    for signals in [&[Signal::TERM][..], &[Signal::INT], &[Signal::HUP, Signal::TERM], &[Signal::TERM, Signal::TERM]] {
        let folder = TempDir::new().unwrap();
        let mut server = Running::ready(dev(&folder).env("PREGON_DRAIN", "1m")).await;
        // It keeps the server from ending by the first signal.
        let stream = format!("{}/v1/stream?user_id=1", server.url);
        let mut stream = within(server.http.get(stream).send()).await.unwrap();
        assert!(within(stream.chunk()).await.unwrap().is_some(), "it has begun");
        assert_eq!(entries(&folder).len(), 1);
        let (last, first) = signals.split_last().unwrap();
        for signal in first {
            server.signal(*signal);
        }
        if first.contains(&Signal::TERM) {
            let draining = async { while server.is_ready().await {} };
            within(draining).await;
        } else {
            drop(stream);
        }
        server.signal(*last);
        server.ended().await;
        assert_eq!(entries(&folder), [""; 0], "{signals:?}");
    }
}

/// Mutant: the signal ends the process as long as it starts.
#[tokio::test(flavor = "multi_thread")]
async fn dev_leaves_nothing_behind_when_it_is_ended_at_its_start() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = TempDir::new().unwrap();
        let mut child = dev(&folder).stdout(Stdio::null()).spawn().unwrap();
        let begun = async {
            while entries(&folder).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        within(begun).await;
        let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
        within(child.wait()).await.unwrap();
        assert_eq!(entries(&folder), [""; 0], "{signal:?}");
    }
}

/// Mutant: it makes one in any case.
#[tokio::test(flavor = "multi_thread")]
async fn dev_has_no_temporary_folder_where_its_data_has_one() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut server = Running::ready(dev(&folder).arg("--data-dir").arg(data.path())).await;
    assert_eq!(entries(&folder), [""; 0]);
    server.signal(Signal::KILL);
    server.ended().await;
    assert!(entries(&data).contains(&"pregon.db".to_owned()));
}

/// Else nothing would ever be too old on a server that runs for a few minutes at a time. Mutant: it is kept by the looks alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_the_log_is_kept_at_the_end() {
    let folder = TempDir::new().unwrap();
    let mut server = Running::start(&folder, &[], Stdio::null()).await;
    // The first look was at an empty log, which has no time.
    assert_eq!(server.publish("hola").await, 201);
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await, Some(0));
    let connection = rusqlite::Connection::open(folder.path().join("pregon.db")).unwrap();
    let age: Option<i64> = connection.query_row("SELECT age FROM log_identity", [], |row| row.get(0)).unwrap();
    assert!(age.is_some());
}
