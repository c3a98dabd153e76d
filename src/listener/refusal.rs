//! The problem that stands in answers which hyper makes by itself, when a head is no HTTP or too large: it sends them without
//! a body, and can't be told otherwise.
//!
//! **Invariant:** nothing but such an answer is changed. It is a write of its own, a head of status 4xx with an empty body; our
//! own answers with such a status have a problem in them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::StatusCode;
use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::error::Problem;

/// A connection below hyper.
pub(super) struct Refusing<C> {
    connection: C,
    /// What is sent instead of an answer of hyper's own.
    instead: Option<Bytes>,
}

impl<C> Refusing<C> {
    pub(super) fn new(connection: C) -> Refusing<C> {
        Refusing { connection, instead: None }
    }

    pub(super) fn into_inner(self) -> C {
        self.connection
    }
}

/// The answer with a problem, if it is one of hyper's own.
fn told(answer: &[u8]) -> Option<Bytes> {
    if !answer.starts_with(b"HTTP/1.1 4") || !answer.ends_with(b"\r\n\r\n") {
        return None;
    }
    let head = std::str::from_utf8(answer).ok()?;
    if !head.contains("\r\ncontent-length: 0\r\n") {
        return None;
    }
    let status = StatusCode::from_bytes(answer.get(9..12)?).ok()?;
    let body = Problem::unreadable_head(status).body("", "");
    let length = format!("\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n", body.len());
    Some(Bytes::from(head.replacen("\r\ncontent-length: 0\r\n", &length, 1) + &body))
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Refusing<C> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.instead.is_none() {
            this.instead = told(bytes);
        }
        let Some(instead) = &mut this.instead else { return Pin::new(&mut this.connection).poll_write(context, bytes) };
        while !instead.is_empty() {
            let written = ready!(Pin::new(&mut this.connection).poll_write(context, instead))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            instead.advance(written);
        }
        this.instead = None;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [bytes] = slices {
            return self.poll_write(context, bytes);
        }
        Pin::new(&mut self.connection).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Refusing<C> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, into)
    }
}
