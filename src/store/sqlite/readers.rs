//! The connections that only read.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{RwLock, Semaphore};

use super::damage::{Damaged, Damages};
use super::{BUSY_MAX, checkpoint, schema};
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

/// Reading connections, one for each core: a query that has none waits for one.
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    pub(super) permits: Arc<Semaphore>,
    /// Held by a read that runs, so that a checkpoint can wait for those and for no others.
    gate: Arc<RwLock<()>>,
    damages: Damages,
}

impl Readers {
    pub(super) fn open(path: &Path, damages: Damages) -> rusqlite::Result<Readers> {
        let count = std::thread::available_parallelism().map_or(2, NonZeroUsize::get).max(2);
        let idle = (0..count).map(|_| open(path)).collect::<rusqlite::Result<Vec<_>>>()?;
        let (idle, permits) = (Arc::new(Mutex::new(idle)), Arc::new(Semaphore::new(count)));
        Ok(Readers { idle, permits, gate: Arc::default(), damages })
    }

    /// Where reads can be made to wait.
    pub(super) fn gate(&self) -> checkpoint::Gate {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let interrupts = idle.iter().map(Connection::get_interrupt_handle).collect();
        checkpoint::Gate::new(Arc::clone(&self.gate), interrupts)
    }

    /// A connection for a thread of its own.
    pub(super) fn another(&self, path: &Path) -> rusqlite::Result<Reader> {
        Ok(Reader { connection: open(path)?, gate: Arc::clone(&self.gate) })
    }

    /// Runs a query on a thread that may block. All of it sees one moment of the log.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        let passed = Arc::clone(&self.gate).read_owned().await;
        let idle = Arc::clone(&self.idle);
        tokio::task::spawn_blocking(move || {
            let connection =
                idle.lock().unwrap_or_else(PoisonError::into_inner).pop().expect("a permit stands for a connection");
            let result = connection.unchecked_transaction().and_then(|transaction| query(&transaction));
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop((passed, permit));
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
