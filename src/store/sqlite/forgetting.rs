//! How an entry is taken out of the tables, for all of its audiences or for one.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::checksum::LOG;
use super::rows::whole;
use crate::notification::{Audience, Position};

/// Marks of an entry that go with it. Of one that many have marked, the others go later, in pieces: nothing leads to them.
const MARKS_AT_ONCE: usize = 20;

/// Deletes an entry, and what is known of it by these audiences.
pub(super) fn forget<'a>(
    connection: &Connection,
    position: Position,
    audiences: impl Iterator<Item = &'a Audience>,
) -> rusqlite::Result<()> {
    for audience in audiences {
        take_from(connection, position, &audience.to_string())?;
    }
    if remove_marks(connection, position, MARKS_AT_ONCE)? == MARKS_AT_ONCE {
        let left = "INSERT OR IGNORE INTO marks_left (position) VALUES (?1)";
        connection.prepare_cached(left)?.execute([position])?;
    }
    connection.prepare_cached("DELETE FROM log WHERE position = ?1")?.execute([position])?;
    Ok(())
}

/// Deletes marks of one entry, at most so many; says how many it were.
fn remove_marks(connection: &Connection, position: Position, limit: usize) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM mark WHERE (user, position) IN (SELECT user, position FROM mark WHERE position = ?1 LIMIT ?2)",
        )?
        .execute(params![position, whole(limit)])
}

/// Deletes marks of entries that are gone, at most so many; says how many it were.
pub(super) fn remove_marks_left(connection: &Connection, limit: usize) -> rusqlite::Result<usize> {
    let mut removed = 0;
    while removed < limit {
        let next: Option<Position> = connection
            .prepare_cached("SELECT position FROM marks_left LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        let Some(position) = next else { break };
        let marks = remove_marks(connection, position, limit - removed)?;
        if marks < limit - removed {
            connection.prepare_cached("DELETE FROM marks_left WHERE position = ?1")?.execute([position])?;
        }
        // A row without marks costs as much.
        removed += marks.max(1);
    }
    Ok(removed)
}

/// Deletes an entry for one audience; the others still have it.
pub(super) fn forget_for(connection: &Connection, position: Position, audience: &str) -> rusqlite::Result<()> {
    take_from(connection, position, audience)?;
    let audiences: Option<Option<String>> = connection
        .prepare_cached(&format!("SELECT iif({}, audiences, NULL) FROM log WHERE position = ?1", LOG.sound))?
        .query_row([position], |row| row.get(0))
        .optional()?;
    let Some(audiences) = audiences else { return Ok(()) };
    // A damaged entry is nobody's.
    let audiences = audiences.unwrap_or_default();
    let others: Vec<&str> = audiences.split(' ').filter(|other| !other.is_empty() && *other != audience).collect();
    if others.is_empty() {
        return forget(connection, position, std::iter::empty());
    }
    connection
        .prepare_cached(&format!("{} WHERE position = ?1", LOG.update(&[("audiences", "?2")])))?
        .execute(params![position, others.join(" ")])?;
    Ok(())
}

/// Takes an entry out of what an audience has.
fn take_from(connection: &Connection, position: Position, audience: &str) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM addressed WHERE audience = ?1 AND position = ?2",
        "DELETE FROM changed WHERE audience = ?1 AND position = ?2",
    ] {
        connection.prepare_cached(sql)?.execute(params![audience, position])?;
    }
    Ok(())
}
