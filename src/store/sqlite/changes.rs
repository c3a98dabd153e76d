//! What each command does to the tables, inside the transaction of its commit.
//!
//! **Invariant:** whatever changes what somebody has also puts an entry into the log, at the next position, in the same
//! transaction. A command that changes nothing puts none.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::types::Null;
use rusqlite::{Connection, params};

use super::access;
use super::checksum::{LOG, SCHEDULED};
use super::damage::Damaged;
use super::erasing;
use super::feed::{self, Bounds, Inbox};
use super::forgetting::forget;
use super::rows::{self, Millisecond, published, scheduled};
use super::spans;
use crate::content::Patch;
use crate::notification::{
    Audience, Change, Entry, Notification, NotificationId, Position, RemovalReason, ReplacementKey, Topic, UserId,
};
use crate::state::{Marked, Set, State, Which};
use crate::store::{Command, Outcome, Selection};

/// How far the clock goes back, at least, when it was set back.
const CLOCK_STEP_MIN: Duration = Duration::from_secs(1);

/// A transaction under way.
pub(super) struct Changes<'a> {
    pub(super) connection: &'a Connection,
    /// The last position given out.
    pub(super) head: Position,
    /// What the log says in addition.
    pub(super) entries: Vec<Entry>,
    /// The latest time of an entry since the clock was last set back.
    pub(super) latest: Timestamp,
    /// How far the inbox of a user reaches.
    pub(super) bounds: Bounds,
    /// Most topics that a user is a member of.
    pub(super) topics_max: usize,
    /// Whether some text is no longer to be found in the files.
    pub(super) takes_back: bool,
    /// What was met and can't be read.
    pub(super) damaged: Vec<Damaged>,
}

