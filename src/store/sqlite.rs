//! The embedded store: one SQLite file, one writing thread, readers on connections of their own.
//!
//! The writer commits together whatever has queued up while the last commit was under way (group commit), so one fsync
//! serves many publishers; `synchronous=FULL` in WAL mode makes each commit durable. The file can be read with the
//! `sqlite3` shell; the tables are in `sqlite.sql`.
//!
//! **Invariant:** only the writing thread writes, and only it gives out positions, in the order of its commits. After a
//! write whose fate is unknown (an I/O error) it never writes again.

use std::fs::{File, TryLockError};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use tokio::sync::{Semaphore, oneshot};

use super::{Asked, Backlog, Follower, Opening, Page, Slice, Store, StoreError, UNREAD_MAX};
use crate::content::Content;
use crate::event_id::Seal;
use crate::notification::{
    Audience, Change, Entry, Interest, Membership, Notification, NotificationId, Position, Topic, UserId,
};

mod writer;

const SCHEMA: &str = include_str!("sqlite.sql");
const SCHEMA_VERSION: i64 = 1;
/// Appends that wait for the writer before further ones wait for a place.
const WRITES_QUEUED_MAX: usize = 4096;

/// The embedded store.
pub struct SqliteStore {
    seal: Seal,
    readers: Readers,
    writer: writer::Handle,
    /// Held until the writer has ended; the system lets go of it however the process ends.
    _lock: File,
}

/// Why a store file can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It was written by a newer program.
    #[error("{path} has schema version {found}, and this program knows {SCHEMA_VERSION} at most; use a newer pregon")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// Another process has it open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// The folder or its lock can't be made.
    #[error("can't create {0}")]
    Folder(PathBuf, #[source] std::io::Error),
    /// It can't be opened or read.
    #[error("can't open {0}")]
    Sqlite(PathBuf, #[source] rusqlite::Error),
}

impl SqliteStore {
    /// Opens or creates the store in that folder, as `pregon.db`.
    ///
    /// # Errors
    /// When the file can't be opened, is in use, or is of a newer version.
    pub fn open(folder: &Path) -> Result<SqliteStore, OpenError> {
        std::fs::create_dir_all(folder).map_err(|e| OpenError::Folder(folder.to_owned(), e))?;
        let lock = lock(&folder.join("pregon.lock"))?;
        let path = folder.join("pregon.db");
        let failed = |error| OpenError::Sqlite(path.clone(), error);
        let connection = Connection::open(&path).map_err(failed)?;
        let found = prepare(&connection).map_err(failed)?;
        if found > SCHEMA_VERSION {
            return Err(OpenError::Newer { path, found });
        }
        let seal = identity(&connection).map_err(failed)?;
        let readers = Readers::open(&path).map_err(failed)?;
        let writer = writer::start(connection, WRITES_QUEUED_MAX).map_err(failed)?;
        Ok(SqliteStore { seal, readers, writer, _lock: lock })
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> writer::Command,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.writer.send(command(answer)).await?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }
}

/// Two servers on one file would give out the same positions. The shell `sqlite3` may read beside us.
fn lock(path: &Path) -> Result<File, OpenError> {
    let lock = File::create(path).map_err(|e| OpenError::Folder(path.to_owned(), e))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(e)) => Err(OpenError::Folder(path.to_owned(), e)),
    }
}

/// Makes the tables of a new file; gives the version of an old one.
fn prepare(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != 0 {
        return Ok(version);
    }
    let mut random = [0; 20];
    aws_lc_rs::rand::fill(&mut random).expect("the operating system has randomness");
    let [e0, e1, e2, e3, key @ ..] = random;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    connection.execute_batch(SCHEMA)?;
    connection.execute(
        "INSERT INTO log_identity (epoch, key, trimmed) VALUES (?1, ?2, 0)",
        params![u32::from_le_bytes([e0, e1, e2, e3]), key],
    )?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    connection.execute_batch("COMMIT")?;
    Ok(SCHEMA_VERSION)
}

