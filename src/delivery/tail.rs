//! The tail: the most recent frames of the log, already encoded, in front of the store.
//!
//! Each engine has a tail of its own, so none is locked; the frames in it are shared. A reader whose cursor is not
//! older than [`Tail::floor`] is served from here and never touches the store, and learns that it has missed nothing
//! by a look at the last position of each of its audiences.
//!
//! **Invariants**
//! * Every entry in `(floor, head]` that was given to [`Tail::push`] can be gathered; for a cursor below the floor, or
//!   below what a user was erased at, the answer is [`Gathered::Behind`], never a shorter list.
//! * What was taken back, replaced, edited away or erased is not kept, so nothing can say it again.
//!
//! Deliberately absent: sockets; entries that are no notifications (a change of membership changes an [`Interest`], not
//! what is sent); and `max_per_user`: what a user has too much of is out of her inbox, but a stream that is only a
//! little behind still gets it from here.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::Tick;
use crate::notification::{Audience, Interest, Position, UserId};
use crate::sse::{Form, Frame};

/// What an entry costs for each of its audiences beside its frame, in bytes: its name, a queue entry with room to grow,
/// its share of the maps. 100 to 300 were measured.
const AUDIENCE_OVERHEAD: usize = 250;

/// A frame with its place in the log.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) position: Position,
    /// Where that stands which it is about: whoever became a member of a topic later is not told.
    pub(super) origin: Position,
    /// From when on it is of no use, in ticks of the engine.
    pub(super) expires: Tick,
    /// What it is about: whoever has muted that does not get it.
    pub(super) category: Option<Arc<str>>,
    pub(super) frame: Frame,
}

impl Placed {
    /// Lets it say nothing any more.
    fn forget(&mut self) {
        self.frame = Frame::empty();
        self.expires = 0;
    }

    fn is_muted_by(&self, interest: &Interest) -> bool {
        self.category.as_ref().is_some_and(|category| interest.mutes(category, self.origin))
    }
}

/// What a notification says since it was edited.
#[derive(Clone, Debug)]
pub(super) struct Says {
    pub(super) frame: Frame,
    /// What it is about now.
    pub(super) category: Option<Arc<str>>,
}

/// What becomes of what has been sent.
#[derive(Clone, Debug)]
pub(super) enum Revision {
    /// Nothing.
    None,
    /// It says this to whoever has not got it yet.
    Says(Says),
    /// It is gone.
    Gone,
    /// All that was this user's own is gone.
    Erased(UserId),
}

/// An entry with its addressees.
#[derive(Clone, Debug)]
pub(super) struct TailEntry {
    pub(super) audiences: Box<[Audience]>,
    pub(super) placed: Placed,
}

impl TailEntry {
    /// What it costs to keep, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.placed.frame.cost() + AUDIENCE_OVERHEAD * self.audiences.len()
    }
}

/// An entry as it has to be found when its turn to go comes.
#[derive(Debug)]
struct Kept {
    position: Position,
    origin: Position,
    audiences: Box<[Audience]>,
    /// What it cost when it came, in bytes.
    cost: usize,
}

/// Frames of one audience, in log order.
type Queue = VecDeque<Placed>;

/// Takes the first frame out if it stands there. It may have been forgotten with its queue.
fn pop(queue: &mut Queue, position: Position) {
    if queue.front().is_some_and(|first| first.position == position) {
        queue.pop_front();
    }
}

/// How a subscriber is told: what a frame is turned into when it is gathered.
#[derive(Clone, Copy)]
pub(super) struct Telling<'a> {
    pub(super) form: &'a Form,
    /// What stands up to here is older than the connection.
    pub(super) replay_through: Position,
    pub(super) now: Tick,
}

/// Recent frames of the log, by audience.
#[derive(Debug)]
pub(super) struct Tail {
    floor: Position,
    head: Position,
    entries: VecDeque<Kept>,
    /// What is for everyone, which every reader looks at.
    everyone: Queue,
    /// The rest.
    by_audience: HashMap<Audience, Queue>,
    /// For each notification that was edited the newest entry that says so.
    edited_at: HashMap<Position, Position>,
    /// Users who were erased, and where: what stood before that is not here. Seldom has it anybody.
    erased_at: HashMap<UserId, Position>,
    bytes: usize,
    bytes_max: usize,
}

