//! What a user has: the merge of her own notifications, her topics' while she is a member, and everyone's.
//!
//! **Invariant:** an inbox is the newest notifications of its user, a fixed number at most, each once, newest first. All
//! that is counted, listed or marked is taken from there, so none of it costs more the more others have stored, and no
//! count can drift: there is no counter.
//!
//! Deliberately absent: anything that writes.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use super::erasing;
use super::rows::{Millisecond, parsed, time, whole};
use crate::notification::{Audience, Interest, Membership, Mute, Position, Topic, UserId};
use crate::state::{Counts, State};

/// Positions read at once for one audience.
const POSITIONS_PER_READ: usize = 50;

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

/// Whether a user does not want what stands at a position. Nearly nobody mutes anything, and is then not asked.
fn is_muted(connection: &Connection, interest: &Interest, position: Position) -> rusqlite::Result<bool> {
    if interest.mutes.is_empty() {
        return Ok(false);
    }
    let category: Option<Option<String>> = connection
        .prepare_cached("SELECT content ->> '$.category' FROM log WHERE position = ?1")?
        .query_row([position], |row| row.get(0))
        .optional()?;
    Ok(category.flatten().is_some_and(|category| interest.mutes(&category, position)))
}

/// Positions of notifications for one audience, falling, some read ahead.
struct Run {
    span: Span,
    ahead: VecDeque<Position>,
    ended: bool,
}

/// Positions of a user's notifications, falling, each once.
struct Merge<'a> {
    statement: CachedStatement<'a>,
    runs: Vec<Run>,
    at: Timestamp,
}

impl Merge<'_> {
    fn new(connection: &Connection, spans: Vec<Span>, at: Timestamp) -> rusqlite::Result<Merge<'_>> {
        let statement = connection.prepare_cached(
            "SELECT position FROM addressed
             WHERE audience = ?1 AND position > ?2 AND position <= ?3 AND (expires IS NULL OR expires > ?4)
             ORDER BY position DESC LIMIT ?5",
        )?;
        let runs = spans.into_iter().map(|span| Run { span, ahead: VecDeque::new(), ended: false }).collect();
        Ok(Merge { statement, runs, at })
    }

    fn next(&mut self) -> rusqlite::Result<Option<Position>> {
        for Run { span, ahead, ended } in &mut self.runs {
            if !ahead.is_empty() || *ended {
                continue;
            }
            let Span { audience, after, through, .. } = &*span;
            let limit = whole(POSITIONS_PER_READ);
            let found =
                self.statement.query_map(params![audience, after, through, Millisecond(self.at), limit], |row| {
                    row.get::<_, Position>(0)
                })?;
            for position in found {
                ahead.push_back(position?);
            }
            *ended = ahead.len() < POSITIONS_PER_READ;
            if let Some(last) = ahead.back() {
                span.through = Position(last.0 - 1);
            }
        }
        let newest = self.runs.iter().filter_map(|run| run.ahead.front().copied()).max();
        if let Some(newest) = newest {
            for run in &mut self.runs {
                if run.ahead.front() == Some(&newest) {
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
}

impl Inbox {
    /// Reads the newest `inbox_max` of what an interest has at that time.
    pub(super) fn load(
        connection: &Connection,
        interest: &Interest,
        at: Timestamp,
        inbox_max: usize,
    ) -> rusqlite::Result<Inbox> {
        let mut merge = Merge::new(connection, spans(connection, interest, Position::START, Position::END)?, at)?;
        let mut positions = Vec::new();
        while positions.len() < inbox_max
            && let Some(position) = merge.next()?
        {
            if !is_muted(connection, interest, position)? {
                positions.push(position);
            }
        }
        if positions.is_empty() {
            // As for most who connect for the first time: there is nothing to be marked.
            return Ok(Inbox { items: Vec::new() });
        }
        let states = States::load(connection, &interest.user, positions.last().copied().unwrap_or(Position::END))?;
        Ok(Inbox { items: positions.into_iter().map(|position| (position, states.of(position))).collect() })
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
