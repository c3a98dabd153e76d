//! Checkpoints: what is in the log of SQLite (`-wal`) goes to the file, and the `-wal` begins again.
//!
//! A thread of their own copies most of it, while others read and write. SQLite begins the `-wal` again only at a moment
//! when nobody reads it, and under steady reads there is none. So then new reads wait until those under way have ended, and
//! beyond a size those under way are ended; the writer copies the little that came meanwhile, and empties the `-wal`.
//!
//! **Invariant:** the `-wal` is at most [`WAL_BYTES_MAX`] large and what is committed while the reads under way are ended,
//! unless another process reads the file. Whoever writes faster than the thread copies waits for it there.

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::mpsc::WeakSender;
use tokio::sync::{Notify, OwnedRwLockWriteGuard, RwLock, oneshot};
use tokio::time::{sleep, timeout};

use super::failure;
use super::maintenance::Maintenance;
use super::scrub::Scrub;
use super::tasks::Task;
use crate::metrics;

/// Bytes written from one attempt to the next. While nobody reads for long the `-wal` is no larger.
pub(super) const WAL_BYTES_PER_CHECKPOINT: u64 = 4 << 20;
/// Bytes beyond which reads under way are ended.
pub(super) const WAL_BYTES_MAX: u64 = 64 << 20;
/// How long a text that was taken back stays in the `-wal`, at least: so that those of a busy time go together.
const FORGETS_AFTER: Duration = Duration::from_secs(1);
/// How long new reads wait for those under way, at the most, for each attempt.
const READS_WAIT_MAX: Duration = Duration::from_secs(1);

/// From one attempt to end the reads under way to the next: a read may be between two statements.
const INTERRUPTS_EVERY: Duration = Duration::from_millis(10);

/// Keeps reads from running. Each read holds it while it has a connection, not while it waits for one.
pub(super) type Closed = OwnedRwLockWriteGuard<()>;

/// What reads pass through.
pub(super) struct Gate {
    pub(super) reads: Arc<RwLock<()>>,
    /// Of each reading connection.
    pub(super) interrupts: Vec<InterruptHandle>,
    /// That the `-wal` is too large to wait.
    too_large: Notify,
    /// That the store is being closed.
    ends: Notify,
    /// Held while the `-wal` is copied.
    copying: Mutex<()>,
}

impl Gate {
    pub(super) fn new(reads: Arc<RwLock<()>>, interrupts: Vec<InterruptHandle>) -> Gate {
        Gate { reads, interrupts, too_large: Notify::new(), ends: Notify::new(), copying: Mutex::default() }
    }

    /// Closes the gate; nothing if reads under way take long, unless the `-wal` is too large, or if the store is being closed.
    async fn close(&self, wal_bytes: impl Fn() -> u64) -> Option<Closed> {
        let mut closed = std::pin::pin!(Arc::clone(&self.reads).write_owned());
        let too_large = async {
            while wal_bytes() < WAL_BYTES_MAX {
                self.too_large.notified().await;
            }
        };
        // A read that comes after the first look at `closed` waits behind it.
        tokio::select! {
            biased;
            closed = &mut closed => return Some(closed),
            () = too_large => {}
            () = sleep(READS_WAIT_MAX) => return None,
            () = self.ends.notified() => return None,
        }
        tracing::warn!("reads are ended, since they keep the -wal of the store from beginning again");
        loop {
            self.interrupts.iter().for_each(InterruptHandle::interrupt);
            if let Ok(closed) = timeout(INTERRUPTS_EVERY, &mut closed).await {
                return Some(closed);
            }
        }
    }
}

/// How far a checkpoint has come when its writer hears of it.
pub(super) struct Copied {
    /// How it ended that most of the `-wal` was copied to the file.
    pub(super) done: rusqlite::Result<()>,
    /// Nobody reads as long as the writer has this. Nothing if reads under way took long.
    pub(super) closed: Option<Closed>,
    /// Dropped when the writer has done the rest.
    pub(super) under_way: oneshot::Sender<()>,
}

/// The thread that copies.
struct Copier {
    connection: Connection,
    gate: Arc<Gate>,
    wanted: Receiver<()>,
    tasks: WeakSender<Task>,
    metrics: metrics::Log,
}

