//! What a failed transaction means: for what was asked, and for all others.
//!
//! **Invariant:** the store goes on only if it is known that nothing of the transaction is on the disk.

use std::io;

use prometheus_client::metrics::counter::Counter;
use rusqlite::{Error, ErrorCode, ffi};

use super::damage::Damaged;
use crate::store::StoreError;

/// A transaction that failed.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) error: Error,
    /// Whether it failed in its `COMMIT`, and not in a statement before.
    pub(super) committing: bool,
}

/// What it means once it has been rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing was stored, for want of space.
    Full,
    /// Nothing was stored, since another process holds the file.
    Locked,
    /// Nothing was stored, and others may fare better.
    Refused,
    /// The same, since it needs something that is damaged.
    Damaged,
    /// Nothing was stored, and nothing will be until a restart.
    Stopped,
    /// It may have been stored, and nothing more will be until a restart.
    Unknown,
}

impl Failure {
    /// The same, once it has been counted.
    pub(super) fn counted(self, failed: &Counter) -> Failure {
        failed.inc();
        self
    }

    /// The meaning of each error, decided one by one:
    ///
    /// | SQLite says | in a statement | in the `COMMIT` | why |
    /// |---|---|---|---|
    /// | `FULL` | full | full | the frame that makes a transaction valid is its last, and could not be written whole |
    /// | `BUSY`, `LOCKED`, `PROTOCOL` | locked | locked | it was not begun, or nothing was written |
    /// | `CONSTRAINT` | refused | refused | it is looked at before anything is written |
    /// | `CORRUPT` | damaged | damaged | a damaged page is a matter of those who need it, and read before anything is written |
    /// | a damaged row or value | damaged | unknown | so is that |
    /// | `IOERR_READ`, `_SHORT_READ`, `_DATA`, `_CORRUPTFS`, `_NOMEM` | refused | unknown | so is a page that can't be read |
    /// | `NOMEM`, `CANTOPEN`, `PERM`, `AUTH` | refused | unknown | memory and descriptors come back |
    /// | `TOOBIG`, `MISMATCH`, `RANGE`, `ERROR`, `SCHEMA`, `INTERRUPT`, `ABORT`, `NOTFOUND` | refused | unknown | it is this statement that can't be done |
    /// | `IOERR`, all others | stopped | unknown | after a failed write or sync it is not known what the disk holds |
    /// | `READONLY`, `NOTADB`, `NOLFS` | stopped | unknown | the file is another one, or can't be written any more |
    /// | `INTERNAL`, `MISUSE`, all others | stopped | unknown | a mistake that nobody has thought of |
    #[expect(clippy::match_same_arms, reason = "in the order of the table")]
    pub(super) fn of(Broken { error, committing }: &Broken) -> Failure {
        use ErrorCode as Code;
        let code = error.sqlite_error().map(|error| (error.code, error.extended_code));
        match code {
            Some((Code::DiskFull, _)) => Self::Full,
            Some((Code::DatabaseBusy | Code::DatabaseLocked | Code::FileLockingProtocolFailed, _)) => Self::Locked,
            Some((Code::ConstraintViolation, _)) => Self::Refused,
            Some((Code::DatabaseCorrupt, _)) => Self::Damaged,
            _ if *committing => Self::Unknown,
            None if Damaged::of(error).is_some() => Self::Damaged,
            None => Self::Refused,
            Some((
                Code::SystemIoFailure,
                ffi::SQLITE_IOERR_READ
                | ffi::SQLITE_IOERR_SHORT_READ
                | ffi::SQLITE_IOERR_DATA
                | ffi::SQLITE_IOERR_CORRUPTFS
                | ffi::SQLITE_IOERR_NOMEM,
            )) => Self::Refused,
            Some((
                Code::OutOfMemory
                | Code::CannotOpen
                | Code::PermissionDenied
                | Code::AuthorizationForStatementDenied
                | Code::TooBig
                | Code::TypeMismatch
                | Code::ParameterOutOfRange
                | Code::Unknown
                | Code::SchemaChanged
                | Code::OperationInterrupted
                | Code::OperationAborted
                | Code::NotFound,
                _,
            )) => Self::Refused,
            _ => Self::Stopped,
        }
    }

