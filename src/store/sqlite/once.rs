//! Requests that may come again: how each was answered, for a day in which the store was open ([`Uptime`]).
//!
//! **Invariant:** an answer is remembered in the transaction that does what was asked, so it is there exactly if that is
//! done.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::changes::Changes;
use super::clock::Uptime;
use super::rows::{Millisecond, whole};
use crate::store::{Answered, Append, Appended, Once, Outcome, RequestKey};

/// How long it is remembered which requests have been answered. Counted in uptime: no step of the clock makes a retry a
/// second publish, and after a stop keys are remembered for longer.
const REMEMBERED: Duration = Duration::from_hours(24);
/// Requests forgotten in one turn.
const FORGOTTEN_PER_TURN: usize = 500;

/// How a request of that key was answered, if it is still remembered.
pub(super) fn answered(
    connection: &Connection,
    RequestKey { owner, key }: &RequestKey,
    uptime: Uptime,
) -> rusqlite::Result<Option<Answered>> {
    connection
        .prepare_cached("SELECT fingerprint, answer FROM once WHERE owner = ?1 AND key = ?2 AND at >= ?3")?
        .query_row(params![owner, key, oldest(uptime)], |row| {
            Ok(Answered { fingerprint: row.get(0)?, answer: row.get(1)? })
        })
        .optional()
}

/// Remembers how a request is answered.
pub(super) fn remember(connection: &Connection, once: &Once, uptime: Uptime) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO once (owner, key, fingerprint, answer, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![once.key.owner, once.key.key, once.fingerprint, once.answer, Millisecond(uptime.now())])
        .map(|_| ())
}

/// Forgets some of what is no longer remembered; says whether there was any.
pub(super) fn forget(connection: &Connection, uptime: Uptime) -> rusqlite::Result<bool> {
    let forgotten = connection
        .prepare_cached("DELETE FROM once WHERE (owner, key) IN (SELECT owner, key FROM once WHERE at < ?1 LIMIT ?2)")?
        .execute(params![oldest(uptime), whole(FORGOTTEN_PER_TURN)])?;
    Ok(forgotten > 0)
}

fn oldest(uptime: Uptime) -> Millisecond {
    Millisecond(uptime.now().checked_sub(REMEMBERED).unwrap_or(Timestamp::MIN))
}

/// Does one append, unless the same has been asked before.
pub(super) fn apply(
    changes: &mut Changes<'_>,
    Append { at, commands, once: asked }: &Append,
    uptime: Uptime,
) -> rusqlite::Result<Appended> {
    if let Some(asked) = asked {
        if let Some(answered) = answered(changes.connection, &asked.key, uptime)? {
            return Ok(answered.again(&asked.fingerprint));
        }
        remember(changes.connection, asked, uptime)?;
    }
    let outcomes: rusqlite::Result<Vec<Outcome>> =
        commands.iter().map(|command| changes.apply(command.clone(), *at)).collect();
    Ok(Appended::Done(outcomes?))
}
