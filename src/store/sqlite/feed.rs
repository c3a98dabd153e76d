//! What a user has: the merge of her own notifications, her topics' while she is a member, and everyone's.
//!
//! **Invariant:** an inbox is the newest notifications of its user, a fixed number at most, each once, newest first. All
//! that is counted, listed or marked is taken from there, so none of it costs more the more others have stored, and no
//! count can drift: there is no counter.
//!
//! The search is bounded by the entries that it looks at. It passes over at most [`Bounds::passed_max`] muted, damaged or expired
//! notifications that were addressed to topics or to everyone; of what is older, only the user's own are taken, of which
//! retention leaves few.
//!
//! Deliberately absent: anything that writes.

use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::ops::RangeInclusive;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, params};

use super::erasing;
use super::rows::{Millisecond, parsed, time, whole};
use super::spans::MEMBERSHIPS;
use crate::notification::{Audience, Interest, Membership, Mute, Position, Topic, UserId};
use crate::state::{Counts, State};
use crate::store::Effort;

/// Rows that a look reads ahead when it begins, divided among the audiences of the user; and how many of each at least and at
/// most. Of an audience of which more is wanted as many are read then as are read at most.
const ROWS_AHEAD: usize = 2000;
const ROWS_PER_READ: RangeInclusive<usize> = 4..=50;

/// [`Bounds::passed_max`] of a look that is to take little effort: less than a millisecond.
const PASSED_WITH_LITTLE_EFFORT_MAX: usize = 1000;

/// The spans of the log to look through for an interest: an audience, after a position, and not beyond another.
pub(super) struct Span {
    pub(super) audience: String,
    pub(super) after: Position,
    pub(super) through: Position,
}

/// The spans of an interest within `(after, through]`.
pub(super) fn spans(
    connection: &Connection,
    interest: &Interest,
    after: Position,
    through: Position,
) -> rusqlite::Result<Vec<Span>> {
    let span = |audience: Audience, after| Span { audience: audience.to_string(), after, through };
    let erased = erasing::through(connection, &interest.user)?.unwrap_or(Position::START);
    let hers = span(Audience::User(interest.user.clone()), after.max(erased));
    let mut spans = vec![hers, span(Audience::Everyone, after)];
    for membership in &interest.memberships {
        let until = membership.until.map_or(through, |until| Position(until.0 - 1));
        let (after, through) = (after.max(membership.since), through.min(until));
        if after < through {
            let audience = Audience::Topic(membership.topic.clone()).to_string();
            spans.push(Span { audience, after, through });
        }
    }
    Ok(spans)
}

