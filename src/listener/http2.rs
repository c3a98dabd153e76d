//! HTTP/2 on one connection: many requests and streams at once, so it stays with HTTP; a stream is an answer whose body
//! an engine fills.
//!
//! **Invariant:** a connection on which nothing is under way is closed after [`HEAD_TIME_MAX`]. While it carries streams it is
//! counted with them; before and after that it has a place among the requests.
//!
//! Deliberately absent: HTTP/2 without TLS, which no browser speaks.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use futures_util::StreamExt as _;
use futures_util::stream::{AbortHandle, Abortable};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;

use super::ending::{End, Phase};
use super::places::Answer;
use super::{Door, HEAD_BYTES_MAX, HEAD_TIME_MAX};
use crate::http::stream::TakeOver;

/// Requests and streams at once on one connection.
const STREAMS_MAX: u32 = 128;
/// Bytes of a request's body that may be under way: as much as a body may have. Of all of them together: four times that.
const BODY_WINDOW_BYTES: u32 = 64 * 1024;
/// Bytes of an answer that wait in HTTP/2 for the client to take more.
const SEND_BUFFER_BYTES: usize = 32 * 1024;
/// A peer that has been quiet is asked whether it is there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);

tokio::task_local! {
    /// Ends the task of the answer that is being made.
    static ABORT: AbortHandle;
}

/// Runs each answer in a task of its own that can be ended from outside. One whose client takes nothing waits for it
/// inside HTTP, and nothing else gets it out of there.
#[derive(Clone)]
struct Tasks;

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, answer: F) {
        let (abort, registration) = AbortHandle::new_pair();
        tokio::spawn(ABORT.scope(abort, Abortable::new(answer, registration)));
    }
}

/// Speaks HTTP/2 on a connection until it ends.
pub(super) async fn serve(connection: TlsStream<TcpStream>, door: Door) {
    let Door { peer, router, delivery, end, place, .. } = door;
    let (under_way, mut watched) = watch::channel(0_usize);
    let under_way = Arc::new(under_way);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (router, delivery, place, begun) = (router.clone(), Arc::clone(&delivery), place.clone(), place.request());
        let busy = Busy::one_more(&under_way);
        Box::pin(async move {
            // It has been dropped for another, and its task ends when it waits next.
            let Some((crowd, mut begun)) = begun else { return std::future::pending().await };
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(crowd);
            let mut response = match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            if let Some(TakeOver(stream)) = response.extensions_mut().remove::<TakeOver>() {
                begun = place.stream();
                // The router has measured the empty body that it saw.
                response.headers_mut().remove(CONTENT_LENGTH);
                let body = delivery.attach_body(stream, ABORT.with(AbortHandle::clone));
                *response.body_mut() = Body::from_stream(body.map(Ok::<_, Infallible>));
            }
            // Busy as long as the body lives.
            Ok::<_, Infallible>(response.map(|body| Answer::new(body, (begun, busy))))
        })
    });
    let mut builder = http2::Builder::new(Tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(BODY_WINDOW_BYTES)
        .initial_connection_window_size(4 * BODY_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    let mut http = pin!(builder.serve_connection(TokioIo::new(connection), service));
    let mut ended = tokio::select! {
        ended = http.as_mut() => Some(ended),
        () = leaves(end, watched.clone()) => None,
        () = idle(&mut watched) => None,
    };
    if ended.is_none() {
        http.as_mut().graceful_shutdown();
        ended = Some(http.await);
    }
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "a connection has ended");
    }
}

/// Completes when the connection is to take no further requests: once the server drains and the first one has come. A client
/// that is turned away before it could ask for anything would come back in vain.
async fn leaves(mut end: End, mut under_way: watch::Receiver<usize>) {
    end.reached(Phase::Draining).await;
    if !end.has_spoken() {
        // Its other end is closed with the connection: then nobody waits here.
        let _ = under_way.wait_for(|count| *count > 0).await;
    }
}

/// Completes when nothing has been under way for a while.
async fn idle(under_way: &mut watch::Receiver<usize>) {
    // Its other end is closed with the connection: then nobody waits here.
    while under_way.wait_for(|count| *count == 0).await.is_ok() {
        if timeout(HEAD_TIME_MAX, under_way.wait_for(|count| *count > 0)).await.is_err() {
            return;
        }
    }
}

/// Something that is under way, as long as it lives.
struct Busy(Arc<watch::Sender<usize>>);

impl Busy {
    fn one_more(under_way: &Arc<watch::Sender<usize>>) -> Busy {
        under_way.send_modify(|count| *count += 1);
        Busy(Arc::clone(under_way))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
