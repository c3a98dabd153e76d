//! What a stream is told while there is nothing to tell: beats, and that its token ends.
//!
//! **Invariant:** each has the head as its id, so it goes only to a stream that has everything up to there.

use jiff::{Timestamp, Unit};

use super::{Shared, TICK, Tick};
use crate::notification::Position;
use crate::sse::{self, Beats, Chunk, Wire};

/// What is told at one moment.
pub(super) struct Quiet<'a> {
    shared: &'a Shared,
    head: Position,
    now: Tick,
    /// As events, and as lines.
    beats: [Beats; 2],
}

impl Quiet<'_> {
    pub(super) fn at(shared: &Shared, head: Position, now: Tick) -> Quiet<'_> {
        let beats =
            [Wire::Events, Wire::Lines].map(|wire| sse::heartbeat(wire, shared.ids.fresh(head), Timestamp::now()));
        Quiet { shared, head, now, beats }
    }

    pub(super) fn beats(&self, wire: Wire) -> &Beats {
        &self.beats[usize::from(wire == Wire::Lines)]
    }

    /// That the token ends which a stream is to end with.
    pub(super) fn notice(&self, wire: Wire, end: Tick) -> Chunk {
        let left = TICK * end.saturating_sub(self.now);
        let expires_at = Timestamp::now().checked_add(left).unwrap_or(Timestamp::MAX);
        // Tokens end with a second; ticks are a little early.
        let expires_at = expires_at.round(Unit::Second).unwrap_or(expires_at);
        sse::token_expiring(wire, self.shared.ids.fresh(self.head), expires_at)
    }
}
