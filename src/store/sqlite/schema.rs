//! The file: its tables, its versions, its identity, and that only one server uses it.
//!
//! **Invariant:** a file of an older version becomes one of the newest in one transaction, or stays as it was.

use std::fs::{File, TryLockError};
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, params};

use super::{OpenError, checksum, files};
use crate::event_id::Seal;

/// What makes a file of each version from one of the version before; the first from nothing.
const VERSIONS: [&str; VERSION as usize] = [
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
];
/// The newest version.
pub(super) const VERSION: u32 = 5;

/// Two servers on one file would give out the same positions. The shell `sqlite3` may read beside us.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let lock = files::open(path).map_err(|e| OpenError::Folder(path.to_owned(), e))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(e)) => Err(OpenError::Folder(path.to_owned(), e)),
    }
}

/// Sets what holds for every connection, whether it reads or writes.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    checksum::add_to(connection)?;
    // SQLite's temporary files would need a folder that can be written, which a read-only container does not have.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Else SQLite plans a statement anew whenever another value is bound to its `LIMIT ?`: more work than the statement.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Makes a file one of the newest version, unless it is newer; gives its version.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<u32> {
    configure(connection)?;
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == 0 {
        // Setting it writes the first page, also where it is set already, and then a full disk would keep the server
        // from starting.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What is deleted is written over with zeros.
    connection.pragma_update(None, "secure_delete", true)?;
    if found >= VERSION {
        return Ok(found);
    }
    let transaction = connection.transaction()?;
    for (version, made) in (1..).zip(VERSIONS) {
        if version > found {
            transaction.execute_batch(made)?;
        }
    }
    if found == 0 {
        let mut random = [0; 20];
        aws_lc_rs::rand::fill(&mut random).expect("the operating system has randomness");
        let [e0, e1, e2, e3, key @ ..] = random;
        transaction.execute(
            &checksum::LOG_IDENTITY.insert,
            params![u32::from_le_bytes([e0, e1, e2, e3]), key, 0, 0, 0, None::<i64>, 0, 0],
        )?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(VERSION)
}

/// What makes a file of that version from nothing, but for its identity.
#[cfg(test)]
pub(super) fn up_to(version: usize) -> String {
    format!("{}PRAGMA user_version = {version};", VERSIONS[..version].concat())
}

/// What makes this file's positions its own.
pub(super) fn identity(connection: &Connection) -> rusqlite::Result<Seal> {
    connection
        .query_row("SELECT epoch, key FROM log_identity", [], |row| Ok(Seal { epoch: row.get(0)?, key: row.get(1)? }))
}
