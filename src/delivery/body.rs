//! A stream inside a connection that stays with HTTP, as in HTTP/2: a short queue between the engine and the answer's
//! body.
//!
//! The reader is also told up to which position the stream has everything, so that it can tell "nothing yet" from "nothing".
//!
//! **Invariant:** the queue holds at most [`QUEUE_BYTES_MAX`] and one slice more; whoever did not get room is told once
//! there is some.
//!
//! Deliberately absent: HTTP. The body's end is a stream of bytes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::AbortHandle;

use super::ConnectionId;
use crate::notification::Position;

/// Bytes in the queue from which on nothing more is taken.
const QUEUE_BYTES_MAX: usize = 32 * 1024;

/// The engine's end. Dropping it ends the stream.
pub(super) struct BodySink(Arc<Pipe>);

/// The body's end: ends with the stream. Dropping it says that the client is gone.
pub struct BodyStream(Arc<Pipe>);

/// What its engine must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// There is room again.
    Room,
    /// The client is gone.
    Gone,
}

struct Pipe {
    notify: Box<dyn Fn(ConnectionId, Notice) + Send + Sync>,
    /// Ends the answer, whatever it waits for: nobody asks the body of a stuck one.
    abort: AbortHandle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The connection on its engine, once it is known there.
    connection: Option<ConnectionId>,
    slices: VecDeque<Bytes>,
    bytes: usize,
    /// The engine was refused room.
    refused: bool,
    /// Nothing more will be written.
    finished: bool,
    /// Nothing more will be read.
    gone: bool,
    /// All up to there has been put into the queue, if anything has.
    caught_up: Option<Position>,
    reader: Option<Waker>,
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, connection: Option<ConnectionId>, notice: Notice) {
        if let Some(connection) = connection {
            (self.notify)(connection, notice);
        }
    }
}

/// Both ends. `abort` ends the task that sends the answer.
pub(super) fn pipe(
    abort: AbortHandle,
    notify: impl Fn(ConnectionId, Notice) + Send + Sync + 'static,
) -> (BodySink, BodyStream) {
    let pipe = Arc::new(Pipe { notify: Box::new(notify), abort, state: Mutex::default() });
    (BodySink(Arc::clone(&pipe)), BodyStream(pipe))
}

impl BodySink {
    /// Says whose it is; false if the client is gone already.
    pub(super) fn belongs_to(&self, connection: ConnectionId) -> bool {
        let mut state = self.0.state();
        state.connection = Some(connection);
        !state.gone
    }

    /// Takes whole slices while there is room; gives the number of their bytes.
    pub(super) fn write(&self, slices: &[Bytes]) -> usize {
        let mut state = self.0.state();
        let before = state.bytes;
        for slice in slices {
            if state.bytes >= QUEUE_BYTES_MAX {
                state.refused = true;
                break;
            }
            state.bytes += slice.len();
            state.slices.push_back(slice.clone());
        }
        let taken = state.bytes - before;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        taken
    }

    /// All that concerns the stream up to that position has been written.
    pub(super) fn caught_up(&self, position: Position) {
        let mut state = self.0.state();
        let first = state.caught_up.replace(position).is_none();
        let reader = if first { state.reader.take() } else { None };
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Ends the answer at once.
    pub(super) fn abort(&self) {
        self.0.state().finished = true;
        self.0.abort.abort();
    }
}

/// Nothing more will come, whoever let go of it. What is in the queue is still sent.
impl Drop for BodySink {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.finished = true;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }
}

