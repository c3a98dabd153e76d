//! One connection's progress through the log, without sockets and clocks: inputs in, one output out.
//!
//! A subscriber holds a cursor, not a queue. Everything for it up to the cursor has been accepted by its sink, except
//! the rest of at most one piece that the sink took in part: that is `owed`. All else is looked up when the sink can
//! take it: in the [`Tail`], or, when the cursor is older than that, by a read of the store.
//!
//! **Invariants** (each has a test below, and a mutant that the test has been seen to kill: `docs/ARCHITECTURE.md`)
//! * The sink gets every entry of the interest after the starting cursor exactly once, in log order.
//! * Nothing beyond the tail's head is sent, whatever the store can already see.
//! * A wake-up is never lost: it is the tail's head, which is compared with the cursor whenever anything ends.
//! * A sink that takes nothing for the stall time is closed; it costs no more than one owed piece until then.
//! * When the right to read is over it is closed, also a sink that takes a little now and then.
//! * An end in good order comes after whole frames and says so, if the framing can; any other end does not.
//!
//! Deliberately absent: sockets, threads, time (a [`Tick`] is passed in), randomness.

use bytes::Bytes;

use super::Tick;
use super::tail::{Batch, Budget, Gathered, Placed, Tail, Telling};
use crate::auth::Trust;
use crate::notification::{Interest, Position};
use crate::sse::{Beats, Chunk, Form, ResetReason};
use crate::store::Opening;

/// What goes into one system call: 512 slices are half of what Linux takes (`IOV_MAX` 1024); 128 KiB is more than the
/// send buffer of a stream's socket.
const BUDGET: Budget = Budget { frames: 256, bytes: 128 * 1024 };

/// How long before its token ends a stream is told so: time enough to fetch another one.
const NOTICE: Tick = 300;

/// From where a client asks to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// From now on.
    Now,
    /// After a position that the client holds.
    After(Position),
    /// From the oldest entry that is there.
    Earliest,
    /// From a time on.
    Since(jiff::Timestamp),
    /// After an id that this log did not make.
    Unknown,
}

/// How a stream begins, once the store has said what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resumption {
    pub(super) cursor: Position,
    pub(super) reset: Option<ResetReason>,
}

/// Decides where a stream begins. `registered` is the head at which the connection was registered.
pub(super) fn resume(start: Start, registered: Position, opening: &Opening) -> Resumption {
    let from = |cursor| Resumption { cursor, reset: None };
    let reset = |reason| Resumption { cursor: registered, reset: Some(reason) };
    match start {
        Start::Now => from(registered),
        Start::After(cursor) if cursor > opening.head => reset(ResetReason::Ahead),
        Start::After(cursor) if cursor < opening.oldest && opening.oldest <= opening.damaged => {
            reset(ResetReason::Damaged)
        }
        Start::After(cursor) if cursor < opening.oldest => reset(ResetReason::Expired),
        Start::After(cursor) => from(cursor),
        Start::Earliest => from(opening.oldest),
        Start::Since(_) => from(opening.since.unwrap_or(opening.oldest)),
        Start::Unknown => reset(ResetReason::Unknown),
    }
}

/// When a connection must do something by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Quiet time after which a beat is sent; at least 1.
    pub(super) beat: Tick,
    /// Time without progress after which it is closed.
    pub(super) stall: Tick,
    /// When it is closed however well it does.
    pub(super) end: Tick,
}

