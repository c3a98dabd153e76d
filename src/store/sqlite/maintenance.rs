//! Work that keeps the store in order and that nobody waits for an answer of: whether it fails, counted, logged and said.

use std::collections::BTreeMap;

use rusqlite::ErrorCode;

use crate::metrics;
use crate::store::StoreError;

/// What has failed since it last worked.
#[derive(Default)]
pub(super) struct Maintenance {
    failing: BTreeMap<&'static str, Failing>,
}

struct Failing {
    failures: u64,
    /// Why the last attempt failed; nothing if it passes by itself.
    error: Option<String>,
}

impl Maintenance {
    /// Notes how an attempt of that work ended. Of the failures in a row the first, second, fourth, eighth … are logged.
    pub(super) fn note<T>(&mut self, metrics: &metrics::Log, work: &'static str, done: &rusqlite::Result<T>) {
        let Err(error) = done else {
            if let Some(Failing { failures, .. }) = self.failing.remove(work) {
                tracing::info!(work, failures, "the store's maintenance works again");
            }
            return;
        };
        metrics.maintenance_failed.get_or_create(&metrics::Work { work }).inc();
        let failing = self.failing.entry(work).or_insert(Failing { failures: 0, error: None });
        failing.failures += 1;
        if failing.failures.is_power_of_two() {
            tracing::error!(work, %error, failures = failing.failures, "the store's maintenance failed; it is tried again");
        }
        // With a full disk, or a lock of another process, the server stays ready to be read.
        failing.error = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => None,
            _ => Some(error.to_string()),
        };
    }

    /// Whether some work failed the last time, for whatever reason.
    pub(super) fn fails(&self, work: &str) -> bool {
        self.failing.contains_key(work)
    }

    /// Fails while there is work that fails and that neither space nor a lock that is given up would mend.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for (work, Failing { error, .. }) in &self.failing {
            if let Some(error) = error {
                return Err(StoreError::Unavailable(format!("{work} fails: {error}").into()));
            }
        }
        Ok(())
    }
}