/// What a user may see.
pub(super) fn interest(connection: &Connection, user: &UserId) -> rusqlite::Result<Interest> {
    let erased = erasing::through(connection, user)?;
    let memberships = connection
        .prepare_cached(&MEMBERSHIPS)?
        .query_map(params![user.as_str(), erased], |row| {
            Ok(Membership { topic: parsed(row.get_ref(0)?.as_str()?)?, since: row.get(1)?, until: row.get(2)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mutes = connection
        .prepare_cached("SELECT category, since, until FROM mute WHERE user = ?1")?
        .query_map([user.as_str()], |row| Ok(Mute { category: row.get(0)?, since: row.get(1)?, until: row.get(2)? }))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Interest { user: user.clone(), memberships, mutes })
}

const NOTIFIED_AFTER: &str = "SELECT position, position FROM addressed
    WHERE audience = ?1 AND position > ?2 AND position <= ?3 ORDER BY position LIMIT ?4";
const CHANGED_AFTER: &str = "SELECT position, origin FROM changed
    WHERE audience = ?1 AND position > ?2 AND position <= ?3 ORDER BY position LIMIT ?4";

/// Positions in `(after, through]` at which something is said to an interest, rising, each once, at most `limit`; and up to
/// where they have been looked for. Of each audience at most `limit` rows are looked at, and of its changes as many, so
/// there may be none although there are some further on.
pub(super) fn positions(
    connection: &Connection,
    interest: &Interest,
    after: Position,
    through: Position,
    limit: usize,
) -> rusqlite::Result<(Vec<Position>, Position)> {
    let mut notified = connection.prepare_cached(NOTIFIED_AFTER)?;
    let mut changed = connection.prepare_cached(CHANGED_AFTER)?;
    let mut found = Positions { all: Vec::new(), reached: through, limit };
    for span in spans(connection, interest, after, through)? {
        found.look(&mut notified, &span, (after, through))?;
    }
    // What she got as a member is told of whether or not she has left, and what stands outside of a span never.
    for Span { audience, after: since, through: last } in spans(connection, interest, Position::START, Position::END)? {
        found.look(&mut changed, &Span { audience, after, through }, (since, last))?;
    }
    found.narrow(0);
    Ok((found.all, found.reached))
}

/// Positions that were found so far.
struct Positions {
    all: Vec<Position>,
    /// Up to where all are wanted: beyond it there are too many, or it was not looked.
    reached: Position,
    limit: usize,
}

impl Positions {
    /// Adds what a span has, as far as it is about something in `origins`.
    fn look(
        &mut self,
        statement: &mut CachedStatement<'_>,
        span: &Span,
        origins: (Position, Position),
    ) -> rusqlite::Result<()> {
        let through = span.through.min(self.reached);
        if span.after >= through {
            return Ok(());
        }
        let mut rows = statement.query(params![span.audience, span.after, through, whole(self.limit)])?;
        let mut looked = 0;
        while let Some(row) = rows.next()? {
            let (position, origin): (Position, Position) = (row.get(0)?, row.get(1)?);
            if origins.0 < origin && origin <= origins.1 {
                self.all.push(position);
            }
            looked += 1;
            if looked == self.limit {
                self.reached = position;
            }
        }
        self.narrow(self.limit);
        Ok(())
    }

    /// If there are more than `few`, keeps the first `limit`: the next span is looked at no further than these reach, so many
    /// spans together cost little more than one.
    fn narrow(&mut self, few: usize) {
        if self.all.len() <= few {
            return;
        }
        let reached = self.reached;
        self.all.retain(|position| *position <= reached);
        self.all.sort_unstable();
        self.all.dedup();
        if self.all.len() > self.limit {
            self.all.truncate(self.limit);
            self.reached = self.all.last().copied().unwrap_or(reached);
        }
    }
}

/// How far an inbox reaches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Most notifications in it.
    pub(super) inbox_max: usize,
    /// Most notifications for topics and everyone that are passed over, since they are muted or have expired.
    pub(super) passed_max: usize,
}

impl Bounds {
    /// The bounds of a look that is to take so much effort.
    pub(super) fn within(self, effort: Effort) -> Bounds {
        match effort {
            Effort::Little => Bounds { passed_max: self.passed_max.min(PASSED_WITH_LITTLE_EFFORT_MAX), ..self },
            Effort::Any => self,
        }
    }
}

/// Spans of an interest's mutes, by category.
struct Mutes<'a>(HashMap<&'a str, Vec<&'a Mute>>);

impl Mutes<'_> {
    fn of(interest: &Interest) -> Mutes<'_> {
        let mut by_category: HashMap<&str, Vec<&Mute>> = HashMap::new();
        for mute in &interest.mutes {
            by_category.entry(&mute.category).or_default().push(mute);
        }
        Mutes(by_category)
    }

    fn cover(&self, category: Option<&str>, position: Position) -> bool {
        let spans = category.and_then(|category| self.0.get(category));
        spans.is_some_and(|spans| spans.iter().any(|mute| mute.covers(position)))
    }
}

/// A position in a [`Run`].
#[derive(Clone, Copy)]
struct Looked {
    position: Position,
    /// It is muted or damaged, or has expired.
    passed: bool,
    /// It is addressed to the user by name.
    own: bool,
}

/// Positions of notifications for one audience, falling, some read ahead.
struct Run {
    span: Span,
    ahead: VecDeque<Looked>,
    own: bool,
    /// Rows that are read the next time.
    rows: usize,
    ended: bool,
}

/// Positions of a user's notifications, falling, each once.
struct Merge<'a> {
    statement: CachedStatement<'a>,
    mutes: Mutes<'a>,
    /// Nothing if none is.
    damaged: Option<CachedStatement<'a>>,
    runs: Vec<Run>,
    /// The next position of each run, or if none of it is read ahead one that is no lower; whether it is the user's own, which
    /// comes first where others have the same; and its number. A membership that has ended before is not read.
    next: BinaryHeap<(Position, bool, usize)>,
    at: Timestamp,
    /// Rows read.
    looked: usize,
}