/// What happened.
pub(super) enum Input<'a> {
    /// The store has said what a stream must know; `greeting` are its first bytes.
    Opened { cursor: Position, greeting: Bytes },
    /// The head of the tail has moved.
    Woken,
    /// The sink can take bytes again.
    Writable,
    /// The sink has taken that many bytes of the batch that was to be written.
    Accepted { bytes: usize },
    /// The store's answer to [`Output::Read`].
    Refilled { frames: &'a [Placed], through: Position },
    /// Time passes; these are beats for those who have everything, and what is told if [`Subscriber::notice_due`] said so.
    Tick { beats: &'a Beats, notice: Option<Chunk> },
    /// End no later than that.
    EndBy(Tick),
    /// End at once: what gave the right to it is over, or so is the engine.
    EndNow,
    /// The peer is gone.
    PeerClosed,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Nothing.
    Nothing,
    /// Give the batch to the sink and report by [`Input::Accepted`].
    Write,
    /// Read the store after this position, and not beyond the other.
    Read { after: Position, through: Position },
    /// Close the sink.
    Close(Reason),
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The peer has gone.
    Peer,
    /// The peer took nothing for too long.
    Stalled,
    /// It has reached its age, or the server is draining.
    Ended,
    /// The store could not be read; the client shall come back.
    Unavailable,
}

impl Reason {
    /// In a word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Stalled => "stalled",
            Self::Ended => "ended",
            Self::Unavailable => "unavailable",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for [`Input::Opened`].
    Opening,
    /// Follows the tail.
    Following,
    /// Waits for [`Input::Refilled`].
    Reading,
    /// Has sent all that it will, and ends when the sink has taken it.
    Ending,
}

/// A connection's progress.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and there are many connections")]
#[derive(Debug)]
pub(super) struct Subscriber {
    /// Where it began.
    began: Position,
    cursor: Position,
    /// Entries up to here are older than the connection.
    replay_through: Position,
    /// The rest of a piece; boxed, since nearly always there is none.
    owed: Option<Box<Bytes>>,
    phase: Phase,
    /// The sink has refused bytes and not yet said that it can take more.
    blocked: bool,
    /// The next beat is one that scripts can hear.
    beat_named: bool,
    /// It ends with its token, and has not been told so yet.
    owes_notice: bool,
    /// Its end is its token's.
    ends_with_token: bool,
    /// It ends with that.
    trust: Option<Trust>,
    beat_at: Tick,
    progress_at: Tick,
    pace: Pace,
}

/// How far a subscriber has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) began: Position,
    pub(super) cursor: Position,
}

/// What a subscriber looks at while it decides.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) tail: &'a Tail,
    pub(super) interest: &'a Interest,
    pub(super) form: &'a Form,
    pub(super) now: Tick,
}

impl Subscriber {
    /// A connection that has been registered at that head and waits for the store.
    pub(super) fn registered(head: Position, pace: Pace, now: Tick) -> Subscriber {
        Subscriber {
            began: head,
            cursor: head,
            replay_through: head,
            owed: None,
            phase: Phase::Opening,
            blocked: false,
            beat_named: false,
            owes_notice: false,
            ends_with_token: false,
            trust: None,
            beat_at: now.saturating_add(pace.beat),
            progress_at: now,
            pace,
        }
    }

    /// Ends it with its token, which is valid until then.
    pub(super) fn end_with_token(&mut self, end: Tick) {
        if end < self.pace.end {
            self.pace.end = end;
            self.owes_notice = true;
            self.ends_with_token = true;
        }
    }

    /// Ends it when the key that its token was signed with is no longer trusted.
    pub(super) fn end_with_trust(&mut self, trust: Option<Trust>) {
        self.trust = trust;
    }

    /// Whether nothing gives a right to it any more.
    fn is_over(&self, now: Tick) -> bool {
        let expired = self.ends_with_token && now >= self.pace.end;
        expired || self.trust.as_ref().is_some_and(|trust| !trust.holds())
    }

    /// When it ends, if it is time to tell that its token does.
    pub(super) fn notice_due(&self, now: Tick) -> Option<Tick> {
        (self.owes_notice && now.saturating_add(NOTICE) >= self.pace.end).then_some(self.pace.end)
    }

    /// The head at which it was registered.
    pub(super) fn registered_at(&self) -> Position {
        self.replay_through
    }

    /// How far it has got, once it has begun.
    pub(super) fn progress(&self) -> Option<Progress> {
        let Subscriber { began, cursor, .. } = *self;
        (self.phase != Phase::Opening).then_some(Progress { began, cursor })
    }

    /// Up to where its sink has everything, if it is not in the midst of something.
    pub(super) fn caught_up(&self) -> Option<Position> {
        let waits = self.phase == Phase::Following && !self.blocked && self.owed.is_none();
        waits.then_some(self.cursor)
    }

