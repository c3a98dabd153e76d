//! What has been found damaged in the file: said once in the server's log, and counted.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use rusqlite::ErrorCode;

/// Damages that are told apart; further ones are counted each time that they are met.
const TOLD_APART_MAX: usize = 10_000;

/// Something in the file that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{0} is damaged")]
pub(super) struct Damaged(pub(super) String);

impl Damaged {
    /// What an error says to be damaged, if it does. Such an error comes again with every try, and leaves the rest of the
    /// file usable.
    pub(super) fn of(error: &rusqlite::Error) -> Option<Damaged> {
        let code = error.sqlite_error_code();
        match error {
            rusqlite::Error::FromSqlConversionFailure(.., source) if source.is::<Damaged>() => {
                source.downcast_ref().cloned()
            }
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..) => Some(Damaged(format!("a value ({error})"))),
            _ if code == Some(ErrorCode::DatabaseCorrupt) => Some(Damaged(format!("a page ({error})"))),
            _ => None,
        }
    }
}

impl From<Damaged> for rusqlite::Error {
    fn from(damaged: Damaged) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Integer, Box::new(damaged))
    }
}

/// What has been found so far.
#[derive(Clone, Debug)]
pub(super) struct Damages {
    path: Arc<PathBuf>,
    told: Arc<Mutex<HashSet<Damaged>>>,
    count: Counter,
}

impl Damages {
    pub(super) fn of(path: PathBuf, count: Counter) -> Damages {
        Damages { path: Arc::new(path), told: Arc::default(), count }
    }

    /// Notes several.
    pub(super) fn found_all(&self, found: &[Damaged]) {
        for one in found {
            self.found(one);
        }
    }

    /// Notes one.
    pub(super) fn found(&self, damaged: &Damaged) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD_APART_MAX && !told.insert(damaged.clone()) {
            return;
        }
        self.count.inc();
        tracing::error!(file = %self.path.display(), "{damaged}; it is skipped");
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rusqlite::Connection;

    use super::super::{Options, SqliteStore, checksum};
    use super::*;
    use crate::content::{Content, Patch};
    use crate::notification::{Entry, Interest, Notification, NotificationId, Position, UserId};
    use crate::store::{Asked, Backlog, Command, Follower, Outcome, Status, Store, StoreError, Wanted};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn user(name: &str) -> UserId {
        name.parse().expect("valid")
    }

    fn said(audience: &str, message: &str) -> Arc<Notification> {
        Arc::new(Notification {
            id: NotificationId::generate(),
            timestamp: NOW,
            audiences: vec![audience.parse().expect("valid")],
            content: Content::from_stored(&format!("{{\"message\":\"{message}\"}}")),
            expires_at: None,
            replaces: None,
        })
    }

