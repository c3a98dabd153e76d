//! What the writer does beside appends: it publishes what is due, removes what has expired, is too old or too much, or is being
//! erased, and makes room on a full disk.
//!
//! **Invariant:** each step is a commit of its own that looks at a bounded number of rows, so that whoever appends waits for one
//! step. One that fails is noted and tried again; it keeps no other from being done.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::super::changes::Changes;
use super::super::checkpoint::{FORGETS_AFTER, FORGETS_OLD_AFTER};
use super::super::clock::{self, Age};
use super::super::failure::{Broken, Failure};
use super::super::{erasing, maintenance, once, retention, rows};
use super::Writer;
use crate::notification::Position;
use crate::store::{Failing, StoreError};

/// Notifications that are published in one turn when they are due.
const DUE_PER_TURN: usize = 256;

impl Writer {
    /// Removes a piece of who is being erased. False if the store must stop.
    pub(super) fn go_on_erasing(&mut self) -> bool {
        if !self.erasing {
            return true;
        }
        let first = self.deferred.first().cloned();
        let more = self.maintain("erase", FORGETS_AFTER, |changes| erasing::go_on(changes.connection, first.as_ref()));
        // What fails is tried again within a minute.
        self.erasing = more == Ok(true);
        if let Err(failure) = more {
            self.deferred.refuse(failure);
            return !failure.stops();
        }
        let ready = self.deferred.take_ready(&self.connection);
        ready.is_empty() || self.append(ready)
    }

    /// Lets a checkpoint that found no space end, which empties the `-wal`: before it is larger than the reserve.
    pub(super) fn make_room(&mut self) {
        if self.maintenance.waits_for_space("checkpoint") && self.reserve.give_up() {
            self.wal.look(&self.maintenance, true);
        }
    }

    /// What has failed, and what can't be done for want of space.
    pub(super) fn failing(&self) -> Vec<Failing> {
        let mut failing = self.maintenance.failing();
        if self.refuses || self.reserve.is_short() {
            failing.push(Failing { work: "publish", passes: true });
        }
        failing
    }

