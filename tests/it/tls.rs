//! TLS: the same stream over HTTP/1.1, whose socket an engine takes, and over HTTP/2, where it is a body.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use pregon::config::TlsFiles;
use reqwest::{Certificate, Client, ClientBuilder, Method};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::cli::pregon;
use crate::process::started;
use crate::server::{KEY, Tab, TestServer, within};

/// A server with a certificate of its own, and a client that knows it.
async fn server(change: impl FnOnce(&mut pregon::Config), client: fn(ClientBuilder) -> ClientBuilder) -> TestServer {
    let folder = Arc::new(TempDir::new().unwrap());
    let files = TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    let certificate = make_certificate(&files);
    let mut server = TestServer::start_in(folder, |config| {
        config.tls = Some(files);
        change(config);
    })
    .await;
    server.use_client(client(Client::builder().tls_certs_only([certificate])).build().unwrap());
    server
}

/// Puts a new certificate and its key into the files.
pub(crate) fn make_certificate(files: &TlsFiles) -> Certificate {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
}

fn http1(builder: ClientBuilder) -> ClientBuilder {
    builder.http1_only()
}

fn http2(builder: ClientBuilder) -> ClientBuilder {
    builder.http2_prior_knowledge()
}

/// Opens, gets news, is cut, misses something, and goes on.
async fn a_stream_goes_on_where_it_was(server: &TestServer) {
    server.publish("user:1", "antes").await;
    let mut tab = server.tab("1").await;
    assert_eq!(tab.head["content-type"], "text/event-stream");
    assert_eq!(tab.expect("hello").await["unread"], 1);
    server.publish("user:1", "uno").await;
    assert_eq!(tab.message().await, "uno");
    let cursor = tab.cursor.clone().unwrap();
    drop(tab);
    for number in 0..300 {
        server.publish("user:1", &format!("perdida {number}")).await;
    }
    let mut tab = server.tab_after("1", &cursor).await;
    assert_eq!(tab.expect("hello").await["resumed"], "full");
    for number in 0..300 {
        assert_eq!(tab.message().await, format!("perdida {number}"));
    }
    server.publish("everyone", "ahora").await;
    assert_eq!(tab.message().await, "ahora");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http1_a_stream_goes_on_where_it_was() {
    let server = server(|_| {}, http1).await;
    a_stream_goes_on_where_it_was(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_a_stream_goes_on_where_it_was() {
    let server = server(|_| {}, http2).await;
    a_stream_goes_on_where_it_was(&server).await;
    server.stop().await;
}

/// Mutant: HTTP/2 must have a `Host` header too.
#[tokio::test(flavor = "multi_thread")]
async fn over_http2_the_authority_names_the_host() {
    let server = server(|_| {}, http2).await;
    let asked = || server.anonymous(Method::GET, "/v1/inbox?user_id=1");
    assert_eq!(within(asked().send()).await.unwrap().status(), 200);
    assert_eq!(within(asked().header("host", "evil.example").send()).await.unwrap().status(), 200);
    server.stop().await;
}

/// Publishes more than the client's window, the queue and TLS can hold, until the stream has taken nothing of two batches: of
/// the first one not even while another user was sent something. Nobody else waits for it, and it gets all once it reads.
async fn one_that_does_not_read_disturbs_nobody(server: &TestServer) {
    const BATCH: usize = 50;
    let mut stuck = server.tab("stuck").await;
    let mut other = server.tab("other").await;
    other.expect("hello").await;
    let long = "x".repeat(16_000);
    let mut published = 0;
    let stands_still = async {
        while server.behind("stuck").await != [2 * BATCH as u64] {
            let messages: Vec<String> =
                (published..published + BATCH).map(|number| format!("{number} {long}")).collect();
            server.publish_batch("user:stuck", &messages).await;
            published += BATCH;
            server.publish("user:other", &published.to_string()).await;
            assert_eq!(other.message().await, published.to_string());
        }
    };
    within(stands_still).await;
    stuck.expect("hello").await;
    for number in 0..published {
        assert_eq!(stuck.message().await, format!("{number} {long}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http1_one_that_does_not_read_disturbs_nobody() {
    let server = server(|_| {}, http1).await;
    one_that_does_not_read_disturbs_nobody(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_one_that_does_not_read_disturbs_nobody() {
    let server = server(|_| {}, http2).await;
    one_that_does_not_read_disturbs_nobody(&server).await;
    server.stop().await;
}

/// Opens streams until one begins; those that find no place end at once.
async fn a_place(server: &TestServer) -> Tab {
    within(async {
        loop {
            let mut tab = server.tab("1").await;
            if tab.event().await.is_some_and(|event| event.event.as_deref() == Some("hello")) {
                return tab;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_gives_its_place_back() {
    for client in [http1, http2] {
        let server = server(|config| config.streams_max = Some(1), client).await;
        let tab = a_place(&server).await;
        let mut turned_away = server.tab("2").await;
        assert!(turned_away.event().await.is_none_or(|event| event.event.is_none()), "there is one place only");
        drop(tab);
        a_place(&server).await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_ends_streams_in_good_order() {
    for client in [http1, http2] {
        let mut server = server(|config| config.drain = Duration::from_secs(2), client).await;
        let mut tabs = Vec::new();
        // The drain lasts as long as the last of them.
        for _ in 0..20 {
            let mut tab = server.tab("1").await;
            tab.expect("hello").await;
            tabs.push(tab);
        }
        server.begin_to_stop();
        server.publish("user:2", "se publica hasta el final").await;
        for mut tab in tabs {
            assert!(tab.event().await.is_none() && !tab.cut);
        }
        server.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_tls_is_turned_away_and_disturbs_nobody() {
    let server = server(|_| {}, http1).await;
    let mut plain = TcpStream::connect(server.url.trim_start_matches("https://")).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Closed or reset: in any case it ends.
    let _ = within(plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"));
    let healthy = within(server.anonymous(Method::GET, "/healthz").send()).await.unwrap();
    assert_eq!(healthy.status(), 200);
    server.stop().await;
}

/// Whether a new connection is shown that certificate.
async fn shows(url: &str, certificate: &Certificate) -> bool {
    let client = Client::builder().tls_certs_only([certificate.clone()]).build().unwrap();
    within(client.get(format!("{url}/healthz")).send()).await.is_ok()
}

/// Streams over HTTP/1.1 and HTTP/2 are there before the certificate changes, and after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_and_streams_live_on() {
    for client in [http1, http2] {
        let server = server(|_| {}, client).await;
        let files = TlsFiles { cert: server.folder.path().join("cert.pem"), key: server.folder.path().join("key.pem") };
        let mut tab = server.tab("1").await;
        tab.expect("hello").await;
        let newer = make_certificate(&files);
        within(async { while !shows(&server.url, &newer).await {} }).await;
        // The client of the server's own requests knows the first certificate only, on the connection that it has.
        std::fs::write(&files.key, "no key").unwrap();
        let newest = make_certificate(&files);
        within(async { while !shows(&server.url, &newest).await {} }).await;
        assert!(!shows(&server.url, &newer).await, "it is no longer shown");
        let publisher = Client::builder().tls_certs_only([newest]).build().unwrap();
        let publish = publisher.post(format!("{}/v1/users/1/notifications", server.url)).bearer_auth(KEY).body("hola");
        assert_eq!(within(publish.send()).await.unwrap().status(), 201);
        assert_eq!(tab.message().await, "hola");
        server.stop().await;
    }
}

/// Files that can't be used change nothing; SIGHUP says when to look.
#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_the_certificate_again() {
    let folder = TempDir::new().unwrap();
    let files = TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    let first = make_certificate(&files);
    let mut command = pregon(&["serve", "--listen", "127.0.0.1:0", "--server-key", KEY, "--log-format", "json"]);
    command
        .args(["--drain", "0s", "--data-dir"])
        .arg(folder.path())
        .arg("--tls-cert")
        .arg(&files.cert)
        .arg("--tls-key")
        .arg(&files.key)
        .stderr(Stdio::piped());
    let (mut child, ready) = started(&mut command).await;
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let url = ready["url"].as_str().unwrap().to_owned();
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    let mut hang_up = async |says: &str| {
        kill_process(pid, Signal::HUP).unwrap();
        within(async { while !said.next_line().await.unwrap().expect("the server goes on").contains(says) {} }).await;
    };
    assert!(shows(&url, &first).await);
    std::fs::write(&files.key, "no key").unwrap();
    hang_up("the new certificate can't be used; the one from before stays").await;
    assert!(shows(&url, &first).await);
    let second = make_certificate(&files);
    hang_up("new connections get the certificate that is there now").await;
    assert!(shows(&url, &second).await);
    assert!(!shows(&url, &first).await);
    kill_process(pid, Signal::TERM).unwrap();
    assert!(within(child.wait()).await.unwrap().success());
}