impl BodyStream {
    /// Waits until there is something to take, or nothing for now because the stream has caught up with the log, or has
    /// ended.
    pub async fn settled(&self) {
        poll_fn(|context| {
            let mut state = self.0.state();
            if state.finished || state.caught_up.is_some() || !state.slices.is_empty() {
                return Poll::Ready(());
            }
            state.reader = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Up to where the stream has said everything, once it has and that has been taken.
    #[must_use]
    pub fn caught_up(&self) -> Option<Position> {
        let state = self.0.state();
        state.caught_up.filter(|_| state.slices.is_empty())
    }
}

impl Stream for BodyStream {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.0.state();
        let Some(slice) = state.slices.pop_front() else {
            if state.finished {
                return Poll::Ready(None);
            }
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        state.bytes -= slice.len();
        // Not at the first free byte: each time wakes the engine.
        let room = state.refused && state.bytes <= QUEUE_BYTES_MAX / 2;
        if room {
            state.refused = false;
        }
        let connection = state.connection.filter(|_| room);
        drop(state);
        self.0.tell(connection, Notice::Room);
        Poll::Ready(Some(slice))
    }
}

impl Drop for BodyStream {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.gone = true;
        let connection = state.connection.filter(|_| !state.finished);
        drop(state);
        self.0.tell(connection, Notice::Gone);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    const ID: ConnectionId = ConnectionId { engine: 1, number: 2, generation: 3 };
    const SLICE: Bytes = Bytes::from_static(&[0; QUEUE_BYTES_MAX / 2]);

    fn noted() -> (BodySink, BodyStream, Receiver<Notice>, AbortHandle) {
        let (note, notices) = channel();
        let (abort, _) = AbortHandle::new_pair();
        let (sink, body) = pipe(abort.clone(), move |id, notice| {
            assert_eq!(id, ID);
            // At the end of a test nobody hears it any more.
            let _ = note.send(notice);
        });
        (sink, body, notices, abort)
    }

    #[test]
    fn whoever_was_refused_room_is_told_once_when_there_is_some() {
        let (sink, mut body, notices, _) = noted();
        assert!(sink.belongs_to(ID));
        assert_eq!(sink.write(&[SLICE, SLICE, SLICE]), 2 * SLICE.len(), "whole slices while there is room");
        assert_eq!(sink.write(&[SLICE]), 0);
        assert_eq!(notices.try_iter().count(), 0);
        for _ in 0..2 {
            assert_eq!(body.next().now_or_never(), Some(Some(SLICE)));
        }
        assert_eq!(notices.try_iter().collect::<Vec<_>>(), [Notice::Room]);
        assert_eq!(body.next().now_or_never(), None, "it waits for more");
        assert_eq!(sink.write(&[SLICE]), SLICE.len());
        assert_eq!(body.next().now_or_never(), Some(Some(SLICE)));
        assert_eq!(notices.try_iter().count(), 0, "nobody was refused");
    }

    #[test]
    fn what_was_taken_is_sent_before_the_end() {
        let (sink, mut body, notices, abort) = noted();
        assert!(sink.belongs_to(ID));
        sink.write(&[SLICE]);
        drop(sink);
        assert_eq!(body.next().now_or_never(), Some(Some(SLICE)));
        assert_eq!(body.next().now_or_never(), Some(None));
        drop(body);
        assert_eq!(notices.try_iter().count(), 0, "the end is no news to whoever made it");
        assert!(!abort.is_aborted());
    }

    #[test]
    fn whoever_waits_is_told_once_the_stream_has_caught_up() {
        let (sink, mut body, _notices, _) = noted();
        assert_eq!((body.settled().now_or_never(), body.caught_up()), (None, None));
        sink.write(&[SLICE]);
        assert_eq!((body.settled().now_or_never(), body.caught_up()), (Some(()), None), "there is something to take");
        sink.caught_up(Position(7));
        assert_eq!(body.caught_up(), None, "what was written before must be taken first");
        assert_eq!(body.next().now_or_never(), Some(Some(SLICE)));
        assert_eq!((body.settled().now_or_never(), body.caught_up()), (Some(()), Some(Position(7))));
        drop(sink);
        assert_eq!(body.settled().now_or_never(), Some(()));
    }

    #[test]
    fn a_client_that_goes_is_noticed_before_and_after_its_engine_knows_it() {
        let (sink, body, notices, _) = noted();
        assert!(sink.belongs_to(ID));
        drop(body);
        assert_eq!(notices.try_iter().collect::<Vec<_>>(), [Notice::Gone]);
        let (sink, body, notices, _) = noted();
        drop(body);
        assert!(!sink.belongs_to(ID));
        assert_eq!(notices.try_iter().count(), 0);
    }
}