    /// Takes an input and says what to do. With [`Output::Write`] the batch holds what to write; it is to be given
    /// back unchanged with [`Input::Accepted`].
    pub(super) fn on(&mut self, input: Input<'_>, view: View<'_>, batch: &mut Batch) -> Output {
        match input {
            Input::Opened { cursor, greeting } => {
                self.began = cursor;
                self.cursor = cursor;
                self.owed = Some(Box::new(greeting));
                self.phase = Phase::Following;
            }
            Input::Woken => {}
            Input::Writable => self.blocked = false,
            Input::Accepted { bytes } => self.accepted(bytes, view, batch),
            // It ends, whatever it was that it waited for.
            Input::Refilled { .. } if self.phase == Phase::Ending => {}
            Input::Refilled { frames, through } => {
                self.phase = Phase::Following;
                batch.clear();
                let telling = self.telling(view);
                for placed in frames {
                    batch.push_frame(placed, telling);
                }
                batch.through = through;
                if !batch.slices.is_empty() {
                    return Output::Write;
                }
                self.cursor = through;
            }
            Input::Tick { beats, notice } => return self.tick(beats, notice, view, batch),
            Input::EndBy(end) => {
                if end < self.pace.end {
                    self.pace.end = end;
                    self.owes_notice = false;
                    self.ends_with_token = false;
                }
                return Output::Nothing;
            }
            // The client waits for an answer: it ends as soon as that has begun.
            Input::EndNow if self.phase == Phase::Opening => {
                self.pace.end = view.now;
                return Output::Nothing;
            }
            // At once, also within a frame. What a full sink holds is not for her any more.
            Input::EndNow if self.blocked => return Output::Close(Reason::Stalled),
            Input::EndNow => self.end(view.form),
            Input::PeerClosed => return Output::Close(Reason::Peer),
        }
        self.advance(view, batch)
    }

    /// Moves the cursor over what the sink has taken whole, and keeps the rest of what it has taken in part.
    fn accepted(&mut self, bytes: usize, view: View<'_>, batch: &Batch) {
        if bytes > 0 {
            self.progress_at = view.now;
            self.beat_at = view.now.saturating_add(self.pace.beat);
        }
        self.owed = None;
        if bytes == batch.len() {
            self.cursor = batch.through;
            return;
        }
        self.blocked = true;
        let whole = batch.whole(bytes);
        let (start, cursor) = if whole == 0 { (0, self.cursor) } else { batch.ends[whole - 1] };
        self.cursor = cursor;
        let (end, cursor) = batch.ends[whole];
        // A piece that stands at no position of its own is owed even before its first byte has been taken.
        if bytes > start || cursor == self.cursor {
            self.owed = Some(Box::new(batch.part(bytes, end)));
            self.cursor = cursor;
        }
    }

    /// Begins to end in good order. Whatever was taken before was taken whole, since nothing is owed.
    fn end(&mut self, form: &Form) {
        debug_assert!(self.owed.is_none());
        self.phase = Phase::Ending;
        self.owed = form.framing.last().map(Box::new);
    }

    /// Looks for what is next to be sent.
    fn advance(&mut self, view: View<'_>, batch: &mut Batch) -> Output {
        if self.blocked || matches!(self.phase, Phase::Opening | Phase::Reading) {
            return Output::Nothing;
        }
        batch.clear();
        batch.through = self.cursor;
        if let Some(owed) = &self.owed {
            batch.push_bytes(Bytes::clone(owed), self.cursor);
        }
        if self.phase == Phase::Ending {
            return if batch.slices.is_empty() { Output::Close(Reason::Ended) } else { Output::Write };
        }
        match view.tail.gather(view.interest, self.cursor, self.telling(view), BUDGET, batch) {
            Gathered::Behind if batch.slices.is_empty() => {
                self.phase = Phase::Reading;
                Output::Read { after: self.cursor, through: view.tail.head() }
            }
            _ if batch.slices.is_empty() => {
                self.cursor = batch.through;
                Output::Nothing
            }
            _ => Output::Write,
        }
    }

