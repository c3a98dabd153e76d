//! What is removed, and how the file shrinks: what is too old, what has expired, what a user has too much of.
//!
//! **Invariant:** what is removed before its reader may have seen it moves the position after which she has everything
//! (`trimmed`, `user_trimmed`), in the same transaction; a cursor before that is told so. What has expired is owed to
//! nobody. No position is given out again, whatever is removed.
//!
//! Each function does a part of the work, so that appends wait no longer than for a few commits, and says whether more
//! is left.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::checksum::{LOG, USER_TRIMMED, update_identity};
use super::forgetting::{forget, forget_for};
use super::rows::{Millisecond, time, whole};
use crate::notification::{Audience, Position, UserId};

/// Entries, addresses and pages removed in one turn.
const TRIMMED_PER_TURN: usize = 500;
const ADDRESSES_TRIMMED_PER_TURN: usize = 5000;
const PAGES_FREED_PER_TURN: usize = 1024;
/// Pages that stay free for what comes: 1 MiB.
const PAGES_KEPT_FREE: i64 = 256;

/// What concerns entries up to a position, and nothing once they are gone: tables, their keys, the columns of the position.
const ABOUT_ENTRIES: [(&str, &str, &str); 6] = [
    ("clock_step", "position", "position"),
    ("damaged", "position", "position"),
    ("member", "user, topic, since", "until"),
    ("mute", "user, category, since", "until"),
    ("user_trimmed", "user", "through"),
    ("watermark", "user, kind, through", "through"),
];

/// The statement that removes of such a table what concerns entries up to ?1, at most ?2 rows.
fn oldest_removed((table, key, position): (&str, &str, &str)) -> String {
    format!(
        "DELETE FROM {table} WHERE ({key}) IN
         (SELECT {key} FROM {table} WHERE {position} <= ?1 ORDER BY {position} LIMIT ?2)"
    )
}

/// Removes the oldest entries up to the first that is young enough, but never the one at `head`; gives the last one that it
/// has removed.
pub(super) fn trim(
    connection: &Connection,
    head: Position,
    older_than: Timestamp,
) -> rusqlite::Result<Option<Position>> {
    // Of a damaged entry it is not known when it was; nobody can have it, so it keeps none behind it.
    let sql = format!(
        "SELECT position, audiences, iif({}, at, NULL) FROM log WHERE position < ?1 ORDER BY position LIMIT ?2",
        LOG.sound
    );
    let old = entries(connection, &sql, params![head, whole(TRIMMED_PER_TURN)], |row| {
        Ok(time(row, 2)?.is_none_or(|at| at < older_than))
    })?;
    let Some((last, _)) = old.last() else { return Ok(None) };
    for (position, audiences) in &old {
        forget(connection, *position, audiences.iter())?;
    }
    for about in ABOUT_ENTRIES {
        let mut removed = connection.prepare_cached(&oldest_removed(about))?;
        removed.execute(params![last, whole(ADDRESSES_TRIMMED_PER_TURN)])?;
    }
    forgo(connection, *last)?;
    Ok(Some(*last))
}

/// Notes that not everything up to a position can be given any more.
pub(super) fn forgo(connection: &Connection, through: Position) -> rusqlite::Result<()> {
    connection.prepare_cached(&update_identity(&[("trimmed", "max(trimmed, ?1)")]))?.execute([through]).map(|_| ())
}

/// Notes that notifications can't be given, so that nobody has them.
pub(super) fn leave_out(connection: &Connection, damaged: &[Position]) -> rusqlite::Result<()> {
    let mut note = connection.prepare_cached("INSERT OR IGNORE INTO damaged (position) VALUES (?1)")?;
    damaged.iter().try_for_each(|position| note.execute([position]).map(|_| ()))
}

/// Forgets so of those that can be given after all.
pub(super) fn let_in(connection: &Connection) -> rusqlite::Result<()> {
    let sql = format!(
        "DELETE FROM damaged WHERE position IN (SELECT position FROM log WHERE position IN damaged AND {})",
        LOG.sound
    );
    connection.execute(&sql, []).map(|_| ())
}

/// Removes what has expired.
pub(super) fn expire(connection: &Connection, now: Timestamp) -> rusqlite::Result<bool> {
    // When a damaged entry expires is not known either. It stays, so that whoever looks for it is told that it is damaged.
    let sql = format!("SELECT position, audiences FROM log WHERE expires <= ?1 AND {} LIMIT ?2", LOG.sound);
    let expired = entries(connection, &sql, params![Millisecond(now), whole(TRIMMED_PER_TURN)], |_| Ok(true))?;
    for (position, audiences) in &expired {
        forget(connection, *position, audiences.iter())?;
    }
    if let Some(last) = expired.iter().map(|(position, _)| position).max() {
        connection.prepare_cached(&update_identity(&[("given", "max(given, ?1)")]))?.execute([last])?;
    }
    Ok(!expired.is_empty())
}

