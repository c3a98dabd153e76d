//! How the body of a stream is delimited: over HTTP/1.1 by chunks, so that clients that read block by block have each event
//! at once, and can tell an end from a cut.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use pregon::config::TlsFiles;
use reqwest::{Certificate, Client, Method};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::process::Running;
use crate::server::{TestServer, within};
use crate::stream::connect_with_small_buffer;
use crate::tls::make_certificate;

/// What a stream is read from.
trait Connection: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Connection for T {}

/// What comes next in a body of chunks.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Chunk(String),
    /// The body has ended in good order, and the connection with it.
    Last,
    /// The connection has ended within the body.
    Cut,
}

/// The answer to a request for a stream, read as strictly as RFC 9112 allows.
struct Answer {
    connection: Box<dyn Connection>,
    head: String,
    rest: Vec<u8>,
}

impl Answer {
    async fn to(mut connection: Box<dyn Connection>, version: &str, headers: &str) -> Answer {
        let request = format!("GET /v1/stream?user_id=1&since=earliest {version}\r\nhost: 127.0.0.1\r\n{headers}\r\n");
        within(connection.write_all(request.as_bytes())).await.unwrap();
        let mut answer = Answer { connection, head: String::new(), rest: Vec::new() };
        let end = loop {
            if let Some(end) = answer.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(answer.more().await, "{}", String::from_utf8_lossy(&answer.rest));
        };
        answer.head = String::from_utf8(answer.rest.drain(..end).collect()).unwrap();
        assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", answer.head);
        answer
    }

    /// Reads on; false at the end.
    async fn more(&mut self) -> bool {
        within(self.connection.read_buf(&mut self.rest)).await.is_ok_and(|read| read > 0)
    }

    fn is_chunked(&self) -> bool {
        assert!(!self.head.contains("content-length"), "{}", self.head);
        self.head.contains("\r\ntransfer-encoding: chunked\r\n")
    }

    async fn next(&mut self) -> Next {
        loop {
            if let Some(line) = self.rest.windows(2).position(|window| window == b"\r\n") {
                let text = std::str::from_utf8(&self.rest[..line]).unwrap();
                let size = usize::from_str_radix(text, 16).unwrap_or_else(|error| panic!("{text:?}: {error}"));
                assert_eq!(format!("{size:x}"), text, "the shortest form");
                let end = line + 2 + size + 2;
                if self.rest.len() >= end {
                    let chunk: Vec<u8> = self.rest.drain(..end).collect();
                    assert!(chunk.ends_with(b"\r\n"), "{chunk:?}");
                    if size == 0 {
                        assert!(self.rest.is_empty() && !self.more().await, "nothing comes after the last chunk");
                        return Next::Last;
                    }
                    return Next::Chunk(String::from_utf8(chunk[line + 2..end - 2].to_vec()).unwrap());
                }
            }
            if !self.more().await {
                return Next::Cut;
            }
        }
    }

    /// The next chunk, which must have this in it, and which must be one event or line.
    async fn expect(&mut self, wanted: &str) {
        let Next::Chunk(chunk) = self.next().await else { panic!("no chunk with {wanted}") };
        assert!(chunk.contains(wanted), "{chunk}");
        if chunk.starts_with('{') {
            assert_eq!(chunk.find('\n'), Some(chunk.len() - 1), "{chunk}");
        } else {
            assert_eq!(chunk.find("\n\n"), Some(chunk.len() - 2), "{chunk}");
        }
    }
}

async fn plain(address: &str) -> Box<dyn Connection> {
    Box::new(within(TcpStream::connect(address)).await.unwrap())
}

async fn secure(connector: &TlsConnector, server: &TestServer) -> Box<dyn Connection> {
    let socket = within(TcpStream::connect(server.url.trim_start_matches("https://"))).await.unwrap();
    Box::new(within(connector.connect(ServerName::try_from("127.0.0.1").unwrap(), socket)).await.unwrap())
}

/// A server with TLS, and what connects to it.
async fn with_tls(drain: Duration) -> (TestServer, TlsConnector, Certificate) {
    let folder = Arc::new(TempDir::new().unwrap());
    let files = TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    let certificate = make_certificate(&files);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.cert).unwrap()).unwrap();
    let server = TestServer::start_in(folder, |config| {
        config.tls = Some(files);
        config.drain = drain;
    })
    .await;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (server, TlsConnector::from(Arc::new(config)), certificate)
}

const DRAIN: Duration = Duration::from_secs(2);
const LINES: &str = "accept: application/x-ndjson\r\n";

