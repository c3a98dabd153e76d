//! HTTP/1.1 on one connection, until it ends or becomes a stream.
//!
//! **Take-over.** A stream needs none of what HTTP keeps for a connection (two buffers, a task, a header map: some
//! 12 KB). So when a handler's answer carries a [`TakeOver`], its future is parked instead of completed, the connection
//! is taken apart, and the bare socket goes to an engine together with the answer's head.
//!
//! **Invariant:** a connection is taken over only when everything that HTTP wanted to write has left: a pipelined
//! request before the stream's has had its whole answer. Hyper sees to it: it turns to the next request when its buffer
//! has been flushed. A test watches that it goes on doing so.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::Version;
use axum::http::header::CONTENT_LENGTH;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;

use super::ending::{End, Phase};
use super::places::Answer;
use super::refusal::Refusing;
use super::{Door, HEAD_BYTES_MAX, HEAD_TIME_MAX};
use crate::delivery::{Delivery, NewStream};
use crate::http::stream::TakeOver;
use crate::sse::Framing;

/// How long, and for how many bytes, a connection that has had its last answer is read out.
const LINGER_TIME_MAX: Duration = Duration::from_secs(5);
/// The same when the server ends.
const LINGER_TIME_AT_END: Duration = Duration::from_millis(200);
const LINGER_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// A connection that can be taken from HTTP.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin + Sized {
    /// Hands it to delivery.
    fn attach(self, delivery: &Delivery, stream: NewStream, head: Bytes) -> io::Result<()>;
}

impl Connection for TcpStream {
    fn attach(self, delivery: &Delivery, stream: NewStream, head: Bytes) -> io::Result<()> {
        delivery.attach(stream, head, self.into_std()?);
        Ok(())
    }
}

impl Connection for TlsStream<TcpStream> {
    fn attach(self, delivery: &Delivery, stream: NewStream, head: Bytes) -> io::Result<()> {
        let (socket, tls) = self.into_inner();
        delivery.attach_tls(stream, head, socket.into_std()?, tls);
        Ok(())
    }
}

/// An answer that asks for a take-over, waiting for the connection to be free.
type Parked = Arc<Mutex<Option<(TakeOver, Bytes)>>>;

/// Speaks HTTP on a connection until it ends, or becomes a stream.
pub(super) async fn serve(connection: impl Connection, door: Door) {
    let Door { peer, router, delivery, end, place, .. } = door;
    let parked = Parked::default();
    let service = {
        let (parked, place) = (Arc::clone(&parked), place.clone());
        service_fn(move |request: hyper::Request<Incoming>| {
            let (router, parked, begun) = (router.clone(), Arc::clone(&parked), place.request());
            Box::pin(async move {
                // It has been dropped for another, and its task ends when it waits next.
                let Some((crowd, under_way)) = begun else { return std::future::pending().await };
                // Of all versions only this one has chunks.
                let is_chunked = request.version() == Version::HTTP_11;
                let framing = if is_chunked { Framing::Chunked } else { Framing::Bare };
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(peer);
                request.extensions_mut().insert(crowd);
                let mut response = match router.oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                if let Some(mut take_over) = response.extensions_mut().remove::<TakeOver>() {
                    take_over.0.form.framing = framing;
                    let head = head(&response, framing);
                    *parked.lock().unwrap_or_else(PoisonError::into_inner) = Some((take_over, head));
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(response.map(|body| Answer::new(body, under_way)))
            })
        })
    };
    let mut http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Refusing::new(connection)), service);
    let mut closing = end.clone();
    let mut may_close = pin!(closing.may_close());
    let mut is_closing = false;
    let taken = loop {
        let taken = std::future::poll_fn(|context| {
            let polled = http.poll_without_shutdown(context);
            // Looked at after the connection has moved: its own handler parks the answer.
            if polled.is_pending() {
                let taken = parked.lock().unwrap_or_else(PoisonError::into_inner).take();
                return taken.map_or(Poll::Pending, |taken| Poll::Ready(Some(taken)));
            }
            polled.map(|_| None)
        });
        tokio::select! {
            biased;
            taken = taken => break taken,
            spoken = &mut may_close, if !is_closing => {
                if !spoken {
                    // Its first head has not come, or not wholly.
                    break None;
                }
                is_closing = true;
                Pin::new(&mut http).graceful_shutdown();
            }
        }
    };
    let connection = http.into_parts().io.into_inner().into_inner();
    let Some((TakeOver(stream), head)) = taken else {
        place.linger();
        return linger(connection, end).await;
    };
    if let Err(error) = connection.attach(&delivery, stream, head) {
        tracing::warn!(%error, "a connection could not be taken over for its stream");
    }
}

