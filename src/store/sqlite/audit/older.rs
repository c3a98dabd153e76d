//! Looks at the older part of a long log while the server serves: in slices, and at most a quarter of the time.
//!
//! What is found is named as at the start. From then on clients with a cursor from before it are told `reset`. A client that
//! has gone on from such a cursor earlier is not: it may have missed what is gone.
//!
//! Not looked at: pages of which no entry is read, and memberships.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};

use super::super::damage::{Damaged, Damages};
use super::super::readers::{Reader, Readers};
use super::super::rows::whole;
use super::super::tasks::Task;
use super::{FINDING, Unfound, finding, leads_astray, note_all, unfound};
use crate::notification::Position;

/// Rows looked at in one read.
const ROWS_PER_SLICE: usize = 1000;
/// How long nothing is read after a slice: at least that, and so many times what the slice took.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSES_PER_SLICE: u32 = 3;

/// The thread that looks. Dropping it ends it.
pub(in super::super) struct Look {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Look {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the look at the older part of the log had ended with a panic");
            }
        }
    }
}

struct Looking {
    reader: Reader,
    damages: Damages,
    tasks: mpsc::WeakSender<Task>,
    ends: Arc<AtomicBool>,
}

/// Starts to look at the log up to a position.
pub(in super::super) fn start(
    path: &Path,
    through: Position,
    readers: &Readers,
    damages: &Damages,
    tasks: mpsc::WeakSender<Task>,
) -> rusqlite::Result<Look> {
    let ends = Arc::new(AtomicBool::new(false));
    let looking = Looking { reader: readers.another(path)?, damages: damages.clone(), tasks, ends: Arc::clone(&ends) };
    let thread = std::thread::Builder::new().name("store-audit".into()).spawn(move || {
        let begun_at = Instant::now();
        match looking.look(through) {
            Ok(true) => {
                let seconds = begun_at.elapsed().as_secs();
                tracing::info!(seconds, "the look at the older part of the log has ended; what is damaged was named");
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the older part of the log could not be looked through"),
        }
    });
    Ok(Look { ends, thread: Some(thread.expect("a thread can be started")) })
}

/// How one slice went.
enum Slice<T> {
    /// It ended there, and there may be more.
    Through(T),
    /// It was the last one, or a page behind it is damaged.
    Last,
    /// The store is being closed.
    Closed,
}

/// The key of a row by which an entry is found.
type Key = (String, Position);

impl Looking {
    /// Looks at everything; false if the store was closed before.
    fn look(&self, through: Position) -> rusqlite::Result<bool> {
        let mut after = Position(0);
        while after < through {
            let slice = self.slice(|connection| {
                let Unfound { astray, damaged, through } = unfound(connection, &self.damages, after, ROWS_PER_SLICE)?;
                note_all(&self.damages, &astray);
                let gone = if astray.is_empty() { damaged } else { Some(super::super::head(connection)?) };
                Ok((gone, through))
            })?;
            match slice {
                Slice::Through(last) => after = last,
                Slice::Last => break,
                Slice::Closed => return Ok(false),
            }
        }
        for (is_notified, table) in FINDING {
            let mut after = (String::new(), Position(0));
            loop {
                let slice = self.slice(|connection| {
                    let (strays, last) = strays(connection, is_notified, table, &after)?;
                    note_all(&self.damages, &strays);
                    let gone = if strays.is_empty() { None } else { Some(super::super::head(connection)?) };
                    Ok((gone, last))
                })?;
                match slice {
                    Slice::Through(last) => after = last,
                    Slice::Last => break,
                    Slice::Closed => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    /// Looks at one slice, which gives up to where something may be gone and where it ended; tells what is gone, and pauses.
    fn slice<T>(
        &self,
        look: impl FnOnce(&Connection) -> rusqlite::Result<(Option<Position>, Option<T>)>,
    ) -> rusqlite::Result<Slice<T>> {
        let begun_at = Instant::now();
        let (gone, last) = match self.reader.read(look) {
            Ok(looked) => looked,
            Err(error) => {
                self.damages.note(&Damaged::of(&error).ok_or(error)?);
                (Some(self.reader.read(super::super::head)?), None)
            }
        };
        self.damages.say(Instant::now());
        if let Some(through) = gone {
            // Nobody waits for the answer.
            let (answer, _) = oneshot::channel();
            let Some(tasks) = self.tasks.upgrade() else { return Ok(Slice::Closed) };
            if tasks.blocking_send(Task::Forgo { through, answer }).is_err() {
                return Ok(Slice::Closed);
            }
        }
        std::thread::park_timeout(PAUSE_MIN.max(begun_at.elapsed() * PAUSES_PER_SLICE));
        if self.ends.load(Ordering::Relaxed) {
            return Ok(Slice::Closed);
        }
        Ok(last.map_or(Slice::Last, Slice::Through))
    }
}

/// Rows after a key that lead astray, and the last key looked at.
fn strays(
    connection: &Connection,
    is_notified: bool,
    table: &str,
    (audience, position): &Key,
) -> rusqlite::Result<(Vec<Damaged>, Option<Key>)> {
    let sql = format!(
        "SELECT audience, position, {} FROM {table} AS found
         WHERE (audience, position) > (?1, ?2) ORDER BY audience, position LIMIT ?3",
        leads_astray(is_notified)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![audience, position, whole(ROWS_PER_SLICE)])?;
    let (mut strays, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let position: Position = row.get(1)?;
        if row.get(2)? {
            strays.push(finding(is_notified, position));
        }
        last = Some((row.get(0)?, position));
    }
    Ok((strays, last))
}
