//! What a connection's bytes go to: a socket, a socket with TLS, or a body that HTTP sends.
//!
//! **Invariant:** all three answer a write with the number of bytes that they have taken, and say later when there is room
//! again; so a subscriber knows nothing of them.

use std::io;

use bytes::Bytes;
use mio::{Registry, Token};

use super::ConnectionId;
use super::body::BodySink;
use super::mailbox::Transport;
use super::socket::{Socket, TlsSocket};
use super::subscriber::Reason;
use crate::notification::Position;

/// What a connection's bytes go to.
pub(super) enum Sink {
    Plain(Socket),
    Tls(Box<TlsSocket>),
    Body(BodySink),
}

impl Sink {
    /// Nothing if the connection can't be watched, or is gone already.
    pub(super) fn new(transport: Transport, id: ConnectionId, registry: &Registry) -> Option<Sink> {
        let mut sink = match transport {
            Transport::Plain(socket) => Sink::Plain(Socket::new(socket)),
            Transport::Tls(socket, tls) => Sink::Tls(Box::new(TlsSocket::new(socket, *tls))),
            Transport::Body(body) => return body.belongs_to(id).then_some(Sink::Body(body)),
        };
        let registered = sink.socket()?.register(registry, Token(id.number));
        registered
            .inspect_err(|error| tracing::warn!(%error, "a stream could not be registered and is closed"))
            .ok()
            .map(|()| sink)
    }

    /// What it is, for people.
    pub(super) fn transport(&self) -> &'static str {
        match self {
            Sink::Plain(_) => "http1",
            Sink::Tls(_) => "tls",
            Sink::Body(_) => "body",
        }
    }

    fn socket(&mut self) -> Option<&mut Socket> {
        match self {
            Sink::Plain(socket) => Some(socket),
            Sink::Tls(tls) => Some(tls.socket()),
            Sink::Body(_) => None,
        }
    }

    /// Writes as much as there is room for; gives the number of bytes.
    pub(super) fn write(&mut self, slices: &[Bytes]) -> io::Result<usize> {
        match self {
            Sink::Plain(socket) => socket.write(slices),
            Sink::Tls(tls) => tls.write(slices),
            Sink::Body(body) => Ok(body.write(slices)),
        }
    }

    /// Sends on what was taken before; false if there is no room for more.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Sink::Tls(tls) => tls.flush(),
            Sink::Plain(_) | Sink::Body(_) => Ok(true),
        }
    }

    /// All up to that position has been written. A client of a socket sees that by itself, in time.
    pub(super) fn caught_up(&self, position: Position) {
        if let Sink::Body(body) = self {
            body.caught_up(position);
        }
    }

    /// Reads and forgets what the peer says; gives the number of bytes, or nothing if it has closed.
    pub(super) fn read_out(&mut self) -> Option<usize> {
        match self {
            Sink::Plain(socket) => socket.read_out(),
            Sink::Tls(tls) => tls.read_out(),
            Sink::Body(_) => Some(0),
        }
    }

    /// Ends it, in good order or not.
    pub(super) fn close(mut self, reason: Reason, registry: &Registry) {
        if let Some(socket) = self.socket() {
            socket.deregister(registry);
            if reason == Reason::Stalled {
                return socket.break_off();
            }
        }
        match &mut self {
            Sink::Body(body) if matches!(reason, Reason::Peer | Reason::Stalled) => body.abort(),
            Sink::Plain(socket) if reason != Reason::Peer => socket.finish(),
            Sink::Tls(tls) if reason != Reason::Peer => tls.finish(),
            // A peer that is gone hears nothing, and the end of a body is that it is dropped.
            _ => {}
        }
    }
}
