//! What an engine counts. The metrics are shared by all engines; an engine counts in numbers of its own, and adds them once
//! in each turn, so that no event on its way to a socket touches what another core writes to.

use std::time::Instant;

use super::subscriber::Reason;
use crate::metrics::{Beginning, End, Streams};
use crate::sse::Resumed;

/// What one engine has counted and not yet added.
pub(super) struct Counts {
    metrics: Streams,
    events: u64,
    bytes: u64,
    /// When the oldest entry was committed that an open stream has not yet been offered.
    unwritten_since: Option<Instant>,
    /// Streams that are behind, in each part of a sweep.
    behind: Vec<i64>,
}

impl Counts {
    pub(super) fn new(metrics: Streams, sweep_parts: usize) -> Counts {
        Counts { metrics, events: 0, bytes: 0, unwritten_since: None, behind: vec![0; sweep_parts] }
    }

    /// A stream has begun.
    pub(super) fn opened(&self, resumed: Resumed) {
        self.metrics.opened.get_or_create(&Beginning { resumed: resumed.name() }).inc();
    }

    /// A stream has ended.
    pub(super) fn closed(&self, reason: Reason) {
        self.metrics.closed.get_or_create(&End { reason: reason.name() }).inc();
    }

    /// A sink has taken so many bytes, and so many whole events with them.
    pub(super) fn written(&mut self, bytes: usize, events: usize) {
        self.bytes += bytes as u64;
        self.events += events as u64;
    }

    /// An open stream takes an entry that was committed at that time.
    pub(super) fn awaited(&mut self, at: Instant) {
        self.unwritten_since.get_or_insert(at);
    }

    /// So many streams of a part of the sweep are behind.
    pub(super) fn behind(&mut self, part: usize, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let before = std::mem::replace(&mut self.behind[part], count);
        self.metrics.behind.inc_by(count - before);
    }

    /// A turn is over; `all_written` says whether all that was due has been offered to its sinks.
    pub(super) fn turned(&mut self, all_written: bool) {
        if self.bytes > 0 {
            self.metrics.events.inc_by(std::mem::take(&mut self.events));
            self.metrics.bytes.inc_by(std::mem::take(&mut self.bytes));
        }
        if all_written && let Some(since) = self.unwritten_since.take() {
            self.metrics.delivery_seconds.observe(since.elapsed().as_secs_f64());
        }
    }
}
