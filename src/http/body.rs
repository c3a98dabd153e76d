//! The body of a request, on its way to a handler: its bytes are counted against the budget of all requests until the
//! answer is made, and it is known whether it was read to its end.
//!
//! **Invariant:** an answer that leaves a part of the body unread says `Connection: close`: behind that part the next
//! request can't be found without reading it.

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

/// Bytes of an unread rest that are read and forgotten if they are here already, so that the connection can be kept.
const REST_BYTES_MAX: usize = 64 * 1024;

/// The budget of all requests has no room for more of this body.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the bodies of all requests together are too large")]
pub(super) struct Exhausted;

/// What is known of a body while the handler has it.
pub(super) struct Watch {
    held: Arc<Held>,
    /// The body, once the handler has let go of it.
    rest: Arc<Mutex<Option<Body>>>,
    /// Reading the rest would ask the client to send it.
    expects: bool,
}

struct Watched {
    body: Option<Body>,
    held: Arc<Held>,
    rest: Arc<Mutex<Option<Body>>>,
}

/// Puts a watched body in place of a request's; nothing if it has none.
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
    /// Says in the answer that the connection ends, unless the body has been read or its rest is here.
    pub(super) fn end<B>(self, version: Version, answer: &mut Response<B>) {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner).take();
        let read = match rest {
            Some(body) if body.is_end_stream() => true,
            Some(body) => !self.expects && is_read_out(body),
            // The handler has read it to its end, or still has it.
            None => true,
        };
        // HTTP/2 has no such header, and needs none.
        if !read && version < Version::HTTP_2 {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        drop(self.held);
    }
}

/// Reads what is here already; true if that was all.
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
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
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
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
    }
}