impl<'a> Merge<'a> {
    fn new(connection: &'a Connection, interest: &'a Interest, at: Timestamp) -> rusqlite::Result<Merge<'a>> {
        let statement = connection.prepare_cached(
            "SELECT position, expires, category FROM addressed
             WHERE audience = ?1 AND position > ?2 AND position <= ?3 ORDER BY position DESC LIMIT ?4",
        )?;
        let own = Audience::User(interest.user.clone()).to_string();
        let spans = spans(connection, interest, Position::START, Position::END)?;
        let rows = (ROWS_AHEAD / spans.len()).clamp(*ROWS_PER_READ.start(), *ROWS_PER_READ.end());
        let run = |span: Span| Run { own: span.audience == own, span, ahead: VecDeque::new(), rows, ended: false };
        let runs: Vec<Run> = spans.into_iter().map(run).collect();
        let next = runs.iter().enumerate().map(|(number, run)| (run.span.through, run.own, number)).collect();
        let any_damaged = connection.prepare_cached("SELECT 1 FROM damaged")?.exists([])?;
        let is_damaged = || connection.prepare_cached("SELECT 1 FROM damaged WHERE position = ?1");
        let damaged = any_damaged.then(is_damaged).transpose()?;
        Ok(Merge { statement, damaged, mutes: Mutes::of(interest), runs, next, at, looked: 0 })
    }

    /// From here on only what is addressed to the user by name.
    fn only_own(&mut self) {
        self.next.retain(|(_, own, _)| *own);
    }

    fn next(&mut self) -> rusqlite::Result<Option<Looked>> {
        let newest = self.pop(Position::START)?;
        if let Some(Looked { position, .. }) = newest {
            while self.pop(position)?.is_some() {}
        }
        Ok(newest)
    }

    /// Takes the next one, unless it stands before that position.
    fn pop(&mut self, from: Position) -> rusqlite::Result<Option<Looked>> {
        while let Some((position, own, number)) = self.next.pop() {
            if position < from {
                self.next.push((position, own, number));
                return Ok(None);
            }
            let is_read = !self.runs[number].ahead.is_empty();
            if !is_read {
                self.read(number)?;
            }
            let run = &mut self.runs[number];
            let looked = if is_read { run.ahead.pop_front() } else { None };
            let ahead = run.ahead.front().map(|looked| looked.position);
            let next = ahead.or_else(|| (!run.ended).then_some(run.span.through));
            self.next.extend(next.map(|position| (position, own, number)));
            if looked.is_some() {
                return Ok(looked);
            }
        }
        Ok(None)
    }

    /// Reads some of a run ahead.
    fn read(&mut self, number: usize) -> rusqlite::Result<()> {
        let Run { span, ahead, own, rows: limit, ended } = &mut self.runs[number];
        let Span { audience, after, through } = &*span;
        let mut rows = self.statement.query(params![audience, after, through, whole(*limit)])?;
        while let Some(row) = rows.next()? {
            let position = row.get(0)?;
            let expired = time(row, 1)?.is_some_and(|expires| expires <= self.at);
            let is_damaged = self.damaged.as_mut().map_or(Ok(false), |damaged| damaged.exists([position]))?;
            let passed = expired || is_damaged || self.mutes.cover(row.get_ref(2)?.as_str_or_null()?, position);
            ahead.push_back(Looked { position, passed, own: *own });
        }
        self.looked += ahead.len();
        *ended = ahead.len() < *limit;
        *limit = *ROWS_PER_READ.end();
        if let Some(last) = ahead.back() {
            span.through = Position(last.position.0 - 1);
        }
        Ok(())
    }
}

/// What a user has at one moment, newest first.
pub(super) struct Inbox {
    pub(super) items: Vec<(Position, State)>,
    /// Rows that were read to find them.
    pub(super) looked: usize,
    /// So much had to be passed over that only what is addressed to the user by name was taken from there on.
    pub(super) is_cut_short: bool,
}