/// How much may be gathered at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

/// Bytes for one subscriber, written together: first what stands at no new position (a greeting, a beat, the rest of
/// a frame), then frames in log order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// What is written, in order. A replayed frame takes two slices.
    pub(super) slices: Vec<Bytes>,
    /// For each piece the number of bytes up to its end, and the cursor once it has been accepted.
    pub(super) ends: Vec<(usize, Position)>,
    /// The cursor once all of it has been accepted.
    pub(super) through: Position,
}

impl Batch {
    /// Bytes in all.
    pub(super) fn len(&self) -> usize {
        self.ends.last().map_or(0, |(end, _)| *end)
    }

    /// How many of its pieces end within so many bytes.
    pub(super) fn whole(&self, bytes: usize) -> usize {
        if bytes == self.len() { self.ends.len() } else { self.ends.partition_point(|(end, _)| *end <= bytes) }
    }

    /// Adds a piece that leaves the cursor where it is.
    pub(super) fn push_bytes(&mut self, bytes: Bytes, cursor: Position) {
        self.ends.push((self.len() + bytes.len(), cursor));
        self.slices.push(bytes);
        self.through = cursor;
    }

    /// Adds a frame, unless it has expired.
    pub(super) fn push_frame(&mut self, placed: &Placed, telling: Telling<'_>) {
        let position = placed.position;
        self.through = position;
        if placed.expires <= telling.now {
            return;
        }
        let pieces = placed.frame.pieces(telling.form, position <= telling.replay_through);
        self.ends.push((self.len() + pieces.iter().map(Bytes::len).sum::<usize>(), position));
        self.slices.extend(pieces);
    }

    /// The bytes from one place to another; not copied if they stand in one slice, so that all who are owed the rest of
    /// one frame hold it together.
    pub(super) fn part(&self, from: usize, to: usize) -> Bytes {
        let mut copy = BytesMut::new();
        let mut at = 0;
        for slice in &self.slices {
            let (start, end) = (from.max(at), to.min(at + slice.len()));
            if start < end {
                let part = start - at..end - at;
                if end - start == to - from {
                    return slice.slice(part);
                }
                copy.extend_from_slice(&slice[part]);
            }
            at += slice.len();
        }
        copy.freeze()
    }

    /// Empties it for the next use.
    pub(super) fn clear(&mut self) {
        self.slices.clear();
        self.ends.clear();
    }
}

/// Whether the tail reaches back to a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gathered {
    /// The batch has everything up to its `through`.
    Through,
    /// The tail begins after the cursor: read the store.
    Behind,
}

