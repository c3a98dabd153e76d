//! What stands in the tables, as the nouns of the log.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::content::Content;
use crate::notification::{
    Audience, Change, Entry, FromStore, Notification, NotificationId, Position, RemovalReason, ReplacementKey, UserId,
};
use crate::state::Marked;

/// The columns that [`notification`] reads, first in a row.
pub(super) const NOTIFICATION: &str = "at, audiences, id, content, expires, replaces";

/// SQLite's integers have 63 bits for us; at a million entries a second they last 290,000 years.
impl ToSql for Position {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        i64::try_from(self.0).map(ToSqlOutput::from).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
    }
}

impl FromSql for Position {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let position = value.as_i64()?;
        u64::try_from(position).map(Position).map_err(|_| FromSqlError::OutOfRange(position))
    }
}

/// A time as it stands in the file: milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Millisecond(pub(super) Timestamp);

impl ToSql for Millisecond {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_millisecond().into())
    }
}

impl FromSql for Millisecond {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let millisecond = value.as_i64()?;
        Timestamp::from_millisecond(millisecond).map(Millisecond).map_err(|_| FromSqlError::OutOfRange(millisecond))
    }
}

/// Reads a time that may be absent.
pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<Millisecond>>(column)?.map(|Millisecond(at)| at))
}

/// The time of the newest entry; the earliest there is if there is none.
pub(super) fn latest(connection: &Connection) -> rusqlite::Result<Timestamp> {
    let newest = connection
        .query_row("SELECT at FROM log ORDER BY position DESC LIMIT 1", [], |row| row.get::<_, Millisecond>(0))
        .optional()?;
    Ok(newest.map_or(Timestamp::MIN, |Millisecond(at)| at))
}

/// Reads a notification from a row that begins with [`NOTIFICATION`].
pub(super) fn notification(row: &Row<'_>) -> rusqlite::Result<Arc<Notification>> {
    Ok(Arc::new(Notification {
        timestamp: row.get::<_, Millisecond>(0)?.0,
        audiences: audiences(row.get_ref(1)?.as_str()?)?,
        id: parsed(row.get_ref(2)?.as_str()?)?,
        content: Content::from_stored(row.get_ref(3)?.as_str()?),
        expires_at: time(row, 4)?,
        replaces: row.get_ref(5)?.as_str_or_null()?.map(parsed::<ReplacementKey>).transpose()?,
    }))
}

/// Audiences as they stand in the file.
pub(super) fn audiences(text: &str) -> rusqlite::Result<Vec<Audience>> {
    text.split(' ').map(parsed).collect()
}

/// The published notification of that id and where it stands.
pub(super) fn published(
    connection: &Connection,
    id: NotificationId,
) -> rusqlite::Result<Option<(Position, Arc<Notification>)>> {
    let sql = format!("SELECT {NOTIFICATION}, position FROM log WHERE id = ?1");
    connection.prepare_cached(&sql)?.query_row([id.to_string()], |row| Ok((row.get(6)?, notification(row)?))).optional()
}

/// The notification of that id that is not yet due, and when it is.
pub(super) fn scheduled(
    connection: &Connection,
    id: NotificationId,
) -> rusqlite::Result<Option<(Arc<Notification>, Timestamp)>> {
    let sql = format!("SELECT {NOTIFICATION}, due FROM scheduled WHERE id = ?1");
    connection
        .prepare_cached(&sql)?
        .query_row([id.to_string()], |row| Ok((notification(row)?, row.get::<_, Millisecond>(6)?.0)))
        .optional()
}

/// The columns that [`entry`] reads.
const ENTRY: &str = "at, audiences, id, content, expires, replaces, position, kind, ifnull(origin, position)";

/// What a row of [`ENTRY`] says; nothing if what it was about is gone.
fn entry(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<Option<Entry>> {
    let content = || row.get_ref(3)?.as_str().map_err(rusqlite::Error::from);
    let user = || parsed::<UserId>(row.get_ref(1)?.as_str()?.strip_prefix("user:").unwrap_or_default());
    let change = match row.get_ref(7)?.as_str()? {
        "notified" => Change::Notified(notification(row)?),
        "edited" => match published(connection, parsed(content()?)?)? {
            Some((_, notification)) => Change::Edited(notification),
            None => return Ok(None),
        },
        "removed" => {
            let (reason, id) = content()?.split_once(' ').unwrap_or_default();
            let replaced = reason == RemovalReason::Replaced.name();
            let reason = if replaced { RemovalReason::Replaced } else { RemovalReason::Recalled };
            Change::Removed { id: parsed(id)?, audiences: audiences(row.get_ref(1)?.as_str()?)?, reason }
        }
        "marked" => Change::Marked { user: user()?, marked: Marked::from_stored(content()?) },
        "muted" => Change::Muted { user: user()?, categories: serde_json::from_str(content()?).map_err(corrupt)? },
        "erased" => Change::Erased { user: user()? },
        "revoked" => Change::Revoked { user: user()? },
        "joined" => Change::Joined { user: user()?, topic: parsed(content()?)? },
        _ => Change::Left { user: user()?, topic: parsed(content()?)? },
    };
    Ok(Some(Entry { position: row.get(6)?, origin: row.get(8)?, change }))
}

/// The entry at each of these positions that is still there and has something to say.
pub(super) fn entries_at(connection: &Connection, positions: &[Position]) -> rusqlite::Result<Vec<Entry>> {
    let sql = format!("SELECT {ENTRY} FROM log WHERE position = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut entries = Vec::with_capacity(positions.len());
    for position in positions {
        entries.extend(statement.query_row([position], |row| entry(connection, row)).optional()?.flatten());
    }
    Ok(entries)
}

/// Entries after a position, rising, at most `count`, and up to where they have been looked for.
pub(super) fn entries_after(
    connection: &Connection,
    after: Position,
    count: usize,
) -> rusqlite::Result<(Vec<Entry>, Position)> {
    let sql = format!("SELECT {ENTRY} FROM log WHERE position > ?1 ORDER BY position LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((after, whole(count)))?;
    let (mut entries, mut through) = (Vec::new(), after);
    while let Some(row) = rows.next()? {
        through = row.get(6)?;
        entries.extend(entry(connection, row)?);
    }
    Ok((entries, through))
}

/// Reads a name that was written by us.
pub(super) fn parsed<T: FromStore<Err: std::error::Error + Send + Sync + 'static>>(text: &str) -> rusqlite::Result<T> {
    T::from_store(text).map_err(corrupt)
}

/// What stands in the file can't have been written by us.
fn corrupt(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

/// SQLite counts in signed 64 bits; no limit of ours comes near.
pub(super) fn whole(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