impl Inbox {
    /// Reads the newest of what an interest has at that time.
    pub(super) fn load(
        connection: &Connection,
        interest: &Interest,
        at: Timestamp,
        Bounds { inbox_max, passed_max }: Bounds,
    ) -> rusqlite::Result<Inbox> {
        let mut merge = Merge::new(connection, interest, at)?;
        let mut positions = Vec::new();
        let mut passed_over = 0;
        while positions.len() < inbox_max
            && let Some(Looked { position, passed, own }) = merge.next()?
        {
            if !passed {
                positions.push(position);
            } else if !own {
                passed_over += 1;
                if passed_over == passed_max {
                    merge.only_own();
                }
            }
        }
        let (looked, is_cut_short) = (merge.looked, passed_over >= passed_max);
        if positions.is_empty() {
            // As for most who connect for the first time: there is nothing to be marked.
            return Ok(Inbox { items: Vec::new(), looked, is_cut_short });
        }
        let states = States::load(connection, &interest.user, positions.last().copied().unwrap_or(Position::END))?;
        let items = positions.into_iter().map(|position| (position, states.of(position))).collect();
        Ok(Inbox { items, looked, is_cut_short })
    }

    /// Where the notification at that position stands in it.
    pub(super) fn index_of(&self, position: Position) -> Option<usize> {
        self.items.binary_search_by(|(known, _)| position.cmp(known)).ok()
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.items.iter().for_each(|(_, state)| counts.add(state));
        counts
    }
}

/// Which of these positions were published to a topic.
pub(super) fn of_topic(connection: &Connection, topic: &Topic, position: Position) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM addressed WHERE audience = ?1 AND position = ?2")?
        .exists(params![Audience::Topic(topic.clone()).to_string(), position])
}

/// What a user has done with the notifications from a position on.
struct States {
    marks: HashMap<Position, State>,
    seen: Watermarks,
    read: Watermarks,
}

/// Where all through a position was marked, and when; both rise.
struct Watermarks(Vec<(Position, Timestamp)>);

impl Watermarks {
    /// Those that cover something from that position on: of each time that she marked all there is one.
    fn load(connection: &Connection, user: &UserId, kind: &str, from: Position) -> rusqlite::Result<Watermarks> {
        connection
            .prepare_cached(
                "SELECT through, at FROM watermark WHERE user = ?1 AND kind = ?2 AND through >= ?3 ORDER BY through",
            )?
            .query_map(params![user.as_str(), kind, from], |row| Ok((row.get(0)?, row.get::<_, Millisecond>(1)?.0)))?
            .collect::<rusqlite::Result<_>>()
            .map(Watermarks)
    }

    /// When the mark that covers the position first was made.
    fn of(&self, position: Position) -> Option<Timestamp> {
        let first = self.0.partition_point(|(through, _)| *through < position);
        self.0.get(first).map(|(_, at)| *at)
    }
}

