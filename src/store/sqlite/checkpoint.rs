//! Checkpoints: what is in the log of SQLite (`-wal`) goes to the file, and the `-wal` begins again.
//!
//! A thread of their own copies most of it, while others read and write. SQLite begins the `-wal` again only at a moment
//! when nobody reads it, and under steady reads there is none. So then new reads wait until those under way have ended, and
//! beyond a size those under way are ended; the writer copies the little that came meanwhile, and with its next commit
//! SQLite begins the `-wal` again.
//!
//! The file keeps its length then, so that what follows is written over what is there: a commit at the end of a file that
//! grows takes a fourth longer, and to empty one of 4 MiB takes the writer 8 ms (ext4). It is emptied only if it has a text
//! that was taken back, if it has become much larger than usual, on a full disk, and at the end.
//!
//! **Invariant:** the `-wal` is at most [`WAL_BYTES_MAX`] large and what is committed while the reads under way are ended,
//! unless another process reads the file. Whoever writes faster than the thread copies waits for it there.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::mpsc::WeakSender;
use tokio::sync::{Notify, OwnedRwLockWriteGuard, RwLock, oneshot};
use tokio::time::{sleep, timeout};

use super::background::Background;
use super::failure;
use super::maintenance::Maintenance;
use super::scrub::{self, FRAME_HEAD_BYTES, Scrub};
use super::tasks::Task;
use crate::metrics;

/// Bytes written from one attempt to the next.
pub(super) const WAL_BYTES_PER_CHECKPOINT: u64 = 4 << 20;
/// Length that the file keeps when it begins again: what is used between two attempts, and what is written while it is copied.
const WAL_BYTES_KEPT: u64 = 4 * WAL_BYTES_PER_CHECKPOINT;
/// Bytes beyond which reads under way are ended.
pub(super) const WAL_BYTES_MAX: u64 = 64 << 20;
/// How long a text that was taken back stays in the `-wal`, at least: so that those of a busy time go together.
pub(super) const FORGETS_AFTER: Duration = Duration::from_secs(1);
/// The same for one that was removed because of its age or because there were too many. Under load some always are.
pub(super) const FORGETS_OLD_AFTER: Duration = Duration::from_secs(30);
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
    /// Bytes of the `-wal` since it began again. What is behind them is from before.
    used_bytes: AtomicU64,
    /// It began again with a commit.
    began_again: AtomicBool,
    /// That the `-wal` is too large to wait.
    too_large: Notify,
    /// That the store is being closed.
    ends: Notify,
    /// Held while the `-wal` is copied.
    copying: Mutex<()>,
}

impl Gate {
    pub(super) fn new(reads: Arc<RwLock<()>>, interrupts: Vec<InterruptHandle>) -> Gate {
        let (too_large, ends) = (Notify::new(), Notify::new());
        let (used_bytes, began_again) = (AtomicU64::new(0), AtomicBool::new(false));
        Gate { reads, interrupts, used_bytes, began_again, too_large, ends, copying: Mutex::default() }
    }