impl Copier {
    fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime without input and output can be made");
        while self.wanted.recv().is_ok() {
            runtime.block_on(self.checkpoint());
        }
    }

    async fn checkpoint(&self) {
        let done = {
            let _copying = self.gate.copying.lock().unwrap_or_else(PoisonError::into_inner);
            checkpoint(&self.connection, "PASSIVE")
        };
        let closed = match done {
            Ok(()) => self.gate.close(|| self.metrics.wal_bytes.get().cast_unsigned()).await,
            Err(_) => None,
        };
        let Some(tasks) = self.tasks.upgrade() else { return };
        let (under_way, ended) = oneshot::channel();
        // If the writer has ended, so does this thread.
        let _ = tasks.send(Task::Checkpoint(Copied { done, closed, under_way })).await;
        drop(tasks);
        let _ = ended.await;
    }
}

/// Another process that reads the file makes nobody wait: it is tried again after as many bytes more.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}

/// The `-wal`, as its writer sees it.
pub(super) struct Wal {
    path: PathBuf,
    /// Nothing before it is there.
    file: Option<File>,
    metrics: metrics::Log,
    gate: Arc<Gate>,
    /// Asks for a checkpoint. There until it is dropped.
    asked: Option<SyncSender<()>>,
    copier: Option<JoinHandle<()>>,
    /// Bytes at which the next attempt is due.
    due_bytes: u64,
    /// Checkpoints that were asked for and of which the writer has not heard yet.
    under_way: usize,
    /// It is being copied, or has been and was not emptied.
    may_begin_again: bool,
    /// Since when it has had a text that was taken back since.
    forgets_since: Option<Instant>,
    scrub: Scrub,
}

impl Wal {
    /// Starts the thread that copies, and then gives the writer [`Task::Checkpoint`]. It ends with the writer.
    pub(super) fn new(
        connection: &Connection,
        gate: Gate,
        tasks: WeakSender<Task>,
        scrub: Scrub,
        metrics: metrics::Log,
    ) -> rusqlite::Result<Wal> {
        // Its own checkpoints report no error.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", WAL_BYTES_PER_CHECKPOINT.cast_signed())?;
        let path = connection.path().unwrap_or_default();
        let copying = Connection::open(path)?;
        copying.busy_timeout(Duration::ZERO)?;
        // It finds the `-wal` when it first reads.
        copying.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let path = PathBuf::from(format!("{path}-wal"));
        let gate = Arc::new(gate);
        let (asked, wanted) = sync_channel(1);
        let copier = Copier { connection: copying, gate: Arc::clone(&gate), wanted, tasks, metrics: metrics.clone() };
        let copier = std::thread::Builder::new().name("store-checkpoint".into()).spawn(move || copier.run());
        Ok(Wal {
            path,
            file: None,
            metrics,
            gate,
            asked: Some(asked),
            copier: Some(copier.expect("a thread can be started")),
            due_bytes: WAL_BYTES_PER_CHECKPOINT,
            under_way: 0,
            may_begin_again: false,
            forgets_since: None,
            scrub,
        })
    }

    /// A text was taken back: it is in the `-wal` until that has been emptied.
    pub(super) fn forget(&mut self) {
        self.forgets_since.get_or_insert_with(Instant::now);
    }

    /// Pages of the file may have what was taken back.
    pub(super) fn add(&mut self, pages: Vec<u32>) {
        self.scrub.add(pages);
    }

    /// Before something is written: SQLite may begin the `-wal` again with it, over pages that have to be scrubbed.
    pub(super) fn note_pages(&mut self, maintenance: &mut Maintenance) {
        if self.may_begin_again
            && let Err(error) = self.scrub.note(&self.path)
        {
            maintenance.note(&self.metrics, "scrub", Some(&failure::of_file(&error)));
        }
    }

    /// After a commit: asks for a checkpoint if one is due.
    pub(super) fn grown(&mut self) {
        if self.measure() >= self.due_bytes {
            self.ask();
        }
    }

    /// Now and then: tries again what a long read or an error has prevented. On a full disk each byte counts: the file
    /// shrinks with a checkpoint, and the `-wal` is emptied.
    pub(super) fn look(&mut self, maintenance: &Maintenance, full: bool) {
        let bytes = self.measure();
        let forgets = self.forgets_since.is_some_and(|since| since.elapsed() >= FORGETS_AFTER);
        let due = bytes >= WAL_BYTES_PER_CHECKPOINT || forgets || (bytes == 0 && self.scrub.is_due());
        if due || maintenance.fails("checkpoint") || (full && bytes > 0) {
            self.ask();
        }
    }

