//! The connections that only read.

use std::collections::HashMap;
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, RwLock, Semaphore};

use super::damage::{Damaged, Damages};
use super::{BUSY_MAX, checkpoint, failure, files, schema};
use crate::blocking;
use crate::notification::UserId;
use crate::store::StoreError;

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_MAX)?;
    schema::configure(&connection)?;
    Ok(connection)
}

/// One of them, for a thread that may block.
pub(super) struct Reader {
    connection: Connection,
    gate: Arc<RwLock<()>>,
}

impl Reader {
    /// Runs a query that takes no longer than any other read. All of it sees one moment of the log.
    pub(super) fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let _passed = self.gate.blocking_read();
        self.connection.unchecked_transaction().and_then(|transaction| query(&transaction))
    }
}

/// Connections with which nothing is being read, and the file itself, which must not be closed before them: the system would let go
/// of the locks that they have on it.
struct Idle {
    connections: Mutex<Vec<Connection>>,
    file: Arc<File>,
}

impl Idle {
    fn locked(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reading connections, one for each core: a query that has none waits for one.
pub(super) struct Readers {
    idle: Arc<Idle>,
    pub(super) permits: Arc<Semaphore>,
    /// Held by a read that runs, so that a checkpoint can wait for those and for no others.
    gate: Arc<RwLock<()>>,
    damages: Damages,
    turns: Turns,
}

/// The turns of users, each of whom reads one thing at a time: else one who asks for much at once would have all connections.
#[derive(Clone, Default)]
struct Turns(Arc<Mutex<HashMap<UserId, Arc<Semaphore>>>>);

/// A user's turn, until it is dropped.
struct Turn {
    permit: Option<OwnedSemaphorePermit>,
    user: UserId,
    turns: Turns,
}

impl Turns {
    async fn take(&self, user: &UserId) -> Turn {
        let turn = Arc::clone(self.locked().entry(user.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))));
        // Forgotten also by who gives up waiting.
        let mut taken = Turn { permit: None, user: user.clone(), turns: self.clone() };
        taken.permit = turn.acquire_owned().await.ok();
        taken
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<UserId, Arc<Semaphore>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = self.turns.locked();
        drop(self.permit.take());
        // Whoever waits for it or has it holds it too.
        if turns.get(&self.user).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(&self.user);
        }
    }
}

impl Readers {
    pub(super) fn open(path: &Path, damages: Damages) -> rusqlite::Result<Readers> {
        let count = std::thread::available_parallelism().map_or(2, NonZeroUsize::get).max(2);
        let file = Arc::new(files::open(path).map_err(|error| failure::of_file(&error))?);
        let connections = (0..count).map(|_| open(path)).collect::<rusqlite::Result<Vec<_>>>()?;
        let idle = Arc::new(Idle { connections: Mutex::new(connections), file });
        let permits = Arc::new(Semaphore::new(count));
        Ok(Readers { idle, permits, gate: Arc::default(), damages, turns: Turns::default() })
    }

    /// Where reads can be made to wait.
    pub(super) fn gate(&self) -> checkpoint::Gate {
        let interrupts = self.idle.locked().iter().map(Connection::get_interrupt_handle).collect();
        checkpoint::Gate::new(Arc::clone(&self.gate), interrupts)
    }

    /// The file, without SQLite.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.idle.file)
    }

    /// A connection for a thread of its own.
    pub(super) fn another(&self, path: &Path) -> rusqlite::Result<Reader> {
        Ok(Reader { connection: open(path)?, gate: Arc::clone(&self.gate) })
    }

    /// Runs a query as [`Readers::read`] does, in turn with what else the user asks for.
    pub(super) async fn read_for<T: Send + 'static>(
        &self,
        user: &UserId,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turns.take(user).await;
        self.read_with(turn, query).await
    }

    /// Runs a query on a thread that may block. All of it sees one moment of the log.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.read_with((), query).await
    }

    /// Lets go of what is held when the query has ended, which it goes on to do if its caller is dropped.
    async fn read_with<T: Send + 'static>(
        &self,
        held: impl Send + 'static,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        let passed = Arc::clone(&self.gate).read_owned().await;
        let idle = Arc::clone(&self.idle);
        blocking::run(move || {
            let connection = idle.locked().pop().expect("a permit stands for a connection");
            let result = connection.unchecked_transaction().and_then(|transaction| query(&transaction));
            idle.locked().push(connection);
            drop((passed, permit, held));
            result
        })
        .await
        .map_err(|e| StoreError::Unavailable(e.into()))?
        .map_err(|error| match Damaged::of(&error) {
            Some(damaged) => {
                self.damages.found(&damaged);
                StoreError::Damaged(damaged.into())
            }
            None => StoreError::Unavailable(error.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt as _;
    use rusqlite::Connection;

    use super::*;

    /// Mutant: no turns.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_user_who_asks_for_much_at_once_leaves_connections_to_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pregon.db");
        schema::prepare(&mut Connection::open(&path).expect("opens")).expect("prepared");
        let readers =
            Readers::open(&path, Damages::of(path.clone(), prometheus_client::metrics::counter::Counter::default()))
                .expect("opens");
        let (ana, bea): (UserId, UserId) = ("ana".parse().expect("valid"), "bea".parse().expect("valid"));
        let (go_on, wait) = mpsc::channel::<()>();
        let connections = readers.permits.available_permits();
        let first = readers.read_for(&ana, move |_| Ok(wait.recv().is_err()));
        let others: Vec<_> = (0..connections).map(|_| readers.read_for(&ana, |_| Ok(false))).collect();
        let all = futures_util::future::join(first, futures_util::future::join_all(others));
        let mut all = Box::pin(all);
        assert!(all.as_mut().now_or_never().is_none(), "the first is under way, and the others wait for it");
        assert_eq!(readers.permits.available_permits(), connections - 1);
        readers.read_for(&bea, |_| Ok(())).await.expect("read");
        drop(go_on);
        let (first, others) = all.await;
        assert!(first.expect("read"));
        assert!(others.into_iter().all(|other| !other.expect("read")));
        assert!(readers.turns.locked().is_empty(), "who asks for nothing is forgotten");

        let (go_on, wait) = mpsc::channel::<()>();
        let given_up = readers.read_for(&ana, move |_| Ok(wait.recv().is_err()));
        assert!(Box::pin(given_up).now_or_never().is_none());
        assert_eq!(readers.turns.locked().len(), 1, "the read goes on, and with it the turn");
        drop(go_on);
        readers.read_for(&ana, |_| Ok(())).await.expect("read");
    }
}
