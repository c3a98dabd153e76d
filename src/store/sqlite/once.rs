//! Requests that may come again: how each was answered, for a day.
//!
//! **Invariant:** an answer is remembered in the transaction that does what was asked, so it is there exactly if that is
//! done.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::{Millisecond, whole};
use crate::store::{Answered, Once};

/// How long it is remembered which requests have been answered.
const REMEMBERED: Duration = Duration::from_hours(24);
/// Requests forgotten in one turn.
const FORGOTTEN_PER_TURN: usize = 500;

/// How a request of that key was answered, if it is remembered at that time.
pub(super) fn answered(connection: &Connection, key: &str, at: Timestamp) -> rusqlite::Result<Option<Answered>> {
    connection
        .prepare_cached("SELECT fingerprint, answer FROM once WHERE key = ?1 AND at >= ?2")?
        .query_row(params![key, oldest(at)], |row| Ok(Answered { fingerprint: row.get(0)?, answer: row.get(1)? }))
        .optional()
}

/// Remembers how a request is answered.
pub(super) fn remember(connection: &Connection, once: &Once, at: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO once (key, fingerprint, answer, at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![once.key, once.fingerprint, once.answer, Millisecond(at)])
        .map(|_| ())
}

/// Forgets some of what is no longer remembered at that time; says whether there was any.
pub(super) fn forget(connection: &Connection, at: Timestamp) -> rusqlite::Result<bool> {
    let forgotten = connection
        .prepare_cached("DELETE FROM once WHERE key IN (SELECT key FROM once WHERE at < ?1 LIMIT ?2)")?
        .execute(params![oldest(at), whole(FORGOTTEN_PER_TURN)])?;
    Ok(forgotten > 0)
}

fn oldest(at: Timestamp) -> Millisecond {
    Millisecond(at.checked_sub(REMEMBERED).unwrap_or(Timestamp::MIN))
}