fn identity(connection: &Connection) -> rusqlite::Result<Seal> {
    connection
        .query_row("SELECT epoch, key FROM log_identity", [], |row| Ok(Seal { epoch: row.get(0)?, key: row.get(1)? }))
}

/// Reading connections, one for each core: a query that has none waits for one.
struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    fn open(path: &Path) -> rusqlite::Result<Readers> {
        let count = std::thread::available_parallelism().map_or(2, NonZeroUsize::get).max(2);
        let open = || {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            connection.busy_timeout(std::time::Duration::from_secs(5))?;
            Ok(connection)
        };
        let idle = (0..count).map(|_| open()).collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(Readers { idle: Arc::new(Mutex::new(idle)), permits: Arc::new(Semaphore::new(count)) })
    }

    /// Runs a query on a thread that may block. All of it sees one moment of the log.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        let idle = Arc::clone(&self.idle);
        tokio::task::spawn_blocking(move || {
            let connection =
                idle.lock().unwrap_or_else(PoisonError::into_inner).pop().expect("a permit stands for a connection");
            let result = connection.unchecked_transaction().and_then(|transaction| query(&transaction));
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            result
        })
        .await
        .map_err(|e| StoreError::Unavailable(e.into()))?
        .map_err(|e| StoreError::Unavailable(e.into()))
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn seal(&self) -> Seal {
        self.seal.clone()
    }

    async fn append(&self, changes: Vec<Change>) -> Result<Vec<Option<Position>>, StoreError> {
        self.ask(|answer| writer::Command::Append { changes, answer }).await
    }

    async fn follow(&self, follower: Arc<dyn Follower>, backlog: Backlog) -> Result<(), StoreError> {
        self.ask(|answer| writer::Command::Follow { follower, backlog, answer }).await
    }

    async fn open(&self, asked: Vec<Asked>) -> Result<Vec<Opening>, StoreError> {
        self.readers
            .read(move |connection| {
                let (head, oldest) = (head(connection)?, oldest(connection)?);
                let opening = |Asked { user, since }| {
                    let interest = interest(connection, &user)?;
                    Ok(Opening {
                        unread: positions(connection, &interest, Position::START, END, UNREAD_MAX, Order::Falling)?
                            .len(),
                        interest,
                        head,
                        oldest,
                        since: since.map(|at| position_before(connection, at)).transpose()?,
                    })
                };
                asked.into_iter().map(opening).collect()
            })
            .await
    }

    async fn read_after(
        &self,
        interest: &Interest,
        after: Position,
        through: Position,
        limit: usize,
    ) -> Result<Slice, StoreError> {
        let interest = interest.clone();
        self.readers
            .read(move |connection| {
                let oldest = oldest(connection)?;
                if after < oldest {
                    return Ok(Err(StoreError::Trimmed { oldest }));
                }
                let positions = positions(connection, &interest, after, through, limit, Order::Rising)?;
                let through = if positions.len() < limit { through } else { *positions.last().unwrap_or(&through) };
                Ok(Ok(Slice { notifications: notifications(connection, &positions)?, through }))
            })
            .await?
    }

    async fn page(&self, user: &UserId, limit: usize) -> Result<Page, StoreError> {
        let user = user.clone();
        self.readers
            .read(move |connection| {
                let head = head(connection)?;
                let interest = interest(connection, &user)?;
                let positions = positions(connection, &interest, Position::START, head, limit, Order::Falling)?;
                Ok(Page { notifications: notifications(connection, &positions)?, head })
            })
            .await
    }

    async fn find(&self, id: NotificationId) -> Result<Option<Arc<Notification>>, StoreError> {
        self.readers
            .read(move |connection| {
                connection
                    .prepare_cached("SELECT at, audiences, id, content FROM log WHERE id = ?1")?
                    .query_row([id.to_string()], notification)
                    .optional()
            })
            .await
    }

    async fn members(&self, topic: &Topic, after: Option<UserId>, limit: usize) -> Result<Vec<UserId>, StoreError> {
        let topic = topic.clone();
        self.readers
            .read(move |connection| {
                connection
                    .prepare_cached(
                        "SELECT user FROM member WHERE topic = ?1 AND until IS NULL AND user > ?2 ORDER BY user LIMIT ?3",
                    )?
                    .query_map(
                        params![topic.as_str(), after.as_ref().map_or("", UserId::as_str), whole(limit)],
                        |row| parsed(row.get_ref(0)?.as_str()?),
                    )?
                    .collect()
            })
            .await
    }

    async fn trim(&self, older_than: Timestamp) -> Result<bool, StoreError> {
        self.ask(|answer| writer::Command::Trim { older_than, answer }).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.ask(|answer| writer::Command::Check { answer }).await
    }
}

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

