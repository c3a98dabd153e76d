//! Which positions there are: the last one, the one after which all is there, and the one of a time.

use std::sync::LazyLock;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use super::checksum;
use super::rows::{self, Millisecond};
use crate::notification::{Position, UserId};

/// Most places where the clock was set back that are looked at to find a time, the newest ones.
const STEPS_LOOKED_AT_MAX: usize = 1000;

/// The last position that was given out.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<Position> {
    // The newest entries may have expired, and their positions have been given out all the same.
    connection
        .prepare_cached("SELECT max(given, ifnull((SELECT max(position) FROM log), 0)) FROM log_identity")?
        .query_row([], |row| row.get(0))
}

/// Everything after this position is still there for that user.
pub(super) fn oldest(connection: &Connection, user: &UserId) -> rusqlite::Result<Position> {
    oldest_of(connection, user.as_str())
}

/// The same; for a name that nobody has, for whoever it is.
pub(super) fn oldest_of(connection: &Connection, user: &str) -> rusqlite::Result<Position> {
    connection.prepare_cached(&OLDEST)?.query_row([user], |row| row.get(0))
}

/// If what it is read from is damaged, nothing is believed to be there.
static OLDEST: LazyLock<String> = LazyLock::new(|| {
    let newest = "(SELECT ifnull(max(position), 0) FROM log)";
    format!(
        "SELECT max(iif({}, trimmed, {newest}),
                    ifnull((SELECT iif({}, through, {newest}) FROM user_trimmed WHERE user = ?1), 0)) FROM log_identity",
        checksum::LOG_IDENTITY.sound,
        checksum::USER_TRIMMED.sound
    )
});

/// The last position whose entry is older than `at`, but for a second. Times rise from one place where the clock was set back
/// to the next, so the newest of these runs that begins before `at` is halved; a run that begins later is all newer.
pub(super) fn position_before(connection: &Connection, at: Timestamp) -> rusqlite::Result<Position> {
    let mut time_of_next = connection.prepare_cached("SELECT position, at FROM log WHERE position > ?1 LIMIT 1")?;
    let mut next = |after: Position| {
        time_of_next
            .query_row([after], |row| Ok((row.get::<_, Position>(0)?, row.get::<_, Millisecond>(1)?)))
            .optional()
    };
    let trimmed = oldest_of(connection, "")?;
    let mut steps = connection.prepare_cached("SELECT position FROM clock_step ORDER BY position DESC LIMIT ?1")?;
    let steps = steps.query_map([rows::whole(STEPS_LOOKED_AT_MAX)], |row| row.get::<_, Position>(0))?;
    let (mut low, mut high) = (trimmed, head(connection)?);
    for step in steps {
        let before = Position(step?.0.saturating_sub(1));
        match next(before)? {
            Some((_, time)) if time < Millisecond(at) => {
                low = before.max(trimmed);
                break;
            }
            _ => high = before,
        }
    }
    while low < high {
        let middle = Position(low.0.midpoint(high.0));
        match next(middle)? {
            Some((position, time)) if position <= high && time < Millisecond(at) => low = position,
            _ => high = middle,
        }
    }
    Ok(low)
}
