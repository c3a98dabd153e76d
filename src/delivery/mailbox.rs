//! What an engine is told.
//!
//! Deliberately absent: any answer that is waited for. An engine never waits; what it asks comes back as a command.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use mio::Waker;
use rustls::ServerConnection;
use tokio::sync::oneshot;

use super::body::{BodySink, Notice};
use super::tail::{Placed, Revision};
use super::{ConnectionId, NewStream, Presence, Tick, ticks_until};
use crate::notification::{Audience, Change, Interest, Position, UserId};
use crate::sse::Frame;
use crate::store::{Opening, StoreError};

/// Commands that wait for an engine which nobody has woken for them.
const UNHURRIED_MAX: u32 = 64;

/// A stream that begins.
pub(super) struct Attachment {
    pub(super) stream: NewStream,
    /// Written before the first event: the head of the HTTP answer, if HTTP does not write it itself.
    pub(super) head: Bytes,
    pub(super) transport: Transport,
}

/// What a stream is written to.
pub(super) enum Transport {
    /// A socket to which nothing is owed.
    Plain(TcpStream),
    /// A socket with TLS, after the handshake.
    Tls(TcpStream, Box<ServerConnection>),
    /// The body of an answer that HTTP sends.
    Body(BodySink),
}

/// What an engine is told.
pub(super) enum Command {
    /// Take over a connection.
    Attach(Box<Attachment>),
    /// The log goes on.
    Committed(Arc<Committed>),
    /// The store has said what streams must know to begin; nothing if it could not.
    Opened(Vec<(ConnectionId, Option<Opening>)>),
    /// The log no longer has what stands up to there.
    Trimmed(Position),
    /// The store has read what the tail no longer has.
    Refilled(Box<Read>, Result<(Vec<Told>, Position), StoreError>),
    /// Something has happened to a body.
    Body(ConnectionId, Notice),
    /// Say which streams a user has.
    Look(UserId, oneshot::Sender<Vec<Presence>>),
    /// Close every connection within that time.
    Drain(Duration),
    /// End.
    Stop,
}

/// A question for what the tail no longer has.
pub(super) struct Read {
    pub(super) from: ConnectionId,
    pub(super) interest: Interest,
    pub(super) after: Position,
    pub(super) through: Position,
    /// How far the tail had come when it was asked: the answer knows all that became of what was sent up to there.
    pub(super) asked_at: Position,
}

impl Read {
    /// The same question, asked later.
    pub(super) fn again(&self, interest: Interest, asked_at: Position) -> Read {
        let Read { from, after, through, .. } = *self;
        Read { from, interest, after, through, asked_at }
    }
}

/// A batch of the log.
pub(super) struct Committed {
    /// The log went to here before.
    pub(super) before: Position,
    /// It goes to here now.
    pub(super) head: Position,
    /// When it was told of.
    pub(super) at: Instant,
    /// What it says, and to whom.
    pub(super) told: Vec<(Vec<Audience>, Told)>,
    /// Its changes of what somebody may see or wants.
    pub(super) interests: Vec<(Position, Change)>,
    /// The users whose streams end with it.
    pub(super) revoked: Vec<UserId>,
}

/// What an entry of the log says on the wire.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) position: Position,
    pub(super) origin: Position,
    pub(super) expires_at: Option<Timestamp>,
    /// What it is about.
    pub(super) category: Option<Arc<str>>,
    pub(super) frame: Frame,
    /// What becomes of what was sent before.
    pub(super) revision: Revision,
}

impl Told {
    /// As a tail has it: with its times in ticks.
    pub(super) fn placed(&self, now: Tick) -> Placed {
        let Told { position, origin, expires_at, category, frame, .. } = self;
        let expires = expires_at.map_or(Tick::MAX, |at| now.saturating_add(ticks_until(at)));
        Placed { position: *position, origin: *origin, expires, category: category.clone(), frame: frame.clone() }
    }
}

/// The other end of an engine.
pub(super) struct Handle {
    commands: Sender<Command>,
    waker: Waker,
    unhurried: AtomicU32,
}

impl Handle {
    pub(super) fn new(commands: Sender<Command>, waker: Waker) -> Handle {
        Handle { commands, waker, unhurried: AtomicU32::new(0) }
    }

    /// Tells the engine something. An engine that has ended hears nothing.
    pub(super) fn tell(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.unhurried.store(0, Ordering::Relaxed);
            // The pipe behind a waker can only be full of wake-ups.
            let _ = self.waker.wake();
        }
    }

    /// Tells the engine something for which it need not be woken: it hears it before anything that comes later, and
    /// with its next tick at the latest while it has connections. Waking a thread costs 3 to 7 µs.
    pub(super) fn tell_unhurried(&self, command: Command) {
        if self.unhurried.fetch_add(1, Ordering::Relaxed) >= UNHURRIED_MAX {
            return self.tell(command);
        }
        // An engine that has ended hears nothing.
        let _ = self.commands.send(command);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use mio::{Events, Poll, Token};

    use super::*;

    #[test]
    fn an_engine_is_woken_after_so_many_commands_at_the_latest() {
        let mut poll = Poll::new().expect("a poll");
        let (commands, told) = channel();
        let handle = Handle::new(commands, Waker::new(poll.registry(), Token(0)).expect("a waker"));
        let mut woken = || {
            let mut events = Events::with_capacity(1);
            poll.poll(&mut events, Some(Duration::ZERO)).expect("polled");
            !events.is_empty()
        };
        for _ in 0..UNHURRIED_MAX {
            handle.tell_unhurried(Command::Stop);
        }
        assert!(!woken(), "a few can wait");
        handle.tell_unhurried(Command::Stop);
        assert!(woken(), "more can't");
        assert!(!woken(), "then it begins anew");
        handle.tell(Command::Stop);
        assert!(woken(), "what is urgent can't wait at all");
        assert_eq!(told.try_iter().count(), UNHURRIED_MAX as usize + 2, "and all is heard");
    }
}
