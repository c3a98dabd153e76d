//! What has been found damaged in the file: said once in the server's log, and counted.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use rusqlite::ErrorCode;

use super::checksum::LOG;
use crate::notification::Position;

/// Damages that are told apart; further ones are counted each time that they are met.
const TOLD_APART_MAX: usize = 10_000;
/// Damages that one line of the log names.
const NAMED_PER_LINE_MAX: usize = 100;
/// From one line to the next: the log leaves out lines of one kind that come faster than one a second.
const SAID_EVERY: Duration = Duration::from_secs(2);

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
    found: Arc<Mutex<Found>>,
    /// Position up to which entries can't be given for it.
    gap: Arc<AtomicU64>,
    count: Counter,
}

#[derive(Debug, Default)]
struct Found {
    all: HashSet<Damaged>,
    unsaid: Vec<Damaged>,
    entries: Vec<Position>,
    said_at: Option<Instant>,
}

impl Damages {
    pub(super) fn of(path: PathBuf, count: Counter) -> Damages {
        Damages { path: Arc::new(path), found: Arc::default(), gap: Arc::default(), count }
    }

    /// Notes that not every entry up to a position can be given because of what is damaged.
    pub(super) fn leaves_gap(&self, through: Position) {
        self.gap.fetch_max(through.0, Ordering::Relaxed);
    }

    /// Up to which position that is so; the start of the log if it is not.
    pub(super) fn gap(&self) -> Position {
        Position(self.gap.load(Ordering::Relaxed))
    }

    /// Notes one, and says so now or soon.
    pub(super) fn found(&self, damaged: &Damaged) {
        self.note(damaged);
        self.say(Instant::now());
    }

    /// The same of what stands at a position of the log, or was to stand there. Gives that if it was not known before.
    pub(super) fn found_at(&self, position: Position, damaged: &Damaged) -> Option<Position> {
        let is_new = self.noted(damaged, Some(position));
        self.say(Instant::now());
        is_new.then_some(position)
    }

    /// Notes one that is to be said together with others, by [`Damages::say`].
    pub(super) fn note(&self, damaged: &Damaged) {
        self.noted(damaged, None);
    }

    /// Notes an entry of the log in the same way.
    pub(super) fn note_entry(&self, position: Position) {
        self.noted(&LOG.damaged(&position.0), Some(position));
    }

    /// Says whether it was not known before.
    fn noted(&self, damaged: &Damaged, position: Option<Position>) -> bool {
        let mut found = self.locked();
        let is_counted = found.all.len() < TOLD_APART_MAX;
        if is_counted {
            if !found.all.insert(damaged.clone()) {
                return false;
            }
            found.unsaid.push(damaged.clone());
            found.entries.extend(position);
        }
        self.count.inc();
        is_counted
    }

    /// The entries that were noted since this was asked last.
    pub(super) fn take_entries(&self) -> Vec<Position> {
        std::mem::take(&mut self.locked().entries)
    }

    /// Says what has not been said, unless a line was written a moment ago.
    pub(super) fn say(&self, now: Instant) {
        if let Some(line) = self.locked().line(now) {
            tracing::error!(file = %self.path.display(), "damaged, and not used: {line}");
        }
    }

