//! Listeners over TLS, with HTTP/1.1 or HTTP/2: a task per connection. What this costs the generator is of no interest.
//!
//! Deliberately absent: deaf ones, which are plain only, and several streams on one connection.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::asking::source;
use crate::listeners::{Listener, Manner, Share, Transport};
use crate::stream::{Heard, Ledger, count};
use crate::subscribers::{CUT_RETRY, REFUSED_RETRY};
use crate::tls;

/// How often a thread looks whether it is to stop.
const STOP_LOOK: Duration = Duration::from_millis(20);

struct Thread {
    manner: Manner,
    connector: TlsConnector,
    /// Connections that may be under way at once.
    gate: Semaphore,
    ledger: RefCell<Ledger>,
    listeners: RefCell<Vec<Listener>>,
}

/// What keeps a connection open beside its body.
#[expect(dead_code, reason = "held, not used")]
enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// Opens the connections of a share, and listens until told to stop.
pub(crate) fn listen(share: Share, ledger: Ledger) -> anyhow::Result<(Heard, Vec<Listener>)> {
    ensure!(!share.deaf, "deaf connections are plain");
    let protocol = if share.manner.transport == Transport::H2 { tls::HTTP_2 } else { tls::HTTP_1 };
    let thread = Rc::new(Thread {
        connector: TlsConnector::from(tls::config(protocol)?),
        gate: Semaphore::new(share.manner.connecting_max.min(Semaphore::MAX_PERMITS)),
        manner: share.manner,
        ledger: RefCell::new(ledger),
        listeners: RefCell::new(share.listeners),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, listen_all(&thread))?;
    drop(runtime);
    let thread = Rc::into_inner(thread).context("a listening task has not ended")?;
    Ok((thread.ledger.into_inner().heard, thread.listeners.into_inner()))
}

async fn listen_all(thread: &Rc<Thread>) -> anyhow::Result<()> {
    let counters = Arc::clone(&thread.ledger.borrow().counters);
    let mut tasks = JoinSet::new();
    let places = thread.listeners.borrow().len();
    for place in 0..places {
        let thread = Rc::clone(thread);
        tasks.spawn_local(async move { thread.listener(place).await });
    }
    while !counters.stop.load(Ordering::Relaxed) {
        tokio::select! {
            Some(ended) = tasks.join_next() => ended.context("a listening task")??,
            () = tokio::time::sleep(STOP_LOOK) => {}
        }
    }
    tasks.shutdown().await;
    Ok(())
}

impl Thread {
    async fn listener(&self, place: usize) -> anyhow::Result<()> {
        loop {
            let permit = self.gate.acquire().await?;
            let opened = self.open(place).await;
            drop(permit);
            let after = match opened {
                Ok((_sender, response)) => {
                    ensure!(response.status() == StatusCode::OK, "the server answered {}", response.status());
                    self.hear(place, response.into_body()).await?;
                    CUT_RETRY
                }
                Err(error) if self.manner.persistent => {
                    drop(error);
                    REFUSED_RETRY
                }
                Err(error) => return Err(error.context("a listener could not connect")),
            };
            let counters = Arc::clone(&self.ledger.borrow().counters);
            if !self.manner.persistent {
                count(&counters.closed);
                return Ok(());
            }
            count(&counters.retried);
            tokio::time::sleep(after).await;
        }
    }

    /// Hears until the stream ends.
    async fn hear(&self, place: usize, mut body: Incoming) -> anyhow::Result<()> {
        self.listeners.borrow_mut()[place].stream.begin(&mut self.ledger.borrow_mut());
        // A stream that breaks has ended like one that is closed.
        while let Some(Ok(frame)) = body.frame().await {
            if let Some(data) = frame.data_ref() {
                self.listeners.borrow_mut()[place].stream.take(data, &mut self.ledger.borrow_mut())?;
            }
        }
        Ok(())
    }

    async fn open(&self, place: usize) -> anyhow::Result<(Sender, Response<Incoming>)> {
        let (number, last_id) = {
            let listener = &self.listeners.borrow()[place];
            (listener.number, listener.stream.last_id().map(str::to_owned))
        };
        let io = TokioIo::new(self.connect(number).await?);
        if self.manner.transport == Transport::Tls {
            let (mut sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            let response = sender.send_request(self.request(number, last_id.as_deref(), Version::HTTP_11)?).await?;
            Ok((Sender::Http1(sender), response))
        } else {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            let response = sender.send_request(self.request(number, last_id.as_deref(), Version::HTTP_2)?).await?;
            Ok((Sender::Http2(sender), response))
        }
    }

    async fn connect(&self, number: usize) -> anyhow::Result<TlsStream<TcpStream>> {
        let server = self.manner.server;
        let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = source(server, number) {
            socket.bind(source)?;
        }
        let socket = socket.connect(server).await?;
        socket.set_nodelay(true)?;
        Ok(self.connector.connect(tls::name(server), socket).await?)
    }

    fn request(&self, number: usize, last_id: Option<&str>, version: Version) -> anyhow::Result<Request<Empty<Bytes>>> {
        let path = self.manner.asking.path(number);
        let mut request = Request::builder().version(version);
        if version == Version::HTTP_2 {
            request = request.uri(format!("https://{}{path}", self.manner.server));
        } else {
            request = request.uri(path).header("host", "localhost");
        }
        for (name, value) in self.manner.asking.headers(number, last_id) {
            request = request.header(name, value);
        }
        Ok(request.body(Empty::new())?)
    }
}
