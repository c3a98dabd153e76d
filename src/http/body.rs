//! Wraps the body of each request. While the handler reads it, its bytes are counted against the budget that all requests
//! share; they are given back when the answer is made. When the handler is done, it is known whether the body was read to its
//! end.
//!
//! **Invariant:** if a part of the body stays unread or can't be read, an answer over HTTP/1.1 says `Connection: close`. The next request on that
//! connection would begin after the unread part, and the server can't find it without reading that part first.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CONNECTION, EXPECT, HeaderValue};
use axum::http::{Request, Response, Version};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

use crate::limits::{Budget, Held};

/// Most bytes that are read and thrown away of what a handler left unread, so that the connection can be kept. Only bytes that
/// have already arrived are read.
const REST_BYTES_MAX: usize = 64 * 1024;

/// The error of a body that is being read when the bodies of all requests have used up their budget.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the bodies of all requests together are too large")]
pub(super) struct Exhausted;

/// Follows the body of one request while its handler has it.
pub(super) struct Watch {
    held: Arc<Held>,
    rest: Arc<Mutex<Rest>>,
    /// The client waits for `100 Continue` (`Expect`), which reading would send: it would then send a body that nobody wants.
    expects: bool,
}

/// What [`Watched`] leaves when the handler drops it.
#[derive(Default)]
enum Rest {
    /// Nothing: the body has been read to its end, or the handler still has it.
    #[default]
    None,
    /// The part that was not read.
    Unread(Body),
    /// Reading has failed, so nobody knows where the body ends. It gives nothing more, as if it had ended.
    Broken,
}

/// The body as the handler gets it.
struct Watched {
    /// Nothing once it has been read to its end, or reading has failed.
    body: Option<Body>,
    held: Arc<Held>,
    rest: Arc<Mutex<Rest>>,
}

/// Replaces the body of a request by one that is watched; nothing if the request has none.
pub(super) fn watch(request: &mut Request<Body>, budget: &Arc<Budget>) -> Option<Watch> {
    if request.body().is_end_stream() {
        return None;
    }
    let (held, rest) = (Arc::new(budget.part()), Arc::default());
    let expects = request.headers().contains_key(EXPECT);
    let body = std::mem::take(request.body_mut());
    *request.body_mut() = Body::new(Watched { body: Some(body), held: Arc::clone(&held), rest: Arc::clone(&rest) });
    Some(Watch { held, rest, expects })
}

impl Watch {
    /// Gives the bytes back to the budget, and adds `Connection: close` to an answer over HTTP/1.1 unless the whole body has been
    /// read, by the handler or, as far as the rest has arrived, here.
    pub(super) fn end<B>(self, version: Version, answer: &mut Response<B>) {
        let rest = std::mem::take(&mut *self.rest.lock().unwrap_or_else(PoisonError::into_inner));
        let read = match rest {
            Rest::Unread(body) if body.is_end_stream() => true,
            Rest::Unread(body) => !self.expects && is_read_out(body),
            Rest::Broken => false,
            Rest::None => true,
        };
        // HTTP/2 has no such header, and needs none.
        if !read && version < Version::HTTP_2 {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        drop(self.held);
    }
}

/// Reads and throws away what has arrived; true if the body ends with it.
fn is_read_out(mut body: Body) -> bool {
    let mut bytes = 0;
    while bytes <= REST_BYTES_MAX {
        match body.frame().now_or_never() {
            Some(None) => return true,
            Some(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, Bytes::len),
            Some(Some(Err(_))) | None => return false,
        }
    }
    false
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if !self.held.grow(bytes) {
                    return Poll::Ready(Some(Err(axum::Error::new(Exhausted))));
                }
            }
            Poll::Ready(None) => self.body = None,
            Poll::Ready(Some(Err(_))) => {
                self.body = None;
                *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Rest::Broken;
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Rest::Unread(body);
        }
    }
}