impl States {
    fn load(connection: &Connection, user: &UserId, from: Position) -> rusqlite::Result<States> {
        if erasing::through(connection, user)?.is_some() {
            // Whatever is left is from before.
            return Ok(States { marks: HashMap::new(), seen: Watermarks(Vec::new()), read: Watermarks(Vec::new()) });
        }
        let marks = connection
            .prepare_cached("SELECT position, seen, read, archived FROM mark WHERE user = ?1 AND position >= ?2")?
            .query_map(params![user.as_str(), from], |row| {
                Ok((row.get(0)?, State { seen_at: time(row, 1)?, read_at: time(row, 2)?, archived_at: time(row, 3)? }))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let watermarks = |kind| Watermarks::load(connection, user, kind, from);
        Ok(States { marks, seen: watermarks("seen")?, read: watermarks("read")? })
    }

    fn of(&self, position: Position) -> State {
        let by_watermark =
            || State { seen_at: self.seen.of(position), read_at: self.read.of(position), archived_at: None };
        self.marks.get(&position).copied().unwrap_or_else(by_watermark)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::content::{Content, Fields, Patch};
    use crate::notification::{MEMBERSHIPS_ENDED_MAX, MUTES_ENDED_MAX, Notification, NotificationId};
    use crate::state::Set;
    use crate::store::sqlite::changes::Changes;
    use crate::store::sqlite::schema;
    use crate::store::suite::notification;
    use crate::store::{Command, Outcome, Selection};

    const BOUNDS: Bounds = Bounds { inbox_max: 20, passed_max: 100 };

    const TOPICS_MAX: usize = 5;

    struct Log {
        connection: Connection,
        head: Position,
    }

    impl Log {
        fn new() -> Log {
            let mut connection = Connection::open_in_memory().expect("opens");
            schema::prepare(&mut connection).expect("prepared");
            Log { connection, head: Position::START }
        }

        fn apply(&mut self, command: Command) -> Outcome {
            let mut changes = Changes {
                connection: &self.connection,
                head: self.head,
                entries: Vec::new(),
                latest: Timestamp::UNIX_EPOCH,
                bounds: BOUNDS,
                topics_max: TOPICS_MAX,
                takes_back: false,
                damaged: Vec::new(),
            };
            let outcome = changes.apply(command, Timestamp::UNIX_EPOCH).expect("applied");
            self.head = changes.head;
            outcome
        }

        fn publish(&mut self, audience: &str, category: &str) -> NotificationId {
            let category = (!category.is_empty()).then(|| category.to_owned());
            let fields = Fields { message: "x".into(), category, ..Fields::default() };
            let content = Content::parse(&fields).expect("valid");
            let notification = Notification { content, ..notification(&[audience], "x") };
            let id = notification.id;
            self.apply(Command::Publish(Arc::new(notification)));
            id
        }

        fn mute(&mut self, categories: &[String]) -> Outcome {
            self.apply(Command::Mute { user: user(), categories: categories.to_vec() })
        }

        fn interest(&self) -> Interest {
            interest(&self.connection, &user()).expect("read")
        }

        fn inbox(&self) -> Inbox {
            Inbox::load(&self.connection, &self.interest(), Timestamp::UNIX_EPOCH, BOUNDS).expect("read")
        }

        fn rows_written(&mut self, work: impl FnOnce(&mut Log)) -> u64 {
            let before = self.connection.total_changes();
            work(self);
            self.connection.total_changes() - before
        }
    }

    fn user() -> UserId {
        "1".parse().expect("valid")
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("c{number}")).collect()
    }

    /// Mutant: go on beyond what is passed over at most.
    #[test]
    fn a_muted_category_costs_a_bounded_look_however_busy_it_is() {
        let mut log = Log::new();
        log.publish("everyone", "");
        log.publish("user:1", "");
        log.mute(&["ruido".to_owned()]);
        let looked: Vec<usize> = [50, 950, 2000]
            .into_iter()
            .map(|count| {
                (0..count).for_each(|_| {
                    log.publish("everyone", "ruido");
                });
                log.inbox().looked
            })
            .collect();
        assert_eq!(log.inbox().items.len(), 1, "their own, and nothing for everyone from before");
        assert!(looked[2] <= looked[1] && looked[2] <= 2 * ROWS_PER_READ.end() + BOUNDS.passed_max, "{looked:?}");
        let mark =
            Command::Mark { user: user(), selection: Selection::All, set: Set { read: Some(true), ..Set::default() } };
        assert!(matches!(log.apply(mark), Outcome::Marked { counts, .. } if counts.total == 1));
        log.publish("everyone", "otra");
        assert_eq!(log.inbox().items.len(), 2);
    }

    /// Mutant: the category of an edited notification stays in `addressed`.
    #[test]
    fn what_becomes_muted_by_an_edit_is_passed_over() {
        let mut log = Log::new();
        log.mute(&["ruido".to_owned()]);
        let id = log.publish("everyone", "otra");
        let fields = Fields { message: "x".into(), category: Some("ruido".into()), ..Fields::default() };
        assert_eq!(log.inbox().items.len(), 1);
        let patch = Patch::new(&["category".to_owned()], &Content::parse(&fields).expect("valid"));
        log.apply(Command::Edit { id, patch });
        assert!(log.inbox().items.is_empty());
    }

    /// Mutant: write all rows again.
    #[test]
    fn a_change_of_what_is_muted_writes_the_difference_only() {
        let mut log = Log::new();
        let all = names(100);
        log.mute(&all);
        // Two rows are the entry of the log and its address.
        assert_eq!(log.rows_written(|log| drop(log.mute(&all[1..]))), 3, "the span that covers nothing goes");
        assert_eq!(log.rows_written(|log| drop(log.mute(&all))), 3);
        assert_eq!(log.rows_written(|log| drop(log.mute(&all))), 0);
    }

    #[test]
    fn ended_mutes_that_cover_nothing_of_their_category_are_not_kept() {
        let mut log = Log::new();
        for _ in 0..50 {
            log.mute(&names(100));
            log.publish("everyone", "c7");
            log.mute(&[]);
        }
        let mutes = log.interest().mutes;
        assert_eq!(mutes.len(), 50);
        assert!(mutes.iter().all(|mute| mute.category == "c7"));
        assert!(log.inbox().items.is_empty(), "what was muted stays so");
    }

    #[test]
    fn the_mutes_of_a_user_are_bounded_whatever_they_toggle() {
        let mut log = Log::new();
        for _ in 0..MUTES_ENDED_MAX / 4 {
            log.mute(&names(10));
            for number in 0..10 {
                log.publish("everyone", &format!("c{number}"));
            }
            log.mute(&[]);
        }
        let mutes = log.interest().mutes;
        assert_eq!(mutes.len(), MUTES_ENDED_MAX);
        let oldest = mutes.iter().map(|mute| mute.since).min().expect("some");
        assert!(oldest > Position(log.head.0 / 2), "the newest are kept: from {oldest:?} on");
    }

    #[test]
    fn ended_memberships_in_which_nothing_was_said_are_not_kept() {
        let mut log = Log::new();
        let topic: Topic = "t".parse().expect("valid");
        for round in 0..100 {
            log.apply(Command::Join { user: user(), topics: vec![topic.clone()] });
            if round == 50 {
                log.publish("topic:t", "");
            }
            if round == 60 {
                let id = log.publish("topic:t", "");
                log.apply(Command::Recall { id });
            }
            log.apply(Command::Leave { user: user(), topic: topic.clone() });
        }
        assert_eq!(log.interest().memberships.len(), 2, "one has a notification, one a recall that may be owed");
        assert_eq!(log.inbox().items.len(), 1);
    }

    /// Mutant: count those that have ended.
    #[test]
    fn a_user_joins_so_many_topics_and_of_a_list_all_or_none() {
        let mut log = Log::new();
        let join = |names: &[&str]| Command::Join {
            user: user(),
            topics: names.iter().map(|name| name.parse().expect("valid")).collect(),
        };
        let leave = |name: &str| Command::Leave { user: user(), topic: name.parse().expect("valid") };
        assert_eq!(log.apply(join(&["a", "b", "b", "a", "c"])), Outcome::Logged(Position(3)));
        assert_eq!(log.apply(join(&["d", "a", "e", "f"])), Outcome::TooMany);
        assert_eq!((log.head, log.interest().memberships.len()), (Position(3), 3), "nothing of it is done");
        assert_eq!(log.apply(join(&["d", "a", "e"])), Outcome::Logged(Position(5)));
        assert_eq!(log.apply(join(&["b", "e"])), Outcome::Unchanged);
        assert_eq!(log.apply(join(&["f"])), Outcome::TooMany);
        log.publish("topic:a", "");
        log.apply(leave("a"));
        assert_eq!(log.apply(join(&["f"])), Outcome::Logged(Position(8)), "one has ended");
        let other = Command::Join { user: "2".parse().expect("valid"), topics: vec!["g".parse().expect("valid")] };
        assert_eq!(log.apply(other), Outcome::Logged(Position(9)), "others have their own");
    }

    /// Mutant: keep them all.
    #[test]
    fn ended_memberships_are_bounded_and_the_newest_are_kept() {
        let mut log = Log::new();
        let topic: Topic = "t".parse().expect("valid");
        for _ in 0..MEMBERSHIPS_ENDED_MAX + 10 {
            log.apply(Command::Join { user: user(), topics: vec![topic.clone()] });
            log.publish("topic:t", "");
            log.apply(Command::Leave { user: user(), topic: topic.clone() });
        }
        log.apply(Command::Join { user: user(), topics: vec![topic] });
        let memberships = log.interest().memberships;
        assert_eq!(memberships.len(), MEMBERSHIPS_ENDED_MAX + 1);
        let oldest = memberships.iter().map(|membership| membership.since).min();
        assert_eq!(oldest, Some(Position(31)), "the first ten are gone");
        let inbox = log.inbox();
        assert_eq!(inbox.items.len(), BOUNDS.inbox_max);
        assert!(inbox.looked <= BOUNDS.inbox_max + 1, "older ones are not read: {}", inbox.looked);
    }

    /// 300 topics with 100 notifications each, and one that has all that is newest.
    fn busy() -> Log {
        let log = Log::new();
        log.connection
            .execute_batch(
                "WITH RECURSIVE t(t) AS (SELECT 1 UNION ALL SELECT t + 1 FROM t WHERE t < 300)
                 INSERT INTO member (user, topic, since, checksum)
                     SELECT '1', 't' || t, 0, checksum_of('member', '1', 't' || t, 0, NULL) FROM t;
                 WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 30000)
                 INSERT INTO addressed (audience, position) SELECT 'topic:t' || (n % 300 + 1), n FROM n;
                 WITH RECURSIVE n(n) AS (SELECT 30001 UNION ALL SELECT n + 1 FROM n WHERE n < 30200)
                 INSERT INTO addressed (audience, position) SELECT 'topic:t7', n FROM n;",
            )
            .expect("filled");
        log
    }

    /// Mutant: as many of each topic as if there were one.
    #[test]
    fn a_look_reads_so_much_ahead_however_many_topics_there_are() {
        let log = busy();
        let look = |inbox_max| {
            let bounds = Bounds { inbox_max, ..BOUNDS };
            Inbox::load(&log.connection, &log.interest(), Timestamp::UNIX_EPOCH, bounds).expect("read")
        };
        let positions = |inbox: &Inbox| inbox.items.iter().map(|(position, _)| position.0).collect::<Vec<_>>();
        let inbox = look(20);
        assert_eq!(positions(&inbox), (30181..=30200).rev().collect::<Vec<_>>());
        assert!(inbox.looked <= ROWS_AHEAD + 20, "{}", inbox.looked);
        let inbox = look(5000);
        assert_eq!(positions(&inbox), (25201..=30200).rev().collect::<Vec<_>>());
    }

    /// Mutant: of each topic as many rows as are wanted of all.
    #[test]
    fn what_was_missed_is_read_at_once_of_many_topics_as_of_few() {
        let log = busy();
        let interest = log.interest();
        let mut after = Position::START;
        let mut all = Vec::new();
        let steps = |sql| {
            let statement = log.connection.prepare_cached(sql).expect("prepared");
            let steps = statement.reset_status(rusqlite::StatementStatus::VmStep);
            usize::try_from(steps).expect("some")
        };
        while after < Position(300) {
            let (positions, reached) =
                positions(&log.connection, &interest, after, Position(30200), 100).expect("read");
            assert_eq!(positions.len(), 100);
            // Some 20 for each topic, and 10 for each row.
            let steps = steps(NOTIFIED_AFTER);
            assert!(steps < 300 * 40 + 20 * 1000, "{steps} steps");
            all.extend(positions.iter().map(|position| position.0));
            after = reached;
        }
        assert_eq!(all, (1..=300).collect::<Vec<_>>());
    }

    /// Mutant: without the indexes of what is not seen or read.
    #[test]
    fn a_mark_of_all_looks_only_at_what_it_changes() {
        let mut log = Log::new();
        let all = |set| Command::Mark { user: user(), selection: Selection::All, set };
        let read = Set { read: Some(true), ..Set::default() };
        let steps = |log: &mut Log| {
            log.publish("user:1", "");
            let sql = "UPDATE mark INDEXED BY mark_unread SET read = 0 WHERE user = '1' AND position <= 9999 AND read IS NULL";
            let mut update = log.connection.prepare(sql).expect("prepared");
            update.execute([]).expect("done");
            update.get_status(rusqlite::StatementStatus::VmStep)
        };
        log.publish("user:1", "");
        log.apply(all(read));
        let few = steps(&mut log);
        for _ in 0..200 {
            let id = log.publish("user:1", "");
            log.apply(Command::Mark { user: user(), selection: Selection::These(vec![id]), set: read });
        }
        assert_eq!(steps(&mut log), few);
    }
}