    /// Whether the store must stop.
    pub(super) fn stops(self) -> bool {
        matches!(self, Self::Stopped | Self::Unknown)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> StoreError {
        match failure {
            Failure::Full => StoreError::Full,
            Failure::Locked => StoreError::Unavailable("another process holds the file".into()),
            Failure::Refused => {
                StoreError::Unavailable("it failed and was taken back; the line before says why".into())
            }
            Failure::Damaged => StoreError::Damaged("the server's log says where".into()),
            Failure::Stopped => StoreError::Stopped,
            Failure::Unknown => StoreError::Unknown,
        }
    }
}

/// An error of a file beside the database, as SQLite would say it.
pub(super) fn of_file(error: &io::Error) -> Error {
    let code = if error.kind() == io::ErrorKind::StorageFull { ffi::SQLITE_FULL } else { ffi::SQLITE_IOERR };
    Error::SqliteFailure(ffi::Error::new(code), Some(error.to_string()))
}

/// Whether there is no space for a file, or for the index of the `-wal`.
pub(super) fn is_without_space(error: &Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| error.code == ErrorCode::DiskFull || error.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(code: i32, committing: bool) -> Failure {
        Failure::of(&Broken { error: Error::SqliteFailure(ffi::Error::new(code), None), committing })
    }

    #[test]
    fn each_error_of_sqlite_has_its_meaning() {
        use Failure::{Damaged, Full, Locked, Refused, Stopped, Unknown};
        for (code, in_a_statement, in_the_commit) in [
            (ffi::SQLITE_FULL, Full, Full),
            (ffi::SQLITE_BUSY, Locked, Locked),
            (ffi::SQLITE_BUSY_SNAPSHOT, Locked, Locked),
            (ffi::SQLITE_BUSY_RECOVERY, Locked, Locked),
            (ffi::SQLITE_LOCKED, Locked, Locked),
            (ffi::SQLITE_PROTOCOL, Locked, Locked),
            (ffi::SQLITE_CONSTRAINT, Refused, Refused),
            (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, Refused, Refused),
            (ffi::SQLITE_CORRUPT, Damaged, Damaged),
            (ffi::SQLITE_CORRUPT_INDEX, Damaged, Damaged),
            (ffi::SQLITE_IOERR_READ, Refused, Unknown),
            (ffi::SQLITE_IOERR_SHORT_READ, Refused, Unknown),
            (ffi::SQLITE_IOERR_DATA, Refused, Unknown),
            (ffi::SQLITE_IOERR_CORRUPTFS, Refused, Unknown),
            (ffi::SQLITE_IOERR_NOMEM, Refused, Unknown),
            (ffi::SQLITE_IOERR, Stopped, Unknown),
            (ffi::SQLITE_IOERR_WRITE, Stopped, Unknown),
            (ffi::SQLITE_IOERR_FSYNC, Stopped, Unknown),
            (ffi::SQLITE_IOERR_DIR_FSYNC, Stopped, Unknown),
            (ffi::SQLITE_IOERR_TRUNCATE, Stopped, Unknown),
            (ffi::SQLITE_IOERR_FSTAT, Stopped, Unknown),
            (ffi::SQLITE_IOERR_LOCK, Stopped, Unknown),
            (ffi::SQLITE_IOERR_SHMSIZE, Stopped, Unknown),
            (ffi::SQLITE_IOERR_SHMMAP, Stopped, Unknown),
            (ffi::SQLITE_NOMEM, Refused, Unknown),
            (ffi::SQLITE_CANTOPEN, Refused, Unknown),
            (ffi::SQLITE_PERM, Refused, Unknown),
            (ffi::SQLITE_AUTH, Refused, Unknown),
            (ffi::SQLITE_TOOBIG, Refused, Unknown),
            (ffi::SQLITE_MISMATCH, Refused, Unknown),
            (ffi::SQLITE_RANGE, Refused, Unknown),
            (ffi::SQLITE_ERROR, Refused, Unknown),
            (ffi::SQLITE_SCHEMA, Refused, Unknown),
            (ffi::SQLITE_INTERRUPT, Refused, Unknown),
            (ffi::SQLITE_ABORT, Refused, Unknown),
            (ffi::SQLITE_NOTFOUND, Refused, Unknown),
            (ffi::SQLITE_READONLY, Stopped, Unknown),
            (ffi::SQLITE_READONLY_DBMOVED, Stopped, Unknown),
            (ffi::SQLITE_NOTADB, Stopped, Unknown),
            (ffi::SQLITE_NOLFS, Stopped, Unknown),
            (ffi::SQLITE_INTERNAL, Stopped, Unknown),
            (ffi::SQLITE_MISUSE, Stopped, Unknown),
        ] {
            assert_eq!(meaning(code, false), in_a_statement, "{code} in a statement");
            assert_eq!(meaning(code, true), in_the_commit, "{code} in the commit");
        }
        let value = |committing| Failure::of(&Broken { error: Error::IntegralValueOutOfRange(0, -1), committing });
        assert_eq!((value(false), value(true)), (Damaged, Unknown), "a value that is none");
        let odd = |committing| Failure::of(&Broken { error: Error::InvalidQuery, committing });
        assert_eq!((odd(false), odd(true)), (Refused, Unknown), "what is not of SQLite");
    }
}
