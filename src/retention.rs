//! Retention: removes what is older than an age, now and then.
//!
//! **Invariant:** the age is taken by the log's own time ([`Store::log_time`]), which a wrong wall clock moves only slowly. When
//! the wall clock is far ahead of it, that is logged before anything is removed, and again every hour. That time is kept by each
//! look and at the end, so that it also passes on servers that run only shortly.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::store::{Store, StoreError};

/// A server that runs only shortly looks a second time.
const SECOND_LOOK_AFTER: Duration = Duration::from_mins(1);
const INTERVAL: Duration = Duration::from_mins(10);
/// A stop of a day is usual enough.
const LAG_WARNED: Duration = Duration::from_hours(24);
/// Looks from one warning to the next.
const LOOKS_PER_WARNING: u64 = 6;

/// Looks for what is too old until it is dropped: at the start, soon after it, and then every [`INTERVAL`].
pub async fn run(store: Arc<dyn Store>, age: Duration, clock: fn() -> Timestamp) {
    look(&*store, age, clock(), true).await;
    tokio::time::sleep(SECOND_LOOK_AFTER).await;
    let mut ticks = tokio::time::interval(INTERVAL);
    for number in 0_u64.. {
        ticks.tick().await;
        look(&*store, age, clock(), number > 0 && number.is_multiple_of(LOOKS_PER_WARNING)).await;
    }
}

/// Keeps the log's own time when the server ends, where the next one goes on.
pub async fn end(store: &dyn Store, now: Timestamp) {
    if let Err(error) = store.log_time(now).await {
        tracing::warn!(%error, "the log's own time could not be kept; what is too old is removed later by as much");
    }
}

async fn look(store: &dyn Store, age: Duration, now: Timestamp, warns: bool) {
    if let Err(error) = remove(store, age, now, warns).await {
        tracing::error!(%error, "what is too old could not be removed; it is tried again within {INTERVAL:?}");
    }
}

/// Removes what is too old now.
async fn remove(store: &dyn Store, age: Duration, now: Timestamp, warns: bool) -> Result<(), StoreError> {
    let log_time = store.log_time(now).await?;
    if warns && now.duration_since(log_time) > LAG_WARNED.try_into().unwrap_or_default() {
        let (log_time, now) = (log_time.to_string(), now.to_string());
        tracing::warn!(
            log_time,
            now,
            "the clock is more than a day ahead of the log: the server was stopped for long, or the clock is wrong. \
             Retention goes by the log's time, which passes four times as fast until it has caught up; after 7 days \
             without a restart the clock is believed. If it is wrong, set it right before what it makes too old is removed"
        );
    }
    let Ok(limit) = log_time.checked_sub(age) else { return Ok(()) };
    while store.trim(limit).await? {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::Notify;
    use tokio::time::Instant;

    use super::*;
    use crate::content::Content;
    use crate::notification::{Audience, Notification, NotificationId};
    use crate::store::sqlite::{Options, SqliteStore};
    use crate::store::{Append, Command, Status, Wanted};

    const DAY: Duration = Duration::from_hours(24);
    const HOUR: Duration = Duration::from_hours(1);

    fn begin() -> Timestamp {
        Timestamp::from_second(1_790_000_000).expect("in range")
    }

    /// Publishes so many at that time, which expire a day later if they do.
    async fn publish(store: &SqliteStore, count: usize, at: Timestamp, expire: bool) {
        let notification = |_| Notification {
            id: NotificationId::generate(),
            timestamp: at,
            audiences: vec![Audience::Everyone],
            content: Content::from_stored("{\"message\":\"x\"}"),
            expires_at: expire.then(|| at + DAY),
            replaces: None,
        };
        let commands = (0..count).map(|number| Command::Publish(Arc::new(notification(number)))).collect();
        store.append(Append { at, commands, once: None }).await.expect("stored");
    }

    async fn left(store: &SqliteStore, at: Timestamp) -> usize {
        let user = "1".parse().expect("valid");
        let wanted = Wanted { user, status: Status::All, category: None, topic: None, before: None, limit: 1000, at };
        store.page(wanted).await.expect("read").items.len()
    }

    /// What the server does by itself while the clock says so.
    async fn live(store: &SqliteStore, now: Timestamp) {
        for _ in 0..3 {
            remove(store, 30 * DAY, now, true).await.expect("looked at");
            while store.advance(now).await.expect("advanced").is_some_and(|next| next <= now) {}
        }
    }

    /// Mutant: the log is as old as the wall clock says.
    #[tokio::test]
    async fn a_boot_with_a_wrong_clock_deletes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let store = open();
        publish(&store, 250, begin(), false).await;
        publish(&store, 250, begin() + HOUR, true).await;
        drop(store);
        let right = begin() + 2 * HOUR;
        for ahead in [HOUR, 31 * DAY, 3650 * DAY] {
            for wrong in [right + ahead, right - ahead] {
                let store = open();
                live(&store, wrong).await;
                // It also publishes something, so that the newest entry has the wrong time.
                publish(&store, 1, wrong, true).await;
                live(&store, wrong).await;
                drop(store);
                live(&open(), wrong).await;
            }
        }
        let store = open();
        live(&store, right).await;
        assert!(left(&store, right).await >= 500, "{} of 500 are left", left(&store, right).await);
    }

    /// Mutant: the second look comes after the interval.
    #[tokio::test(start_paused = true)]
    async fn it_is_looked_at_the_start_soon_after_it_and_every_ten_minutes() {
        static LOOKS: Mutex<Vec<Instant>> = Mutex::new(Vec::new());
        static DONE: Notify = Notify::const_new();
        fn clock() -> Timestamp {
            let mut looks = LOOKS.lock().expect("not poisoned");
            looks.push(Instant::now());
            if looks.len() == 4 {
                DONE.notify_one();
            }
            begin()
        }
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        tokio::select! {
            () = run(Arc::new(store), DAY, clock) => {}
            () = DONE.notified() => {}
        }
        let looks = LOOKS.lock().expect("not poisoned");
        let minutes: Vec<u64> = looks.iter().map(|look| look.duration_since(looks[0]).as_secs() / 60).collect();
        assert_eq!(minutes, [0, 1, 11, 21]);
    }

    #[tokio::test]
    async fn what_is_too_old_by_the_time_of_the_log_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        publish(&store, 500, begin(), false).await;
        publish(&store, 3, begin() + 31 * DAY, false).await;
        live(&store, begin() + 31 * DAY).await;
        assert_eq!(left(&store, begin() + 31 * DAY).await, 3);
    }

    /// Mutant: the wall clock alone removes what has expired.
    #[tokio::test]
    async fn what_expired_by_a_wrong_clock_alone_is_hidden_and_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        publish(&store, 5, begin(), true).await;
        let wrong = begin() + 31 * DAY;
        live(&store, begin()).await;
        live(&store, wrong).await;
        assert_eq!((left(&store, wrong).await, left(&store, begin()).await), (0, 5));
        let next = store.advance(wrong).await.expect("advanced");
        assert_eq!(next, None, "and nobody waits for it in vain");
    }
}
