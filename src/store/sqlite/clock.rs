//! The log's own time, by which things are deleted: it follows the wall clock only as far as time has really passed.
//!
//! **Invariants**
//! * [`Uptime`] rises by the time for which the store has been open, and by nothing else: no step of the wall clock moves it.
//! * [`Age`] follows the wall clock, but in a running process at most [`CATCH_UP`] times as fast as time passes, and not at
//!   all over a restart. So a clock that is far ahead deletes little before somebody can see it. Only after
//!   [`Options::doubts_clock_for`](super::Options::doubts_clock_for) in one process is a clock that is still ahead believed.
//! * What it learned from a clock that was ahead, it unlearns: it falls as soon as the wall clock and the newest entry are
//!   both clearly earlier. The wall clock alone may be one that begins in 1970 at each start, until it is set.
//!
//! Deliberately absent: times that users see. Those are the wall clock's.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::checksum::update_identity;
use super::rows::{Millisecond, time};

/// How many times as fast as time passes the log ages while the wall clock is ahead of it.
const CATCH_UP: u32 = 4;
/// How far behind the wall clock the log's time may be without doubt about the clock.
const AGREEING: Duration = Duration::from_hours(1);

/// The time for which the store has been open, over restarts; it does not pass while it is closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uptime {
    before: Timestamp,
    opened: Instant,
}

impl Uptime {
    /// Goes on where the file says, or from the last request that was remembered by it.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Uptime> {
        let before = "SELECT max(uptime, ifnull((SELECT max(at) FROM once), 0)) FROM log_identity";
        let Millisecond(before) = connection.query_row(before, [], |row| row.get(0))?;
        Ok(Uptime { before, opened: Instant::now() })
    }

    /// As a time after 1970, which it is not: only differences mean something.
    pub(super) fn now(self) -> Timestamp {
        self.before.checked_add(self.opened.elapsed()).unwrap_or(Timestamp::MAX)
    }
}

/// How old the log is: a time that is compared with the times of its entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    at: Timestamp,
    read: Instant,
    behind: Duration,
    /// The wall clock is believed after so much time behind it.
    doubt: Duration,
}

impl Age {
    /// Goes on where the file says, or from the newest entry if the wall clock is not behind that; nothing if there is none
    /// yet.
    pub(super) fn load(connection: &Connection, doubt: Duration, wall: Timestamp) -> rusqlite::Result<Option<Age>> {
        let at = "SELECT ifnull(age, min((SELECT at FROM log ORDER BY position DESC LIMIT 1), ?1)) FROM log_identity";
        let at = connection.query_row(at, [Millisecond(wall)], |row| time(row, 0))?;
        Ok(at.map(|at| Age { at, read: Instant::now(), behind: Duration::ZERO, doubt }))
    }

    /// The log's time; never later than the wall clock. `newest` is when the newest entry was.
    pub(super) fn read(&mut self, wall: Timestamp, newest: Timestamp) -> Timestamp {
        let (read, before) = (Instant::now(), self.at);
        self.pass(read - self.read, wall, newest);
        if self.at < before {
            let (before, now) = (before.to_string(), self.at.to_string());
            tracing::warn!(
                before,
                now,
                "the clock was set back: the log's time was learned from a clock that was ahead, and follows it back"
            );
        }
        self.read = read;
        self.at.min(wall)
    }

    /// Lets so much time pass.
    fn pass(&mut self, elapsed: Duration, wall: Timestamp, newest: Timestamp) {
        let known = wall.max(newest);
        if self.at.duration_since(known) > AGREEING.try_into().unwrap_or_default() {
            self.at = known;
        }
        let ahead = wall.duration_since(self.at);
        self.behind =
            if ahead > AGREEING.try_into().unwrap_or_default() { self.behind + elapsed } else { Duration::ZERO };
        let latest = self.at.checked_add(elapsed * CATCH_UP).unwrap_or(Timestamp::MAX);
        let latest = if self.behind >= self.doubt { wall } else { latest };
        // A clock that was set back by little, or that no entry agrees with yet, stops it.
        self.at = wall.min(latest).max(self.at);
    }
}