    /// Closes the gate; nothing if reads under way take long, unless the `-wal` is too large, or if the store is being closed.
    async fn close(&self) -> Option<Closed> {
        let mut closed = std::pin::pin!(Arc::clone(&self.reads).write_owned());
        let too_large = async {
            while self.used_bytes.load(Ordering::Relaxed) < WAL_BYTES_MAX {
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
    /// Told when the writer has done the rest: which pages were written. Whoever copies looks whether they are to be scrubbed,
    /// which takes 6 µs each.
    pub(super) under_way: oneshot::Sender<Vec<u32>>,
}

/// The thread that copies.
struct Copier {
    connection: Connection,
    gate: Arc<Gate>,
    wanted: Receiver<()>,
    tasks: WeakSender<Task>,
    file: Arc<File>,
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
            checkpoint(&self.connection, Mode::Copy)
        };
        let closed = match done {
            Ok(_) => self.gate.close().await,
            Err(_) => None,
        };
        let Some(tasks) = self.tasks.upgrade() else { return };
        let (under_way, ended) = oneshot::channel();
        // If the writer has ended, so does this thread.
        let _ = tasks.send(Task::Checkpoint(Copied { done: done.map(drop), closed, under_way })).await;
        drop(tasks);
        let Ok(pages) = ended.await else { return };
        let pages = scrub::unclean_of(&self.file, pages);
        if let Some(tasks) = self.tasks.upgrade() {
            let _ = tasks.send(Task::Scrub { pages }).await;
        }
    }
}

/// What a checkpoint does.
#[derive(Clone, Copy)]
enum Mode {
    /// Copies what nobody who reads is in the way of.
    Copy,
    /// Copies all, and empties the file.
    Empty,
}

/// Says whether all was copied. Another process that reads the file makes nobody wait: it is tried again after as many bytes
/// more.
fn checkpoint(connection: &Connection, mode: Mode) -> rusqlite::Result<bool> {
    let sql = match mode {
        Mode::Copy => "PRAGMA wal_checkpoint(PASSIVE)",
        Mode::Empty => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    connection.query_row(sql, [], |row| {
        let (is_refused, frames, copied) = (row.get::<_, bool>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
        Ok(!is_refused && frames == copied)
    })
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
    /// Used bytes at which the next attempt is due.
    due_bytes: u64,
    /// Checkpoints that were asked for and of which the writer has not heard yet.
    under_way: usize,
    /// It is being copied, or part of it has been: SQLite may begin it again over pages that are not noted.
    may_begin_again: bool,
    /// When it is to be emptied, since it has a text that is to be in no file.
    forgets_at: Option<Instant>,
    on_full_disk: bool,
    scrub: Scrub,
    tasks: WeakSender<Task>,
    is_to_be_looked_through: bool,
    /// Looks through the file.
    look: Option<Background>,
}

impl Wal {
    /// Starts the thread that copies, and then gives the writer [`Task::Checkpoint`]. It ends with the writer.
    pub(super) fn new(
        connection: &mut Connection,
        gate: Gate,
        tasks: WeakSender<Task>,
        scrub: Scrub,
        metrics: metrics::Log,
    ) -> rusqlite::Result<Wal> {
        // Its own checkpoints report no error.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let page_bytes: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let frame_bytes = FRAME_HEAD_BYTES + u64::from(page_bytes);
        let gate = Arc::new(gate);
        let counted = Arc::clone(&gate);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, frames: std::ffi::c_int| {
            let frames = u64::try_from(frames).unwrap_or_default();
            if counted.used_bytes.swap(frames * frame_bytes, Ordering::Relaxed) > frames * frame_bytes {
                counted.began_again.store(true, Ordering::Relaxed);
            }
            Ok(())
        }))?;
        let path = connection.path().unwrap_or_default();
        let copying = Connection::open(path)?;
        copying.busy_timeout(Duration::ZERO)?;
        // It finds the `-wal` when it first reads.
        copying.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let path = PathBuf::from(format!("{path}-wal"));
        let (asked, wanted) = sync_channel(1);
        let copier = Copier {
            connection: copying,
            gate: Arc::clone(&gate),
            wanted,
            tasks: tasks.clone(),
            file: Arc::clone(&scrub.file),
        };
        let copier = std::thread::Builder::new().name("store-checkpoint".into()).spawn(move || copier.run());
        let mut wal = Wal {
            path,
            file: None,
            metrics,
            gate,
            asked: Some(asked),
            copier: Some(copier.expect("a thread can be started")),
            due_bytes: WAL_BYTES_PER_CHECKPOINT,
            under_way: 0,
            may_begin_again: false,
            forgets_at: None,
            on_full_disk: false,
            scrub,
            tasks,
            is_to_be_looked_through: false,
            look: None,
        };
        // What a crash has left: what was taken back before it is in there too.
        let left = wal.measure();
        wal.gate.used_bytes.store(left, Ordering::Relaxed);
        if left > 0 {
            wal.forget(FORGETS_AFTER);
        }
        Ok(wal)
    }

    /// A text is to be in no file after a time: it is in the `-wal` until that has been emptied.
    pub(super) fn forget(&mut self, after: Duration) {
        let at = Instant::now() + after;
        self.forgets_at = Some(self.forgets_at.map_or(at, |before| before.min(at)));
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
        self.measure();
        // Another process has copied it, and nobody has noted the pages that were in it.
        self.is_to_be_looked_through |= self.gate.began_again.swap(false, Ordering::Relaxed) && !self.may_begin_again;
        if self.used_bytes() >= self.due_bytes {
            self.ask();
        }
    }

    /// Now and then: tries again what a long read or an error has prevented. On a full disk each byte counts: the file
    /// shrinks with a checkpoint, and the `-wal` is emptied.
    pub(super) fn look(&mut self, maintenance: &Maintenance, full: bool) {
        self.on_full_disk = full;
        if self.is_to_be_looked_through && self.look.as_ref().is_none_or(Background::is_finished) {
            self.is_to_be_looked_through = false;
            self.look = Some(scrub::look(Arc::clone(&self.scrub.file), self.tasks.clone()));
        }
        let used = self.used_bytes();
        let due = used >= WAL_BYTES_PER_CHECKPOINT || (used == 0 && self.scrub.is_due());
        let fails = maintenance.fails("checkpoint") || maintenance.fails("scrub");
        if due || fails || self.is_to_be_emptied() {
            self.ask();
        }
    }

    /// Whether it is to be not only begun again, but emptied.
    fn is_to_be_emptied(&mut self) -> bool {
        let bytes = self.measure();
        let forgets = self.forgets_at.is_some_and(|at| at <= Instant::now());
        bytes > 0 && (forgets || bytes > WAL_BYTES_KEPT || self.on_full_disk)
    }

    fn ask(&mut self) {
        let used = self.used_bytes();
        self.due_bytes = next_due(used);
        // If it is asked for already, that will do.
        if self.asked.as_ref().is_some_and(|asked| asked.try_send(()).is_ok()) {
            self.under_way += 1;
            self.may_begin_again = true;
        }
        if used >= WAL_BYTES_MAX {
            self.gate.too_large.notify_one();
            drop(self.gate.copying.lock());
        }
    }

    /// Notes how it ended that it was copied. If nobody reads, copies the rest and scrubs some of the pages that were in it.
    pub(super) fn copied(&mut self, copied: Copied, connection: &Connection, maintenance: &mut Maintenance) {
        let Copied { done, closed, under_way } = copied;
        self.under_way = self.under_way.saturating_sub(1);
        self.scrub.looked();
        let mode = if self.is_to_be_emptied() { Mode::Empty } else { Mode::Copy };
        let done = match (done, &closed) {
            (Ok(()), Some(_)) => self.copy_rest(connection, mode),
            (done, _) => done.map(|()| false),
        };
        maintenance.note(&self.metrics, "checkpoint", done.as_ref().err());
        let is_whole = done.unwrap_or(false);
        if is_whole {
            self.gate.used_bytes.store(0, Ordering::Relaxed);
        }
        self.measure();
        self.due_bytes = next_due(self.used_bytes());
        if is_whole {
            if matches!(mode, Mode::Empty) {
                self.forgets_at = None;
                self.scrub.take_all();
            }
            // Another one may be copying already.
            self.may_begin_again = self.under_way > 0;
            let scrubbed = self.scrub.go_on(connection, &self.path);
            maintenance.note(&self.metrics, "scrub", scrubbed.as_ref().err());
            if self.scrub.is_due() && scrubbed.is_ok() {
                self.ask();
            }
        }
        drop(closed);
        if is_whole {
            // If that thread has ended, the end scrubs them.
            let _ = under_way.send(self.scrub.hand_out());
        }
    }

    /// Empties it at the end, and scrubs all that was in it.
    pub(super) fn end(&mut self, connection: &Connection, maintenance: &mut Maintenance) {
        self.stop();
        loop {
            let done = self.copy_rest(connection, Mode::Empty);
            maintenance.note(&self.metrics, "checkpoint", done.as_ref().err());
            self.scrub.take_all();
            match done {
                Ok(true) if self.scrub.is_due() => {}
                Ok(true) | Err(_) => return,
                Ok(false) => {
                    tracing::warn!(
                        "another process reads or writes the store: the -wal is emptied after the next start"
                    );
                    return;
                }
            }
            let due = self.scrub.due_pages();
            if let Err(error) = self.scrub.go_on(connection, &self.path) {
                maintenance.note(&self.metrics, "scrub", Some(&error));
                return;
            }
            if self.scrub.due_pages() >= due {
                tracing::warn!("another process writes to the store: what is left is scrubbed after the next start");
                return;
            }
        }
    }

    /// Says whether all was copied.
    fn copy_rest(&mut self, connection: &Connection, mode: Mode) -> rusqlite::Result<bool> {
        self.scrub.note(&self.path).map_err(|error| failure::of_file(&error))?;
        let done = connection.busy_timeout(Duration::ZERO).and_then(|()| checkpoint(connection, mode));
        connection.busy_timeout(super::BUSY_MAX).and(done)
    }

    /// Ends the threads. When it has returned, their connection is closed.
    fn stop(&mut self) {
        drop(self.look.take());
        drop(self.asked.take());
        self.gate.ends.notify_one();
        if self.copier.take().is_some_and(|copier| copier.join().is_err()) {
            tracing::error!("the store's checkpoints had ended with a panic");
        }
    }

    fn used_bytes(&self) -> u64 {
        self.gate.used_bytes.load(Ordering::Relaxed)
    }

    /// Its length.
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
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::content::{Content, Fields, Patch};
    use crate::notification::{Notification, NotificationId};
    use crate::store::sqlite::tests::notified;
    use crate::store::sqlite::{Options, SqliteStore};
    use crate::store::suite::notification;
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
            let user = if number < 30 { "user:ana" } else { "user:zoe" };
            Command::Publish(Arc::new(Notification { id: *id, ..notification(&[user], &text(number, "antes")) }))
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

    /// Mutant: what is in the `-wal` at a start stays there until it is large.
    #[tokio::test]
    async fn what_was_taken_back_before_a_crash_is_in_no_file_soon_after_the_next_start() {
        let (folder, crashed) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let published = notification(&["everyone"], "canario-0");
        let id = published.id;
        let at = Timestamp::UNIX_EPOCH;
        store.one(at, Command::Publish(Arc::new(published))).await.expect("published");
        store.one(at, Command::Recall { id }).await.expect("recalled");
        for name in ["pregon.db", "pregon.db-wal", "pregon.head"] {
            std::fs::copy(folder.path().join(name), crashed.path().join(name)).expect("copied");
        }
        let found = || {
            let files = std::fs::read_dir(crashed.path()).expect("read");
            let mut files = files.map(|file| std::fs::read(file.expect("read").path()).unwrap_or_default());
            files.any(|bytes| bytes.windows(9).any(|bytes| bytes == b"canario-0"))
        };
        assert!(found(), "it is looked in the right place");
        let store = SqliteStore::open(crashed.path(), Options::default()).expect("opens");
        let begun_at = Instant::now();
        while found() && begun_at.elapsed() < Duration::from_secs(30) {
            store.advance(at).await.expect("advanced");
        }
        assert!(!found());
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
        let large = WAL_BYTES_KEPT + 1;
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

    /// The `-wal` of a new store, on a connection of its own, as the store's writer has it; with the queue of tasks that it asks for,
    /// which has to stay.
    fn wal_in(folder: &Path, metrics: metrics::Log) -> (Wal, Connection, (mpsc::Sender<Task>, mpsc::Receiver<Task>)) {
        drop(SqliteStore::open(folder, Options::default()).expect("opens"));
        let path = folder.join("pregon.db");
        let mut connection = Connection::open(&path).expect("opens");
        let (tasks, queue) = mpsc::channel(1);
        let file = File::options().read(true).write(true).open(&path).expect("opens");
        let (gate, scrub) = (Gate::new(Arc::default(), Vec::new()), Scrub::new(Arc::new(file)));
        let wal = Wal::new(&mut connection, gate, tasks.downgrade(), scrub, metrics).expect("made");
        (wal, connection, (tasks, queue))
    }

    /// A transaction on the writer's own connection makes a checkpoint fail as a disk would.
    #[tokio::test]
    async fn a_checkpoint_that_fails_is_counted_and_said_until_one_works() {
        let folder = tempfile::tempdir().expect("a folder");
        let metrics = metrics::Log::default();
        let (mut wal, connection, _tasks) = wal_in(folder.path(), metrics.clone());
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

    /// Mutants: it is emptied each time; it is never emptied.
    #[tokio::test]
    async fn a_wal_that_begins_again_keeps_its_length_unless_a_text_was_taken_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut wal, connection, _tasks) = wal_in(folder.path(), metrics::Log::default());
        connection.execute_batch("CREATE TABLE t (t)").expect("made");
        let reads = Arc::new(RwLock::new(()));
        let mut lengths = Vec::new();
        let mut used = Vec::new();
        for takes_back in [false, false, true, false] {
            connection.execute_batch("INSERT INTO t VALUES (zeroblob(100000))").expect("written");
            used.push(wal.used_bytes() / 100_000);
            if takes_back {
                wal.forget(FORGETS_OLD_AFTER);
                wal.forget(Duration::ZERO);
            }
            let closed = Some(Arc::clone(&reads).write_owned().await);
            let copied = Copied { done: Ok(()), closed, under_way: oneshot::channel().0 };
            wal.copied(copied, &connection, &mut Maintenance::default());
            lengths.push(wal_bytes(folder.path()));
        }
        assert_eq!(used, [1; 4], "each time from the beginning");
        assert!(lengths[0] > 100_000, "{lengths:?}");
        assert_eq!(lengths[1..3], [lengths[0], 0]);
        assert!(lengths[3] > 100_000, "{lengths:?}");
        assert_eq!(wal.forgets_at, None);
    }

    /// As `sqlite3` does at its end. Mutant: nobody notices.
    #[tokio::test]
    async fn what_another_process_has_copied_is_looked_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut wal, connection, _tasks) = wal_in(folder.path(), metrics::Log::default());
        connection.execute_batch("CREATE TABLE t (t); INSERT INTO t VALUES (zeroblob(100000))").expect("written");
        wal.grown();
        let reads = Arc::new(RwLock::new(()));
        let closed = Some(Arc::clone(&reads).write_owned().await);
        let copied = Copied { done: Ok(()), closed, under_way: oneshot::channel().0 };
        wal.copied(copied, &connection, &mut Maintenance::default());
        connection.execute_batch("INSERT INTO t VALUES (zeroblob(100000))").expect("written");
        wal.grown();
        assert!(!wal.is_to_be_looked_through, "we have copied it");
        let other = Connection::open(folder.path().join("pregon.db")).expect("opens");
        other.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).expect("copied");
        connection.execute_batch("INSERT INTO t VALUES (1)").expect("written");
        wal.grown();
        assert!(wal.is_to_be_looked_through);
        wal.look(&Maintenance::default(), false);
        assert!(wal.look.is_some() && !wal.is_to_be_looked_through);
    }

    /// Else it could begin again over pages that nobody has noted. Mutant: none is copying once one has ended.
    #[tokio::test]
    async fn while_another_checkpoint_copies_each_commit_notes_its_pages() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut wal, connection, _tasks) = wal_in(folder.path(), metrics::Log::default());
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
