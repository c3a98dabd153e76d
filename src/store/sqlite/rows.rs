//! What stands in the tables, as the nouns of the log.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::checksum::{LOG, SCHEDULED, Table};
use super::damage::Damaged;
use crate::content::Content;
use crate::notification::{
    Audience, Change, Entry, FromStore, Interest, Notification, NotificationId, Position, RemovalReason,
    ReplacementKey, UserId,
};
use crate::state::Marked;
use crate::store::BYTES_PER_READ;

/// When nothing is due any more, in milliseconds since 1970: no time of ours is as late, but a damaged one may be.
pub(super) const NEVER: i64 = 253_402_207_200_000;

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

/// A key as people read it, also if it is damaged.
pub(super) fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Null | ValueRef::Real(_) => String::new(),
    }
}

/// Fails if a row is damaged; `sound` and `key` are columns of its.
fn check(row: &Row<'_>, table: &Table, sound: usize, key: usize) -> rusqlite::Result<()> {
    if row.get(sound)? { Ok(()) } else { Err(table.damaged(&text(row.get_ref(key)?)).into()) }
}

/// The published notification of that id and where it stands.
pub(super) fn published(
    connection: &Connection,
    id: NotificationId,
) -> rusqlite::Result<Option<(Position, Arc<Notification>)>> {
    let sql = format!("SELECT {NOTIFICATION}, position, {} FROM log WHERE id = ?1", LOG.sound);
    let found = connection.prepare_cached(&sql)?.query_row([id.to_string()], published_row).optional()?;
    match found {
        // The index says where it stands, and the index may be damaged as well.
        Some((position, notification)) if notification.id != id => Err(LOG.damaged(&position.0).into()),
        found => Ok(found),
    }
}

/// The notification at a position, which an interest was found to have by the table `addressed`.
pub(super) fn published_for(
    connection: &Connection,
    position: Position,
    interest: &Interest,
) -> rusqlite::Result<Arc<Notification>> {
    let published = published_at(connection, position)?;
    let is_theirs = |audience: &Audience| interest.includes(audience, position);
    let theirs = published.filter(|(_, notification)| notification.audiences.iter().any(is_theirs));
    theirs.map(|(_, notification)| notification).ok_or_else(|| LOG.damaged(&position.0).into())
}

/// The notification that is published at a position.
pub(super) fn published_at(
    connection: &Connection,
    position: Position,
) -> rusqlite::Result<Option<(Position, Arc<Notification>)>> {
    let sql = format!("SELECT {NOTIFICATION}, position, {} FROM log WHERE position = ?1", LOG.sound);
    connection.prepare_cached(&sql)?.query_row([position], published_row).optional()
}

fn published_row(row: &Row<'_>) -> rusqlite::Result<(Position, Arc<Notification>)> {
    check(row, &LOG, 7, 6)?;
    Ok((row.get(6)?, notification(row)?))
}

/// The notification of that id that is not yet due, and when it is.
pub(super) fn scheduled(
    connection: &Connection,
    id: NotificationId,
) -> rusqlite::Result<Option<(Arc<Notification>, Timestamp)>> {
    let sql = format!("SELECT {NOTIFICATION}, due, {} FROM scheduled WHERE id = ?1", SCHEDULED.sound);
    let read = |row: &Row<'_>| {
        check(row, &SCHEDULED, 7, 2)?;
        Ok((notification(row)?, row.get::<_, Millisecond>(6)?.0))
    };
    connection.prepare_cached(&sql)?.query_row([id.to_string()], read).optional()
}

/// A notification that is due, by the id under which it was kept.
pub(super) struct Due {
    pub(super) id: String,
    /// What it says, unless it is damaged.
    pub(super) said: Result<Arc<Notification>, Damaged>,
}

/// What is due at that time, at most `limit`.
pub(super) fn due(connection: &Connection, now: Timestamp, limit: usize) -> rusqlite::Result<Vec<Due>> {
    let sql =
        format!("SELECT {NOTIFICATION}, {} FROM scheduled WHERE due <= ?1 ORDER BY due, id LIMIT ?2", SCHEDULED.sound);
    let read = |row: &Row<'_>| {
        let id = text(row.get_ref(2)?);
        let said = if row.get(6)? { Ok(notification(row)?) } else { Err(SCHEDULED.damaged(&id)) };
        Ok(Due { id, said })
    };
    connection.prepare_cached(&sql)?.query_map(params![Millisecond(now), whole(limit)], read)?.collect()
}

/// Runs a statement that is there for each commit, without parsing it again.
pub(super) fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}

/// Whether something is due at that time.
pub(super) fn any_due(connection: &Connection, now: Timestamp) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM scheduled WHERE due <= ?1")?.exists([Millisecond(now)])
}

/// When something is due or expires next.
pub(super) fn next_due(connection: &Connection, now: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    let sql = "SELECT min(next) FROM (SELECT min(due) AS next FROM scheduled WHERE due < ?2
               UNION ALL SELECT min(expires) FROM log WHERE expires > ?1 AND expires < ?2)";
    connection.prepare_cached(sql)?.query_row(params![Millisecond(now), NEVER], |row| time(row, 0))
}