/// Puts both into the file.
pub(super) fn save(connection: &Connection, uptime: Uptime, age: &Age) -> rusqlite::Result<()> {
    connection
        .prepare_cached(&update_identity(&[("uptime", "?1"), ("age", "?2")]))?
        .execute(params![Millisecond(uptime.now()), Millisecond(age.at)])
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);
    const RUN: Duration = Duration::from_mins(10);

    fn start() -> Timestamp {
        Timestamp::from_second(1_790_000_000).expect("in range")
    }

    /// How far the log's time has gone from `start` after so many runs with a clock that is off by that.
    fn after(runs: u32, off_by: impl Fn(Duration) -> jiff::SignedDuration) -> Duration {
        let doubt = Options::default().doubts_clock_for;
        let mut age = Age { at: start(), read: Instant::now(), behind: Duration::ZERO, doubt };
        for run in 1..=runs {
            let wall = start() + RUN * run + off_by(RUN * run);
            let before = age.at;
            age.pass(RUN, wall, before);
            assert!(age.at >= before, "it never goes back");
        }
        age.at.duration_since(start()).try_into().expect("forwards")
    }

    /// Mutant: the log is as old as the wall clock says.
    #[test]
    fn a_clock_that_is_ahead_ages_the_log_slowly_and_one_that_is_behind_not_at_all() {
        let days = |days: i64| jiff::SignedDuration::from_hours(24 * days);
        let a_day = 6 * 24;
        assert_eq!(after(a_day, |_| days(0)), DAY, "a clock that is right");
        for off_by in [31, 3650] {
            assert_eq!(after(1, |_| days(off_by)), 4 * RUN, "{off_by} days");
            assert_eq!(after(a_day, |_| days(off_by)), 4 * DAY, "{off_by} days");
            let for_an_hour = |passed: Duration| if passed <= HOUR { days(off_by) } else { days(0) };
            assert_eq!(after(a_day, for_an_hour), DAY, "{off_by} days ahead for an hour, then right again");
        }
        assert_eq!(after(a_day, |_| jiff::SignedDuration::from_hours(1)), DAY + HOUR, "an hour: soon caught up");
        for off_by in [-3650, -31, -2] {
            assert_eq!(after(a_day, |_| days(off_by)), Duration::ZERO, "{off_by} days");
        }
        assert_eq!(after(a_day, |_| -jiff::SignedDuration::from_hours(1)), 23 * HOUR);
        let frozen = |passed: Duration| -jiff::SignedDuration::try_from(passed).expect("in range");
        assert_eq!(after(a_day, frozen), Duration::ZERO, "a clock that stands still");
    }

    /// Mutant: what was learned from a clock that was ahead is kept.
    #[test]
    fn a_time_learned_from_a_clock_that_was_ahead_is_unlearned_once_an_entry_is_earlier() {
        let doubt = Options::default().doubts_clock_for;
        let learned = start() + 32 * DAY;
        let mut age = Age { at: learned, read: Instant::now(), behind: Duration::ZERO, doubt };
        age.pass(RUN, start(), learned);
        assert_eq!(age.at, learned, "only the wall clock is earlier");
        age.pass(RUN, learned - HOUR, learned - HOUR);
        assert_eq!(age.at, learned, "an ordinary correction");
        age.pass(RUN, Timestamp::UNIX_EPOCH, start());
        assert_eq!(age.at, start(), "no further than the newest entry");
        age.pass(RUN, start() + 31 * DAY, start() + 31 * DAY);
        assert_eq!(age.at, start() + 4 * RUN, "ahead again: slowly");
    }

    /// Of a file that was written before it kept its age.
    #[test]
    fn no_age_is_learned_from_an_entry_that_is_ahead_of_the_clock() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        super::super::schema::prepare(&mut connection).expect("prepared");
        let learned = |wall| Age::load(&connection, DAY, wall).expect("loaded").map(|age| age.at);
        assert_eq!(learned(start()), None);
        let entry = "INSERT INTO log (position, kind, at, audiences, content) VALUES (1, 'joined', ?1, '', '')";
        connection.execute(entry, [Millisecond(start() + 32 * DAY)]).expect("inserted");
        assert_eq!(learned(start()), Some(start()));
        assert_eq!(learned(start() + 40 * DAY), Some(start() + 32 * DAY));
    }

    #[test]
    fn a_clock_that_stays_ahead_for_a_week_is_believed() {
        let years = jiff::SignedDuration::from_hours(24 * 3650);
        let week = 7 * 6 * 24;
        assert_eq!(after(week - 1, |_| years), 4 * RUN * (week - 1));
        assert_eq!(after(week, |_| years), 7 * DAY + 3650 * DAY);
    }
}
