//! The listener: accepts connections within limits, speaks HTTP/1.1 on them, and hands those that become streams to
//! delivery.
//!
//! **Take-over.** A stream needs none of what HTTP keeps for a connection (two buffers, a task, a header map: some
//! 12 KB). So when a handler's answer carries a [`TakeOver`], its future is parked instead of completed, the connection
//! is taken apart, and the bare socket goes to an engine together with the answer's head.
//!
//! **Invariant:** a connection is taken over only when everything that HTTP wanted to write has left: a pipelined
//! request before the stream's has had its whole answer. Hyper sees to it: it turns to the next request when its buffer
//! has been flushed. A test watches that it goes on doing so.
//!
//! Deliberately absent: TLS and HTTP/2; the usual place is behind a proxy.

use std::convert::Infallible;
use std::io;
use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::delivery::{Attachment, Delivery};
use crate::http::stream::TakeOver;

/// Connections that the kernel holds until they are accepted. Tokio's own 1,024 costs a herd of returning clients whole
/// seconds of repeated SYNs.
const BACKLOG: i32 = 4096;
/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Time in which a request's head must have arrived, also on a connection that is kept alive.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Most connections that speak HTTP at once, at some 12 KB each; streams do not count.
const REQUESTS_AT_ONCE_MAX: usize = 4096;
/// Send buffer of a connection, in bytes; Linux doubles it. The default lets a reader who does not read pin 3 to 4 MB
/// of kernel memory; throughput is the same.
const SEND_BUFFER_BYTES: usize = 32 * 1024;
/// Unacknowledged bytes are given up after this. Keepalive alone does not notice a dead peer while beats are written.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);
/// How long, and for how many bytes, a connection that has had its last answer is read out.
const LINGER_TIME_MAX: Duration = Duration::from_secs(5);
const LINGER_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Descriptors that are kept from connections: for the store, the log, what is inherited; and for each core an engine and
/// a reader of the store.
const DESCRIPTORS_RESERVED: usize = 64;
const DESCRIPTORS_PER_CORE: usize = 8;

/// How the descriptors of this process are shared out.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Connections that speak HTTP at once; further ones wait.
    pub requests: usize,
    /// Streams at once; further ones are asked to come back.
    pub streams: usize,
}

impl Places {
    /// Raises the descriptor limit as far as this process may, and shares it out.
    #[must_use]
    pub fn of_this_process() -> Places {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let granted = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
        let descriptors = granted.map_or(usize::MAX, |granted| usize::try_from(granted).unwrap_or(usize::MAX));
        let requests = (descriptors / 4).clamp(1, REQUESTS_AT_ONCE_MAX);
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let reserved = DESCRIPTORS_RESERVED + DESCRIPTORS_PER_CORE * cores;
        Places { requests, streams: descriptors.saturating_sub(requests + reserved).max(1) }
    }
}

/// A socket that listens.
pub struct Listener {
    listener: TcpListener,
}

impl Listener {
    /// Binds to an address; to a free port if its port is 0.
    ///
    /// # Errors
    /// When the address is in use or not this machine's.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // Accepted sockets inherit these, so that they hold from the first byte.
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(20)).with_interval(Duration::from_secs(5));
        socket.set_tcp_keepalive(&keepalive.with_retries(3))?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Listener { listener: TcpListener::from_std(socket.into())? })
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts connections until told to stop, and then until the last request has its answer.
    pub async fn serve(self, places: Places, router: Router, delivery: Arc<Delivery>, mut stop: watch::Receiver<bool>) {
        let all = u32::try_from(places.requests).unwrap_or(u32::MAX);
        let places = Arc::new(Semaphore::new(places.requests));
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Mostly: no descriptor is left. Those who wait are served when one is given back.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (router, delivery, stop) = (router.clone(), Arc::clone(&delivery), stop.clone());
            tokio::spawn(async move {
                if speaks(&stream, stop.clone()).await
                    && let Some(attachment) = serve_connection(stream, router, stop).await
                {
                    delivery.attach(attachment);
                }
                drop(place);
            });
        }
        drop(self.listener);
        let _ = places.acquire_many(all).await;
    }
}

/// Waits for the first byte, before HTTP reserves its buffers; false if none comes. A connection that is opened ahead of
/// its request, as browsers do, costs next to nothing. (That a new socket is readable tokio says ahead of the event.)
async fn speaks(stream: &TcpStream, mut stop: watch::Receiver<bool>) -> bool {
    let mut first = [0];
    tokio::select! {
        peeked = timeout(HEAD_TIME_MAX, stream.peek(&mut first)) => matches!(peeked, Ok(Ok(1))),
        _ = stop.wait_for(|stop| *stop) => false,
    }
}

/// An answer that asks for a take-over, waiting for the connection to be free.
type Parked = Arc<Mutex<Option<(TakeOver, Bytes)>>>;

/// Speaks HTTP on a connection until it ends, or becomes a stream.
async fn serve_connection(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) -> Option<Attachment> {
    let parked = Parked::default();
    let service = {
        let parked = Arc::clone(&parked);
        service_fn(move |request: hyper::Request<Incoming>| {
            let (router, parked) = (router.clone(), Arc::clone(&parked));
            Box::pin(async move {
                let mut response = match router.oneshot(request.map(Body::new)).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                if let Some(take_over) = response.extensions_mut().remove::<TakeOver>() {
                    let head = head(&response);
                    *parked.lock().unwrap_or_else(PoisonError::into_inner) = Some((take_over, head));
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(response)
            })
        })
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut stopping = false;
    let taken = loop {
        let taken = std::future::poll_fn(|context| {
            let polled = connection.poll_without_shutdown(context);
            // Looked at after the connection has moved: its own handler parks the answer.
            if polled.is_pending() {
                let taken = parked.lock().unwrap_or_else(PoisonError::into_inner).take();
                return taken.map_or(Poll::Pending, |taken| Poll::Ready(Some(taken)));
            }
            polled.map(|_| None)
        });
        tokio::select! {
            taken = taken => break taken,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let stream = connection.into_parts().io.into_inner();
    let Some((TakeOver { user, start }, head)) = taken else {
        linger(stream).await;
        return None;
    };
    match stream.into_std() {
        Ok(socket) => Some(Attachment { user, start, head, socket }),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be taken over for its stream");
            None
        }
    }
}

/// Closes a connection so that the peer gets the last answer. A peer that is still sending (a body that was refused for
/// its size) would have it thrown away by a reset: so what comes is read for a while.
async fn linger(mut stream: TcpStream) {
    let read_out = async {
        stream.shutdown().await?;
        let mut rest = (&mut stream).take(LINGER_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Whether the peer was satisfied or not: nothing more can be done for it.
    let _ = timeout(LINGER_TIME_MAX, read_out).await;
}

/// The head of an answer, as HTTP/1.1 writes it. The body that follows ends with the connection.
fn head(response: &Response) -> Bytes {
    let mut head = Vec::with_capacity(512);
    let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let _ = write!(head, "HTTP/1.1 {}\r\ndate: {date}\r\n", response.status());
    // The router has measured the empty body that it saw.
    for (name, value) in response.headers().iter().filter(|(name, _)| *name != CONTENT_LENGTH) {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}