/// A stream as events and one as lines get each event in a chunk of its own, as soon as it is there, and their ends are said.
async fn is_chunks_with_an_end(mut server: TestServer, [events, lines]: [Box<dyn Connection>; 2]) {
    let mut streams = [Answer::to(events, "HTTP/1.1", "").await, Answer::to(lines, "HTTP/1.1", LINES).await];
    for stream in &mut streams {
        assert!(stream.is_chunked(), "{}", stream.head);
        stream.expect("heartbeat_ms").await;
        stream.expect(r#""message":"antes","replay":true}"#).await;
    }
    for number in 0..3 {
        let message = "ñ".repeat(1 + 700 * number);
        server.publish("user:1", &message).await;
        for stream in &mut streams {
            stream.expect(&format!(r#""message":"{message}"}}"#)).await;
        }
    }
    server.begin_to_stop();
    for stream in &mut streams {
        assert_eq!(stream.next().await, Next::Last);
    }
    server.ended().await;
}

/// Mutant: a stream ends without its last chunk.
#[tokio::test(flavor = "multi_thread")]
async fn over_http_1_1_each_event_is_a_chunk_and_the_end_is_said() {
    let server = TestServer::start_with(|config| config.drain = DRAIN).await;
    server.publish("user:1", "antes").await;
    let connections = [plain(server.address()).await, plain(server.address()).await];
    is_chunks_with_an_end(server, connections).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_each_event_is_a_chunk_and_the_end_is_said_too() {
    let (mut server, connector, certificate) = with_tls(DRAIN).await;
    server.use_client(Client::builder().tls_certs_only([certificate]).build().unwrap());
    server.publish("user:1", "antes").await;
    let connections = [secure(&connector, &server).await, secure(&connector, &server).await];
    is_chunks_with_an_end(server, connections).await;
}

/// Mutant: HTTP/1.0 gets chunks, which it does not know.
#[tokio::test(flavor = "multi_thread")]
async fn over_http_1_0_and_http_2_there_are_no_chunks() {
    let server = TestServer::start_with(|config| config.drain = DRAIN).await;
    let mut old = Answer::to(plain(server.address()).await, "HTTP/1.0", LINES).await;
    assert!(!old.is_chunked(), "{}", old.head);
    server.publish("user:1", "ahora").await;
    while !old.rest.ends_with(b"\"ahora\"}}\n") {
        assert!(old.more().await);
    }
    let text = String::from_utf8(std::mem::take(&mut old.rest)).unwrap();
    assert!(text.lines().count() == 2 && text.lines().all(|line| line.starts_with('{')), "{text}");
    server.stop().await;
    while old.more().await {}
    assert!(old.rest.is_empty(), "{:?}", old.rest);

    let (mut server, _, certificate) = with_tls(DRAIN).await;
    server.use_client(Client::builder().tls_certs_only([certificate]).http2_prior_knowledge().build().unwrap());
    let stream = within(server.anonymous(Method::GET, "/v1/stream?user_id=1").send()).await.unwrap();
    assert!(stream.headers().get("transfer-encoding").is_none());
    let mut body = stream.bytes_stream();
    let mut bytes = within(body.next()).await.unwrap().unwrap().to_vec();
    server.publish("user:1", "ahora").await;
    server.begin_to_stop();
    while let Some(part) = within(body.next()).await {
        bytes.extend(part.unwrap());
    }
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("event: hello\n") && text.ends_with("\"ahora\"}\n\n") && !text.contains('\r'), "{text:?}");
    server.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_does_not_say_that_its_streams_have_ended() {
    let folder = TempDir::new().unwrap();
    let mut server = Running::start(&folder, &["--open-user-id"], Stdio::null()).await;
    let mut stream = Answer::to(plain(server.address()).await, "HTTP/1.1", "").await;
    stream.expect("heartbeat_ms").await;
    server.child.start_kill().unwrap();
    within(server.child.wait()).await.unwrap();
    assert_eq!((stream.next().await, stream.rest.len()), (Next::Cut, 0));
}

/// Mutant: without the last chunk.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_can_not_begin_now_is_a_whole_answer() {
    let server = TestServer::start_with(|config| config.limits.streams_per_user = 1).await;
    let mut first = Answer::to(plain(server.address()).await, "HTTP/1.1", "").await;
    first.expect("heartbeat_ms").await;
    let mut second = Answer::to(plain(server.address()).await, "HTTP/1.1", "").await;
    assert!(second.is_chunked(), "{}", second.head);
    second.expect("retry: ").await;
    assert_eq!(second.next().await, Next::Last);
    server.stop().await;
}

/// Writes that are taken in part, and many frames in one.
#[tokio::test(flavor = "multi_thread")]
async fn however_slowly_it_is_read_a_stream_is_whole_chunks() {
    const MESSAGES: usize = 500;
    let server = TestServer::start().await;
    for to in ["user:1", "everyone"] {
        let filler = "x".repeat(4000);
        let messages: Vec<String> = (0..MESSAGES).map(|number| format!("<{number}>{filler}")).collect();
        server.publish_batch(to, &messages).await;
    }
    for headers in ["", LINES] {
        let slow = Box::new(connect_with_small_buffer(&server));
        let mut stream = Answer::to(slow, "HTTP/1.1", headers).await;
        stream.expect("heartbeat_ms").await;
        for number in 0..2 * MESSAGES {
            stream.expect(&format!("<{}>", number % MESSAGES)).await;
        }
    }
    server.stop().await;
}