/// The columns that [`entry`] reads.
static ENTRY: LazyLock<String> =
    LazyLock::new(|| format!("{NOTIFICATION}, position, kind, ifnull(origin, position), {}", LOG.sound));

/// What a row of [`ENTRY`] says; nothing if what it was about is gone.
fn entry(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<Option<Entry>> {
    check(row, &LOG, 9, 6)?;
    let content = || row.get_ref(3)?.as_str().map_err(rusqlite::Error::from);
    let user = || parsed::<UserId>(row.get_ref(1)?.as_str()?.strip_prefix("user:").unwrap_or_default());
    let change = match row.get_ref(7)?.as_str()? {
        "notified" => Change::Notified(notification(row)?),
        // Where it stood, since a damaged index would say that it is gone.
        "edited" => match published_at(connection, row.get(8)?)? {
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

/// Entries of the log as they were read.
#[derive(Default)]
pub(super) struct Entries {
    /// Those that are as they were written, rising.
    pub(super) sound: Vec<Entry>,
    /// Where some were to be that can't be read, rising, and why not.
    pub(super) damaged: Vec<(Position, Damaged)>,
}

impl Entries {
    /// Takes what came of reading the entry at a position. Errors that are no damage go on.
    fn take(&mut self, position: Position, read: rusqlite::Result<Option<Entry>>) -> rusqlite::Result<()> {
        match read {
            Ok(entry) => self.sound.extend(entry),
            Err(error) => self.damaged.push((position, Damaged::of(&error).ok_or(error)?)),
        }
        Ok(())
    }
}

/// The entries at these positions that have something to say to an interest, which was found there by the tables
/// `addressed` and `changed`. If an entry is not there, or is for somebody else, it is damaged, or those tables are. The
/// second is where reading ended, if that was before the last position: what is said takes some [`BYTES_PER_READ`] at most.
pub(super) fn entries_at(
    connection: &Connection,
    positions: &[Position],
    interest: &Interest,
) -> rusqlite::Result<(Entries, Option<Position>)> {
    let mut entries = Entries::default();
    let mut bytes = 0;
    for position in positions {
        let read = entry_at(connection, *position).and_then(|read| match read {
            Some(entry) if entry.as_ref().is_none_or(|entry| is_for(entry, interest)) => Ok(entry),
            _ => Err(LOG.damaged(&position.0).into()),
        });
        bytes += read.as_ref().ok().and_then(Option::as_ref).map_or(0, content_bytes);
        entries.take(*position, read)?;
        if bytes >= BYTES_PER_READ {
            return Ok((entries, Some(*position)));
        }
    }
    Ok((entries, None))
}

fn content_bytes(entry: &Entry) -> usize {
    match &entry.change {
        Change::Notified(notification) | Change::Edited(notification) => notification.content.json().len(),
        _ => 0,
    }
}

/// The entry at a position, if one is there, and if it has something to say.
#[expect(clippy::option_option, reason = "that nothing is there is not that it has nothing to say")]
fn entry_at(connection: &Connection, position: Position) -> rusqlite::Result<Option<Option<Entry>>> {
    let sql = format!("SELECT {} FROM log WHERE position = ?1", *ENTRY);
    connection.prepare_cached(&sql)?.query_row([position], |row| entry(connection, row)).optional()
}

fn is_for(Entry { origin, change, .. }: &Entry, interest: &Interest) -> bool {
    let is_one = |audience: &Audience| interest.includes(audience, *origin);
    match change {
        Change::Notified(notification) | Change::Edited(notification) => notification.audiences.iter().any(is_one),
        Change::Removed { audiences, .. } => audiences.iter().any(is_one),
        Change::Marked { user, .. }
        | Change::Muted { user, .. }
        | Change::Erased { user }
        | Change::Joined { user, .. }
        | Change::Left { user, .. }
        | Change::Revoked { user } => *user == interest.user,
    }
}

/// Entries in `(after, through]`, rising, at most `count`, and up to where they have been looked for.
pub(super) fn entries_after(
    connection: &Connection,
    after: Position,
    through: Position,
    count: usize,
) -> rusqlite::Result<(Entries, Position)> {
    match entries_in_order(connection, after, through, count) {
        // Of a page that can't be read it is not known what stands on it: each position is looked at alone.
        Err(error) if Damaged::of(&error).is_some() => {
            let last = through.0.min(after.0.saturating_add(count as u64));
            let mut entries = Entries::default();
            for position in (after.0 + 1..=last).map(Position) {
                entries.take(position, entry_at(connection, position).map(Option::flatten))?;
            }
            Ok((entries, Position(last)))
        }
        read => read,
    }
}

fn entries_in_order(
    connection: &Connection,
    after: Position,
    through: Position,
    count: usize,
) -> rusqlite::Result<(Entries, Position)> {
    let sql = format!("SELECT {} FROM log WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3", *ENTRY);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((after, through, whole(count)))?;
    let (mut entries, mut seen, mut looked) = (Entries::default(), 0, after);
    while let Some(row) = rows.next()? {
        looked = row.get(6)?;
        seen += 1;
        entries.take(looked, entry(connection, row))?;
    }
    Ok((entries, if seen < count { through } else { looked }))
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
