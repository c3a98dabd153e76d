//! Places: whatever connections do that say nothing, say little, or do not go away, a back end's publish is answered; and a
//! request under way is never given up for another connection.

use std::process::Stdio;

use reqwest::Method;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;

use crate::process::Running;
use crate::server::{KEY, TestServer, within};

const PLACES: usize = 64;

async fn with_few_places(change: impl FnOnce(&mut pregon::Config)) -> TestServer {
    TestServer::start_with(|config| {
        config.limits.connections_max = Some(PLACES);
        change(config);
    })
    .await
}

async fn silent(server: &TestServer, count: usize) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(TcpStream::connect(server.address()).await.unwrap());
    }
    connections
}

async fn ends(connection: &mut TcpStream) -> bool {
    // A reset is an end too.
    within(connection.read(&mut [0; 1])).await.map_or(true, |read| read == 0)
}

async fn ask(connection: &mut TcpStream, request: &str) -> String {
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = within(connection.read(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

fn health(connection: &str) -> String {
    format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n")
}

/// A request whose handler waits for its body, which has four bytes.
async fn under_way(server: &TestServer, method_and_path: &str) -> TcpStream {
    let mut connection = TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "{method_and_path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Type: text/plain\r\n\
         Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    );
    assert!(ask(&mut connection, &head).await.starts_with("HTTP/1.1 100"));
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_give_way_the_oldest_first_and_no_request_under_way_does() {
    let server = with_few_places(|_| {}).await;
    let mut publishing = under_way(&server, "POST /v1/broadcast").await;
    let mut silent = silent(&server, 200).await;
    server.publish("user:1", "hola").await;
    // All of them have been accepted before that publish: 64 places less the two that publish.
    let kept = silent.split_off(200 - (PLACES - 2));
    for connection in &mut silent {
        assert!(ends(connection).await);
    }
    for mut connection in kept {
        assert!(ask(&mut connection, &health("close")).await.starts_with("HTTP/1.1 200"));
    }
    assert!(ask(&mut publishing, "hola").await.starts_with("HTTP/1.1 201"));
    let metrics = server.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let dropped =
        metrics.lines().find_map(|line| line.strip_prefix("pregon_connections_dropped_total{reason=\"place\"} "));
    assert_eq!(dropped.unwrap().parse::<usize>().unwrap(), silent.len());
    server.stop().await;
}

/// A connection that the kernel has completed waits until there is a descriptor for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_cannot_be_accepted_is_counted_and_served_later() {
    let folder = TempDir::new().unwrap();
    let server = Running::start(&folder, &[], Stdio::null()).await;
    let not_accepted = async || server.metric("pregon_connections_dropped_total{reason=\"accept\"}").await;
    // From here on it asks on the connection that it has.
    assert_eq!(not_accepted().await, 0);
    let pid = Pid::from_raw(server.child.id().unwrap().cast_signed());
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = |current| prlimit(pid, Resource::Nofile, Rlimit { current, maximum }).unwrap();
    limit(Some(1));
    let mut waiting = TcpStream::connect(server.address()).await.unwrap();
    within(async { while not_accepted().await == 0 {} }).await;
    limit(maximum);
    assert!(ask(&mut waiting, &health("close")).await.starts_with("HTTP/1.1 200"));
}

/// Mutant: as many streams as `--streams-max` says.
#[tokio::test(flavor = "multi_thread")]
async fn streams_leave_descriptors_for_all_others_whatever_is_configured() {
    let folder = TempDir::new().unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    let descriptors = 64 + 8 * cores + 40;
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n {descriptors} && exec \"$@\""), "sh", env!("CARGO_BIN_EXE_pregon")]);
    limited.args(["serve", "--listen", "127.0.0.1:0", "--open-user-id", "--streams-max", "10000"]);
    limited.env("PREGON_CONNECTIONS_MAX", "16").kill_on_drop(true).stderr(Stdio::piped());
    let mut server = Running::of(limited, &folder).await;
    let mut streams = Vec::new();
    loop {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let answer = ask(&mut stream, "GET /notifications?user_id=1 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        if !answer.contains("connection: close") {
            break;
        }
        streams.push(stream);
        assert!(streams.len() < descriptors);
    }
    assert_eq!(streams.len(), 40 - 16);
    assert!(server.is_ready().await);
    assert_eq!(server.metric("pregon_connections_dropped_total{reason=\"accept\"}").await, 0);
    server.child.start_kill().unwrap();
    let mut log = String::new();
    within(server.child.stderr.take().unwrap().read_to_string(&mut log)).await.unwrap();
    let enough = format!("\"descriptors_needed\":{}", descriptors - 24 + 10_000);
    assert!(log.contains(&enough) && log.contains("\"streams_allowed\":24"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_streams_that_linger_keep_nobody_out() {
    let server = with_few_places(|config| config.streams_max = Some(0)).await;
    let mut lingering = Vec::new();
    for _ in 0..4 * PLACES {
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        let request = "GET /notifications?user_id=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(connection.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.contains("retry: "), "{answer}");
        // It has been told that this is the end, and does not close.
        lingering.push(connection);
    }
    server.publish("user:1", "hola").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_give_way_to_new_ones() {
    let server = with_few_places(|_| {}).await;
    let mut idle = silent(&server, 2 * PLACES).await;
    for (number, connection) in idle.iter_mut().enumerate().skip(PLACES) {
        assert!(ask(connection, &health("keep-alive")).await.starts_with("HTTP/1.1 200"), "{number}");
    }
    for number in 0..PLACES {
        server.anonymous(Method::GET, "/readyz").header("connection", "close").send().await.unwrap();
        let mut next = TcpStream::connect(server.address()).await.unwrap();
        assert!(ask(&mut next, &health("keep-alive")).await.starts_with("HTTP/1.1 200"), "{number}");
        idle.push(next);
    }
    server.stop().await;
}

/// Mutant: they are counted with the others.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_admin_listener_drops_are_not_counted_as_dropped() {
    let server = with_few_places(|config| config.admin_listen = Some("127.0.0.1:0".parse().unwrap())).await;
    let admin = server.admin.unwrap();
    let mut silent = Vec::new();
    for _ in 0..2 * PLACES {
        silent.push(TcpStream::connect(admin).await.unwrap());
    }
    let mut last = TcpStream::connect(admin).await.unwrap();
    assert!(ask(&mut last, &health("close")).await.starts_with("HTTP/1.1 200"));
    assert!(ends(&mut silent[0]).await, "its place was needed");
    let metrics = server.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("pregon_connections_dropped_total{reason=\"place\"} 0\n"), "{metrics}");
    server.stop().await;
}

/// The addresses of loopback are not limited. So the test runs itself once more, in a network namespace that has another
/// address; this needs `unshare` and `ip`, and a kernel that lets a user make namespaces, or root.
/// Mutant: the limit of an address is not that of the configuration.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections_and_a_new_one_takes_the_place_of_its_oldest() {
    const INSIDE: &str = "PREGON_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_none() {
        let prepare = "ip link set lo up && ip address add 192.0.2.1/32 dev lo && exec \"$@\"";
        let mut again = Command::new("unshare");
        again.args(["--map-root-user", "--net", "sh", "-c", prepare, "sh"]).arg(std::env::current_exe().unwrap());
        let name = "places::an_address_has_so_many_connections_and_a_new_one_takes_the_place_of_its_oldest";
        let again = again.args(["--exact", name]).env(INSIDE, "1").kill_on_drop(true).output();
        let told = within(again).await.unwrap();
        assert!(String::from_utf8_lossy(&told.stdout).contains("1 passed"), "{told:?}");
        return;
    }
    let server = with_few_places(|config| {
        config.listen = "192.0.2.1:0".parse().unwrap();
        config.limits.connections_per_address = Some(3);
    })
    .await;
    let from = async |address: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address.parse().unwrap()).unwrap();
        socket.connect(server.address().parse().unwrap()).await.unwrap()
    };
    let (mut of_one, mut of_loopback) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        of_loopback.push(from("127.0.0.1:0").await);
        of_one.push(from("192.0.2.1:0").await);
    }
    let mut oldest = of_one.remove(0);
    // None gives its place back before the last one has come.
    for connection in of_one.iter_mut().chain(&mut of_loopback) {
        assert!(ask(connection, &health("keep-alive")).await.starts_with("HTTP/1.1 200"));
    }
    // If it still had a place, it would be answered.
    let _ = oldest.write_all(health("close").as_bytes()).await;
    assert!(ends(&mut oldest).await);
    server.stop().await;
}