    /// A store with what was said to these users, at the positions 1, 2…, that was closed and whose file was changed since.
    async fn damaged(said: &[Arc<Notification>], change: &str) -> (tempfile::TempDir, SqliteStore) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        for notification in said {
            store.one(NOW, Command::Publish(Arc::clone(notification))).await.expect("stored");
        }
        drop(store);
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        checksum::add_to(&connection).expect("added");
        assert_eq!(connection.execute(change, []).expect("changed"), 1);
        drop(connection);
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens all the same");
        (folder, store)
    }

    async fn listed(store: &SqliteStore, name: &str) -> Vec<Position> {
        let wanted = Wanted {
            user: user(name),
            status: Status::All,
            category: None,
            topic: None,
            before: None,
            limit: 100,
            at: NOW,
        };
        store.page(wanted).await.expect("read").items.into_iter().map(|item| item.position).collect()
    }

    async fn oldest(store: &SqliteStore, name: &str) -> Position {
        store.open(vec![Asked { user: user(name), since: None, at: NOW }]).await.expect("opened")[0].oldest
    }

    async fn replayed(store: &SqliteStore, name: &str, after: u64) -> Result<Vec<Position>, StoreError> {
        let slice = store.read_after(&Interest::of(user(name)), Position(after), Position(3), 100).await?;
        Ok(slice.entries.iter().map(|entry| entry.position).collect())
    }

    #[derive(Default)]
    struct Heard(Mutex<Vec<Position>>);

    impl Follower for Heard {
        fn committed(&self, _: Position, entries: &[Entry], _: Position) {
            self.0.lock().expect("not poisoned").extend(entries.iter().map(|entry| entry.position));
        }

        fn trimmed(&self, _: Position) {}
    }

    /// Mutant: give a row out whatever its checksum.
    #[tokio::test]
    async fn a_damaged_entry_is_given_to_nobody_and_whoever_has_not_seen_it_is_told_so() {
        let said = [said("user:1", "one"), said("user:1", "two"), said("user:1", "three")];
        let (_folder, store) =
            damaged(&said, "UPDATE log SET content = '{\"message\":\"too\"}' WHERE position = 2").await;
        assert_eq!(listed(&store, "1").await, [Position(3), Position(1)]);
        assert!(matches!(store.item(&user("1"), said[1].id, NOW).await, Err(StoreError::Damaged(_))));
        assert!(matches!(store.find(said[1].id).await, Err(StoreError::Damaged(_))));
        assert!(matches!(replayed(&store, "1", 0).await, Err(StoreError::Trimmed { oldest: Position(2) })));
        assert_eq!(oldest(&store, "1").await, Position(2), "also for who comes later");
        assert_eq!(replayed(&store, "1", 2).await.expect("read"), [Position(3)]);
        let patch = Patch::new(&["message".to_owned()], &said[0].content);
        let edit = Command::Edit { id: said[1].id, patch: patch.clone() };
        assert!(matches!(store.one(NOW, edit).await, Err(StoreError::Damaged(_))));
        let edit = Command::Edit { id: said[2].id, patch };
        assert!(matches!(store.one(NOW, edit).await, Ok(Outcome::Edited(_))), "the writer goes on");
    }

    #[tokio::test]
    async fn a_damaged_entry_is_skipped_when_the_tail_is_filled() {
        let said = [said("user:1", "one"), said("user:1", "two"), said("user:1", "three")];
        let (_folder, store) = damaged(&said, "UPDATE log SET at = 7 WHERE position = 2").await;
        let heard = Arc::new(Heard::default());
        let backlog = Backlog { entries: 100, bytes: 1 << 20 };
        store.follow(Arc::clone(&heard) as _, backlog).await.expect("told");
        assert_eq!(*heard.0.lock().expect("not poisoned"), [Position(1), Position(3)]);
        assert_eq!(oldest(&store, "2").await, Position(2), "the tail has a gap there");
    }

    /// Mutant: trust the table `addressed`.
    #[tokio::test]
    async fn an_address_that_is_damaged_shows_nothing_to_somebody_else() {
        let said = [said("user:1", "one"), said("user:1", "two"), said("user:1", "three")];
        let (_folder, store) = damaged(&said, "UPDATE addressed SET audience = 'user:3' WHERE position = 2").await;
        assert_eq!(listed(&store, "3").await, []);
        assert!(store.item(&user("3"), said[1].id, NOW).await.expect("read").is_none());
        assert!(matches!(replayed(&store, "3", 0).await, Err(StoreError::Trimmed { .. })));
    }

    #[tokio::test]
    async fn an_entry_that_is_gone_from_the_log_alone_is_missed_aloud() {
        let said = [said("user:1", "one"), said("user:1", "two"), said("user:1", "three")];
        let (_folder, store) = damaged(&said, "DELETE FROM log WHERE position = 2").await;
        assert_eq!(listed(&store, "1").await, [Position(3), Position(1)]);
        assert!(matches!(replayed(&store, "1", 0).await, Err(StoreError::Trimmed { .. })));
    }

    #[tokio::test]
    async fn a_damaged_notification_is_not_published_when_it_is_due_and_others_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        for message in ["one", "two"] {
            let schedule = Command::Schedule { notification: said("user:1", message), due: NOW };
            store.one(NOW, schedule).await.expect("kept");
        }
        drop(store);
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        let change = "UPDATE scheduled SET audiences = 'user:3' WHERE content LIKE '%one%'";
        assert_eq!(connection.execute(change, []).expect("changed"), 1);
        drop(connection);
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens all the same");
        store.advance(NOW).await.expect("advanced");
        assert_eq!(listed(&store, "3").await, []);
        assert_eq!(listed(&store, "1").await, [Position(1)]);
        assert_eq!(store.options.metrics.damaged.get(), 1);
    }
}
