//! How a stream begins: its first bytes, and its pace.
//!
//! **Invariant:** the id of `hello` is the cursor from which the stream goes on, not the head: whoever loses the
//! connection before the replay has come resumes without a gap.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use jiff::Timestamp;

use super::subscriber::{Pace, Reason, Start, resume};
use super::{Options, Shared, Tick, ticks};
use crate::auth::revocations::covers;
use crate::auth::tickets::Held;
use crate::notification::Position;
use crate::sse::{self, Framing, Hello, Reset, Resumed, Wire};
use crate::store::Opening;

/// What is needed only until a stream has begun.
pub(super) struct Beginning {
    /// From where it was asked for.
    pub(super) start: Start,
    /// When the right to it was given, if that can be revoked.
    pub(super) issued_at: Option<Timestamp>,
    /// The ticket that it was asked for with.
    pub(super) ticket: Option<Arc<Held>>,
    /// The head of the HTTP answer.
    pub(super) head: Bytes,
    /// How it is told.
    pub(super) wire: Wire,
    /// How its body is delimited.
    pub(super) framing: Framing,
}

impl Beginning {
    /// What the store has said, unless it could not, or says that the right to the stream had been revoked before it was
    /// registered. Of what is revoked later the engine is told.
    pub(super) fn admitted(&self, opening: Option<Opening>) -> Result<Opening, Reason> {
        let opening = opening.ok_or(Reason::Unavailable)?;
        let revoked = opening.revoked_at.zip(self.issued_at).is_some_and(|(revoked, issued)| covers(revoked, issued));
        if revoked { Err(Reason::Ended) } else { Ok(opening) }
    }

    /// Begins the stream, which uses up its ticket. Gives where it goes on, whether that is where its client said, and its
    /// first bytes: the answer's head, `hello`, and `reset` if the client's cursor can't be honoured.
    pub(super) fn greeting(
        self,
        shared: &Shared,
        registered: Position,
        opening: &Opening,
    ) -> (Position, Resumed, Bytes) {
        if let Some(ticket) = &self.ticket {
            ticket.use_up();
        }
        let resumption = resume(self.start, registered, opening);
        let ids = &shared.ids;
        let resumed = if resumption.reset.is_none() { Resumed::Full } else { Resumed::Reset };
        let hello = Hello {
            epoch: ids.epoch(),
            resumed,
            counts: opening.counts,
            server_time: sse::time(Timestamp::now()),
            heartbeat_ms: u64::try_from(shared.options.heartbeat.as_millis()).unwrap_or(u64::MAX),
        };
        let mut greeting = BytesMut::from(&*self.head);
        let hello = sse::hello(self.wire, ids.fresh(resumption.cursor), shared.options.retry_ms(), &hello);
        greeting.put(hello.framed(self.framing));
        if let Some(reason) = resumption.reset {
            let oldest = ids.fresh(opening.oldest).to_string();
            let reset = sse::reset(self.wire, ids.fresh(resumption.cursor), &Reset { reason, oldest });
            greeting.put(reset.framed(self.framing));
        }
        (resumption.cursor, resumed, greeting.freeze())
    }

    /// The whole answer when the stream can't begin now.
    pub(super) fn postponed(self, options: &Options) -> Bytes {
        let mut answer = BytesMut::from(&*self.head);
        answer.put(sse::retry(self.wire, options.retry_ms()).framed(self.framing));
        answer.extend(self.framing.last());
        answer.freeze()
    }
}

/// When a new connection beats and ends: each a little differently, so that none act together.
pub(super) fn pace(options: &Options, now: Tick, drained_by: Option<Tick>) -> Pace {
    let around = |duration: Duration, share: f64| {
        let factor = 1.0 - share + 2.0 * share * fastrand::f64();
        ticks(duration.mul_f64(factor)).max(1)
    };
    let end = now.saturating_add(around(options.age_max, 0.3));
    Pace {
        beat: around(options.heartbeat, 0.2),
        stall: around(options.stall_max, 0.2),
        end: drained_by.map_or(end, |drained| end.min(drained)),
    }
}
