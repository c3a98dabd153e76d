//! The writing thread: takes commands in turn, commits many appends as one, tells the follower, then answers.
//!
//! **Invariant:** commit, then follower, then answer. Whoever is told of an entry can read it, and whoever has an
//! answer can be told of nothing older.

use std::sync::Arc;
use std::thread::JoinHandle;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, params};
use tokio::sync::{mpsc, oneshot};

use crate::notification::{Audience, Change, Entry, Position, Topic, UserId};
use crate::store::{Backlog, Follower, StoreError};

/// Most changes in one commit: bounds how long a reader of the newest entry waits for the others.
const CHANGES_PER_COMMIT_MAX: usize = 4096;
/// Entries, addresses and pages removed in one turn, so that appends wait no longer than for a few commits.
const TRIMMED_PER_TURN: usize = 500;
const ADDRESSES_TRIMMED_PER_TURN: usize = 5000;
const PAGES_FREED_PER_TURN: usize = 1024;
/// Pages that stay free for what comes: 1 MiB.
const PAGES_KEPT_FREE: i64 = 256;
/// Entries in one batch of a backlog.
const ENTRIES_PER_BATCH: usize = 256;

/// What the thread is asked to do.
pub(super) enum Command {
    Append { changes: Vec<Change>, answer: oneshot::Sender<Result<Vec<Option<Position>>, StoreError>> },
    Follow { follower: Arc<dyn Follower>, backlog: Backlog, answer: oneshot::Sender<Result<(), StoreError>> },
    Trim { older_than: Timestamp, answer: oneshot::Sender<Result<bool, StoreError>> },
    Check { answer: oneshot::Sender<Result<(), StoreError>> },
}

struct Writer {
    connection: Connection,
    head: Position,
    followers: Vec<Arc<dyn Follower>>,
}

/// One append inside a commit.
struct Appended {
    positions: Vec<Option<Position>>,
    answer: oneshot::Sender<Result<Vec<Option<Position>>, StoreError>>,
}

/// The other end of the thread. Dropping it waits until what is queued has been written and the file is closed.
pub(super) struct Handle {
    /// There until it is dropped.
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Queues a command, and waits for a place in the queue.
    pub(super) async fn send(&self, command: Command) -> Result<(), StoreError> {
        let commands = self.commands.as_ref().ok_or(StoreError::Stopped)?;
        commands.send(command).await.map_err(|_| StoreError::Stopped)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.commands.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's writer had ended with a panic");
        }
    }
}

/// Starts the thread. It ends when its handle is dropped, or with a write whose fate is unknown.
pub(super) fn start(connection: Connection, queued_max: usize) -> rusqlite::Result<Handle> {
    let head = super::head(&connection)?;
    connection.set_prepared_statement_cache_capacity(32);
    let mut writer = Writer { connection, head, followers: Vec::new() };
    let (commands, mut queue) = mpsc::channel(queued_max);
    let thread = std::thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || {
            let mut next = None;
            while let Some(command) = next.take().or_else(|| queue.blocking_recv()) {
                let alive = match command {
                    Command::Append { changes, answer } => {
                        let mut batch = vec![(changes, answer)];
                        next = gather(&mut queue, &mut batch);
                        writer.append(batch)
                    }
                    Command::Follow { follower, backlog, answer } => {
                        let _ = answer.send(writer.follow(follower, backlog));
                        true
                    }
                    Command::Trim { older_than, answer } => {
                        let trimmed = writer.trim(older_than);
                        let alive = !matches!(trimmed, Err(StoreError::Stopped));
                        let _ = answer.send(trimmed);
                        alive
                    }
                    Command::Check { answer } => {
                        let _ = answer.send(Ok(()));
                        true
                    }
                };
                if !alive {
                    tracing::error!(
                        "the store has stopped: a write failed and what reached the disk is unknown; restart"
                    );
                    return;
                }
            }
        })
        .expect("a thread can be started");
    Ok(Handle { commands: Some(commands), thread: Some(thread) })
}

type Append = (Vec<Change>, oneshot::Sender<Result<Vec<Option<Position>>, StoreError>>);

