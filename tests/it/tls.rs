//! TLS: the same stream over HTTP/1.1, whose socket an engine takes, and over HTTP/2, where it is a body.

use std::sync::Arc;
use std::time::Duration;

use pregon::config::TlsFiles;
use reqwest::{Certificate, Client, ClientBuilder, Method};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::{Tab, TestServer, within};

/// A server with a certificate of its own, and a client that knows it.
async fn server(change: impl FnOnce(&mut pregon::Config), client: fn(ClientBuilder) -> ClientBuilder) -> TestServer {
    let folder = Arc::new(TempDir::new().unwrap());
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let files = TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let mut server = TestServer::start_in(folder, |config| {
        config.tls = Some(files);
        change(config);
    })
    .await;
    let certificate = Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    server.use_client(client(Client::builder().tls_certs_only([certificate])).build().unwrap());
    server
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

/// More than the client's window, the queue and TLS can hold: the stream falls behind, and the others on the connection
/// do not wait for it.
async fn one_that_does_not_read_disturbs_nobody(server: &TestServer) {
    const COUNT: usize = 600;
    let mut stuck = server.tab("stuck").await;
    let mut other = server.tab("other").await;
    other.expect("hello").await;
    let long = "x".repeat(16_000);
    for number in 0..COUNT {
        server.publish("user:stuck", &format!("{number} {long}")).await;
        if number % 50 == 0 {
            server.publish("user:other", &number.to_string()).await;
            assert_eq!(other.message().await, number.to_string());
        }
    }
    stuck.expect("hello").await;
    for number in 0..COUNT {
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
        let mut server = server(|config| config.drain = Duration::from_millis(300), client).await;
        let mut tab = server.tab("1").await;
        tab.expect("hello").await;
        server.begin_to_stop();
        assert!(tab.event().await.is_none());
        assert!(!tab.cut);
        server.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_tls_is_turned_away_and_disturbs_nobody() {
    let server = server(|_| {}, http1).await;
    let mut plain = TcpStream::connect(server.url.trim_start_matches("https://")).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Closed or reset: in any case it ends.
    let _ = within(plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"));
    let healthy = within(server.anonymous(Method::GET, "/healthz").send()).await.unwrap();
    assert_eq!(healthy.status(), 200);
    server.stop().await;
}