    fn ask(&mut self) {
        let bytes = self.measure();
        self.due_bytes = next_due(bytes);
        // If it is asked for already, that will do.
        if self.asked.as_ref().is_some_and(|asked| asked.try_send(()).is_ok()) {
            self.under_way += 1;
            self.may_begin_again = true;
        }
        if bytes >= WAL_BYTES_MAX {
            self.gate.too_large.notify_one();
            drop(self.gate.copying.lock());
        }
    }

    /// Notes how it ended that it was copied. If nobody reads, empties it and scrubs some of the pages that were in it.
    pub(super) fn copied(&mut self, copied: Copied, connection: &Connection, maintenance: &mut Maintenance) {
        let Copied { done, closed, under_way } = copied;
        self.under_way = self.under_way.saturating_sub(1);
        let done = match (done, &closed) {
            (Ok(()), Some(_)) => self.empty(connection),
            (done, _) => done,
        };
        maintenance.note(&self.metrics, "checkpoint", done.as_ref().err());
        let bytes = self.measure();
        self.due_bytes = next_due(bytes);
        if done.is_ok() && bytes == 0 && closed.is_some() {
            // Another one may be copying already.
            self.may_begin_again = self.under_way > 0;
            let scrubbed = self.scrub.go_on(connection, &self.path);
            maintenance.note(&self.metrics, "scrub", scrubbed.as_ref().err());
            if !self.scrub.is_due() {
                self.forgets_since = None;
            } else if scrubbed.is_ok() {
                self.ask();
            }
        }
        drop((closed, under_way));
    }

    /// Empties it at the end, and scrubs all that was in it.
    pub(super) fn end(&mut self, connection: &Connection, maintenance: &mut Maintenance) {
        self.stop();
        let done = self.empty(connection);
        maintenance.note(&self.metrics, "checkpoint", done.err().as_ref());
        while self.scrub.is_due() && self.measure() == 0 {
            if let Err(error) = self.scrub.go_on(connection, &self.path) {
                maintenance.note(&self.metrics, "scrub", Some(&error));
                return;
            }
        }
    }

    fn empty(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.scrub.note(&self.path).map_err(|error| failure::of_file(&error))?;
        let done = connection.busy_timeout(Duration::ZERO).and_then(|()| checkpoint(connection, "TRUNCATE"));
        done.and(connection.busy_timeout(super::BUSY_MAX))
    }

    /// Ends the thread. When it has returned, the thread's connection is closed.
    fn stop(&mut self) {
        drop(self.asked.take());
        self.gate.ends.notify_one();
        if self.copier.take().is_some_and(|copier| copier.join().is_err()) {
            tracing::error!("the store's checkpoints had ended with a panic");
        }
    }

