//! Work that keeps the store in order and that nobody waits for an answer of: whether it fails, counted, logged and said.

use std::collections::BTreeMap;

use rusqlite::{Connection, ErrorCode};

use crate::metrics;
use crate::store::Failing;

/// What has failed since it last worked.
#[derive(Default)]
pub(super) struct Maintenance {
    failing: BTreeMap<&'static str, Failures>,
}

struct Failures {
    /// In a row.
    count: u64,
    /// Whether the last one passes with space,
    is_full: bool,
    /// or with that or a lock that is given up.
    passes: bool,
}

impl Maintenance {
    /// Notes how an attempt of that work ended. Of the failures in a row the first, second, fourth, eighth … are logged.
    pub(super) fn note(&mut self, metrics: &metrics::Log, work: &'static str, error: Option<&rusqlite::Error>) {
        let Some(error) = error else {
            if let Some(Failures { count, .. }) = self.failing.remove(work) {
                tracing::info!(work, failures = count, "the store's maintenance works again");
            }
            return;
        };
        metrics.maintenance_failed.get_or_create(&metrics::Work { work }).inc();
        let failures = self.failing.entry(work).or_insert(Failures { count: 0, is_full: false, passes: true });
        failures.count += 1;
        failures.is_full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        failures.passes = failures.is_full || error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        if failures.count.is_power_of_two() {
            tracing::error!(work, %error, failures = failures.count, "the store's maintenance failed; it is tried again");
        }
    }

    /// Whether some work failed the last time, for whatever reason.
    pub(super) fn fails(&self, work: &str) -> bool {
        self.failing.contains_key(work)
    }

    /// Whether some work failed the last time for want of space.
    pub(super) fn waits_for_space(&self, work: &str) -> bool {
        self.failing.get(work).is_some_and(|failures| failures.is_full)
    }

    /// What failed the last time, by name.
    pub(super) fn failing(&self) -> Vec<Failing> {
        self.failing.iter().map(|(work, Failures { passes, .. })| Failing { work, passes: *passes }).collect()
    }
}

/// Notes how large the file is.
pub(super) fn measure(connection: &Connection, metrics: &metrics::Log) {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if let (Ok(pages), Ok(page_bytes)) = (pragma("page_count"), pragma("page_size")) {
        metrics.file_bytes.set(pages * page_bytes);
    }
}

/// A number as gauges have it.
pub(super) fn gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
