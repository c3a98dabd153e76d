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

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, params};

use super::erasing;
use super::rows::{Millisecond, parsed, time, whole};
use crate::notification::{Audience, Interest, Membership, Mute, Position, Topic, UserId};
use crate::state::{Counts, State};
use crate::store::Effort;

/// Positions read at once for one audience.
const POSITIONS_PER_READ: usize = 50;

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
    let memberships = connection
        .prepare_cached("SELECT topic, since, until FROM member WHERE user = ?1")?
        .query_map([user.as_str()], |row| {
            Ok(Membership { topic: parsed(row.get_ref(0)?.as_str()?)?, since: row.get(1)?, until: row.get(2)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mutes = connection
        .prepare_cached("SELECT category, since, until FROM mute WHERE user = ?1")?
        .query_map([user.as_str()], |row| Ok(Mute { category: row.get(0)?, since: row.get(1)?, until: row.get(2)? }))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Interest { user: user.clone(), memberships, mutes })
}

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
    let mut notified = connection.prepare_cached(
        "SELECT position, position FROM addressed WHERE audience = ?1 AND position > ?2 AND position <= ?3
         ORDER BY position LIMIT ?4",
    )?;
    let mut changed = connection.prepare_cached(
        "SELECT position, origin FROM changed WHERE audience = ?1 AND position > ?2 AND position <= ?3
         ORDER BY position LIMIT ?4",
    )?;
    let (mut positions, mut reached) = (Vec::new(), through);
    for span in spans(connection, interest, after, through)? {
        reached = reached.min(look(&mut notified, &span, (after, through), limit, &mut positions)?);
    }
    // What she got as a member is told of whether or not she has left, and what stands outside of a span never.
    for Span { audience, after: since, through: last } in spans(connection, interest, Position::START, Position::END)? {
        let span = Span { audience, after, through };
        reached = reached.min(look(&mut changed, &span, (since, last), limit, &mut positions)?);
    }
    positions.retain(|position| *position <= reached);
    positions.sort_unstable();
    positions.dedup();
    if positions.len() > limit {
        positions.truncate(limit);
        reached = positions.last().copied().unwrap_or(reached);
    }
    Ok((positions, reached))
}

/// Adds what a span has, as far as it is about something in `origins`, and says up to where it has been looked for: where
/// the last of `limit` rows stands.
fn look(
    statement: &mut CachedStatement<'_>,
    span: &Span,
    origins: (Position, Position),
    limit: usize,
    positions: &mut Vec<Position>,
) -> rusqlite::Result<Position> {
    let mut rows = statement.query(params![span.audience, span.after, span.through, whole(limit)])?;
    let (mut looked, mut last) = (0, Position::END);
    while let Some(row) = rows.next()? {
        (looked, last) = (looked + 1, row.get(0)?);
        let origin: Position = row.get(1)?;
        if origins.0 < origin && origin <= origins.1 {
            positions.push(last);
        }
    }
    Ok(if looked == limit { last } else { Position::END })
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
    ended: bool,
}

/// Positions of a user's notifications, falling, each once.
struct Merge<'a> {
    statement: CachedStatement<'a>,
    mutes: Mutes<'a>,
    /// Nothing if none is.
    damaged: Option<CachedStatement<'a>>,
    runs: Vec<Run>,
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
        let runs = spans(connection, interest, Position::START, Position::END)?.into_iter().map(|span| Run {
            own: span.audience == own,
            span,
            ahead: VecDeque::new(),
            ended: false,
        });
        let any_damaged = connection.prepare_cached("SELECT 1 FROM damaged")?.exists([])?;
        let is_damaged = || connection.prepare_cached("SELECT 1 FROM damaged WHERE position = ?1");
        let damaged = any_damaged.then(is_damaged).transpose()?;
        Ok(Merge { statement, damaged, mutes: Mutes::of(interest), runs: runs.collect(), at, looked: 0 })
    }

    /// From here on only what is addressed to the user by name.
    fn only_own(&mut self) {
        self.runs.retain(|run| run.own);
    }

    fn next(&mut self) -> rusqlite::Result<Option<Looked>> {
        for Run { span, ahead, own, ended } in &mut self.runs {
            if !ahead.is_empty() || *ended {
                continue;
            }
            let Span { audience, after, through, .. } = &*span;
            let mut rows = self.statement.query(params![audience, after, through, whole(POSITIONS_PER_READ)])?;
            while let Some(row) = rows.next()? {
                let position = row.get(0)?;
                let expired = time(row, 1)?.is_some_and(|expires| expires <= self.at);
                let is_damaged = self.damaged.as_mut().map_or(Ok(false), |damaged| damaged.exists([position]))?;
                let passed = expired || is_damaged || self.mutes.cover(row.get_ref(2)?.as_str_or_null()?, position);
                ahead.push_back(Looked { position, passed, own: *own });
            }
            self.looked += ahead.len();
            *ended = ahead.len() < POSITIONS_PER_READ;
            if let Some(last) = ahead.back() {
                span.through = Position(last.position.0 - 1);
            }
        }
        // The user's own run is the first, and so wins where others have the same position.
        let fronts = self.runs.iter().filter_map(|run| run.ahead.front().copied());
        let newest = fronts.max_by_key(|looked| (looked.position, looked.own));
        if let Some(newest) = newest {
            for run in &mut self.runs {
                if run.ahead.front().is_some_and(|looked| looked.position == newest.position) {
                    run.ahead.pop_front();
                }
            }
        }
        Ok(newest)
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
    use crate::notification::{MUTES_ENDED_MAX, Notification, NotificationId};
    use crate::state::Set;
    use crate::store::sqlite::changes::Changes;
    use crate::store::sqlite::schema;
    use crate::store::{Command, Outcome, Selection};

    const BOUNDS: Bounds = Bounds { inbox_max: 20, passed_max: 100 };

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
                takes_back: false,
                damaged: Vec::new(),
            };
            let outcome = changes.apply(command, Timestamp::UNIX_EPOCH).expect("applied");
            self.head = changes.head;
            outcome
        }

        fn publish(&mut self, audience: &str, category: &str) -> NotificationId {
            let id = NotificationId::generate();
            let category = (!category.is_empty()).then(|| category.to_owned());
            let fields = Fields { message: "x".into(), category, ..Fields::default() };
            self.apply(Command::Publish(Arc::new(Notification {
                id,
                timestamp: Timestamp::UNIX_EPOCH,
                audiences: vec![audience.parse().expect("valid")],
                content: Content::parse(&fields).expect("valid"),
                expires_at: None,
                replaces: None,
            })));
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
        assert!(looked[2] <= looked[1] && looked[2] <= 2 * POSITIONS_PER_READ + BOUNDS.passed_max, "{looked:?}");
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
            log.apply(Command::Join { user: user(), topic: topic.clone() });
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
