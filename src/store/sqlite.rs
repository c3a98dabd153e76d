//! The embedded store: one SQLite file, one writing thread, readers on connections of their own.
//!
//! The writer commits together whatever has queued up while the last commit was under way (group commit), so one fsync
//! serves many publishers; `synchronous=FULL` in WAL mode makes each commit durable. The file can be read with the
//! `sqlite3` shell; the tables are in `sqlite/schema_2.sql` to `schema_5.sql`.
//!
//! **Invariant:** only the writing thread writes, and only it gives out positions, in the order of its commits. After a
//! write whose fate is unknown (an I/O error) it never writes again.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, params};
use tokio::sync::oneshot;

use super::{
    Answered, Append, Appended, Asked, BYTES_PER_READ, Backlog, Effort, Failing, Follower, Found, Item, Opening, Page,
    RequestKey, Slice, Store, StoreError, Wanted,
};
use crate::auth::keys::KeptKey;
use crate::auth::tokens::own::TokenSecret;
use crate::event_id::Seal;
use crate::metrics;
use crate::notification::{Interest, NotificationId, Position, Topic, UserId};

mod access;
mod audit;
mod background;
mod changes;
mod checkpoint;
mod checksum;
mod clock;
mod counted;
mod damage;
mod deferred;
mod erasing;
mod failure;
mod feed;
pub mod files;
#[cfg(test)]
mod flips;
mod forgetting;
mod head;
mod maintenance;
mod member_counts;
mod once;
mod positions;
mod readers;
mod replay;
mod reserve;
mod retention;
mod rows;
mod schema;
mod scrub;
mod spans;
mod tasks;
mod writer;

use background::Background;
use clock::Uptime;
use damage::{Damaged, Damages};
use failure::is_without_space;
use feed::{Bounds, Inbox, interest};
use head::HeadFile;
use member_counts::MemberCounts;
use positions::{head, oldest, oldest_of, position_before};
use readers::Readers;
use reserve::Reserve;
use rows::{parsed, published, whole};
use scrub::Scrub;

/// Appends that wait for the writer before further ones wait for a place.
const WRITES_QUEUED_MAX: usize = 4096;
/// How long it is waited for another process that holds the file.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// Bytes that a server keeps for a full disk.
pub const RESERVE_BYTES: u64 = 8 << 20;

/// Notifications that are passed over in search of what a user has, unless [`Options::passed_max`] says otherwise: some
/// milliseconds of work.
const PASSED_MAX: usize = 10_000;

/// Entries that are looked at before the store is open, unless [`Options::audited_max`] says otherwise.
const AUDITED_MAX: usize = 50_000;

/// Rows looked at for streams that begin together, after which the others are to be asked for again: some milliseconds.
const ROWS_PER_OPENINGS: usize = 20_000;

/// How long the wall clock is doubted, unless [`Options::doubts_clock_for`] says otherwise.
const DOUBTS_CLOCK_FOR: Duration = Duration::from_hours(7 * 24);

/// How the store behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most notifications that a user has; older ones are removed.
    pub inbox_max: usize,
    /// Most topics that a user is a member of.
    pub topics_max: usize,
    /// Most muted or expired notifications for topics and everyone that are passed over in search of these.
    pub passed_max: usize,
    /// Bytes that are kept for a full disk, if any; see [`RESERVE_BYTES`].
    pub reserve_bytes: u64,
    /// Most entries that are held against the other tables before the store is open; older ones are later.
    pub audited_max: usize,
    /// How long a wall clock that is ahead of the log's own time is doubted, counted anew with each start. Until then it ages the
    /// log at most four times as fast as time passes.
    pub doubts_clock_for: Duration,
    /// Where it is counted what is written.
    pub metrics: metrics::Log,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            inbox_max: 1000,
            topics_max: 1000,
            passed_max: PASSED_MAX,
            reserve_bytes: 0,
            audited_max: AUDITED_MAX,
            doubts_clock_for: DOUBTS_CLOCK_FOR,
            metrics: metrics::Log::default(),
        }
    }
}