    fn telling<'a>(&self, view: View<'a>) -> Telling<'a> {
        Telling { form: view.form, replay_through: self.replay_through, now: view.now }
    }

    fn tick(&mut self, beats: &Beats, notice: Option<Chunk>, view: View<'_>, batch: &mut Batch) -> Output {
        if matches!(self.phase, Phase::Opening | Phase::Reading) {
            return Output::Nothing;
        }
        if self.blocked {
            // Whoever reads slowly enough would else read on without a right to it.
            let stalled = view.now >= self.progress_at.saturating_add(self.pace.stall) || self.is_over(view.now);
            return if stalled { Output::Close(Reason::Stalled) } else { Output::Nothing };
        }
        if view.now >= self.pace.end || self.is_over(view.now) {
            self.end(view.form);
            return self.advance(view, batch);
        }
        // What was for others has moved the head and woken nobody here. The cursor follows it, so that it neither
        // drops out of the tail nor keeps the beat, whose id is the head, from being true.
        if self.cursor < view.tail.head() {
            let output = self.advance(view, batch);
            if output != Output::Nothing {
                return output;
            }
        }
        if let Some(notice) = notice.filter(|_| std::mem::take(&mut self.owes_notice)) {
            batch.clear();
            batch.push_bytes(notice.framed(view.form.framing), self.cursor);
            return Output::Write;
        }
        if view.now < self.beat_at {
            return Output::Nothing;
        }
        batch.clear();
        let beat = if self.beat_named { &beats.named } else { &beats.quiet };
        self.beat_named = !self.beat_named;
        batch.push_bytes(beat.framed(view.form.framing), self.cursor);
        Output::Write
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tail::tests::{chunked, entry, form, interest, placed};
    use super::*;
    use crate::notification::Audience;
    use crate::sse::chunk::tests::{chunk, unchunked};

    const NOTICED: &[u8] = b"event: token_expiring\n\n";
    const PACE: Pace = Pace { beat: 150, stall: 300, end: 36_000 };

    /// A log, the tail in front of it, one subscriber for user 1, and what its sink has got.
    struct Bench {
        log: Vec<(u64, bool)>,
        tail: Tail,
        interest: Interest,
        subscriber: Subscriber,
        form: &'static Form,
        batch: Batch,
        now: Tick,
        /// Bytes that the sink takes before it refuses.
        room: usize,
        got: Vec<u8>,
        reading: Option<(Position, Position)>,
        closed: Option<Reason>,
    }

    impl Bench {
        /// Entries 1 to `stored` are only in the store; the tail begins after them and holds `kept` frames.
        fn new(stored: u64, kept: usize) -> Bench {
            let mut log = Vec::new();
            for position in 1..=stored {
                log.push((position, true));
            }
            let tail = Tail::new(Position(stored), kept * entry(1000, &["user:1"]).cost());
            let subscriber = Subscriber::registered(tail.head(), PACE, 0);
            Bench {
                log,
                tail,
                interest: interest("1"),
                subscriber,
                form: form(),
                batch: Batch::default(),
                now: 0,
                room: usize::MAX,
                got: Vec::new(),
                reading: None,
                closed: None,
            }
        }

        /// The same over HTTP/1.1.
        fn chunked(stored: u64, kept: usize) -> Bench {
            Bench { form: chunked(), ..Bench::new(stored, kept) }
        }

        fn commit(&mut self, ours: bool) {
            let position = self.log.last().map_or(0, |(last, _)| *last) + 1;
            self.log.push((position, ours));
        }

        /// The tail takes in what has been committed since.
        fn dispatch(&mut self) {
            for (position, ours) in &self.log {
                if Position(*position) > self.tail.head() {
                    self.tail.push(entry(*position, if *ours { &["user:1"] } else { &["user:2"] }));
                }
            }
        }

        fn input(&mut self, input: Input<'_>) {
            if self.closed.is_some() {
                return;
            }
            let view = View { tail: &self.tail, interest: &self.interest, form: self.form, now: self.now };
            let mut output = self.subscriber.on(input, view, &mut self.batch);
            loop {
                match output {
                    Output::Nothing => return,
                    Output::Close(reason) => {
                        self.closed = Some(reason);
                        return;
                    }
                    Output::Read { after, through } => {
                        assert_eq!(self.reading, None, "one read at a time");
                        self.reading = Some((after, through));
                        return;
                    }
                    Output::Write => {
                        let bytes = self.room.min(self.batch.len());
                        self.room -= bytes;
                        self.got.extend_from_slice(&self.batch.part(0, bytes));
                        output = self.subscriber.on(Input::Accepted { bytes }, view, &mut self.batch);
                    }
                }
            }
        }

        fn greeting(&self) -> Bytes {
            chunk(b"greeting").framed(self.form.framing)
        }

        fn open(&mut self, cursor: u64) {
            self.input(Input::Opened { cursor: Position(cursor), greeting: self.greeting() });
        }

        fn wake(&mut self) {
            self.dispatch();
            self.input(Input::Woken);
        }

        /// The store answers a read, with at most `limit` entries, from what is committed by now.
        fn refill(&mut self, limit: usize) {
            let Some((after, through)) = self.reading.take() else { return };
            let frames: Vec<_> = self
                .log
                .iter()
                .filter(|(at, ours)| *ours && Position(*at) > after && Position(*at) <= through)
                .take(limit)
                .map(|(at, _)| placed(*at))
                .collect();
            let through = if frames.len() < limit { through } else { frames[limit - 1].position };
            self.input(Input::Refilled { frames: &frames, through });
        }

        fn writable(&mut self, room: usize) {
            self.room = room;
            self.input(Input::Writable);
        }

        fn tick(&mut self, now: Tick) {
            self.now = now;
            let beats = Beats { named: chunk(b"event: heartbeat\n\n"), quiet: chunk(b":\n") };
            let notice = self.subscriber.notice_due(now).map(|_| chunk(NOTICED));
            self.input(Input::Tick { beats: &beats, notice });
        }

        /// Everything that a subscriber with this cursor is owed, as bytes.
        fn wanted(&self, cursor: u64) -> Vec<u8> {
            let mut batch = Batch::default();
            batch.push_bytes(self.greeting(), Position::START);
            for (position, ours) in &self.log {
                if *ours && *position > cursor {
                    let replay_through = self.subscriber.registered_at();
                    batch.push_frame(&placed(*position), Telling { form: self.form, replay_through, now: 0 });
                }
            }
            batch.part(0, batch.len()).to_vec()
        }

        fn assert_whole(&self, cursor: u64) {
            assert_eq!(String::from_utf8_lossy(&self.got), String::from_utf8_lossy(&self.wanted(cursor)));
        }
    }

    #[test]
    fn history_then_live_without_gap_or_double() {
        let mut bench = Bench::new(5, 100);
        bench.open(2);
        assert_eq!(bench.reading, Some((Position(2), Position(5))));
        bench.commit(true);
        bench.wake();
        bench.refill(100);
        bench.commit(true);
        bench.wake();
        bench.assert_whole(2);
    }

    /// Mutant: forget, when a read ends, that the head has moved meanwhile.
    #[test]
    fn a_wake_up_during_a_read_is_not_lost() {
        let mut bench = Bench::new(5, 100);
        bench.open(2);
        bench.commit(true);
        bench.wake();
        assert_eq!(bench.got, b"greeting", "the read comes first");
        bench.refill(100);
        bench.assert_whole(2);
    }

    /// Mutant: forget a wake-up that comes while the sink is full.
    #[test]
    fn a_wake_up_while_the_sink_is_full_is_not_lost() {
        let mut bench = Bench::new(0, 100);
        bench.room = 4;
        bench.open(0);
        bench.commit(true);
        bench.wake();
        assert_eq!(bench.got, b"gree");
        bench.writable(usize::MAX);
        bench.assert_whole(0);
    }

    /// Mutant: read the store without a bound. It can already see what the tail has not been told of.
    #[test]
    fn a_read_is_bounded_by_the_head() {
        let mut bench = Bench::new(5, 100);
        bench.open(2);
        bench.commit(true);
        bench.refill(100);
        let position_six = bench.wanted(5).len() - b"greeting".len();
        assert_eq!(bench.got.len(), bench.wanted(2).len() - position_six, "nothing beyond the head");
        bench.wake();
        bench.commit(true);
        bench.wake();
        bench.assert_whole(2);
    }

    /// Mutants: `<=` for `<` at the tail's floor, and the reverse in the tail's queues.
    #[test]
    fn a_cursor_at_the_floor_is_served_by_the_tail_and_one_below_it_by_the_store() {
        for (cursor, reads) in [(5, false), (4, true), (6, false)] {
            let mut bench = Bench::new(5, 100);
            bench.commit(true);
            bench.commit(true);
            bench.dispatch();
            bench.open(cursor);
            assert_eq!(bench.reading.is_some(), reads, "cursor {cursor}");
            bench.refill(100);
            bench.assert_whole(cursor);
        }
    }

    #[test]
    fn a_reader_that_falls_behind_the_tail_goes_on_from_the_store() {
        let mut bench = Bench::new(0, 3);
        bench.room = 20;
        bench.open(0);
        for _ in 0..10 {
            bench.commit(true);
            bench.wake();
        }
        assert!(bench.tail.floor() > Position(3));
        bench.writable(usize::MAX);
        while bench.reading.is_some() {
            bench.refill(4);
        }
        bench.assert_whole(0);
    }

    #[test]
    fn a_full_sink_costs_no_more_than_one_piece() {
        let mut bench = Bench::chunked(0, 1000);
        bench.open(0);
        for _ in 0..100 {
            bench.commit(true);
        }
        bench.room = placed(1).frame.cost() + 10;
        bench.wake();
        assert!(bench.subscriber.blocked);
        assert_eq!(bench.subscriber.owed.as_ref().map(|owed| owed.len()), Some(placed(2).frame.cost() - 10));
        assert_eq!(bench.subscriber.cursor, Position(2));
    }

    #[test]
    fn what_is_older_than_the_connection_says_that_it_is_a_replay() {
        let mut bench = Bench::new(0, 100);
        bench.commit(true);
        bench.dispatch();
        bench.subscriber = Subscriber::registered(Position(1), PACE, 0);
        bench.open(0);
        bench.commit(true);
        bench.wake();
        let got = String::from_utf8(bench.got.clone()).expect("text");
        assert_eq!(got.matches("\"replay\":true").count(), 1);
        bench.assert_whole(0);
    }

    #[test]
    fn a_quiet_connection_beats_and_every_second_beat_has_a_name() {
        let mut bench = Bench::new(0, 100);
        bench.open(0);
        bench.tick(149);
        assert_eq!(bench.got, b"greeting");
        for at in [150, 299, 300, 449, 450] {
            bench.tick(at);
        }
        assert_eq!(bench.got, b"greeting:\nevent: heartbeat\n\n:\n");
    }

    /// Mutant: beat without looking what stands between the cursor and the head.
    #[test]
    fn a_heartbeat_moves_no_cursor_past_what_was_not_sent() {
        let mut bench = Bench::new(0, 100);
        bench.open(0);
        bench.tick(150);
        bench.commit(true);
        bench.dispatch();
        bench.tick(300);
        assert!(!bench.got.ends_with(b"event: heartbeat\n\n"), "what is due comes before the beat that has the head");
        bench.tick(450);
        assert!(bench.got.ends_with(b"event: heartbeat\n\n"));
    }

    /// Mutant: leave the cursor of a quiet reader where it is.
    #[test]
    fn a_quiet_reader_beats_and_stays_in_the_tail_while_others_are_notified() {
        let mut bench = Bench::new(0, 3);
        bench.open(0);
        for tick in 1..=300 {
            bench.commit(false);
            bench.dispatch();
            bench.tick(tick);
            assert_eq!(bench.reading, None);
        }
        assert_eq!(bench.got, b"greeting:\nevent: heartbeat\n\n");
    }

    #[test]
    fn a_stalled_connection_is_closed_and_a_slow_one_is_not() {
        let mut bench = Bench::new(0, 100);
        bench.room = 3;
        bench.open(0);
        bench.tick(299);
        assert_eq!(bench.closed, None);
        bench.writable(1);
        bench.tick(598);
        assert_eq!(bench.closed, None, "a byte is progress");
        bench.tick(599);
        assert_eq!(bench.closed, Some(Reason::Stalled));
    }

    #[test]
    fn a_connection_ends_at_its_age_but_not_within_a_frame() {
        let mut bench = Bench::new(0, 100);
        bench.room = 3;
        bench.open(0);
        bench.input(Input::EndBy(20));
        bench.tick(20);
        assert_eq!(bench.closed, None);
        bench.writable(usize::MAX);
        bench.tick(21);
        assert_eq!(bench.closed, Some(Reason::Ended));
    }

    #[test]
    fn what_is_revoked_ends_at_once_or_as_soon_as_it_has_begun() {
        let revoked = |room: usize| {
            let mut bench = Bench::new(0, 100);
            bench.room = room;
            bench.open(0);
            bench.input(Input::EndNow);
            bench.closed
        };
        assert_eq!(revoked(usize::MAX), Some(Reason::Ended));
        assert_eq!(revoked(3), Some(Reason::Stalled), "also whoever takes nothing, without the rest");
        let mut reading = Bench::new(5, 100);
        reading.open(2);
        reading.input(Input::EndNow);
        assert_eq!(reading.closed, Some(Reason::Ended));
        let mut opening = Bench::new(0, 100);
        opening.input(Input::EndNow);
        opening.open(0);
        assert_eq!((opening.got.as_slice(), opening.closed), (&b"greeting"[..], None));
        opening.tick(0);
        assert_eq!(opening.closed, Some(Reason::Ended));
    }

    /// Mutant: tell it again with every tick.
    #[test]
    fn a_stream_is_told_once_that_its_token_ends() {
        let noticed = |bench: &Bench| bench.got.windows(NOTICED.len()).filter(|said| *said == NOTICED).count();
        let mut bench = Bench::new(0, 100);
        bench.subscriber.end_with_token(400);
        bench.open(0);
        bench.tick(400 - NOTICE - 1);
        assert_eq!(noticed(&bench), 0);
        bench.commit(true);
        bench.dispatch();
        bench.tick(400 - NOTICE);
        assert_eq!(noticed(&bench), 0, "what is due comes first");
        bench.tick(400 - NOTICE + 1);
        bench.tick(399);
        assert_eq!((noticed(&bench), bench.closed), (1, None));
        bench.tick(400);
        assert_eq!(bench.closed, Some(Reason::Ended));

        let mut drained = Bench::new(0, 100);
        drained.subscriber.end_with_token(400);
        drained.open(0);
        drained.input(Input::EndBy(200));
        drained.tick(199);
        assert_eq!(noticed(&drained), 0, "it ends for another reason, and another token would not help");
    }

    /// Mutant: the right to read lasts as long as the reader is slow.
    #[test]
    fn whoever_reads_slowly_does_not_read_on_when_the_right_is_over() {
        let (at_rest, slow) = (usize::MAX, 3);
        for (room, reason) in [(at_rest, Reason::Ended), (slow, Reason::Stalled)] {
            let opened = |subscriber: fn(&mut Subscriber, Trust)| {
                let (mut bench, trust) = (Bench::new(0, 100), Trust::begin());
                subscriber(&mut bench.subscriber, trust.clone());
                bench.room = room;
                bench.open(0);
                bench.tick(49);
                assert_eq!(bench.closed, None);
                (bench, trust)
            };
            let (mut bench, _) = opened(|subscriber, _| subscriber.end_with_token(50));
            bench.tick(50);
            assert_eq!(bench.closed, Some(reason), "its token has expired");
            let (mut bench, trust) = opened(|subscriber, trust| subscriber.end_with_trust(Some(trust)));
            bench.tick(50);
            assert_eq!(bench.closed, None);
            trust.end();
            bench.tick(51);
            assert_eq!(bench.closed, Some(reason), "its key is gone");
        }
    }

    /// Mutant: what is damaged has expired.
    #[test]
    fn a_cursor_that_cannot_be_honoured_is_said_so() {
        let mut opening = Opening {
            interest: interest("1"),
            counts: crate::state::Counts::default(),
            head: Position(20),
            oldest: Position(10),
            damaged: Position(9),
            since: Some(Position(12)),
            revoked_at: None,
        };
        let resumed_in = |start, opening: &Opening| {
            let Resumption { cursor, reset } = resume(start, Position(19), opening);
            (cursor.0, reset)
        };
        let resumed = |start| resumed_in(start, &opening);
        assert_eq!(resumed(Start::Now), (19, None));
        assert_eq!(resumed(Start::After(Position(10))), (10, None));
        assert_eq!(resumed(Start::After(Position(9))), (19, Some(ResetReason::Expired)));
        assert_eq!(resumed(Start::After(Position(20))), (20, None), "the store may be a commit ahead of the tail");
        assert_eq!(resumed(Start::After(Position(21))), (19, Some(ResetReason::Ahead)));
        assert_eq!(resumed(Start::Earliest), (10, None));
        assert_eq!(resumed(Start::Since(jiff::Timestamp::UNIX_EPOCH)), (12, None));
        assert_eq!(resumed(Start::Unknown), (19, Some(ResetReason::Unknown)));
        opening.damaged = Position(10);
        let resumed = |start| resumed_in(start, &opening);
        assert_eq!(resumed(Start::After(Position(9))), (19, Some(ResetReason::Damaged)));
        assert_eq!(resumed(Start::After(Position(10))), (10, None), "it has all that came before");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Commit(bool),
        Dispatch,
        Wake,
        Refill(usize),
        Writable(usize),
        Room(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => any::<bool>().prop_map(Step::Commit),
            1 => Just(Step::Dispatch),
            3 => Just(Step::Wake),
            3 => (1..6_usize).prop_map(Step::Refill),
            2 => (0..400_usize).prop_map(Step::Writable),
            2 => (0..400_usize).prop_map(Step::Room),
        ];
        prop::collection::vec(step, 0..80)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// However commits, wake-ups, reads and a sink that takes any number of bytes are interleaved, the sink gets
        /// exactly the log after the cursor.
        #[test]
        fn every_interleaving_gives_exactly_the_log_after_the_cursor(
            stored in 0..8_u64,
            kept in 1..6_usize,
            back in 0..8_u64,
            is_chunked in any::<bool>(),
            steps in steps(),
        ) {
            let mut bench = if is_chunked { Bench::chunked(stored, kept) } else { Bench::new(stored, kept) };
            let cursor = stored.saturating_sub(back);
            bench.open(cursor);
            for step in steps {
                match step {
                    Step::Commit(ours) => bench.commit(ours),
                    Step::Dispatch => bench.dispatch(),
                    Step::Wake => bench.wake(),
                    Step::Refill(limit) => bench.refill(limit),
                    Step::Writable(room) => bench.writable(room),
                    Step::Room(room) => bench.room = room,
                }
                prop_assert!(bench.wanted(cursor).starts_with(&bench.got), "in order, nothing twice");
            }
            bench.wake();
            bench.writable(usize::MAX);
            while bench.reading.is_some() {
                bench.refill(3);
            }
            prop_assert_eq!(&bench.got, &bench.wanted(cursor));
            bench.tick(PACE.end);
            prop_assert_eq!(bench.closed, Some(Reason::Ended));
            if is_chunked {
                let (chunks, whole) = unchunked(&bench.got);
                let ours = bench.log.iter().filter(|(at, ours)| *ours && *at > cursor).count();
                prop_assert_eq!((chunks.len(), whole), (1 + ours, true));
            }
        }
    }

    /// A bench over HTTP/1.1 that has been greeted and sent a notification, a beat of each kind and a notice.
    fn told() -> Bench {
        let mut bench = Bench::chunked(0, 100);
        bench.subscriber.end_with_token(1_000);
        bench.open(0);
        bench.commit(true);
        bench.wake();
        for at in [150, 300, 1_000 - NOTICE] {
            bench.tick(at);
        }
        bench
    }

    /// Mutants: a beat or a notice that is no chunk; a stream that ends without the last one.
    #[test]
    fn all_that_is_sent_is_chunks_and_an_end_in_good_order_has_the_last() {
        let mut bench = told();
        assert_eq!(unchunked(&bench.got), (said_to_told(), false));
        bench.tick(1_000);
        assert_eq!((bench.closed, unchunked(&bench.got)), (Some(Reason::Ended), (said_to_told(), true)));
        let mut revoked = told();
        revoked.input(Input::EndNow);
        assert_eq!((revoked.closed, unchunked(&revoked.got)), (Some(Reason::Ended), (said_to_told(), true)));
    }

    fn said_to_told() -> Vec<Vec<u8>> {
        let (news, _) = unchunked(&placed(1).frame.pieces(chunked(), false).concat());
        let said: [&[u8]; 5] = [b"greeting", &news[0], b":\n", b"event: heartbeat\n\n", NOTICED];
        said.map(<[u8]>::to_vec).into()
    }

    /// Mutant: closed as soon as a part of the last chunk was taken.
    #[test]
    fn an_end_in_good_order_waits_for_the_sink_and_not_for_ever() {
        for room in 0..5 {
            let mut bench = told();
            bench.room = room;
            bench.tick(1_000);
            assert_eq!(bench.closed, None, "{room} of 5 bytes were taken");
            let mut stalled = told();
            stalled.room = room;
            stalled.tick(1_000);
            stalled.tick(1_001);
            assert_eq!(stalled.closed, Some(Reason::Stalled), "there is no right to it any more");
            bench.commit(true);
            bench.wake();
            bench.writable(usize::MAX);
            assert_eq!((bench.closed, unchunked(&bench.got)), (Some(Reason::Ended), (said_to_told(), true)));
        }
    }

    /// Mutant: the store's answer goes on with a stream that ends.
    #[test]
    fn nothing_follows_the_last_chunk_not_even_what_the_store_was_asked_for() {
        let mut bench = Bench::chunked(5, 100);
        bench.open(2);
        assert!(bench.reading.is_some());
        bench.room = 2;
        bench.input(Input::EndNow);
        bench.refill(100);
        bench.writable(usize::MAX);
        assert_eq!((bench.closed, unchunked(&bench.got)), (Some(Reason::Ended), (vec![b"greeting".to_vec()], true)));
    }

    /// Mutant: the last chunk after a part of another.
    #[test]
    fn any_other_end_does_not_look_like_one_in_good_order() {
        type End = fn(&mut Bench);
        let within_a_frame = || {
            let mut bench = told();
            bench.commit(true);
            bench.room = 30;
            bench.wake();
            bench
        };
        let ends: [(End, Reason); 3] = [
            (|bench| bench.input(Input::EndNow), Reason::Stalled),
            (|bench| bench.input(Input::PeerClosed), Reason::Peer),
            (|bench| bench.tick(1_000), Reason::Stalled),
        ];
        for (end, reason) in ends {
            let mut bench = within_a_frame();
            let before = bench.got.clone();
            end(&mut bench);
            assert_eq!((bench.closed, bench.got), (Some(reason), before));
        }
    }

    #[test]
    fn only_the_interest_is_sent() {
        let mut bench = Bench::new(0, 100);
        bench.open(0);
        bench.commit(false);
        bench.wake();
        assert_eq!(bench.got, b"greeting");
        assert_eq!(bench.subscriber.cursor, Position(1), "the cursor passes what is for others");
        assert!(!bench.interest.includes(&Audience::User("2".parse().expect("valid")), Position(1)));
    }
}