/// Removes a user's own oldest entries if she has more of a kind than that.
pub(super) fn trim_user(connection: &Connection, user: &UserId, inbox_max: usize) -> rusqlite::Result<bool> {
    let hers = Audience::User(user.clone()).to_string();
    let mut removed = Vec::new();
    for (newest, older) in [
        (
            "SELECT position FROM addressed WHERE audience = ?1 ORDER BY position DESC LIMIT 1 OFFSET ?2",
            "SELECT position FROM addressed WHERE audience = ?1 AND position <= ?2 ORDER BY position LIMIT ?3",
        ),
        (
            "SELECT position FROM changed WHERE audience = ?1 ORDER BY position DESC LIMIT 1 OFFSET ?2",
            "SELECT position FROM changed WHERE audience = ?1 AND position <= ?2 ORDER BY position LIMIT ?3",
        ),
    ] {
        let first: Option<Position> = connection
            .prepare_cached(newest)?
            .query_row(params![hers, whole(inbox_max)], |row| row.get(0))
            .optional()?;
        if let Some(first) = first {
            let mut older = connection.prepare_cached(older)?;
            for position in older.query_map(params![hers, first, whole(TRIMMED_PER_TURN)], |row| row.get(0))? {
                removed.push(position?);
            }
        }
    }
    let Some(last) = removed.iter().max().copied() else { return Ok(false) };
    for position in &removed {
        forget_for(connection, *position, &hers)?;
    }
    connection
        .prepare_cached(&format!(
            "{} ON CONFLICT DO UPDATE SET
                 through = max(through, excluded.through),
                 checksum = checksum_of('user_trimmed', user, max(through, excluded.through))",
            USER_TRIMMED.insert
        ))?
        .execute(params![user.as_str(), last])?;
    Ok(removed.len() >= TRIMMED_PER_TURN)
}

/// Gives some free pages back to the disk; not inside a transaction.
pub(super) fn give_back(connection: &Connection) -> rusqlite::Result<bool> {
    let free: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    let too_many = (free - PAGES_KEPT_FREE).clamp(0, whole(PAGES_FREED_PER_TURN));
    if too_many == 0 {
        return Ok(false);
    }
    // The pragma frees a page at each step.
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({too_many})"))?;
    let mut steps = statement.query([])?;
    while steps.next()?.is_some() {}
    Ok(free - PAGES_KEPT_FREE > too_many)
}

/// Positions and audiences of entries, up to the first that is not wanted, or until they have too many addresses for one
/// turn.
fn entries(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    wanted: impl Fn(&Row<'_>) -> rusqlite::Result<bool>,
) -> rusqlite::Result<Vec<(Position, Vec<Audience>)>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let (mut found, mut addresses) = (Vec::new(), 0);
    while addresses <= ADDRESSES_TRIMMED_PER_TURN
        && let Some(row) = rows.next()?
        && wanted(row)?
    {
        // Of a damaged row too, as far as they can be read.
        let audiences: Vec<Audience> = row
            .get_ref(1)?
            .as_bytes()
            .map(String::from_utf8_lossy)?
            .split(' ')
            .filter_map(|audience| audience.parse().ok())
            .collect();
        addresses += audiences.len();
        found.push((row.get(0)?, audiences));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::super::schema;
    use super::*;

    /// However much there is that concerns younger entries.
    #[test]
    fn what_concerns_removed_entries_is_found_without_a_scan_and_goes_in_parts() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        schema::prepare(&mut connection).expect("prepared");
        for number in 1..=100 {
            for sql in [
                "INSERT INTO clock_step (position) VALUES (?1)",
                "INSERT INTO damaged (position) VALUES (?1)",
                "INSERT INTO member (user, topic, since, until) VALUES (?1, ?1, 0, ?1), (?1, ?1, 1, NULL)",
                "INSERT INTO mute (user, category, since, until) VALUES (?1, ?1, 0, ?1), (?1, ?1, 1, NULL)",
                "INSERT INTO user_trimmed (user, through) VALUES (?1, ?1)",
                "INSERT INTO watermark (user, kind, through, at) VALUES (?1, 'seen', ?1, 0)",
            ] {
                connection.execute(sql, [number]).expect("inserted");
            }
        }
        for about in ABOUT_ENTRIES {
            let sql = oldest_removed(about);
            let mut statement = connection.prepare(&sql).expect("prepared");
            let removed = [7, 3, 0].map(|_| statement.execute([10, 7]).expect("removed"));
            assert_eq!(removed, [7, 3, 0], "{sql}");
            assert_eq!(statement.get_status(StatementStatus::FullscanStep), 0, "{sql}");
        }
    }
}