    fn locked(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    fn line(&mut self, now: Instant) -> Option<String> {
        let is_early = self.said_at.is_some_and(|at| now.saturating_duration_since(at) < SAID_EVERY);
        if is_early || self.unsaid.is_empty() {
            return None;
        }
        self.said_at = Some(now);
        let count = self.unsaid.len().min(NAMED_PER_LINE_MAX);
        let names: Vec<String> = self.unsaid.drain(..count).map(|Damaged(name)| name).collect();
        let more = match self.unsaid.len() {
            0 => String::new(),
            more => format!(", and {more} more, which are named next"),
        };
        Some(format!("{}{more}", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rusqlite::Connection;

    use super::super::{Options, SqliteStore, checksum};
    use super::*;
    use crate::content::Patch;
    use crate::notification::{Entry, Interest, Notification, NotificationId, UserId};
    use crate::store::suite::notification;
    use crate::store::{Asked, Backlog, Command, Follower, Outcome, Status, Store, StoreError, Wanted};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn user(name: &str) -> UserId {
        name.parse().expect("valid")
    }

    fn said(audience: &str, message: &str) -> Arc<Notification> {
        Arc::new(notification(&[audience], message))
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
        let opened = store.open(vec![Asked { user: user("1"), since: None, at: NOW }]).await.expect("opened");
        assert_eq!(opened[0].damaged, Position(2), "and that it is damage");
        assert_eq!(replayed(&store, "1", 2).await.expect("read"), [Position(3)]);
        let patch = Patch::new(&["message".to_owned()], &said[0].content);
        let edit = Command::Edit { id: said[1].id, patch: patch.clone() };
        assert!(matches!(store.one(NOW, edit).await, Err(StoreError::Damaged(_))));
        let edit = Command::Edit { id: said[2].id, patch };
        assert!(matches!(store.one(NOW, edit).await, Ok(Outcome::Edited(_))), "the writer goes on");
    }

    async fn unread(store: &SqliteStore, name: &str) -> usize {
        store.open(vec![Asked { user: user(name), since: None, at: NOW }]).await.expect("opened")[0].counts.unread
    }

    /// Mutant: count what is damaged.
    #[tokio::test]
    async fn what_is_damaged_is_not_counted_from_the_start_on_or_once_it_was_met() {
        let said = [said("user:1", "one"), said("user:1", "two"), said("user:1", "three")];
        let (folder, store) = damaged(&said, "UPDATE log SET content = '{}' WHERE position = 2").await;
        assert_eq!(unread(&store, "1").await, 2);
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        connection.execute("UPDATE log SET content = '{}' WHERE position = 3", []).expect("damaged");
        assert_eq!(unread(&store, "1").await, 2, "not known yet");
        assert_eq!(listed(&store, "1").await, [Position(1)]);
        assert_eq!(unread(&store, "1").await, 1);
        drop(store);
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        assert_eq!(unread(&store, "1").await, 1);
        drop(store);
        checksum::add_to(&connection).expect("added");
        let mended = checksum::LOG.update(&[("content", "content")]);
        connection.execute(&mended, []).expect("mended");
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        assert_eq!(unread(&store, "1").await, 3, "all can be given again");
    }

    /// Mutant: only what a start finds is the reason.
    #[tokio::test]
    async fn damage_that_a_read_finds_is_said_to_be_the_reason_too() {
        let said = [said("user:1", "one"), said("user:1", "two"), said("user:1", "three")];
        let (folder, store) = damaged(&said, "UPDATE log SET at = at WHERE position = 1").await;
        let gap = async || {
            store.open(vec![Asked { user: user("1"), since: None, at: NOW }]).await.expect("opened")[0].damaged
        };
        assert_eq!(gap().await, Position::START);
        let another = Connection::open(folder.path().join("pregon.db")).expect("opens");
        another.execute("UPDATE log SET content = '{}' WHERE position = 2", []).expect("damaged");
        assert!(matches!(replayed(&store, "1", 0).await, Err(StoreError::Trimmed { oldest: Position(2) })));
        assert_eq!(gap().await, Position(2));
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

    /// Mutant: believe the time of a damaged row.
    #[tokio::test]
    async fn a_damaged_time_neither_keeps_what_is_too_old_nor_takes_an_entry_away_unseen() {
        let said = [said("user:1", "one"), said("user:1", "two"), said("user:1", "three")];
        let far = NOW.as_millisecond() + 1_000_000_000;
        let (folder, store) = damaged(&said, &format!("UPDATE log SET at = {far} WHERE position = 1")).await;
        assert!(store.trim(Timestamp::from_second(1).expect("in range")).await.expect("trimmed"));
        assert_eq!(listed(&store, "1").await, [Position(3)], "the newest one stays");
        drop(store);
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        connection.execute("UPDATE log SET expires = 1", []).expect("changed");
        drop(connection);
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        store.advance(Timestamp::from_second(1).expect("in range")).await.expect("advanced");
        assert!(matches!(store.find(said[2].id).await, Err(StoreError::Damaged(_))), "still there");
    }

    /// Mutant: fail with what was to be replaced.
    #[tokio::test]
    async fn a_damaged_entry_can_be_replaced_and_muting_passes_over_it() {
        let keyed = |message| {
            Arc::new(Notification { replaces: Some("k".parse().expect("valid")), ..(*said("user:1", message)).clone() })
        };
        let change = "UPDATE log SET content = 'no JSON' WHERE position = 1";
        let (_folder, store) = damaged(&[keyed("one")], change).await;
        let mute = |categories: &[&str]| Command::Mute {
            user: user("1"),
            categories: categories.iter().map(ToString::to_string).collect(),
        };
        store.one(NOW, mute(&["a"])).await.expect("muted");
        store.one(NOW, Command::Publish(keyed("two"))).await.expect("published");
        store.one(NOW, mute(&[])).await.expect("muted no longer");
        assert_eq!(listed(&store, "1").await, [Position(3)]);
    }

    /// Mutant: say each by a line of its own, of which the log leaves out all but one a second.
    #[test]
    fn each_of_many_that_are_found_at_once_is_named_in_the_log() {
        let damages = Damages::of(PathBuf::new(), Counter::default());
        for position in 1..=250 {
            damages.note(&checksum::LOG.damaged(&position));
            damages.note(&checksum::LOG.damaged(&position));
        }
        assert_eq!(damages.count.get(), 250);
        let start = Instant::now();
        let lines: Vec<String> =
            (0..10).filter_map(|second| damages.locked().line(start + Duration::from_secs(second))).collect();
        let named: Vec<usize> = lines.iter().map(|line| line.matches("of table log").count()).collect();
        assert_eq!(named, [100, 100, 50], "not in every second");
        assert!(lines[0].ends_with("and 150 more, which are named next"), "{}", lines[0]);
    }

    /// Mutant: name a damaged row by whatever it has as its key.
    #[tokio::test]
    async fn what_is_damaged_is_named_without_a_word_of_what_it_says() {
        let position = checksum::LOG.damaged(&7).to_string();
        assert_eq!(position, "row 7 of table log is damaged");
        let id = NotificationId::generate();
        assert_eq!(checksum::SCHEDULED.damaged(&id).to_string(), format!("row {id} of table scheduled is damaged"));
        for text in ["hola", "ada", "845123"] {
            let named = checksum::SCHEDULED.damaged(&text).to_string();
            assert_eq!(named, "a row of table scheduled is damaged");
        }
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