/// Closes a connection so that the peer gets the last answer. A peer that is still sending (a body that was refused for
/// its size) would have it thrown away by a reset: so what comes is read for a while.
async fn linger(mut connection: impl Connection, mut end: End) {
    let read_out = async {
        connection.shutdown().await?;
        let mut rest = (&mut connection).take(LINGER_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    let ending = async {
        end.reached(Phase::Ending).await;
        sleep(LINGER_TIME_AT_END).await;
    };
    // Whether the peer was satisfied or not: nothing more can be done for it.
    tokio::select! {
        _ = timeout(LINGER_TIME_MAX, read_out) => {}
        () = ending => {}
    }
}

/// The head of an answer, as HTTP/1.1 writes it. The connection ends with the body that follows.
fn head(response: &Response, framing: Framing) -> Bytes {
    let mut head = Vec::with_capacity(512);
    let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let _ = write!(head, "HTTP/1.1 {}\r\ndate: {date}\r\nconnection: close\r\n", response.status());
    if framing == Framing::Chunked {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
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

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use axum::Router;
    use futures_util::future::AbortHandle;
    use tokio::io::DuplexStream;
    use tokio::sync::{mpsc, watch};
    use tokio::time::Instant;

    use super::*;
    use crate::delivery;
    use crate::http::address::Peer;
    use crate::listener::places::{Room, Rules};
    use crate::metrics::Connections;
    use crate::store::sqlite::{self, SqliteStore};

    impl Connection for DuplexStream {
        fn attach(self, _: &Delivery, _: NewStream, _: Bytes) -> io::Result<()> {
            unreachable!("no stream is asked for")
        }
    }

    /// The clock stands still unless everybody waits, so the time until the end is exact, and the limit of a connection that
    /// is kept alive can't pass for it.
    ///
    /// Mutants: a quiet connection outlives the drain; HTTP is not told to end.
    #[tokio::test(start_paused = true)]
    async fn a_quiet_connection_is_closed_while_the_server_drains() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path(), sqlite::Options::default()).expect("opened");
        let delivery = Delivery::start(delivery::Options::default(), Arc::new(store)).await.expect("started");
        let (phase, followed) = watch::channel(Phase::Serving);
        let peer = IpAddr::from(Ipv4Addr::LOCALHOST);
        let (trusted_proxies, dropped) = (Vec::new(), Connections::default());
        let room = Room::new(Rules { most: 8, per_address: 8, pace: None, trusted_proxies, dropped });
        let place = room.enter(peer, AbortHandle::new_pair().0).expect("there is room");
        let end = End::new(followed, place.clone());
        let (peer, router, delivery) = (Peer(peer), Router::new(), Arc::new(delivery));
        let (mut client, connection) = tokio::io::duplex(4096);
        let door = Door { peer, router, delivery, end, place, _open: mpsc::channel(1).0 };
        tokio::spawn(serve(connection, door));

        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
        let mut answer = [0; 1024];
        assert!(client.read(&mut answer).await.expect("answered") > 0);
        phase.send_replace(Phase::Draining);
        let draining = Instant::now();
        assert_eq!(client.read(&mut answer).await.expect("closed in good order"), 0);
        assert!(draining.elapsed() < HEAD_TIME_MAX / 2, "closed after {:?}", draining.elapsed());
    }
}
