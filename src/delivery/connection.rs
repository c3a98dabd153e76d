//! A connection as its engine has it: what its bytes go to, how far it has got, how it is told.
//!
//! Deliberately absent: what is done with it, which is the engine's.

use std::sync::Arc;

use jiff::Timestamp;

use super::beginning::Beginning;
use super::inquiries::Waits;
use super::sink::Sink;
use super::subscriber::Subscriber;
use super::{ConnectionId, Presence, TICK, Tick};
use crate::limits::{Address, Place};

/// A stream's client has nothing to say after its request; one that goes on talking is cut.
const BYTES_FROM_PEER_MAX: u32 = 64 * 1024;

/// A connection on an engine.
pub(super) struct Connection {
    pub(super) sink: Sink,
    pub(super) subscriber: Subscriber,
    pub(super) reader: u32,
    pub(super) generation: u32,
    pub(super) since: Tick,
    pub(super) bytes_from_peer: u32,
    /// Number of its wire format and languages among the engine's forms.
    pub(super) form: u32,
    /// It stands in the list of those that have something to write.
    pub(super) due: bool,
    /// There until it has begun.
    pub(super) opening: Option<Box<(Beginning, Waits)>>,
    /// Kept as long as it lasts.
    pub(super) _place: Option<Arc<Place<Address>>>,
}

impl Connection {
    /// Reads and forgets what the peer says; true if it has closed or talks too much.
    pub(super) fn peer_is_gone(&mut self) -> bool {
        let Some(bytes) = self.sink.read_out() else { return true };
        self.bytes_from_peer = self.bytes_from_peer.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.bytes_from_peer > BYTES_FROM_PEER_MAX
    }

    /// Tells the sink up to where it has everything, while there is nothing to write.
    pub(super) fn pause(&self) {
        if let Some(position) = self.subscriber.caught_up() {
            self.sink.caught_up(position);
        }
    }

    /// How it looks from outside, once it has begun.
    pub(super) fn presence(&self, id: ConnectionId, now: Tick) -> Option<Presence> {
        let progress = self.subscriber.progress()?;
        let age = TICK * now.saturating_sub(self.since);
        Some(Presence {
            id: format!("{}-{}-{}", id.engine, id.number, id.generation),
            connected_at: Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN),
            transport: self.sink.transport(),
            began: progress.began,
            cursor: progress.cursor,
        })
    }
}