/// Takes the appends that are waiting; gives back the first other command.
fn gather(queue: &mut mpsc::Receiver<Command>, batch: &mut Vec<Append>) -> Option<Command> {
    let mut count = batch[0].0.len();
    while count < CHANGES_PER_COMMIT_MAX {
        match queue.try_recv() {
            Ok(Command::Append { changes, answer }) => {
                count += changes.len();
                batch.push((changes, answer));
            }
            Ok(other) => return Some(other),
            Err(_) => break,
        }
    }
    None
}

impl Writer {
    /// Commits a batch and answers each append. False if the store must stop.
    fn append(&mut self, batch: Vec<Append>) -> bool {
        let before = self.head;
        let mut entries = Vec::with_capacity(batch.len());
        let mut appended = Vec::with_capacity(batch.len());
        let mut failed = self.connection.execute_batch("BEGIN IMMEDIATE").err();
        for (changes, answer) in batch {
            let mut positions = Vec::with_capacity(changes.len());
            for change in changes {
                if failed.is_some() {
                    break;
                }
                match self.insert(change) {
                    Ok(entry) => {
                        positions.push(entry.as_ref().map(|e| e.position));
                        entries.extend(entry);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            appended.push(Appended { positions, answer });
        }
        if failed.is_none() {
            failed = self.connection.execute_batch("COMMIT").err();
        }
        if let Some(error) = failed {
            self.head = before;
            return self.refuse(&error, appended);
        }
        if !entries.is_empty() {
            for follower in &self.followers {
                follower.committed(before, &entries);
            }
        }
        for Appended { positions, answer } in appended {
            // A publisher that has gone away no longer waits; the entry stays.
            let _ = answer.send(Ok(positions));
        }
        true
    }

    /// Takes a failed batch back.
    fn refuse(&self, error: &rusqlite::Error, appended: Vec<Appended>) -> bool {
        let rolled_back = self.connection.is_autocommit() || self.connection.execute_batch("ROLLBACK").is_ok();
        let refusal = || if rolled_back { refusal(error) } else { StoreError::Stopped };
        let alive = !matches!(refusal(), StoreError::Stopped);
        tracing::error!(%error, alive, "notifications could not be stored");
        for Appended { answer, .. } in appended {
            let _ = answer.send(Err(refusal()));
        }
        alive
    }

    /// Inserts one change at the next position, unless it changes nothing.
    fn insert(&mut self, change: Change) -> rusqlite::Result<Option<Entry>> {
        let position = Position(self.head.0 + 1);
        let changed = match &change {
            Change::Notified(notification) => {
                let audiences = notification.audiences.iter().map(Audience::to_string).collect::<Vec<_>>();
                self.connection
                    .prepare_cached(
                        "INSERT INTO log (position, kind, at, audiences, id, content)
                         VALUES (?1, 'notified', ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![
                        position,
                        notification.timestamp.as_millisecond(),
                        audiences.join(" "),
                        notification.id.to_string(),
                        notification.content.json()
                    ])?;
                let mut address =
                    self.connection.prepare_cached("INSERT INTO addressed (audience, position) VALUES (?1, ?2)")?;
                for audience in audiences {
                    address.execute(params![audience, position])?;
                }
                true
            }
            Change::Joined { user, topic } => {
                let joined = self
                    .connection
                    .prepare_cached(
                        "INSERT INTO member (user, topic, since) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    )?
                    .execute(params![user.as_str(), topic.as_str(), position])?;
                joined > 0 && self.note(position, "joined", user, topic)?
            }
            Change::Left { user, topic } => {
                let left = self
                    .connection
                    .prepare_cached("UPDATE member SET until = ?3 WHERE user = ?1 AND topic = ?2 AND until IS NULL")?
                    .execute(params![user.as_str(), topic.as_str(), position])?;
                left > 0 && self.note(position, "left", user, topic)?
            }
        };
        if !changed {
            return Ok(None);
        }
        self.head = position;
        Ok(Some(Entry { position, change }))
    }

    /// Puts a change of membership into the log.
    fn note(&self, position: Position, kind: &str, user: &UserId, topic: &Topic) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached(
                "INSERT INTO log (position, kind, at, audiences, content)
                 VALUES (?1, ?2, CAST(unixepoch('subsec') * 1000 AS INTEGER), ?3, ?4)",
            )?
            .execute(params![position, kind, Audience::User(user.clone()).to_string(), topic.as_str()])?;
        Ok(true)
    }

    fn follow(&mut self, follower: Arc<dyn Follower>, backlog: Backlog) -> Result<(), StoreError> {
        let unavailable = |error: rusqlite::Error| StoreError::Unavailable(error.into());
        let mut before = super::backlog_begins(&self.connection, backlog).map_err(unavailable)?;
        // Also an empty log has an end, from which the follower goes on.
        follower.committed(before, &[]);
        while before < self.head {
            let entries = super::entries_after(&self.connection, before, ENTRIES_PER_BATCH).map_err(unavailable)?;
            let Some(last) = entries.last() else { break };
            follower.committed(before, &entries);
            before = last.position;
        }
        self.followers.push(follower);
        Ok(())
    }

    /// Removes the oldest entries if they are older than that, but never the newest one; says whether to go on.
    fn trim(&self, older_than: Timestamp) -> Result<bool, StoreError> {
        let trimmed = self.trim_in_one_commit(older_than).and_then(|more| Ok(self.give_back()? || more));
        trimmed.map_err(|error| {
            let rolled_back = self.connection.is_autocommit() || self.connection.execute_batch("ROLLBACK").is_ok();
            tracing::error!(%error, "old entries could not be removed");
            if rolled_back { refusal(&error) } else { StoreError::Stopped }
        })
    }

    fn trim_in_one_commit(&self, older_than: Timestamp) -> rusqlite::Result<bool> {
        let old = self.oldest(older_than)?;
        let Some((last, _)) = old.last() else { return Ok(false) };
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        for (position, audiences) in &old {
            for audience in audiences.split(' ') {
                self.connection
                    .prepare_cached("DELETE FROM addressed WHERE audience = ?1 AND position = ?2")?
                    .execute(params![audience, position])?;
            }
            self.connection.prepare_cached("DELETE FROM log WHERE position = ?1")?.execute([position])?;
        }
        self.connection.prepare_cached("DELETE FROM member WHERE until <= ?1")?.execute([last])?;
        self.connection.prepare_cached("UPDATE log_identity SET trimmed = max(trimmed, ?1)")?.execute([last])?;
        self.connection.execute_batch("COMMIT")?;
        Ok(true)
    }

    /// The oldest entries, up to the first that is young enough or the last of all, as many as one turn removes.
    fn oldest(&self, older_than: Timestamp) -> rusqlite::Result<Vec<(Position, String)>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT position, audiences, at FROM log WHERE position < ?1 ORDER BY position LIMIT ?2")?;
        let mut rows = statement.query(params![self.head, super::whole(TRIMMED_PER_TURN)])?;
        let mut old = Vec::new();
        let mut addresses = 0;
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(2)? >= older_than.as_millisecond() || addresses > ADDRESSES_TRIMMED_PER_TURN {
                break;
            }
            let audiences: String = row.get(1)?;
            addresses += audiences.split(' ').count();
            old.push((row.get(0)?, audiences));
        }
        Ok(old)
    }

    /// Gives some free pages back to the disk; says whether there are more.
    fn give_back(&self) -> rusqlite::Result<bool> {
        let free: i64 = self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        let too_many = (free - PAGES_KEPT_FREE).clamp(0, super::whole(PAGES_FREED_PER_TURN));
        if too_many == 0 {
            return Ok(false);
        }
        // The pragma frees a page at each step.
        let mut statement = self.connection.prepare(&format!("PRAGMA incremental_vacuum({too_many})"))?;
        let mut steps = statement.query([])?;
        while steps.next()?.is_some() {}
        Ok(free - PAGES_KEPT_FREE > too_many)
    }
}

/// What a failed transaction means once it has been rolled back. A full disk and a lock that somebody else holds leave
/// the log as it was; of anything else it is not known what reached the disk.
fn refusal(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Unavailable("another process holds the file".into())
        }
        _ => StoreError::Stopped,
    }
}