impl Tail {
    /// An empty tail whose log stands at `head`.
    pub(super) fn new(head: Position, bytes_max: usize) -> Tail {
        Tail {
            floor: head,
            head,
            entries: VecDeque::new(),
            everyone: Queue::new(),
            by_audience: HashMap::new(),
            edited_at: HashMap::new(),
            erased_at: HashMap::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// The last position of the log that this tail knows of.
    pub(super) fn head(&self) -> Position {
        self.head
    }

    /// Everything after this position is in the tail.
    #[cfg(test)]
    pub(super) fn floor(&self) -> Position {
        self.floor
    }

    /// Takes an entry in. Entries come in log order.
    pub(super) fn push(&mut self, entry: TailEntry) {
        debug_assert!(entry.placed.position > self.head);
        let cost = entry.cost();
        let TailEntry { audiences, placed } = entry;
        for audience in &audiences {
            let queue = match audience {
                Audience::Everyone => &mut self.everyone,
                named => self.by_audience.entry(named.clone()).or_default(),
            };
            queue.push_back(placed.clone());
        }
        self.bytes += cost;
        self.head = placed.position;
        self.entries.push_back(Kept { position: placed.position, origin: placed.origin, audiences, cost });
        while self.bytes > self.bytes_max {
            self.evict();
        }
    }

    /// Takes in what an entry makes of what was sent before: where it stands, and which notification it is about.
    pub(super) fn revise(&mut self, at: Position, origin: Position, audiences: &[Audience], revision: &Revision) {
        match revision {
            Revision::None => {}
            Revision::Says(says) => {
                self.each_at(origin, audiences, |placed| {
                    placed.frame = says.frame.clone();
                    placed.category.clone_from(&says.category);
                });
                if let Some(former) = self.edited_at.insert(origin, at) {
                    self.each_at(former, audiences, Placed::forget);
                }
            }
            Revision::Gone => {
                self.each_at(origin, audiences, Placed::forget);
                if let Some(edited) = self.edited_at.remove(&origin) {
                    self.each_at(edited, audiences, Placed::forget);
                }
            }
            Revision::Erased(user) => {
                self.by_audience.remove(&Audience::User(user.clone()));
                self.erased_at.insert(user.clone(), at);
            }
        }
    }

    /// Forgets all up to a position.
    pub(super) fn trim(&mut self, through: Position) {
        while self.entries.front().is_some_and(|oldest| oldest.position <= through) {
            self.evict();
        }
        self.floor = self.floor.max(through.min(self.head));
    }

    /// Calls `with` for what each of these audiences has at a position.
    fn each_at(&mut self, position: Position, audiences: &[Audience], with: impl Fn(&mut Placed)) {
        for audience in audiences {
            let queue = match audience {
                Audience::Everyone => Some(&mut self.everyone),
                named => self.by_audience.get_mut(named),
            };
            let Some(queue) = queue else { continue };
            if let Ok(place) = queue.binary_search_by_key(&position, |placed| placed.position) {
                with(&mut queue[place]);
            }
        }
    }

    /// Notes how far the log has come, whether or not the last entries were for this tail.
    pub(super) fn advance(&mut self, head: Position) {
        self.head = self.head.max(head);
    }

    fn evict(&mut self) {
        let Some(Kept { position, origin, audiences, cost }) = self.entries.pop_front() else { return };
        for audience in &audiences {
            match audience {
                Audience::Everyone => pop(&mut self.everyone, position),
                named => {
                    if let Some(queue) = self.by_audience.get_mut(named) {
                        pop(queue, position);
                        if queue.is_empty() {
                            self.by_audience.remove(named);
                        }
                    }
                }
            }
            // The entry that erases a user is hers, so it is here as long as her name has to be.
            if let Audience::User(user) = audience
                && self.erased_at.get(user) == Some(&position)
            {
                self.erased_at.remove(user);
            }
        }
        if self.edited_at.get(&origin) == Some(&position) {
            self.edited_at.remove(&origin);
        }
        self.bytes -= cost;
        self.floor = position;
    }

    /// Adds to `batch` what stands after `cursor` for that interest, in order, each entry once, within the budget.
    pub(super) fn gather(
        &self,
        interest: &Interest,
        cursor: Position,
        telling: Telling<'_>,
        budget: Budget,
        batch: &mut Batch,
    ) -> Gathered {
        if cursor >= self.head {
            batch.through = cursor;
            return Gathered::Through;
        }
        if cursor < self.floor || self.is_erased_after(cursor, &interest.user) {
            return Gathered::Behind;
        }
        let mut runs = self.runs(interest, cursor);
        let pieces_before = batch.ends.len();
        batch.through = cursor;
        while let Some(position) = runs.iter().filter_map(Run::next).min() {
            if batch.ends.len() - pieces_before >= budget.frames || batch.len() >= budget.bytes {
                // Not all: the cursor gets no further than the last frame taken.
                return Gathered::Through;
            }
            // An entry for several of this reader's audiences stands in several runs; it is sent once.
            let mut taken = None;
            for run in &mut runs {
                if run.next() == Some(position) {
                    let placed = &run.queue[run.at];
                    if run.covers(placed.origin) && !placed.is_muted_by(interest) {
                        taken = Some(placed);
                    }
                    run.at += 1;
                }
            }
            if let Some(placed) = taken {
                batch.push_frame(placed, telling);
            }
        }
        batch.through = self.head;
        Gathered::Through
    }

    /// Whether the user was erased at a later position.
    fn is_erased_after(&self, cursor: Position, user: &UserId) -> bool {
        !self.erased_at.is_empty() && self.erased_at.get(user).is_some_and(|at| cursor < *at)
    }

    /// The parts of the queues that an interest still has to get.
    fn runs<'a>(&'a self, interest: &Interest, cursor: Position) -> SmallVec<[Run<'a>; 4]> {
        let mut runs = SmallVec::new();
        let mut add = |queue: Option<&'a Queue>, since: Position, until: Option<Position>| {
            let after = cursor.max(since);
            if let Some(queue) = queue
                && queue.back().is_some_and(|last| last.position > after)
            {
                let at = queue.partition_point(|placed| placed.position <= after);
                runs.push(Run { queue, at, since, until });
            }
        };
        add(Some(&self.everyone), Position::START, None);
        if !self.by_audience.is_empty() {
            add(self.by_audience.get(&Audience::User(interest.user.clone())), Position::START, None);
        }
        for membership in &interest.memberships {
            let queue = self.by_audience.get(&Audience::Topic(membership.topic.clone()));
            add(queue, membership.since, membership.until);
        }
        runs
    }
}