impl Options {
    fn bounds(&self) -> Bounds {
        Bounds { inbox_max: self.inbox_max, passed_max: self.passed_max }
    }
}

/// The embedded store.
pub struct SqliteStore {
    /// They end before all else.
    _looks: Vec<Background>,
    seal: Seal,
    options: Options,
    damages: Damages,
    readers: Readers,
    members: MemberCounts,
    writer: tasks::Handle,
    uptime: Uptime,
    /// Held until the writer has ended; the system lets go of it however the process ends.
    _lock: File,
}

/// Why a store file can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It was written by a newer program.
    #[error(
        "{path} has schema version {found}, and this program knows {} at most; use a newer pregon",
        schema::VERSION
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Another process has it open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// The folder or its lock can't be made.
    #[error("can't create {0}")]
    Folder(PathBuf, #[source] std::io::Error),
    /// There is too little space for it or for the index of its `-wal`, and no reserve any more.
    #[error(
        "can't open {0}: the disk is full; free some space on it (1 MiB is enough to start and to recall or erase something)"
    )]
    Full(PathBuf, #[source] rusqlite::Error),
    /// It can't be opened or read.
    #[error("can't open {0}")]
    Sqlite(PathBuf, #[source] rusqlite::Error),
}

impl SqliteStore {
    /// Opens or creates the store in that folder, as `pregon.db`.
    ///
    /// # Errors
    /// When the file can't be opened, is in use, or is of a newer version.
    pub fn open(folder: &Path, options: Options) -> Result<SqliteStore, OpenError> {
        files::make_folder(folder).map_err(|e| OpenError::Folder(folder.to_owned(), e))?;
        let lock = schema::lock(&folder.join("pregon.lock"))?;
        let path = folder.join("pregon.db");
        let failed = |error| {
            if is_without_space(&error) {
                OpenError::Full(path.clone(), error)
            } else {
                OpenError::Sqlite(path.clone(), error)
            }
        };
        // SQLite takes an empty file for a new one, and keeps the mode that it has.
        files::open(&path).map_err(|e| OpenError::Folder(path.clone(), e))?;
        for name in ["pregon.db", "pregon.db-wal", "pregon.db-shm", "pregon.lock", "pregon.head", "pregon.reserve"] {
            files::narrow(&folder.join(name));
        }
        let mut reserve = Reserve::in_folder(folder, options.reserve_bytes);
        let open = || {
            let mut connection = Connection::open(&path)?;
            let found = schema::prepare(&mut connection)?;
            Ok((connection, found))
        };
        // The index of the `-wal` needs some space. None helps a damaged file.
        let wants_space = |error: &rusqlite::Error| {
            let code = error.sqlite_error_code();
            !matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        };
        let opened: rusqlite::Result<_> = open()
            .or_else(|error| if wants_space(&error) && reserve.give_up_for_start() { open() } else { Err(error) });
        let (connection, found) = opened.map_err(failed)?;
        if found > schema::VERSION {
            return Err(OpenError::Newer { path, found });
        }
        let head_file = HeadFile::open(folder, &connection, &options.metrics.lost).map_err(failed)?;
        let seal = head_file.seal(&schema::identity(&connection).map_err(failed)?);
        let damages = Damages::of(path.clone(), options.metrics.damaged.clone());
        let looked = audit::run(&connection, &damages, options.audited_max).map_err(failed)?;
        retention::let_in(&connection).map_err(failed)?;
        if let Some(through) = looked.through {
            damages.leaves_gap(through);
            retention::forgo(&connection, through).map_err(failed)?;
            retention::leave_out(&connection, &damages.take_entries()).map_err(failed)?;
        }
        let readers = Readers::open(&path, damages.clone()).map_err(failed)?;
        let uptime = Uptime::load(&connection).map_err(failed)?;
        let scrub = Scrub::new(readers.file());
        let members = MemberCounts::default();
        let beside = writer::Beside { reserve, damages: damages.clone(), head_file, scrub, members: members.clone() };
        let writer = writer::start(connection, WRITES_QUEUED_MAX, options.clone(), readers.gate(), beside);
        let writer = writer.map_err(failed)?;
        let mut looks = vec![scrub::look(readers.file(), writer.tasks())];
        if looked.older.is_some() || !looked.tables.is_empty() {
            let older = looked.older.unwrap_or_default();
            let begun = audit::older::start(&path, older, looked.tables, &readers, &damages, writer.tasks());
            looks.push(begun.map_err(failed)?);
        }
        Ok(SqliteStore { _looks: looks, seal, options, damages, readers, members, writer, uptime, _lock: lock })
    }

    async fn ask<T>(
        &self,
        task: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> tasks::Task,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.writer.send(task(answer)).await?;
        // The writer answers all, unless it panics.
        answered.await.map_err(|_| StoreError::Unknown)?
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn seal(&self) -> Seal {
        self.seal.clone()
    }

    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        self.ask(|answer| tasks::Task::Append { append, answer }).await
    }

    async fn answered(&self, key: &RequestKey) -> Result<Option<Answered>, StoreError> {
        let (key, uptime) = (key.clone(), self.uptime);
        self.readers.read(move |connection| once::answered(connection, &key, uptime)).await
    }

    async fn follow(&self, follower: Arc<dyn Follower>, backlog: Backlog) -> Result<(), StoreError> {
        self.ask(|answer| tasks::Task::Follow { follower, backlog, answer }).await
    }

    async fn open_within(&self, asked: Vec<Asked>, effort: Effort) -> Result<Vec<Option<Opening>>, StoreError> {
        let (bounds, damages) = (self.options.bounds().within(effort), self.damages.clone());
        self.readers
            .read(move |connection| {
                let head = head(connection)?;
                let mut openings: Vec<Option<Opening>> = Vec::new();
                // Streams of a user that begin together begin with the same.
                let mut known: HashMap<UserId, usize> = HashMap::new();
                let mut looked = 0;
                for Asked { user, since, at } in asked {
                    let since = since.map(|at| position_before(connection, at)).transpose()?;
                    if let Some(same) = known.get(&user) {
                        openings.push(openings[*same].clone().map(|opening| Opening { since, ..opening }));
                        continue;
                    }
                    if looked >= ROWS_PER_OPENINGS {
                        break;
                    }
                    let interest = interest(connection, &user)?;
                    let inbox = Inbox::load(connection, &interest, at, bounds)?;
                    looked += inbox.looked + inbox.items.len() + interest.mutes.len() + interest.memberships.len();
                    known.insert(user.clone(), openings.len());
                    if effort == Effort::Little && inbox.is_cut_short {
                        openings.push(None);
                        continue;
                    }
                    openings.push(Some(Opening {
                        counts: inbox.counts(),
                        oldest: oldest(connection, &user)?,
                        damaged: damages.gap(),
                        revoked_at: access::revoked_at(connection, &user)?,
                        interest,
                        head,
                        since,
                    }));
                }
                Ok(openings)
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
        let of = interest.clone();
        let (entries, through) = self
            .readers
            .read_for(&interest.user, move |connection| {
                let oldest = oldest(connection, &of.user)?;
                if after < oldest {
                    return Ok(Err(StoreError::Trimmed { oldest }));
                }
                replay::said(connection, &of, after, through, limit).map(Ok)
            })
            .await??;
        let Some((last, _)) = entries.damaged.last() else {
            let mut entries = entries.sound;
            entries.retain(|entry| !entry.is_muted_by(interest));
            return Ok(Slice { entries, through });
        };
        for (position, damaged) in &entries.damaged {
            self.damages.found_at(*position, damaged);
        }
        self.ask(|answer| tasks::Task::Forgo { through: *last, answer }).await?;
        Err(StoreError::Trimmed { oldest: *last })
    }

    async fn page(&self, wanted: Wanted) -> Result<Page, StoreError> {
        let (bounds, wanted) = (self.options.bounds(), Arc::new(wanted));
        loop {
            let (of, damages) = (Arc::clone(&wanted), self.damages.clone());
            let read = self.readers.read_for(&wanted.user, move |connection| page(connection, &of, bounds, &damages));
            let (page, newest) = read.await?;
            let Some(last) = newest else { return Ok(page) };
            // Then nobody has it, and it is not counted.
            if self.ask(|answer| tasks::Task::Forgo { through: last, answer }).await.is_err() {
                return Ok(page);
            }
        }
    }

    async fn item(&self, user: &UserId, id: NotificationId, at: Timestamp) -> Result<Option<Item>, StoreError> {
        let (of, bounds) = (user.clone(), self.options.bounds());
        self.readers
            .read_for(user, move |connection| {
                let Some((position, notification)) = published(connection, id)? else { return Ok(None) };
                let interest = interest(connection, &of)?;
                // The tables that lead there may be damaged.
                let is_theirs = notification.audiences.iter().any(|audience| interest.includes(audience, position));
                let inbox = Inbox::load(connection, &interest, at, bounds)?;
                let index = inbox.index_of(position).filter(|_| is_theirs);
                Ok(index.map(|index| Item { position, notification, state: inbox.items[index].1 }))
            })
            .await
    }

    async fn find(&self, id: NotificationId) -> Result<Option<Found>, StoreError> {
        self.readers
            .read(move |connection| {
                if let Some((position, notification)) = published(connection, id)? {
                    return Ok(Some(Found { notification, position: Some(position), due: None }));
                }
                let scheduled = rows::scheduled(connection, id)?;
                Ok(scheduled.map(|(notification, due)| Found { notification, position: None, due: Some(due) }))
            })
            .await
    }

    async fn interest(&self, user: &UserId) -> Result<Interest, StoreError> {
        let of = user.clone();
        self.readers.read_for(user, move |connection| interest(connection, &of)).await
    }

    async fn members(&self, topic: &Topic, after: Option<UserId>, limit: usize) -> Result<Vec<UserId>, StoreError> {
        let topic = topic.clone();
        self.readers
            .read(move |connection| {
                connection
                    .prepare_cached(&spans::MEMBERS)?
                    .query_map(
                        params![topic.as_str(), after.as_ref().map_or("", UserId::as_str), whole(limit)],
                        |row| parsed(row.get_ref(0)?.as_str()?),
                    )?
                    .collect()
            })
            .await
    }

    async fn count_members(&self, topics: &[Topic]) -> Result<Vec<usize>, StoreError> {
        self.members.of(topics, &self.readers).await
    }

    async fn keys(&self) -> Result<Vec<KeptKey>, StoreError> {
        self.readers.read(access::keys).await
    }

    async fn token_secrets(&self) -> Result<Vec<TokenSecret>, StoreError> {
        self.readers.read(access::secrets).await
    }

    async fn revocations(&self) -> Result<Vec<(UserId, Timestamp)>, StoreError> {
        self.readers.read(access::revocations).await
    }

    async fn advance(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.ask(|answer| tasks::Task::Advance { now, answer }).await
    }

    async fn log_time(&self, now: Timestamp) -> Result<Timestamp, StoreError> {
        self.ask(|answer| tasks::Task::LogTime { now, answer }).await
    }

    async fn trim(&self, older_than: Timestamp) -> Result<bool, StoreError> {
        self.ask(|answer| tasks::Task::Trim { older_than, answer }).await
    }

    fn has_stopped(&self) -> bool {
        self.writer.has_stopped()
    }

    async fn check(&self) -> Result<Vec<Failing>, StoreError> {
        self.ask(|answer| tasks::Task::Check { answer }).await
    }
}

/// A page of what a user has. What is damaged is left out; where the newest of that stands, if it was not known before.
fn page(
    connection: &Connection,
    wanted: &Wanted,
    bounds: Bounds,
    damages: &Damages,
) -> rusqlite::Result<(Page, Option<Position>)> {
    let mut newest_damaged = None;
    let interest = interest(connection, &wanted.user)?;
    let inbox = Inbox::load(connection, &interest, wanted.at, bounds)?;
    let mut page = Page { items: Vec::new(), more: false, counts: inbox.counts(), head: head(connection)? };
    let before = wanted.before.unwrap_or(Position::END);
    let mut bytes = 0;
    for (position, state) in inbox.items.into_iter().filter(|(position, _)| *position < before) {
        if !wanted.status.includes(&state) {
            continue;
        }
        if let Some(topic) = &wanted.topic
            && !feed::of_topic(connection, topic, position)?
        {
            continue;
        }
        let notification = match rows::published_for(connection, position, &interest) {
            Ok(notification) => notification,
            Err(error) => {
                newest_damaged = newest_damaged.max(damages.found_at(position, &Damaged::of(&error).ok_or(error)?));
                continue;
            }
        };
        if wanted.category.is_some() && notification.content.category() != wanted.category {
            continue;
        }
        if page.items.len() == wanted.limit || bytes >= BYTES_PER_READ {
            page.more = true;
            break;
        }
        bytes += notification.content.json().len();
        page.items.push(Item { position, notification, state });
    }
    Ok((page, newest_damaged))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{Content, Fields};
    use crate::notification::Notification;
    use crate::store::suite::{notification, sequences};
    use crate::store::{Command, Once, Outcome};

    /// A writer on a connection, without a store around it.
    fn start(connection: Connection, folder: &Path) -> tasks::Handle {
        checksum::add_to(&connection).expect("added");
        let (gate, reserve) = (checkpoint::Gate::new(Arc::default(), Vec::new()), Reserve::in_folder(folder, 0));
        let head_file = HeadFile::open(folder, &connection, &metrics::Log::default().lost).expect("opens");
        let file = files::open(&folder.join("pregon.db")).expect("opens");
        let (scrub, members) = (Scrub::new(Arc::new(file)), MemberCounts::default());
        let beside = writer::Beside { reserve, damages: damages(), head_file, scrub, members };
        writer::start(connection, 10, Options::default(), gate, beside).expect("started")
    }

    /// A notification to everyone of that time, with a message of that length.
    pub(super) fn notified(millisecond: i64, bytes: usize) -> Command {
        let timestamp = Timestamp::from_millisecond(millisecond).expect("in range");
        let content = Content::from_stored(&format!("{{\"message\":\"{}\"}}", "x".repeat(bytes)));
        Command::Publish(Arc::new(Notification { timestamp, content, ..notification(&["everyone"], "x") }))
    }

    fn damages() -> Damages {
        Damages::of(PathBuf::new(), prometheus_client::metrics::counter::Counter::default())
    }

    #[tokio::test]
    async fn the_embedded_store_passes_the_suite() {
        let options = || Options { doubts_clock_for: Duration::ZERO, ..Options::default() };
        super::super::suite::run(|folder| Arc::new(SqliteStore::open(folder, options()).expect("opens"))).await;
    }

    /// With few places in an inbox, and few that are passed over.
    fn narrow(folder: &Path) -> Arc<dyn Store> {
        let options = Options {
            inbox_max: sequences::INBOX_MAX,
            passed_max: sequences::PASSED_MAX,
            // Their time passes at once.
            doubts_clock_for: Duration::ZERO,
            ..Options::default()
        };
        let epoch = std::fs::read(folder.join("pregon.head")).ok().map(|record| record[8..12].to_vec());
        let store = SqliteStore::open(folder, options).expect("opens");
        assert_eq!(store.options.metrics.damaged.get(), 0, "a file that is whole is called damaged");
        assert!(
            epoch.is_none_or(|epoch| epoch == store.seal.epoch.to_le_bytes()),
            "a log that is whole has another epoch"
        );
        Arc::new(store)
    }

    #[test]
    fn whatever_happens_users_have_what_the_model_says() {
        sequences::run(narrow);
    }

    #[tokio::test]
    async fn counts_told_with_a_mark_are_of_that_moment_though_muted_ones_follow() {
        sequences::run_muted_after_a_mark(narrow).await;
    }

    /// Mutant: `synchronous=NORMAL`. Killing the process can't show it: the kernel keeps what was written.
    #[test]
    fn a_commit_is_synced_to_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        schema::prepare(&mut connection).expect("prepared");
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
        assert_eq!(pragma("journal_mode").expect("read"), "wal".to_owned().into());
        assert_eq!(pragma("synchronous").expect("read"), 2.into(), "FULL");
        assert_eq!(pragma("auto_vacuum").expect("read"), 2.into(), "INCREMENTAL");
    }

    /// A full disk takes no page, so a start that writes one fails on it.
    #[test]
    fn a_start_writes_nothing_into_a_file_that_is_as_it_should_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pregon.db");
        drop(SqliteStore::open(folder.path(), Options::default()).expect("opens"));
        let before = std::fs::read(&path).expect("read");
        let mut connection = Connection::open(&path).expect("opens");
        assert_eq!(schema::prepare(&mut connection).expect("prepared"), schema::VERSION);
        drop(Readers::open(&path, damages()).expect("opens"));
        let wal = std::fs::metadata(path.with_extension("db-wal")).map_or(0, |wal| wal.len());
        assert_eq!(wal, 0, "bytes are to be written into the file");
        drop(connection);
        assert!(before == std::fs::read(&path).expect("read"), "the file has changed");
        drop(SqliteStore::open(folder.path(), Options::default()).expect("opens"));
        assert!(before == std::fs::read(&path).expect("read"), "the file has changed with a start and an end");
    }

    /// A sort that does not fit into the cache would go to a file of its own.
    #[tokio::test]
    async fn no_connection_needs_a_folder_for_temporary_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pregon.db");
        let mut connection = Connection::open(&path).expect("opens");
        schema::prepare(&mut connection).expect("prepared");
        let temp_store = |connection: &Connection| connection.pragma_query_value(None, "temp_store", |row| row.get(0));
        assert_eq!(temp_store(&connection), Ok(2), "MEMORY");
        let readers = Readers::open(&path, damages()).expect("opens");
        for _ in 0..readers.permits.available_permits() {
            assert_eq!(readers.read(temp_store).await.expect("read"), 2, "MEMORY");
        }
    }

    #[tokio::test]
    async fn no_statement_is_planned_anew_for_another_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pregon.db");
        let mut connection = Connection::open(&path).expect("opens");
        schema::prepare(&mut connection).expect("prepared");
        let planned_anew = |connection: &Connection| {
            let mut statement = connection.prepare("SELECT position FROM log LIMIT ?1")?;
            for limit in 1..=10 {
                statement.query_map([limit], |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>, _>>()?;
            }
            Ok(statement.get_status(rusqlite::StatementStatus::RePrepare))
        };
        assert_eq!(planned_anew(&connection), Ok(0));
        let readers = Readers::open(&path, damages()).expect("opens");
        assert_eq!(readers.read(planned_anew).await.expect("read"), 0);
    }

    /// Mutant: what is remembered is never forgotten.
    #[tokio::test]
    async fn a_request_is_forgotten_after_a_day_in_which_the_store_was_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let key = RequestKey { owner: String::new(), key: "k".into() };
        let once = Once { key: key.clone(), fingerprint: [1; 32], answer: "una".into() };
        let at = Timestamp::UNIX_EPOCH;
        let append = || Append { at, commands: vec![notified(0, 1)], once: Some(once.clone()) };
        open().append(append()).await.expect("appended");
        let pass = |hours: i64| {
            let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
            checksum::add_to(&connection).expect("added");
            let sql = checksum::update_identity(&[("uptime", "max(uptime, (SELECT max(at) FROM once)) + ?1")]);
            connection.execute(&sql, [hours * 3_600_000]).expect("passed");
        };
        pass(23);
        assert!(open().answered(&key).await.expect("read").is_some(), "after 23 hours");
        pass(2);
        let store = open();
        assert_eq!(store.answered(&key).await.expect("read"), None);
        store.advance(at).await.expect("advanced");
        let left: i64 = Connection::open(folder.path().join("pregon.db"))
            .and_then(|connection| connection.query_row("SELECT count(*) FROM once", [], |row| row.get(0)))
            .expect("read");
        assert_eq!(left, 0);
        assert!(matches!(store.append(append()).await.expect("appended"), Appended::Done(_)), "done once more");
    }

    /// An operator may hold the file for a while with the shell.
    #[tokio::test]
    async fn a_store_that_is_locked_for_a_while_refuses_and_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(SqliteStore::open(folder.path(), Options::default()).expect("opens"));
        let open = || Connection::open(folder.path().join("pregon.db")).expect("opens");
        let (connection, operator) = (open(), open());
        connection.busy_timeout(Duration::ZERO).expect("set");
        let writer = start(connection, folder.path());
        let join = async || {
            let (answer, answered) = oneshot::channel();
            let join = Command::Join { user: "1".parse().expect("valid"), topics: vec!["t".parse().expect("valid")] };
            let append = Append { at: Timestamp::UNIX_EPOCH, commands: vec![join], once: None };
            writer.send(tasks::Task::Append { append, answer }).await.expect("queued");
            answered.await.expect("answered")
        };
        operator.execute_batch("BEGIN IMMEDIATE").expect("locked");
        assert!(matches!(join().await, Err(StoreError::Unavailable(_))));
        operator.execute_batch("ROLLBACK").expect("unlocked");
        assert_eq!(join().await.expect("appended"), Appended::Done(vec![Outcome::Logged(Position(1))]));
    }

    /// Mutant: whatever is not expected stops the store.
    #[tokio::test]
    async fn what_is_damaged_harms_nobody_who_does_not_need_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let Command::Publish(damaged) = notified(0, 1) else { unreachable!("it publishes") };
        let id = damaged.id;
        store.one(Timestamp::UNIX_EPOCH, Command::Publish(damaged)).await.expect("stored");
        drop(store);
        let open = || Connection::open(folder.path().join("pregon.db")).expect("opens");
        let (connection, operator) = (open(), open());
        operator.execute("UPDATE log SET audiences = '?'", []).expect("damaged");
        let writer = start(connection, folder.path());
        let (at, once) = (Timestamp::UNIX_EPOCH, None);
        let send = async |command, answer| {
            let append = Append { at, commands: vec![command], once: once.clone() };
            writer.send(tasks::Task::Append { append, answer }).await.expect("queued");
        };
        let [(first, before), (second, harmed), (third, after), (fourth, later)] =
            std::array::from_fn(|_| oneshot::channel());
        // They queue up, and then are done in one commit or two.
        operator.execute_batch("BEGIN IMMEDIATE").expect("locked");
        send(notified(1, 1), first).await;
        send(Command::Recall { id }, second).await;
        send(notified(2, 1), third).await;
        operator.execute_batch("ROLLBACK").expect("unlocked");
        assert!(before.await.expect("answered").is_ok());
        assert!(matches!(harmed.await.expect("answered"), Err(StoreError::Damaged(_))));
        assert!(after.await.expect("answered").is_ok());
        send(notified(3, 1), fourth).await;
        assert!(later.await.expect("answered").is_ok(), "and it goes on");
        assert!(!writer.has_stopped());
    }

    /// Mutants: leave out whoever comes after one of these; answer with what was found so far.
    #[tokio::test]
    async fn a_stream_for_which_much_is_passed_over_begins_with_more_effort() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let ana: UserId = "ana".parse().expect("valid");
        let fields = Fields { message: "x".into(), category: Some("ruido".into()), ..Fields::default() };
        let content = Content::parse(&fields).expect("valid");
        let publish = || {
            Command::Publish(Arc::new(Notification { content: content.clone(), ..notification(&["everyone"], "x") }))
        };
        let mute = Command::Mute { user: ana.clone(), categories: vec!["ruido".into()] };
        let commands = std::iter::once(mute).chain((0..1000).map(|_| publish())).collect();
        store.append(Append { at: Timestamp::UNIX_EPOCH, commands, once: None }).await.expect("appended");
        let at = Timestamp::UNIX_EPOCH;
        let users = [&ana, &ana, &"bea".parse().expect("valid")];
        let asked = users.map(|user| Asked { user: user.clone(), since: None, at }).to_vec();
        let mut totals = Vec::new();
        for effort in [Effort::Little, Effort::Any] {
            let openings = store.open_within(asked.clone(), effort).await.expect("opened");
            totals.push(openings.iter().map(|opening| Some(opening.as_ref()?.counts.total)).collect::<Vec<_>>());
        }
        assert_eq!(totals, [vec![None, None, Some(1000)], vec![Some(0), Some(0), Some(1000)]]);
    }

    #[tokio::test]
    async fn what_retention_frees_is_given_back_to_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let commands = (0..3000).map(|millisecond| notified(millisecond, 4000)).collect();
        store.append(Append { at: Timestamp::UNIX_EPOCH, commands, once: None }).await.expect("appended");
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
        let _first = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        assert!(matches!(SqliteStore::open(folder.path(), Options::default()), Err(OpenError::InUse(_))));
    }

    #[tokio::test]
    async fn a_full_disk_refuses_what_it_cannot_keep_and_takes_more_once_there_is_space() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(SqliteStore::open(folder.path(), Options::default()).expect("opens"));
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        // The store sees the same error as from a full disk.
        connection.pragma_update(None, "max_page_count", 64).expect("set");
        let writer = start(connection, folder.path());
        let append = async |millisecond: i64| {
            let (answer, answered) = oneshot::channel();
            let commands = vec![notified(millisecond, 1000)];
            let append = Append { at: Timestamp::UNIX_EPOCH, commands, once: None };
            writer.send(tasks::Task::Append { append, answer }).await.expect("queued");
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
        writer.send(tasks::Task::Trim { older_than, answer }).await.expect("queued");
        assert!(answered.await.expect("answered").is_ok());
        assert!(append(stored).await.is_ok(), "there is space again");
        drop(writer);
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let wanted = Wanted {
            user: "1".parse().expect("valid"),
            status: super::super::Status::All,
            category: None,
            topic: None,
            before: None,
            limit: 1000,
            at: Timestamp::UNIX_EPOCH,
        };
        let page = store.page(wanted).await.expect("read");
        assert_eq!(
            i64::try_from(page.items.len()).expect("few"),
            stored - stored / 2 + 1,
            "all that was acknowledged and not trimmed"
        );
    }

    #[tokio::test]
    async fn a_file_of_an_older_version_keeps_what_it_has() {
        let folder = tempfile::tempdir().expect("a folder");
        let old = Connection::open(folder.path().join("pregon.db")).expect("opens");
        old.execute_batch(&schema::up_to(2)).expect("made");
        old.execute_batch(
            "INSERT INTO log_identity (epoch, key, trimmed) VALUES (7, x'00112233445566778899aabbccddeeff', 0);
             INSERT INTO log (position, kind, at, audiences, id, content)
                 VALUES (3, 'notified', 5, 'user:1', '01a20cb5-116e-716b-aa33-fad3da96c4bc', '{\"message\":\"x\"}');
             INSERT INTO addressed (audience, position) VALUES ('user:1', 3);
             INSERT INTO once (key, fingerprint, answer, at) VALUES ('k', zeroblob(32), 'x', 5);",
        )
        .expect("filled");
        drop(old);
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        assert_eq!(store.seal().epoch, 7);
        let user: UserId = "1".parse().expect("valid");
        let through = Timestamp::UNIX_EPOCH;
        let revoked = store.one(through, Command::Revoke { user: user.clone(), through }).await.expect("stored");
        assert_eq!(revoked, Outcome::Logged(Position(4)), "the log goes on");
        let id = "01a20cb5-116e-716b-aa33-fad3da96c4bc".parse().expect("an id");
        let item = store.item(&user, id, Timestamp::UNIX_EPOCH).await.expect("read").expect("she has it");
        assert_eq!(item.position, Position(3));
        let key = RequestKey { owner: String::new(), key: "k".into() };
        let answered = store.answered(&key).await.expect("read");
        assert_eq!(answered, Some(Answered { fingerprint: [0; 32], answer: "x".into() }));
    }

    #[test]
    fn a_store_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(SqliteStore::open(folder.path(), Options::default()).expect("opens"));
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        connection.pragma_update(None, "user_version", schema::VERSION + 1).expect("written");
        let Err(error) = SqliteStore::open(folder.path(), Options::default()) else { panic!("opened") };
        assert!(matches!(error, OpenError::Newer { found, .. } if found == schema::VERSION + 1), "{error}");
    }
}