/// Mutant: the last places are for everybody.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_places_are_for_whoever_shows_a_server_key() {
    let server = with_few_places(|_| {}).await;
    let mut busy = Vec::new();
    for _ in 0..PLACES - PLACES / 4 {
        busy.push(under_way(&server, "POST /v1/broadcast").await);
    }
    let refused = server.anonymous(Method::GET, "/v1/inbox?user_id=1").send().await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    let guessed = server.anonymous(Method::GET, "/v1/keys").bearer_auth("pregon_sk_guessed").send().await.unwrap();
    assert_eq!(guessed.status(), 503);
    // On a stream it is no error: a browser would give up for good.
    let stream = server.anonymous(Method::GET, "/v1/stream?user_id=1").send().await.unwrap();
    assert_eq!(
        (stream.status().as_u16(), &stream.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    assert!(within(stream.text()).await.unwrap().starts_with("retry: "));
    let lives = server.anonymous(Method::GET, "/healthz").send().await.unwrap();
    assert_eq!(lives.status(), 200);
    server.publish("user:1", "hola").await;
    for mut connection in busy {
        assert!(ask(&mut connection, "hola").await.starts_with("HTTP/1.1 201"));
    }
    let inbox = server.anonymous(Method::GET, "/v1/inbox?user_id=1").send().await.unwrap();
    assert_eq!(inbox.status(), 200);
    server.stop().await;
}
