//! What the log says between two positions: to a user, or to whoever follows it from the start of the server on.

use rusqlite::Connection;

use super::damage::{Damaged, Damages};
use super::rows::whole;
use super::{feed, rows};
use crate::notification::{Interest, Position};
use crate::store::{Backlog, Follower};

/// What is said to an interest in `(after, through]`, at most `limit` and fewer if they are large, and up to where it has been
/// looked for.
pub(super) fn said(
    connection: &Connection,
    interest: &Interest,
    after: Position,
    through: Position,
    limit: usize,
) -> rusqlite::Result<(rows::Entries, Position)> {
    let read = feed::positions(connection, interest, after, through, limit).and_then(|(positions, through)| {
        let (entries, ended) = rows::entries_at(connection, &positions, interest)?;
        Ok((entries, ended.unwrap_or(through)))
    });
    let Err(error) = read else { return read };
    // A page that can't be read may have held any of them.
    let damaged = Damaged::of(&error).ok_or(error)?;
    Ok((rows::Entries { sound: Vec::new(), damaged: vec![(through.min(super::head(connection)?), damaged)] }, through))
}

/// Entries in one batch of a backlog.
const ENTRIES_PER_BATCH: usize = 256;

/// Tells a follower the newest entries, up to the head. Gives the position of the last one that is damaged, if any is.
pub(super) fn tell(
    connection: &Connection,
    follower: &dyn Follower,
    backlog: Backlog,
    head: Position,
    damages: &Damages,
) -> rusqlite::Result<Option<Position>> {
    let mut before = backlog_begins(connection, backlog)?;
    // Also an empty log has an end, from which the follower goes on.
    follower.committed(before, &[], before);
    let mut last_damaged = None;
    while before < head {
        let (entries, through) = rows::entries_after(connection, before, head, ENTRIES_PER_BATCH)?;
        for (position, damaged) in entries.damaged {
            damages.found_at(position, &damaged);
            last_damaged = Some(position);
        }
        follower.committed(before, &entries.sound, through);
        before = through;
    }
    Ok(last_damaged)
}

/// The position after which a backlog begins.
fn backlog_begins(connection: &Connection, backlog: Backlog) -> rusqlite::Result<Position> {
    let mut newest =
        connection.prepare("SELECT position, octet_length(content) FROM log ORDER BY position DESC LIMIT ?1")?;
    let mut rows = newest.query([whole(backlog.entries)])?;
    let mut begins = super::head(connection)?;
    let mut left = whole(backlog.bytes);
    loop {
        let (position, bytes) = match rows.next() {
            Ok(Some(row)) => (row.get::<_, Position>(0)?, row.get::<_, i64>(1)?),
            Ok(None) => break,
            // With a page that can't be read the backlog is shorter.
            Err(error) if Damaged::of(&error).is_some() => break,
            Err(error) => return Err(error),
        };
        left -= bytes;
        if left < 0 {
            break;
        }
        begins = Position(position.0 - 1);
    }
    Ok(begins)
}
