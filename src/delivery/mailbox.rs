//! What an engine is told, and what it asks.
//!
//! Deliberately absent: any answer that is waited for. An engine never waits; what it asks comes back as a command.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use mio::Waker;

use super::subscriber::Start;
use crate::notification::{Change, Interest, Notification, Position, UserId};
use crate::sse::Frame;
use crate::store::{Opening, StoreError};

/// A stream that begins.
#[derive(Debug)]
pub struct Attachment {
    /// Whose it is.
    pub user: UserId,
    /// From where.
    pub start: Start,
    /// The head of the HTTP answer, written before the first event.
    pub head: Bytes,
    /// The connection, with the request read and nothing owed to it.
    pub socket: TcpStream,
}

/// What an engine is told.
pub(super) enum Command {
    /// Take over a connection.
    Attach(Box<Attachment>),
    /// The log goes on.
    Committed(Arc<Committed>),
    /// The store has answered an [`Inquiry::Open`].
    Opened(Inquirer, Result<Opening, StoreError>),
    /// The store has answered an [`Inquiry::Read`].
    Refilled(Inquirer, Result<(Vec<(Position, Frame)>, Position), StoreError>),
    /// Close every connection within that time.
    Drain(Duration),
    /// End.
    Stop,
}

/// A batch of the log.
pub(super) struct Committed {
    /// The log went to here before.
    pub(super) before: Position,
    /// It goes to here now.
    pub(super) head: Position,
    /// Its notifications, with their frames.
    pub(super) notified: Vec<(Position, Arc<Notification>, Frame)>,
    /// Its changes of membership.
    pub(super) changes: Vec<(Position, Change)>,
}

/// A connection that asks the store. Its number may be another connection's by the time of the answer; its generation
/// tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inquirer {
    pub(super) engine: usize,
    pub(super) connection: usize,
    pub(super) generation: u32,
}

/// What an engine asks of the store.
pub(super) enum Inquiry {
    /// What a stream must know to begin.
    Open { from: Inquirer, user: UserId, since: Option<Timestamp> },
    /// What the tail no longer has.
    Read { from: Inquirer, interest: Interest, after: Position, through: Position },
}

/// The other end of an engine.
pub(super) struct Handle {
    pub(super) commands: Sender<Command>,
    pub(super) waker: Waker,
}

impl Handle {
    /// Tells the engine something. An engine that has ended hears nothing.
    pub(super) fn tell(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            // The pipe behind a waker can only be full of wake-ups.
            let _ = self.waker.wake();
        }
    }
}
