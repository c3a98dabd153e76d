//! How an entry is taken out of the tables, for all of its audiences or for one.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::checksum::LOG;
use crate::notification::{Audience, Position};

/// Deletes an entry, and what is known of it by these audiences.
pub(super) fn forget<'a>(
    connection: &Connection,
    position: Position,
    audiences: impl Iterator<Item = &'a Audience>,
) -> rusqlite::Result<()> {
    for audience in audiences {
        take_from(connection, position, &audience.to_string())?;
    }
    connection.prepare_cached("DELETE FROM mark WHERE position = ?1")?.execute([position])?;
    connection.prepare_cached("DELETE FROM log WHERE position = ?1")?.execute([position])?;
    Ok(())
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
