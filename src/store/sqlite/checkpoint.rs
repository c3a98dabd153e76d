//! Checkpoints: what is in the log of SQLite (`-wal`) goes to the file, and the `-wal` begins again.
//!
//! SQLite begins it again only at a moment when nobody reads it, and under steady reads there is none. So beyond a size
//! new reads wait until those under way have ended, and beyond a larger one those under way are ended.
//!
//! **Invariant:** the `-wal` is at most [`WAL_BYTES_MAX`] large and what is committed while the reads under way are ended,
//! unless another process reads the file.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::mpsc::WeakSender;
use tokio::sync::{Notify, OwnedRwLockWriteGuard, RwLock};
use tokio::time::{sleep, timeout};

use super::maintenance::Maintenance;
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
}

impl Gate {
    pub(super) fn new(reads: Arc<RwLock<()>>, interrupts: Vec<InterruptHandle>) -> Gate {
        Gate { reads, interrupts, too_large: Notify::new() }
    }

    /// Closes the gate; nothing if reads under way take long, unless the `-wal` is too large.
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

/// The `-wal`, as its writer sees it.
pub(super) struct Wal {
    path: PathBuf,
    metrics: metrics::Log,
    gate: Arc<Gate>,
    /// Asks for a moment without reads.
    asked: SyncSender<()>,
    /// Bytes at which the next attempt is due.
    due_bytes: u64,
    /// Since when it has had a text that was taken back since.
    forgets_since: Option<Instant>,
}

/// How much a checkpoint does.
#[derive(Clone, Copy)]
enum Mode {
    /// What it can without waiting.
    Passive,
    /// All, and the file is emptied, if nobody reads it.
    Truncate,
}

impl Wal {
    /// Starts the thread that waits for moments without reads, and then gives the writer [`Task::Checkpoint`]. It ends
    /// with the writer.
    pub(super) fn new(
        connection: &Connection,
        gate: Gate,
        tasks: WeakSender<Task>,
        metrics: metrics::Log,
    ) -> rusqlite::Result<Wal> {
        // Its own checkpoints report no error.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", WAL_BYTES_PER_CHECKPOINT.cast_signed())?;
        let path = PathBuf::from(format!("{}-wal", connection.path().unwrap_or_default()));
        let gate = Arc::new(gate);
        let (asked, wanted) = sync_channel(1);
        let (closing, bytes) = (Arc::clone(&gate), metrics.wal_bytes.clone());
        std::thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
                let runtime = runtime.expect("a runtime without input and output can be made");
                let wal_bytes = || bytes.get().cast_unsigned();
                while wanted.recv().is_ok() {
                    runtime.block_on(async {
                        if let Some(closed) = closing.close(wal_bytes).await
                            && let Some(tasks) = tasks.upgrade()
                        {
                            // If the writer has ended, so does this thread.
                            let _ = tasks.send(Task::Checkpoint { closed }).await;
                        }
                    });
                }
            })
            .expect("a thread can be started");
        Ok(Wal { path, metrics, gate, asked, due_bytes: WAL_BYTES_PER_CHECKPOINT, forgets_since: None })
    }

    /// A text was taken back: it is in the `-wal` until that has been emptied.
    pub(super) fn forget(&mut self) {
        self.forgets_since.get_or_insert_with(Instant::now);
    }

    /// After a commit: begins a checkpoint if one is due.
    pub(super) fn grown(&mut self, connection: &Connection, maintenance: &mut Maintenance) {
        if self.measure() >= self.due_bytes {
            self.begin(connection, maintenance);
        }
    }

    /// Now and then: tries again what a long read or an error has prevented. On a full disk each byte counts: the file
    /// shrinks with a checkpoint, and the `-wal` is emptied.
    pub(super) fn look(&mut self, connection: &Connection, maintenance: &mut Maintenance, full: bool) {
        let bytes = self.measure();
        let forgets = self.forgets_since.is_some_and(|since| since.elapsed() >= FORGETS_AFTER);
        if bytes >= WAL_BYTES_PER_CHECKPOINT || forgets || maintenance.fails("checkpoint") || (full && bytes > 0) {
            self.begin(connection, maintenance);
        }
    }

    fn begin(&mut self, connection: &Connection, maintenance: &mut Maintenance) {
        // Most of the work is done while others read.
        self.checkpoint(connection, maintenance, Mode::Passive);
        let bytes = self.measure();
        self.due_bytes = next_due(bytes);
        // If it is asked for already, that will do.
        let _ = self.asked.try_send(());
        if bytes >= WAL_BYTES_MAX {
            self.gate.too_large.notify_one();
        }
    }

    /// Empties it, while the gate is closed.
    pub(super) fn reset(&mut self, connection: &Connection, maintenance: &mut Maintenance) {
        self.checkpoint(connection, maintenance, Mode::Truncate);
        let bytes = self.measure();
        self.due_bytes = next_due(bytes);
        if bytes == 0 {
            self.forgets_since = None;
        }
    }

    fn checkpoint(&self, connection: &Connection, maintenance: &mut Maintenance, mode: Mode) {
        let sql = match mode {
            Mode::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
            Mode::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
        };
        // Another process that reads the file makes no publisher wait: it is tried again after as many bytes more.
        let done = connection.busy_timeout(Duration::ZERO).and_then(|()| connection.query_row(sql, [], |_| Ok(())));
        let restored = connection.busy_timeout(super::BUSY_MAX);
        maintenance.note(&self.metrics, "checkpoint", done.and(restored).err().as_ref());
    }

    fn measure(&self) -> u64 {
        let bytes = std::fs::metadata(&self.path).map_or(0, |wal| wal.len());
        self.metrics.wal_bytes.set(bytes.cast_signed());
        bytes
    }
}

/// Bytes at which an attempt is due after one that left so many. Beyond the limit not at each commit: if another process
/// reads the file, reads would be ended in vain.
fn next_due(bytes: u64) -> u64 {
    let due = bytes + WAL_BYTES_PER_CHECKPOINT;
    if bytes < WAL_BYTES_MAX { due.min(WAL_BYTES_MAX) } else { due }
}