/// A queue from a place on.
struct Run<'a> {
    queue: &'a Queue,
    at: usize,
    since: Position,
    until: Option<Position>,
}

impl Run<'_> {
    fn next(&self) -> Option<Position> {
        self.queue.get(self.at).map(|placed| placed.position)
    }

    /// Whether what stands there concerns the reader: a notification of her time, or a change to one, however late.
    fn covers(&self, origin: Position) -> bool {
        origin > self.since && self.until.is_none_or(|until| origin < until)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::content::{Content, Fields};
    use crate::event_id::{EventIds, Seal};
    use crate::notification::{Notification, NotificationId};
    use crate::sse::{Framing, Wire};

    pub(in crate::delivery) const WIDE: Budget = Budget { frames: usize::MAX, bytes: usize::MAX };

    pub(in crate::delivery) fn frame(position: u64) -> Frame {
        let ids = EventIds::new(&Seal { epoch: 1, key: [1; 16] });
        let id = NotificationId(Uuid::from_u128(position.into()));
        let fields = Fields { message: format!("número {position}"), ..Fields::default() };
        Frame::notification(
            ids.of_entry(Position(position)),
            &Notification {
                id,
                timestamp: Timestamp::UNIX_EPOCH,
                audiences: vec![Audience::Everyone],
                content: Content::parse(&fields).expect("valid"),
                expires_at: None,
                replaces: None,
            },
        )
    }

    pub(in crate::delivery) fn placed(position: u64) -> Placed {
        let at = Position(position);
        Placed { position: at, origin: at, expires: Tick::MAX, category: None, frame: frame(position) }
    }

    pub(in crate::delivery) fn entry(position: u64, audiences: &[&str]) -> TailEntry {
        let audiences = audiences.iter().map(|a| a.parse().expect("valid")).collect();
        TailEntry { audiences, placed: placed(position) }
    }

    pub(in crate::delivery) fn form() -> &'static Form {
        static EVENTS: Form = Form { wire: Wire::Events, framing: Framing::Bare, languages: Vec::new() };
        &EVENTS
    }

    /// The same over HTTP/1.1.
    pub(in crate::delivery) fn chunked() -> &'static Form {
        static CHUNKS: Form = Form { wire: Wire::Events, framing: Framing::Chunked, languages: Vec::new() };
        &CHUNKS
    }

    pub(in crate::delivery) fn interest(user: &str) -> Interest {
        Interest::of(user.parse().expect("valid"))
    }

    fn gathered(tail: &Tail, interest: &Interest, cursor: u64, budget: Budget) -> Result<(Vec<u64>, u64), Gathered> {
        let mut batch = Batch::default();
        let telling = Telling { form: form(), replay_through: Position::START, now: 0 };
        match tail.gather(interest, Position(cursor), telling, budget, &mut batch) {
            Gathered::Through => Ok((batch.ends.iter().map(|(_, at)| at.0).collect(), batch.through.0)),
            Gathered::Behind => Err(Gathered::Behind),
        }
    }

    #[test]
    fn the_edge_of_the_tail_is_exact() {
        let mut tail = Tail::new(Position(10), 3 * entry(11, &["user:1"]).cost());
        for position in 11..=15 {
            tail.push(entry(position, &["user:1"]));
        }
        assert_eq!(tail.floor(), Position(12), "two of five did not fit");
        let reader = interest("1");
        assert_eq!(gathered(&tail, &reader, 12, WIDE), Ok((vec![13, 14, 15], 15)), "a cursor at the floor is whole");
        assert_eq!(gathered(&tail, &reader, 11, WIDE), Err(Gathered::Behind), "one below it is not");
        assert_eq!(gathered(&tail, &reader, 14, WIDE), Ok((vec![15], 15)));
        assert_eq!(gathered(&tail, &reader, 15, WIDE), Ok((vec![], 15)));
        assert_eq!(gathered(&tail, &reader, 20, WIDE), Ok((vec![], 20)), "a cursor ahead stays where it is");
    }

    /// Mutant: count an entry once, whatever its audiences.
    #[test]
    fn an_entry_is_counted_for_each_of_its_audiences() {
        let audiences: Vec<String> = (0..1000).map(|number| format!("user:{number}")).collect();
        let audiences: Vec<&str> = audiences.iter().map(String::as_str).collect();
        let mut tail = Tail::new(Position(0), 1 << 20);
        for position in 1..=100 {
            tail.push(entry(position, &audiences));
        }
        assert!(tail.by_audience.values().map(VecDeque::len).sum::<usize>() * AUDIENCE_OVERHEAD <= 1 << 20);
    }

    #[test]
    fn an_entry_for_several_audiences_is_gathered_once() {
        let mut tail = Tail::new(Position(0), 1 << 20);
        let mut reader = interest("1");
        reader.join(&"t".parse().expect("valid"), Position(1));
        tail.push(entry(2, &["user:1", "topic:t", "everyone"]));
        tail.push(entry(3, &["user:2", "topic:t"]));
        tail.push(entry(4, &["user:2"]));
        assert_eq!(gathered(&tail, &reader, 0, WIDE), Ok((vec![2, 3], 4)));
    }

    /// Mutant: told to every member of the moment.
    #[test]
    fn a_change_is_told_to_whoever_was_a_member_when_what_it_changes_was_published() {
        let mut tail = Tail::new(Position(0), 1 << 20);
        let mut reader = interest("1");
        let topic = "t".parse().expect("valid");
        reader.join(&topic, Position(5));
        reader.leave(&topic, Position(10));
        for (position, origin) in [(6, 4), (7, 5), (8, 6), (9, 9), (11, 11), (12, 9), (13, 11)] {
            let mut entry = entry(position, &["topic:t"]);
            entry.placed.origin = Position(origin);
            tail.push(entry);
        }
        assert_eq!(gathered(&tail, &reader, 0, WIDE), Ok((vec![8, 9, 12], 13)), "also after she has left");
    }

    fn says(position: u64, category: Option<&str>) -> Revision {
        Revision::Says(Says { frame: frame(position), category: category.map(Arc::from) })
    }

    fn said(tail: &Tail, reader: &Interest, cursor: u64) -> Vec<Bytes> {
        let mut batch = Batch::default();
        let telling = Telling { form: form(), replay_through: Position::START, now: 0 };
        assert_eq!(tail.gather(reader, Position(cursor), telling, WIDE, &mut batch), Gathered::Through);
        batch.slices
    }

    fn frames(positions: &[u64]) -> Vec<Bytes> {
        positions.iter().flat_map(|at| frame(*at).pieces(form(), false)).collect()
    }

    /// Mutant: what was taken back goes on being sent to those who come later.
    #[test]
    fn what_was_taken_back_or_edited_is_sent_as_it_is_now() {
        let mut tail = Tail::new(Position(0), 1 << 20);
        for position in 1..=3 {
            tail.push(entry(position, &["user:1", "everyone"]));
        }
        let audiences = ["user:1", "everyone"].map(|audience| audience.parse().expect("valid"));
        tail.revise(Position(8), Position(1), &audiences, &Revision::Gone);
        tail.revise(Position(8), Position(2), &audiences, &says(9, None));
        tail.revise(Position(8), Position(7), &audiences, &Revision::Gone);
        assert_eq!(said(&tail, &interest("1"), 0), frames(&[9, 3]));
    }

    /// Mutant: leave what an earlier edit says where it stands.
    #[test]
    fn what_an_edit_said_is_forgotten_with_the_next_one_and_with_the_notification() {
        let mut tail = Tail::new(Position(0), 1 << 20);
        let audiences = ["user:1".parse().expect("valid")];
        let edit = |tail: &mut Tail, at: u64| {
            tail.revise(Position(at), Position(1), &audiences, &says(at, None));
            let mut entry = entry(at, &["user:1"]);
            entry.placed.origin = Position(1);
            tail.push(entry);
        };
        tail.push(entry(1, &["user:1"]));
        edit(&mut tail, 2);
        edit(&mut tail, 3);
        assert_eq!(said(&tail, &interest("1"), 0), frames(&[3, 3]), "as it is now, and that it was edited, once");
        tail.revise(Position(4), Position(1), &["user:1".parse().expect("valid")], &Revision::Gone);
        assert!(said(&tail, &interest("1"), 0).is_empty());
    }

    /// Mutant: an edit leaves the category as it was.
    #[test]
    fn what_is_muted_follows_an_edit_of_the_category() {
        let mut tail = Tail::new(Position(0), 1 << 20);
        let mut reader = interest("1");
        reader.mute(&["facturas".to_owned()], Position(0));
        for position in [1, 2] {
            let mut entry = entry(position, &["user:1"]);
            entry.placed.category = (position == 1).then(|| "facturas".into());
            tail.push(entry);
        }
        let audiences = ["user:1".parse().expect("valid")];
        tail.revise(Position(3), Position(1), &audiences, &says(1, None));
        tail.revise(Position(4), Position(2), &audiences, &says(2, Some("facturas")));
        assert_eq!(said(&tail, &reader, 0), frames(&[1]));
    }

    /// Mutant: what was a user's stays in her queue.
    #[test]
    fn what_was_an_erased_users_is_said_by_nobody_again() {
        let mut tail = Tail::new(Position(0), 4 * entry(11, &["user:1"]).cost());
        tail.push(entry(1, &["user:1"]));
        tail.push(entry(2, &["user:1", "everyone"]));
        let erased = Revision::Erased("1".parse().expect("valid"));
        tail.revise(Position(3), Position(3), &["user:1".parse().expect("valid")], &erased);
        tail.push(entry(3, &["user:1"]));
        assert_eq!(gathered(&tail, &interest("1"), 0, WIDE), Err(Gathered::Behind), "the store knows what is left");
        assert_eq!(gathered(&tail, &interest("1"), 2, WIDE), Err(Gathered::Behind));
        assert_eq!(gathered(&tail, &interest("1"), 3, WIDE), Ok((vec![], 3)));
        assert_eq!(gathered(&tail, &interest("2"), 0, WIDE), Ok((vec![2], 3)), "what was to others too stays theirs");
        for position in 4..=9 {
            tail.push(entry(position, &["user:1"]));
        }
        assert_eq!(tail.floor(), Position(5));
        assert_eq!(gathered(&tail, &interest("1"), 5, WIDE), Ok((vec![6, 7, 8, 9], 9)));
        assert!(tail.erased_at.is_empty() && tail.everyone.is_empty(), "nothing of it stays for ever");
    }

    /// Mutant: what is too old stays here until there is too much.
    #[test]
    fn what_the_log_no_longer_has_is_not_here_either() {
        let mut tail = Tail::new(Position(0), 1 << 20);
        for position in [1, 2, 5] {
            tail.push(entry(position, &["user:1"]));
        }
        tail.trim(Position(3));
        assert_eq!(gathered(&tail, &interest("1"), 2, WIDE), Err(Gathered::Behind));
        assert_eq!(gathered(&tail, &interest("1"), 3, WIDE), Ok((vec![5], 5)));
        tail.trim(Position(9));
        assert_eq!((tail.floor(), tail.head(), tail.bytes), (Position(5), Position(5), 0));
    }

    /// Mutant: sent to whoever has muted it.
    #[test]
    fn what_is_muted_is_not_sent() {
        let mut tail = Tail::new(Position(0), 1 << 20);
        let mut reader = interest("1");
        reader.mute(&["facturas".to_owned()], Position(2));
        for (position, category) in [(1, "facturas"), (3, "facturas"), (4, "otras")] {
            let mut entry = entry(position, &["user:1"]);
            entry.placed.category = Some(category.into());
            tail.push(entry);
        }
        tail.push(entry(5, &["user:1"]));
        assert_eq!(gathered(&tail, &reader, 0, WIDE), Ok((vec![1, 4, 5], 5)), "what came before stays");
    }

    /// Mutant: sent also when it is too late.
    #[test]
    fn what_has_expired_is_not_sent() {
        let mut tail = Tail::new(Position(0), 1 << 20);
        for (position, expires) in [(1, 5), (2, 10), (3, 11), (4, Tick::MAX)] {
            let mut entry = entry(position, &["user:1"]);
            entry.placed.expires = expires;
            tail.push(entry);
        }
        let mut batch = Batch::default();
        let telling = Telling { form: form(), replay_through: Position::START, now: 10 };
        assert_eq!(tail.gather(&interest("1"), Position(0), telling, WIDE, &mut batch), Gathered::Through);
        assert_eq!(batch.ends.iter().map(|(_, at)| at.0).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn the_budget_ends_a_batch_at_its_last_frame() {
        let mut tail = Tail::new(Position(0), 1 << 20);
        for position in 1..=9 {
            tail.push(entry(position, if position == 9 { &["user:2"] } else { &["user:1"] }));
        }
        let few = Budget { frames: 3, ..WIDE };
        assert_eq!(gathered(&tail, &interest("1"), 2, few), Ok((vec![3, 4, 5], 5)));
        assert_eq!(gathered(&tail, &interest("1"), 5, few), Ok((vec![6, 7, 8], 9)), "then it is all, up to the head");
        assert_eq!(gathered(&tail, &interest("1"), 0, Budget { bytes: 1, ..WIDE }), Ok((vec![1], 1)), "one at least");
    }

    proptest! {
        /// Whatever was pushed and evicted, what is gathered is the log filtered by the interest, or the reader is
        /// told that it is behind.
        #[test]
        fn gathering_is_filtering_the_log(
            log in prop::collection::vec((0..4_u8, 0..3_u8, 1..4_u64), 0..60),
            kept in 1..30_usize,
            memberships in prop::collection::vec((0..2_u8, 0..80_u64, prop::option::of(0..80_u64)), 0..4),
            cursor in 0..90_u64,
            frames in 1..9_usize,
        ) {
            let mut reader = interest("1");
            for (topic, since, until) in memberships {
                let topic = format!("t{topic}").parse().expect("valid");
                reader.join(&topic, Position(since));
                if let Some(until) = until {
                    reader.leave(&topic, Position(until));
                }
            }
            let mut tail = Tail::new(Position(0), kept * entry(11, &["user:1"]).cost());
            let mut position = 0;
            let mut wanted = Vec::new();
            for (kind, name, gap) in log {
                position += gap;
                let audiences: Vec<String> = match kind {
                    0 => vec![format!("user:{name}")],
                    1 => vec![format!("topic:t{name}")],
                    2 => vec!["everyone".into()],
                    _ => vec![format!("user:{name}"), format!("topic:t{name}"), "everyone".into()],
                };
                let entry = entry(position, &audiences.iter().map(String::as_str).collect::<Vec<_>>());
                if position > cursor && entry.audiences.iter().any(|a| reader.includes(a, Position(position))) {
                    wanted.push(position);
                }
                tail.push(entry);
            }
            let behind = Position(cursor) < tail.floor();
            let mut got = Vec::new();
            let mut at = cursor;
            while let Ok((positions, through)) = gathered(&tail, &reader, at, Budget { frames, ..WIDE }) {
                got.extend(positions);
                if through == at {
                    break;
                }
                at = through;
            }
            if behind {
                prop_assert_eq!(gathered(&tail, &reader, cursor, WIDE), Err(Gathered::Behind));
            } else {
                prop_assert_eq!(got, wanted);
                prop_assert_eq!(at, cursor.max(position));
            }
        }
    }
}