    fn measure(&mut self) -> u64 {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        // It is the same file as long as a connection of ours is open.
        let bytes = self.file.as_ref().and_then(|wal| wal.metadata().ok()).map_or(0, |wal| wal.len());
        self.metrics.wal_bytes.set(bytes.cast_signed());
        bytes
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Bytes at which an attempt is due after one that left so many. Beyond the limit not at each commit: if another process
/// reads the file, reads would be ended in vain.
fn next_due(bytes: u64) -> u64 {
    let due = bytes + WAL_BYTES_PER_CHECKPOINT;
    if bytes < WAL_BYTES_MAX { due.min(WAL_BYTES_MAX) } else { due }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use jiff::Timestamp;
    use tokio::sync::oneshot;

    use super::*;
    use crate::content::{Content, Fields, Patch};
    use crate::notification::{Notification, NotificationId};
    use crate::store::sqlite::tests::notified;
    use crate::store::sqlite::{Options, SqliteStore};
    use crate::store::{Append, Command, Failing, Store as _};

    fn wal_bytes(folder: &Path) -> u64 {
        std::fs::metadata(folder.join("pregon.db-wal")).map_or(0, |wal| wal.len())
    }

    /// Writes some 256 KiB in one commit.
    async fn grow(store: &SqliteStore) {
        let commands = (0..16).map(|_| notified(0, 16_000)).collect();
        store.append(Append { at: Timestamp::UNIX_EPOCH, commands, once: None }).await.expect("appended");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_wal_stays_within_its_bound_while_reads_overlap_all_the_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(SqliteStore::open(folder.path(), Options::default()).expect("opens"));
        let reading: Vec<_> = (0..10)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let sql = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 300000)
                               SELECT count(*) + (SELECT count(*) FROM log) FROM n";
                    loop {
                        // One that is ended is of no interest here.
                        let _ = store.readers.read(|connection| connection.query_row(sql, [], |_| Ok(()))).await;
                    }
                })
            })
            .collect();
        let (mut most, mut written) = (0, 0);
        while written < 2 * WAL_BYTES_MAX {
            grow(&store).await;
            written += 16 * 16_000;
            most = most.max(wal_bytes(folder.path()));
        }
        for reading in reading {
            reading.abort();
        }
        assert!(most < WAL_BYTES_MAX + (1 << 20), "{most} bytes");
    }

    /// Lines of the process log, of all threads, that have one of the texts in them which are taken back.
    static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

    struct Told;

    impl std::io::Write for Told {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            let text = String::from_utf8_lossy(line);
            if text.contains("canario-") {
                TOLD.lock().expect("whole").push(text.into_owned());
            }
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Mutants: leave what is deleted in free pages; leave the `-wal` until it is large; log what is written.
    #[tokio::test]
    async fn what_was_taken_back_is_in_no_file_soon_after() {
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(|| Told).finish();
        tracing::subscriber::set_global_default(log).expect("the first one");
        let control = std::thread::spawn(|| tracing::trace!("canario-0"));
        control.join().expect("logged");
        assert_eq!(TOLD.lock().expect("whole").drain(..).count(), 1, "the log is watched");
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let text =
            |number: u128, version: &str| format!("canario-{number}-{version} {}", "x".repeat(50 << (number % 9)));
        let content =
            |text: &str| Content::parse(&Fields { message: text.to_owned(), ..Fields::default() }).expect("valid");
        let at = Timestamp::UNIX_EPOCH;
        let ids: Vec<_> = (0..40).map(|number| NotificationId(uuid::Uuid::from_u128(number + 1))).collect();
        let commands = (0..40).zip(&ids).map(|(number, id)| {
            Command::Publish(Arc::new(Notification {
                id: *id,
                timestamp: at,
                audiences: vec![if number < 30 { "user:ana" } else { "user:zoe" }.parse().expect("valid")],
                content: content(&text(number, "antes")),
                expires_at: None,
                replaces: None,
            }))
        });
        store.append(Append { at, commands: commands.collect(), once: None }).await.expect("published");
        let patch = |number| Patch::new(&["message".to_owned()], &content(&text(number, "ahora")));
        let edits = (0..10).map(|number| Command::Edit { id: ids[number as usize], patch: patch(number) });
        let recalls = ids[10..20].iter().map(|id| Command::Recall { id: *id });
        let erase = Command::Erase { user: "zoe".parse().expect("valid") };
        let commands = edits.chain(recalls).chain([erase]).collect();
        store.append(Append { at, commands, once: None }).await.expect("taken back");
        let found = || {
            let files: Vec<u8> = std::fs::read_dir(folder.path())
                .expect("read")
                .flat_map(|file| std::fs::read(file.expect("read").path()).unwrap_or_default())
                .collect();
            let has = |text: &str| files.windows(text.len()).any(|bytes| bytes == text.as_bytes());
            let texts =
                (0..40).flat_map(|number| ["antes", "ahora"].map(|version| format!("canario-{number}-{version} ")));
            texts.filter(|text| has(text)).collect::<Vec<_>>()
        };
        // The scheduler does so at least once a minute.
        let begun_at = Instant::now();
        while wal_bytes(folder.path()) > 0 && begun_at.elapsed() < Duration::from_secs(30) {
            store.advance(at).await.expect("advanced");
        }
        let there = (0..10).map(|number| format!("canario-{number}-ahora "));
        let there: Vec<_> = there.chain((20..30).map(|number| format!("canario-{number}-antes "))).collect();
        assert_eq!(found(), there);
        assert_eq!(*TOLD.lock().expect("whole"), Vec::<String>::new());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_wal_shrinks_after_a_long_read_has_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(SqliteStore::open(folder.path(), Options::default()).expect("opens"));
        let (begin, under_way) = oneshot::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let reader = Arc::clone(&store);
        let long = tokio::spawn(async move {
            let long = reader.readers.read(move |connection| {
                connection.query_row("SELECT count(*) FROM log", [], |_| Ok(()))?;
                begin.send(()).expect("waited for");
                ended.recv().expect("told");
                Ok(())
            });
            long.await.expect("read");
        });
        under_way.await.expect("begun");
        let large = 3 * WAL_BYTES_PER_CHECKPOINT;
        while wal_bytes(folder.path()) < large {
            grow(&store).await;
        }
        end.send(()).expect("read on");
        long.await.expect("ended");
        // The scheduler does so at least once a minute.
        while wal_bytes(folder.path()) > 0 {
            store.advance(Timestamp::UNIX_EPOCH).await.expect("advanced");
        }
        // It is measured within the same turn of the writer.
        store.advance(Timestamp::UNIX_EPOCH).await.expect("advanced");
        assert_eq!(store.options.metrics.wal_bytes.get(), 0);
    }

    /// A transaction on the writer's own connection makes a checkpoint fail as a disk would.
    #[tokio::test]
    async fn a_checkpoint_that_fails_is_counted_and_said_until_one_works() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(SqliteStore::open(folder.path(), Options::default()).expect("opens"));
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        let (tasks, _queue) = tokio::sync::mpsc::channel(1);
        let metrics = metrics::Log::default();
        let gate = Gate::new(Arc::default(), Vec::new());
        let file = std::fs::File::options().read(true).write(true).open(folder.path().join("pregon.db"));
        let scrub = Scrub::new(Arc::new(file.expect("opens")));
        let mut wal = Wal::new(&connection, gate, tasks.downgrade(), scrub, metrics.clone()).expect("made");
        connection.execute_batch("BEGIN IMMEDIATE; CREATE TABLE t (t)").expect("begun");
        let mut maintenance = Maintenance::default();
        let full = || Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None));
        let reads = Arc::new(RwLock::new(()));
        let mut copied = async |done: rusqlite::Result<()>, connection: &Connection| {
            let closed = if done.is_ok() { Some(Arc::clone(&reads).write_owned().await) } else { None };
            wal.copied(Copied { done, closed, under_way: oneshot::channel().0 }, connection, &mut maintenance);
            maintenance.failing()
        };
        assert_eq!(copied(full(), &connection).await, [Failing { work: "checkpoint", passes: true }]);
        assert_eq!(copied(Ok(()), &connection).await, [Failing { work: "checkpoint", passes: false }]);
        let failed = metrics.maintenance_failed.get_or_create(&metrics::Work { work: "checkpoint" }).get();
        assert_eq!(failed, 2);
        connection.execute_batch("COMMIT").expect("committed");
        assert_eq!(copied(Ok(()), &connection).await, []);
    }

    /// Else it could begin again over pages that nobody has noted. Mutant: none is copying once one has ended.
    #[tokio::test]
    async fn while_another_checkpoint_copies_each_commit_notes_its_pages() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(SqliteStore::open(folder.path(), Options::default()).expect("opens"));
        let path = folder.path().join("pregon.db");
        let connection = Connection::open(&path).expect("opens");
        let (tasks, _queue) = tokio::sync::mpsc::channel(1);
        let file = File::options().read(true).write(true).open(&path).expect("opens");
        let (gate, scrub) = (Gate::new(Arc::default(), Vec::new()), Scrub::new(Arc::new(file)));
        let mut wal = Wal::new(&connection, gate, tasks.downgrade(), scrub, metrics::Log::default()).expect("made");
        (wal.under_way, wal.may_begin_again) = (2, true);
        let reads = Arc::new(RwLock::new(()));
        let mut notes = Vec::new();
        for _ in 0..2 {
            let closed = Some(Arc::clone(&reads).write_owned().await);
            let copied = Copied { done: Ok(()), closed, under_way: oneshot::channel().0 };
            wal.copied(copied, &connection, &mut Maintenance::default());
            notes.push(wal.may_begin_again);
        }
        assert_eq!(notes, [true, false]);
    }
}