/// Beyond every entry.
const END: Position = Position(i64::MAX.unsigned_abs());

fn head(connection: &Connection) -> rusqlite::Result<Position> {
    connection.prepare_cached("SELECT coalesce(max(position), 0) FROM log")?.query_row([], |row| row.get(0))
}

fn oldest(connection: &Connection) -> rusqlite::Result<Position> {
    connection.prepare_cached("SELECT trimmed FROM log_identity")?.query_row([], |row| row.get(0))
}

/// The last position whose entry is older than `at`. Times rise with positions but for steps of the clock, so
/// halving finds it in some twenty look-ups without an index of its own.
fn position_before(connection: &Connection, at: Timestamp) -> rusqlite::Result<Position> {
    let mut time_of_next = connection.prepare_cached("SELECT position, at FROM log WHERE position > ?1 LIMIT 1")?;
    let (mut low, mut high) = (oldest(connection)?, head(connection)?);
    while low < high {
        let middle = Position(low.0.midpoint(high.0));
        let next: Option<(Position, i64)> =
            time_of_next.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match next {
            Some((position, time)) if time < at.as_millisecond() => low = position,
            _ => high = middle,
        }
    }
    Ok(low)
}

fn interest(connection: &Connection, user: &UserId) -> rusqlite::Result<Interest> {
    let memberships = connection
        .prepare_cached("SELECT topic, since, until FROM member WHERE user = ?1")?
        .query_map([user.as_str()], |row| {
            Ok(Membership { topic: parsed(row.get_ref(0)?.as_str()?)?, since: row.get(1)?, until: row.get(2)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Interest { user: user.clone(), memberships })
}

/// The spans of the log to look through for an interest: an audience, after a position, and not beyond another.
fn spans(interest: &Interest, after: Position, through: Position) -> Vec<(String, Position, Position)> {
    let mut spans = vec![
        (Audience::User(interest.user.clone()).to_string(), after, through),
        (Audience::Everyone.to_string(), after, through),
    ];
    for membership in &interest.memberships {
        let until = membership.until.map_or(through, |until| Position(until.0 - 1));
        let (after, through) = (after.max(membership.since), through.min(until));
        if after < through {
            spans.push((Audience::Topic(membership.topic.clone()).to_string(), after, through));
        }
    }
    spans
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Rising,
    Falling,
}

/// The first `limit` positions of an interest in `(after, through]`, in that order, each once.
fn positions(
    connection: &Connection,
    interest: &Interest,
    after: Position,
    through: Position,
    limit: usize,
    order: Order,
) -> rusqlite::Result<Vec<Position>> {
    let sql = match order {
        Order::Rising => {
            "SELECT position FROM addressed WHERE audience = ?1 AND position > ?2 AND position <= ?3
             ORDER BY position LIMIT ?4"
        }
        Order::Falling => {
            "SELECT position FROM addressed WHERE audience = ?1 AND position > ?2 AND position <= ?3
             ORDER BY position DESC LIMIT ?4"
        }
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut positions = Vec::new();
    for (audience, after, through) in spans(interest, after, through) {
        // Each span gives as many as are wanted in all, so the first `limit` of the union are the right ones.
        for position in statement.query_map(params![audience, after, through, whole(limit)], |row| row.get(0))? {
            positions.push(position?);
        }
    }
    positions.sort_unstable();
    positions.dedup();
    if order == Order::Falling {
        positions.reverse();
    }
    positions.truncate(limit);
    Ok(positions)
}

fn notifications(
    connection: &Connection,
    positions: &[Position],
) -> rusqlite::Result<Vec<(Position, Arc<Notification>)>> {
    let mut statement = connection.prepare_cached("SELECT at, audiences, id, content FROM log WHERE position = ?1")?;
    positions.iter().map(|position| Ok((*position, statement.query_row([position], notification)?))).collect()
}

/// Reads a notification from a row that begins with `at, audiences, id, content`.
fn notification(row: &rusqlite::Row<'_>) -> rusqlite::Result<Arc<Notification>> {
    Ok(Arc::new(Notification {
        timestamp: Timestamp::from_millisecond(row.get(0)?).map_err(corrupt)?,
        audiences: row.get_ref(1)?.as_str()?.split(' ').map(parsed).collect::<rusqlite::Result<_>>()?,
        id: NotificationId(row.get_ref(2)?.as_str()?.parse().map_err(corrupt)?),
        content: Content::from_stored(row.get_ref(3)?.as_str()?),
    }))
}

fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(text: &str) -> rusqlite::Result<T> {
    text.parse().map_err(corrupt)
}

/// What stands in the file can't have been written by us.
fn corrupt(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

/// SQLite counts in signed 64 bits; no limit of ours comes near.
fn whole(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The position after which a backlog begins.
fn backlog_begins(connection: &Connection, backlog: Backlog) -> rusqlite::Result<Position> {
    let mut newest =
        connection.prepare("SELECT position, octet_length(content) FROM log ORDER BY position DESC LIMIT ?1")?;
    let mut rows = newest.query([whole(backlog.entries)])?;
    let mut begins = head(connection)?;
    let mut left = whole(backlog.bytes);
    while let Some(row) = rows.next()? {
        left -= row.get::<_, i64>(1)?;
        if left < 0 {
            break;
        }
        begins = Position(row.get::<_, Position>(0)?.0 - 1);
    }
    Ok(begins)
}

/// Reads entries after a position, rising, at most `count`.
fn entries_after(connection: &Connection, after: Position, count: usize) -> rusqlite::Result<Vec<Entry>> {
    connection
        .prepare_cached(
            "SELECT at, audiences, id, content, position, kind FROM log WHERE position > ?1 ORDER BY position LIMIT ?2",
        )?
        .query_map(params![after, whole(count)], |row| {
            let membership = || {
                let user = row.get_ref(1)?.as_str()?.strip_prefix("user:").unwrap_or_default();
                Ok::<_, rusqlite::Error>((parsed(user)?, parsed(row.get_ref(3)?.as_str()?)?))
            };
            let change = match row.get_ref(5)?.as_str()? {
                "joined" => membership().map(|(user, topic)| Change::Joined { user, topic })?,
                "left" => membership().map(|(user, topic)| Change::Left { user, topic })?,
                _ => Change::Notified(notification(row)?),
            };
            Ok(Entry { position: row.get(4)?, change })
        })?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_embedded_store_passes_the_suite() {
        super::super::suite::run(|folder| Arc::new(SqliteStore::open(folder).expect("opens"))).await;
    }

    /// Mutant: `synchronous=NORMAL`. Killing the process can't show it: the kernel keeps what was written.
    #[test]
    fn a_commit_is_synced_to_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        prepare(&connection).expect("prepared");
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
        assert_eq!(pragma("journal_mode").expect("read"), "wal".to_owned().into());
        assert_eq!(pragma("synchronous").expect("read"), 2.into(), "FULL");
        assert_eq!(pragma("auto_vacuum").expect("read"), 2.into(), "INCREMENTAL");
    }

    /// An operator may hold the file for a while with the shell.
    #[tokio::test]
    async fn a_store_that_is_locked_for_a_while_refuses_and_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(SqliteStore::open(folder.path()).expect("opens"));
        let open = || Connection::open(folder.path().join("pregon.db")).expect("opens");
        let (connection, operator) = (open(), open());
        connection.busy_timeout(std::time::Duration::ZERO).expect("set");
        let writer = writer::start(connection, 10).expect("started");
        let join = async || {
            let (answer, answered) = oneshot::channel();
            let joined = Change::Joined { user: "1".parse().expect("valid"), topic: "t".parse().expect("valid") };
            writer.send(writer::Command::Append { changes: vec![joined], answer }).await.expect("queued");
            answered.await.expect("answered")
        };
        operator.execute_batch("BEGIN IMMEDIATE").expect("locked");
        assert!(matches!(join().await, Err(StoreError::Unavailable(_))));
        operator.execute_batch("ROLLBACK").expect("unlocked");
        assert_eq!(join().await.expect("appended"), [Some(Position(1))]);
    }

    #[tokio::test]
    async fn what_retention_frees_is_given_back_to_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path()).expect("opens");
        let notified = |millisecond: i64| {
            Change::Notified(Arc::new(Notification {
                id: NotificationId(uuid::Uuid::now_v7()),
                timestamp: Timestamp::from_millisecond(millisecond).expect("in range"),
                audiences: vec![Audience::Everyone],
                content: Content::from_stored(&format!("{{\"message\":\"{}\"}}", "x".repeat(4000))),
            }))
        };
        store.append((0..3000).map(notified).collect()).await.expect("appended");
        let pages = |name| {
            let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
            connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).expect("read")
        };
        let full = pages("page_count");
        let older_than = Timestamp::from_millisecond(9999).expect("in range");
        while store.trim(older_than).await.expect("trimmed") {}
        assert!(pages("page_count") < full / 5, "{} of {full} pages are left", pages("page_count"));
    }

    #[test]
    fn a_store_that_is_in_use_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let _first = SqliteStore::open(folder.path()).expect("opens");
        assert!(matches!(SqliteStore::open(folder.path()), Err(OpenError::InUse(_))));
    }

    #[tokio::test]
    async fn a_full_disk_refuses_what_it_cannot_keep_and_takes_more_once_there_is_space() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(SqliteStore::open(folder.path()).expect("opens"));
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        // The store sees the same error as from a full disk.
        connection.pragma_update(None, "max_page_count", 64).expect("set");
        let writer = writer::start(connection, 10).expect("started");
        let append = async |millisecond: i64| {
            let (answer, answered) = oneshot::channel();
            let changes = vec![Change::Notified(Arc::new(Notification {
                id: NotificationId(uuid::Uuid::now_v7()),
                timestamp: Timestamp::from_millisecond(millisecond).expect("in range"),
                audiences: vec![Audience::Everyone],
                content: Content::from_stored(&format!("{{\"message\":\"{}\"}}", "x".repeat(1000))),
            }))];
            writer.send(writer::Command::Append { changes, answer }).await.expect("queued");
            answered.await.expect("answered")
        };
        let mut stored = 0;
        let refused = loop {
            match append(stored).await {
                Ok(_) => stored += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, StoreError::Full) && stored > 20, "{refused} after {stored}");
        assert!(matches!(append(stored).await, Err(StoreError::Full)), "refused again, not stopped");
        let (answer, answered) = oneshot::channel();
        let older_than = Timestamp::from_millisecond(stored / 2).expect("in range");
        writer.send(writer::Command::Trim { older_than, answer }).await.expect("queued");
        assert!(answered.await.expect("answered").is_ok());
        assert!(append(stored).await.is_ok(), "there is space again");
        drop(writer);
        let store = SqliteStore::open(folder.path()).expect("opens");
        let page = store.page(&"1".parse().expect("valid"), 1000).await.expect("read");
        assert_eq!(
            i64::try_from(page.notifications.len()).expect("few"),
            stored - stored / 2 + 1,
            "all that was acknowledged and not trimmed"
        );
    }

    #[test]
    fn a_store_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(SqliteStore::open(folder.path()).expect("opens"));
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        connection.pragma_update(None, "user_version", SCHEMA_VERSION + 1).expect("written");
        let Err(error) = SqliteStore::open(folder.path()) else { panic!("opened") };
        assert!(matches!(error, OpenError::Newer { found, .. } if found == SCHEMA_VERSION + 1), "{error}");
    }
}