    /// Does some maintenance in one commit. What it removes has left the `-wal` after that time.
    fn maintain<T>(
        &mut self,
        work: &'static str,
        forgets_after: Duration,
        task: impl FnOnce(&mut Changes<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Failure> {
        let before = self.connection.total_changes();
        let done = self.attempt(task);
        if self.connection.total_changes() > before {
            self.wal.forget(forgets_after);
            self.erasing = true;
        }
        self.maintained(work, done)
    }

    /// Notes how some maintenance ended, and takes it back if it failed.
    pub(super) fn maintained<T>(&mut self, work: &'static str, done: Result<T, Broken>) -> Result<T, Failure> {
        self.maintenance.note(&self.options.metrics, work, done.as_ref().err().map(|broken| &broken.error));
        done.map_err(|broken| self.taken_back(&broken)).inspect_err(|failure| {
            if *failure == Failure::Full {
                // What removes something works the next time.
                self.reserve.give_up();
            }
        })
    }

    /// Looks after those users who may have too many, up to the first who has more than is removed in one turn. False if
    /// the store must stop; what else fails is tried again after as many more.
    pub(super) fn tidy(&mut self) -> bool {
        let inbox_max = self.options.inbox_max;
        while let Some(user) = self.counted.take_due() {
            match self.maintain("trim_user", FORGETS_OLD_AFTER, |changes| {
                retention::trim_user(changes.connection, &user, inbox_max)
            }) {
                Ok(true) => {
                    self.counted.put_back(user);
                    return true;
                }
                Err(failure) if failure.stops() => return false,
                Ok(false) | Err(_) => {}
            }
        }
        true
    }

    /// Publishes some of what is due and removes some of what has expired; says when to go on.
    pub(super) fn advance(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        maintenance::measure(&self.connection, &self.options.metrics);
        self.damages.say(Instant::now());
        self.erasing = true;
        let full = self.reserve.is_given_up();
        self.wal.look(&self.maintenance, full);
        // What the wall clock says has expired is shown to nobody. It is removed only when the log's time says so too.
        let (uptime, newest) = (self.uptime, self.latest);
        let age = self.age(now).map_err(|error| StoreError::Unavailable(error.into()))?;
        let expired = age.map_or(Timestamp::MIN, |age| age.read(now, newest));
        let published = if !full {
            self.commit(|changes| changes.publish_due(now, expired, DUE_PER_TURN))
        } else if rows::any_due(&self.connection, now).unwrap_or(true) {
            Err(Failure::Full)
        } else {
            Ok(0)
        };
        if let Err(failure) = published
            && failure.stops()
        {
            return Err(failure.into());
        }
        // Also on a full disk, which this may mend.
        let more = published == Ok(DUE_PER_TURN)
            || self.maintain("expire", FORGETS_OLD_AFTER, |changes| {
                Ok(retention::expire(changes.connection, expired)? | once::forget(changes.connection, uptime)?)
            })?
            || self.give_back()?;
        published?;
        if more {
            return Ok(Some(now));
        }
        rows::next_due(&self.connection, now).map_err(|error| StoreError::Unavailable(error.into()))
    }

    /// How old the log is; nothing as long as it has no entry.
    fn age(&mut self, now: Timestamp) -> rusqlite::Result<Option<&mut Age>> {
        if self.age.is_none() {
            self.age = Age::load(&self.connection, self.options.doubts_clock_for, now)?;
        }
        Ok(self.age.as_mut())
    }

    /// Reads the log's own time, and keeps it.
    pub(super) fn log_time(&mut self, now: Timestamp) -> Result<Timestamp, StoreError> {
        let newest = self.latest;
        let Some(age) = self.age(now).map_err(|error| StoreError::Unavailable(error.into()))? else { return Ok(now) };
        let (time, age, uptime) = (age.read(now, newest), *age, self.uptime);
        match self.commit(|changes| clock::save(changes.connection, uptime, &age)) {
            // Kept the next time: it is read again every few minutes.
            Err(failure) if failure.stops() => Err(failure.into()),
            Ok(()) | Err(_) => Ok(time),
        }
    }

    /// Notes that something of the log up to there can't be given.
    pub(super) fn forgo(&mut self, through: Position) -> Result<(), Failure> {
        let (through, damaged) = (through.min(self.head), self.damages.take_entries());
        self.damages.leaves_gap(through);
        self.commit(|changes| {
            retention::leave_out(changes.connection, &damaged)?;
            retention::forgo(changes.connection, through)
        })
    }

    /// Removes some of what is too old; says whether to go on.
    pub(super) fn trim(&mut self, older_than: Timestamp) -> Result<bool, StoreError> {
        let head = self.head;
        let trimmed =
            self.maintain("trim", FORGETS_OLD_AFTER, |changes| retention::trim(changes.connection, head, older_than))?;
        if let Some(through) = trimmed {
            self.followers.iter().for_each(|follower| follower.trimmed(through));
        }
        Ok(self.give_back()? || trimmed.is_some())
    }

    pub(super) fn give_back(&mut self) -> Result<bool, Failure> {
        self.wal.note_pages(&mut self.maintenance);
        // Each step commits.
        let done = retention::give_back(&self.connection).map_err(|error| Broken { error, committing: true });
        self.maintained("vacuum", done)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::{Options, SqliteStore};
    use super::*;
    use crate::notification::Notification;
    use crate::store::suite::notification;
    use crate::store::{Command, Status, Store as _, Wanted};

    /// Mutants: the wall clock until somebody has asked for the log's own time; the wall clock for what is scheduled.
    #[tokio::test]
    async fn a_start_with_the_clock_ahead_removes_nothing_that_expires_nor_drops_what_is_scheduled() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let (now, hour) = (Timestamp::from_second(1_790_000_000).expect("in range"), Duration::from_hours(1));
        let lasting = |message: &str, hours: u32| {
            let notification = notification(&["user:ana"], message);
            Arc::new(Notification { timestamp: now, expires_at: Some(now + hour * hours), ..notification })
        };
        let store = open();
        store.one(now, Command::Publish(lasting("dura", 10))).await.expect("published");
        let schedule = Command::Schedule { notification: lasting("pronto", 2), due: now + hour };
        store.one(now, schedule).await.expect("scheduled");
        drop(store);
        let store = open();
        let ahead = now + hour * 24 * 400;
        while store.advance(ahead).await.expect("advanced") == Some(ahead) {}
        drop(store);
        let user = "ana".parse().expect("valid");
        let wanted = Wanted { user, status: Status::All, category: None, topic: None, before: None, limit: 9, at: now };
        assert_eq!(open().page(wanted).await.expect("read").items.len(), 2);
    }
}