impl Changes<'_> {
    pub(super) fn apply(&mut self, command: Command, at: Timestamp) -> rusqlite::Result<Outcome> {
        if let Some(user) = command.user() {
            erasing::finish(self.connection, user)?;
        }
        self.takes_back |= matches!(command, Command::Edit { .. } | Command::Recall { .. } | Command::Erase { .. });
        match command {
            Command::Publish(notification) => self.publish(notification),
            Command::Schedule { notification, due } => self.schedule(&notification, due),
            Command::Edit { id, patch } => self.edit(id, &patch, at),
            Command::Recall { id } => self.recall(id, at),
            Command::Mark { user, selection, set } => self.mark(user, &selection, set, at),
            Command::Mute { user, categories } => self.mute(user, categories, at),
            Command::Erase { user } => self.erase(user, at),
            Command::Join { user, topics } => self.join(&user, topics, at),
            Command::Leave { user, topic } => self.leave(user, topic, at),
            Command::Revoke { user, through } => self.revoke(user, through, at),
            Command::KeepKey(key) => access::keep_key(self.connection, &key),
            Command::RotateSecret { new, until } => access::rotate_secret(self.connection, &new, until, at),
            Command::ForgetKey { id, leaves_admin } => {
                access::forget_key(self.connection, id, leaves_admin.then_some(at))
            }
        }
    }

    /// Notes a position at which the clock was set back: between two such positions times rise.
    fn note_step(&mut self, position: Position, at: Timestamp) -> rusqlite::Result<()> {
        // Requests stamp before they queue, so neighbours may stand in another order than their times.
        if at.checked_add(CLOCK_STEP_MIN).is_ok_and(|at| at < self.latest) {
            self.connection.prepare_cached("INSERT INTO clock_step (position) VALUES (?1)")?.execute([position])?;
            self.latest = at;
        }
        self.latest = self.latest.max(at);
        Ok(())
    }

    /// Puts an entry into the log, other than a notification.
    fn log(
        &mut self,
        kind: &str,
        at: Timestamp,
        origin: Option<Position>,
        content: &str,
        change: Change,
    ) -> rusqlite::Result<Outcome> {
        let position = Position(self.head.0 + 1);
        self.note_step(position, at)?;
        let audiences: Vec<String> = match &change {
            Change::Joined { user, .. } | Change::Left { user, .. } | Change::Revoked { user } => {
                vec![Audience::User(user.clone()).to_string()]
            }
            change => change.audiences().iter().map(Audience::to_string).collect(),
        };
        let (id, expires, replaces) = (Null, Null, Null);
        self.connection.prepare_cached(&LOG.insert)?.execute(params![
            position,
            kind,
            Millisecond(at),
            audiences.join(" "),
            id,
            content,
            expires,
            replaces,
            origin
        ])?;
        let mut changed =
            self.connection.prepare_cached("INSERT INTO changed (audience, position, origin) VALUES (?1, ?2, ?3)")?;
        for audience in audiences {
            changed.execute(params![audience, position, origin.unwrap_or(position)])?;
        }
        self.head = position;
        self.entries.push(Entry { position, origin: origin.unwrap_or(position), change });
        Ok(Outcome::Logged(position))
    }

    fn publish(&mut self, notification: Arc<Notification>) -> rusqlite::Result<Outcome> {
        let audiences: Vec<String> = notification.audiences.iter().map(Audience::to_string).collect();
        let joined = audiences.join(" ");
        if let Some(key) = &notification.replaces {
            // There may be several since a user was erased from the audiences of one.
            let former: Vec<rusqlite::Result<NotificationId>> = self
                .connection
                .prepare_cached("SELECT id FROM log WHERE replaces = ?1 AND audiences = ?2")?
                .query_map([key.as_str(), &joined], |row| rows::parsed(row.get_ref(0)?.as_str()?))?
                .collect();
            for id in former {
                match id.and_then(|id| self.whole(id)) {
                    Ok(Some((position, former))) => {
                        self.remove(position, &former, RemovalReason::Replaced, notification.timestamp)?;
                    }
                    Ok(None) => {}
                    // Nobody has it any more.
                    Err(error) => self.damaged.push(Damaged::of(&error).ok_or(error)?),
                }
            }
        }
        let position = Position(self.head.0 + 1);
        self.note_step(position, notification.timestamp)?;
        let expires = notification.expires_at.map(Millisecond);
        self.connection.prepare_cached(&LOG.insert)?.execute(params![
            position,
            "notified",
            Millisecond(notification.timestamp),
            joined,
            notification.id.to_string(),
            notification.content.json(),
            expires,
            notification.replaces.as_ref().map(ReplacementKey::as_str),
            Null,
        ])?;
        let mut address = self
            .connection
            .prepare_cached("INSERT INTO addressed (audience, position, expires, category) VALUES (?1, ?2, ?3, ?4)")?;
        let category = notification.content.category();
        for audience in audiences {
            address.execute(params![audience, position, expires, category])?;
        }
        self.head = position;
        self.entries.push(Entry { position, origin: position, change: Change::Notified(notification) });
        Ok(Outcome::Logged(position))
    }

    fn schedule(&self, notification: &Notification, due: Timestamp) -> rusqlite::Result<Outcome> {
        let audiences: Vec<String> = notification.audiences.iter().map(Audience::to_string).collect();
        self.connection.prepare_cached(&SCHEDULED.insert)?.execute(params![
            notification.id.to_string(),
            Millisecond(due),
            Millisecond(notification.timestamp),
            audiences.join(" "),
            notification.content.json(),
            notification.expires_at.map(Millisecond),
            notification.replaces.as_ref().map(ReplacementKey::as_str),
        ])?;
        let sql = "INSERT INTO scheduled_user (user, id) VALUES (?1, ?2)";
        for audience in &notification.audiences {
            let Audience::User(user) = audience else { continue };
            self.connection.prepare_cached(sql)?.execute([user.as_str(), &notification.id.to_string()])?;
        }
        Ok(Outcome::Kept)
    }

    /// Publishes what is due at that time, at most `limit`; says how many it were. What has expired by the log's own time, as
    /// after a long downtime, is of no use any more. By the wall clock alone nothing goes: that is shown to nobody either.
    pub(super) fn publish_due(&mut self, now: Timestamp, expired: Timestamp, limit: usize) -> rusqlite::Result<usize> {
        let due = rows::due(self.connection, now, limit)?;
        for rows::Due { id, said } in &due {
            match said {
                Ok(notification) => {
                    self.unschedule(notification.id)?;
                    if notification.expires_at.is_none_or(|at| at > expired) {
                        self.publish(Arc::new(Notification { timestamp: now, ..Notification::clone(notification) }))?;
                    } else {
                        self.takes_back = true;
                    }
                }
                Err(damaged) => {
                    self.damaged.push(damaged.clone());
                    // It stays to be looked at, and is not due again.
                    self.connection
                        .prepare_cached("UPDATE scheduled SET due = ?2 WHERE id = ?1")?
                        .execute(params![id, rows::NEVER])?;
                }
            }
        }
        Ok(due.len())
    }

    /// A published notification, of which nobody is being erased.
    fn whole(&self, id: NotificationId) -> rusqlite::Result<Option<(Position, Arc<Notification>)>> {
        let found = published(self.connection, id)?;
        if let Some((position, notification)) = &found
            && erasing::take_from(self.connection, *position, notification.audiences.iter())?
        {
            return published(self.connection, id);
        }
        Ok(found)
    }

    fn unschedule(&self, id: NotificationId) -> rusqlite::Result<bool> {
        let gone = self.connection.prepare_cached("DELETE FROM scheduled WHERE id = ?1")?.execute([id.to_string()])?;
        Ok(gone > 0)
    }

    fn edit(&mut self, id: NotificationId, patch: &Patch, at: Timestamp) -> rusqlite::Result<Outcome> {
        let mut found = self.whole(id)?.map(|(origin, former)| (Some(origin), former));
        if found.is_none() {
            found = scheduled(self.connection, id)?.map(|(former, _)| (None, former));
        }
        let Some((origin, former)) = found else { return Ok(Outcome::Missing) };
        let Some(content) = former.content.patched(patch) else { return Ok(Outcome::Missing) };
        if former.content == content {
            return Ok(Outcome::Edited(former));
        }
        let table = if origin.is_some() { &*LOG } else { &*SCHEDULED };
        self.connection
            .prepare_cached(&format!("{} WHERE id = ?1", table.update(&[("content", "?2")])))?
            .execute(params![id.to_string(), content.json()])?;
        let edited = Arc::new(Notification { content, ..Notification::clone(&former) });
        if let Some(origin) = origin {
            spans::recategorize(self.connection, origin, &former, edited.content.category().as_deref())?;
            self.log("edited", at, Some(origin), &id.to_string(), Change::Edited(Arc::clone(&edited)))?;
        }
        Ok(Outcome::Edited(edited))
    }

    fn recall(&mut self, id: NotificationId, at: Timestamp) -> rusqlite::Result<Outcome> {
        if self.unschedule(id)? {
            return Ok(Outcome::Kept);
        }
        match self.whole(id)? {
            Some((position, notification)) => self.remove(position, &notification, RemovalReason::Recalled, at),
            None => Ok(Outcome::Missing),
        }
    }

    /// Takes a notification away from everybody: nothing of what it said stays.
    fn remove(
        &mut self,
        position: Position,
        notification: &Notification,
        reason: RemovalReason,
        at: Timestamp,
    ) -> rusqlite::Result<Outcome> {
        self.takes_back = true;
        forget(self.connection, position, notification.audiences.iter())?;
        let Notification { id, audiences, .. } = notification;
        let change = Change::Removed { id: *id, audiences: audiences.clone(), reason };
        self.log("removed", at, Some(position), &format!("{} {id}", reason.name()), change)
    }

    fn mark(&mut self, user: UserId, selection: &Selection, set: Set, at: Timestamp) -> rusqlite::Result<Outcome> {
        let interest = feed::interest(self.connection, &user)?;
        let mut inbox = Inbox::load(self.connection, &interest, at, self.bounds)?;
        let mut missing = Vec::new();
        let mut index_of = |id: NotificationId| -> rusqlite::Result<Option<usize>> {
            let index = published(self.connection, id)?.and_then(|(position, _)| inbox.index_of(position));
            if index.is_none() {
                missing.push(id);
            }
            Ok(index)
        };
        let (which, chosen): (Which, Vec<usize>) = match selection {
            Selection::These(ids) => {
                let found = ids.iter().filter_map(|id| Some((id.to_string(), index_of(*id).transpose()?)));
                let found: Vec<_> = found.map(|(id, index)| Ok((id, index?))).collect::<rusqlite::Result<_>>()?;
                let (ids, chosen) = found.into_iter().unzip();
                (Which { ids: Some(ids), up_to: None }, chosen)
            }
            Selection::UpTo(id) => match index_of(*id)? {
                Some(index) => (Which { ids: None, up_to: Some(id.to_string()) }, (index..inbox.items.len()).collect()),
                None => return Ok(Outcome::Missing),
            },
            Selection::All => (Which::default(), (0..inbox.items.len()).collect()),
        };
        let mut changed = Vec::new();
        for index in chosen {
            let (position, state) = &mut inbox.items[index];
            let after = state.set(set, at);
            if after != *state {
                *state = after;
                changed.push((*position, after));
            }
        }
        let counts = inbox.counts();
        if changed.is_empty() {
            return Ok(Outcome::Marked { counts, missing });
        }
        let through = changed.iter().map(|(position, _)| *position).max().unwrap_or_default();
        match (selection, set) {
            (Selection::UpTo(_) | Selection::All, Set { read: Some(true), archived: None, .. }) => {
                self.mark_through(&user, &["seen", "read"], through, at)?;
            }
            (Selection::UpTo(_) | Selection::All, Set { seen: Some(true), read: None, archived: None }) => {
                self.mark_through(&user, &["seen"], through, at)?;
            }
            _ => self.mark_each(&user, &changed)?,
        }
        let marked = Marked::new(&which, set, at, counts);
        let content = marked.json().to_owned();
        self.log("marked", at, None, &content, Change::Marked { user, marked })?;
        Ok(Outcome::Marked { counts, missing })
    }

    /// Marks all through a position in one row, and in what has rows of its own. Earlier watermarks stay as long as the log
    /// has what they cover: what comes back into her inbox, since something newer was taken back, is as it was.
    fn mark_through(&self, user: &UserId, kinds: &[&str], through: Position, at: Timestamp) -> rusqlite::Result<()> {
        for kind in kinds {
            let parameters = params![user.as_str(), kind, through, Millisecond(at)];
            self.connection
                .prepare_cached(
                    "INSERT INTO watermark (user, kind, through, at) SELECT ?1, ?2, ?3, ?4
                     WHERE NOT EXISTS (SELECT 1 FROM watermark WHERE user = ?1 AND kind = ?2 AND through >= ?3)",
                )?
                .execute(parameters)?;
            self.connection
                .prepare_cached(&format!(
                    "UPDATE mark INDEXED BY mark_un{kind} SET {kind} = ?3
                     WHERE user = ?1 AND position <= ?2 AND {kind} IS NULL"
                ))?
                .execute(params![user.as_str(), through, Millisecond(at)])?;
        }
        Ok(())
    }

    fn mark_each(&self, user: &UserId, changed: &[(Position, State)]) -> rusqlite::Result<()> {
        let mut mark = self.connection.prepare_cached(
            "INSERT INTO mark (user, position, seen, read, archived) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET seen = excluded.seen, read = excluded.read, archived = excluded.archived",
        )?;
        for (position, state) in changed {
            let [seen, read, archived] =
                [state.seen_at, state.read_at, state.archived_at].map(|at| at.map(Millisecond));
            mark.execute(params![user.as_str(), position, seen, read, archived])?;
        }
        Ok(())
    }

    fn mute(&mut self, user: UserId, categories: Vec<String>, at: Timestamp) -> rusqlite::Result<Outcome> {
        let position = Position(self.head.0 + 1);
        let mut interest = feed::interest(self.connection, &user)?;
        let before = interest.mutes.clone();
        interest.mute(&categories, position);
        if interest.mutes == before {
            return Ok(Outcome::Unchanged);
        }
        spans::drop_empty(self.connection, &mut interest.mutes, position)?;
        spans::write(self.connection, &user, &before, &interest.mutes)?;
        let content = serde_json::to_string(&categories).expect("strings encode");
        self.log("muted", at, None, &content, Change::Muted { user, categories })
    }

    /// Forgets a user: at once for whoever looks, from the file in pieces. What was addressed to others too stays theirs. Streams
    /// forget the user's memberships with the entry that says so.
    fn erase(&mut self, user: UserId, at: Timestamp) -> rusqlite::Result<Outcome> {
        let hers = Audience::User(user.clone()).to_string();
        self.mute(user.clone(), Vec::new(), at)?;
        let mut known: bool = self
            .connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM addressed WHERE audience = ?1)
                     OR EXISTS (SELECT 1 FROM changed WHERE audience = ?1)
                     OR EXISTS (SELECT 1 FROM member WHERE user = ?2)
                     OR EXISTS (SELECT 1 FROM mark WHERE user = ?2) OR EXISTS (SELECT 1 FROM watermark WHERE user = ?2)",
            )?
            .query_row([&hers, user.as_str()], |row| row.get(0))?;
        known |= self.connection.prepare_cached("DELETE FROM mute WHERE user = ?1")?.execute([user.as_str()])? > 0;
        known |= erasing::take_from_scheduled(self.connection, &user)?;
        if !known {
            return Ok(Outcome::Unchanged);
        }
        erasing::begin(self.connection, &user, self.head)?;
        self.log("erased", at, None, "", Change::Erased { user })
    }

    /// Makes a user a member of topics, unless that were more than there may be.
    fn join(&mut self, user: &UserId, topics: Vec<Topic>, at: Timestamp) -> rusqlite::Result<Outcome> {
        let new = spans::not_joined(self.connection, user, topics)?;
        if new.is_empty() {
            return Ok(Outcome::Unchanged);
        }
        if spans::count_joined(self.connection, user)? + new.len() > self.topics_max {
            return Ok(Outcome::TooMany);
        }
        let mut join = self.connection.prepare_cached(&spans::JOIN)?;
        for topic in new {
            join.execute(params![user.as_str(), topic.as_str(), Position(self.head.0 + 1), Null])?;
            let content = topic.to_string();
            self.log("joined", at, None, &content, Change::Joined { user: user.clone(), topic })?;
        }
        Ok(Outcome::Logged(self.head))
    }

    fn revoke(&mut self, user: UserId, through: Timestamp, at: Timestamp) -> rusqlite::Result<Outcome> {
        access::revoke(self.connection, &user, through)?;
        self.log("revoked", at, None, "", Change::Revoked { user })
    }

    /// Ends a membership.
    fn leave(&mut self, user: UserId, topic: Topic, at: Timestamp) -> rusqlite::Result<Outcome> {
        let left = self.connection.prepare_cached(&spans::LEAVE)?.execute(params![
            user.as_str(),
            topic.as_str(),
            Position(self.head.0 + 1)
        ])?;
        if left == 0 {
            return Ok(Outcome::Unchanged);
        }
        spans::drop_empty_membership(self.connection, user.as_str(), topic.as_str(), Position(self.head.0 + 1))?;
        spans::drop_oldest_memberships(self.connection, user.as_str())?;
        let content = topic.to_string();
        self.log("left", at, None, &content, Change::Left { user, topic })
    }
}
