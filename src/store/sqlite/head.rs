//! How far the log had come, in a file beside it: so that a log that has lost commits is noticed.
//!
//! SQLite can't tell a log that was cut short from a short one: after a damaged frame of the `-wal` it ignores every commit that
//! follows, and a copy of `pregon.db` without its `-wal` is an older log. `pregon.head` says what the last commit had reached. If
//! the log has less at a start, or the file is missing, the log gets a new epoch, and clients are told `reset`. So is a backup
//! noticed that was restored; whoever writes `restored` into the file gets the new epoch without an alarm.
//!
//! **Invariant:** the file is written after the commit that it speaks of, and before anybody is told of that commit. So it never
//! says more than was committed, and never less than somebody knows.
//!
//! It is synced only when it is made. After a power cut it may say less than the log has, and nothing is lost then. So it does
//! while it can't be written; that is counted and said like any maintenance that fails, and tried again with each commit.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use prometheus_client::metrics::counter::Counter;
use rusqlite::{Connection, params};

use super::checksum::{LOG_IDENTITY, update_identity};
use super::{failure, files};
use crate::event_id::Seal;
use crate::notification::Position;

const MAGIC: [u8; 8] = *b"pregon-1";
const RECORD_BYTES: usize = 32;
/// What an operator writes into the file who has put back a backup.
const RESTORED: &[u8] = b"restored";

/// What a log has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    /// Positions mean something only within their epoch.
    pub(super) epoch: u32,
    /// The last position given out.
    pub(super) head: Position,
    /// Commits that put no entry into the log.
    pub(super) quiet: i64,
}

impl Reached {
    fn load(connection: &Connection) -> rusqlite::Result<Reached> {
        let head = super::head(connection)?;
        let sql = "SELECT epoch, quiet FROM log_identity";
        connection.query_row(sql, [], |row| Ok(Reached { epoch: row.get(0)?, head, quiet: row.get(1)? }))
    }

    fn record(self) -> [u8; RECORD_BYTES] {
        let mut record = [0; RECORD_BYTES];
        record[..8].copy_from_slice(&MAGIC);
        record[8..12].copy_from_slice(&self.epoch.to_le_bytes());
        record[12..20].copy_from_slice(&self.head.0.to_le_bytes());
        record[20..28].copy_from_slice(&self.quiet.to_le_bytes());
        let sum = crc32fast::hash(&record[..28]);
        record[28..].copy_from_slice(&sum.to_le_bytes());
        record
    }

    /// Nothing if it was not written by us.
    fn of(record: [u8; RECORD_BYTES]) -> Option<Reached> {
        let epoch = u32::from_le_bytes(record[8..12].try_into().ok()?);
        let head = u64::from_le_bytes(record[12..20].try_into().ok()?);
        let quiet = i64::from_le_bytes(record[20..28].try_into().ok()?);
        let reached = Reached { epoch, head: Position(head), quiet };
        (reached.record() == record).then_some(reached)
    }
}

/// The file of a log that is open.
pub(super) struct HeadFile {
    path: PathBuf,
    /// Nothing while it can't be made or written: the log goes on without it.
    file: Option<File>,
    pub(super) reached: Reached,
    /// The file does not say that yet.
    is_behind: bool,
}

impl HeadFile {
    /// Holds the log against its file, which it makes if the log never had one. A log that has less gets a new epoch.
    /// What it has less is counted.
    pub(super) fn open(folder: &Path, connection: &Connection, count: &Counter) -> rusqlite::Result<HeadFile> {
        let path = folder.join("pregon.head");
        let reached = Reached::load(connection)?;
        let has_one =
            connection.query_row("SELECT has_head_file FROM log_identity", [], |row| row.get::<_, bool>(0))?;
        let record = std::fs::read(&path).unwrap_or_default();
        let is_restored = has_one && record.trim_ascii() == RESTORED;
        let said = record.try_into().ok().and_then(Reached::of);
        let sql = format!("SELECT {} FROM log_identity", LOG_IDENTITY.sound);
        let is_sound = connection.query_row(&sql, [], |row| row.get::<_, bool>(0))?;
        let doubt = doubt(said, has_one || path.exists(), has_one, reached).filter(|_| is_sound).or_else(|| {
            let damaged = "the row of table log_identity, which says what the log is, is damaged";
            (!is_sound).then(|| damaged.to_owned())
        });
        let mut opened = HeadFile { path, file: None, reached, is_behind: true };
        if is_restored && is_sound {
            tracing::warn!(
                log_ends_at = reached.head.0,
                "pregon.head says that a backup was restored: the log gets a new epoch, and all clients are told `reset`"
            );
            opened.begin_epoch(connection, is_sound);
        } else if let Some(doubt) = doubt {
            count.inc_by(said.map_or(1, |said| lost(said, reached)));
            tracing::error!(
                file = %opened.path.display(), log_ends_at = reached.head.0, other_changes = reached.quiet,
                "{doubt}. The log gets a new epoch, and all clients are told `reset`"
            );
            opened.begin_epoch(connection, is_sound);
        }
        // If it can't be written, the first commit tries again; then it is counted and logged.
        if opened.keep().is_ok() && !has_one {
            connection.execute(&update_identity(&[("has_head_file", "1")]), [])?;
            // A copy without the `-wal` must know that it should have the file.
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        }
        Ok(opened)
    }

    /// What makes the log's positions its own from now on. If its row was damaged, it is made from what the log has.
    fn begin_epoch(&mut self, connection: &Connection, is_sound: bool) {
        let mut random = [0; 4];
        aws_lc_rs::rand::fill(&mut random).expect("the operating system has randomness");
        self.reached.epoch = u32::from_le_bytes(random);
        let newest = "(SELECT ifnull(max(position), 0) FROM log)";
        let mut set = vec![("epoch", "?1")];
        if !is_sound {
            set.extend([("trimmed", newest), ("given", newest), ("uptime", "0"), ("age", "NULL")]);
        }
        let kept = connection.execute(&LOG_IDENTITY.update(&set), params![self.reached.epoch]);
        if let Err(error) = kept {
            // The file has the new one, so the next start finds that they differ.
            tracing::error!(%error, "the log's new epoch could not be stored; the next start gives it another one");
        }
    }

    fn make(&self) -> io::Result<File> {
        let file = files::open(&self.path)?;
        file.write_all_at(&self.reached.record(), 0)?;
        file.set_len(RECORD_BYTES as u64)?;
        file.sync_all()?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(file)
    }

    /// The log's identity, in its present epoch.
    pub(super) fn seal(&self, stored: &Seal) -> Seal {
        Seal { epoch: self.reached.epoch, key: stored.key }
    }

    /// Notes what a commit has reached.
    ///
    /// # Errors
    /// When the file can't be written. It says less than the log then, and so does no harm.
    pub(super) fn note(&mut self, head: Position, quiet: i64) -> rusqlite::Result<()> {
        let reached = Reached { head, quiet, ..self.reached };
        self.is_behind |= reached != self.reached;
        self.reached = reached;
        self.keep()
    }

    /// Writes the file if it says less than the log.
    ///
    /// # Errors
    /// When it can't be written.
    fn keep(&mut self) -> rusqlite::Result<()> {
        if !self.is_behind {
            return Ok(());
        }
        let file = self.file.take();
        let written = match file {
            Some(file) => file.write_all_at(&self.reached.record(), 0).map(|()| file),
            None => self.make(),
        };
        let written = written.map_err(|error| {
            let what = format!("{}, without which lost commits are not noticed: {error}", self.path.display());
            failure::of_file(&io::Error::new(error.kind(), what))
        });
        self.file = Some(written?);
        self.is_behind = false;
        Ok(())
    }
}

/// How many entries and other changes are lost, as far as that is known: at least one.
fn lost(said: Reached, reached: Reached) -> u64 {
    if said.epoch != reached.epoch {
        return 1;
    }
    let entries = said.head.0.saturating_sub(reached.head.0);
    let others = u64::try_from(said.quiet.saturating_sub(reached.quiet)).unwrap_or(0);
    (entries + others).max(1)
}

/// Why a log may not be what it was, if it may not.
fn doubt(said: Option<Reached>, has_file: bool, had_one: bool, reached: Reached) -> Option<String> {
    match said {
        None if !has_file => None,
        None => Some("pregon.head is missing or damaged, so nobody can tell whether the log has all that was committed".into()),
        Some(said) if said.epoch != reached.epoch && !had_one => Some(
            "pregon.head belongs to another log, and pregon.db is new or of an older version: it may have been lost, or \
             another disk may be mounted"
                .into(),
        ),
        Some(said) if said.epoch != reached.epoch => {
            Some("pregon.head belongs to another log, or to another epoch of this one, as after a backup was restored".into())
        }
        Some(said) if said.head > reached.head || said.quiet > reached.quiet => Some(format!(
            "the log has lost what was committed last: pregon.head says that position {} and {} other changes had been",
            said.head.0, said.quiet
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::super::{Options, SqliteStore, checksum};
    use super::*;
    use crate::metrics;
    use crate::notification::{Audience, Notification, NotificationId, UserId};
    use crate::store::suite::notification;
    use crate::store::{Command, Failing, Store as _};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn open(folder: &Path) -> SqliteStore {
        SqliteStore::open(folder, Options::default()).expect("opens")
    }

    fn said() -> Arc<Notification> {
        Arc::new(notification(&["everyone"], "m"))
    }

    /// The epochs of a store before and after a command was done and the file from before it put back.
    async fn epochs(command: Command) -> (u32, u32) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pregon.db");
        drop(open(folder.path()));
        let former = std::fs::read(&path).expect("read");
        let store = open(folder.path());
        let before = store.seal().epoch;
        store.one(NOW, command).await.expect("done");
        drop(store);
        std::fs::write(&path, former).expect("written");
        let opened = open(folder.path());
        let after = opened.seal().epoch;
        assert_eq!(opened.options.metrics.lost.get(), u64::from(before != after), "what is lost is counted");
        drop(opened);
        let again = open(folder.path());
        assert_eq!((again.seal().epoch, again.options.metrics.lost.get()), (after, 0), "the new one stays");
        (before, after)
    }

    #[tokio::test]
    async fn a_file_from_before_an_entry_is_noticed() {
        let (before, after) = epochs(Command::Publish(said())).await;
        assert_ne!(before, after);
    }

    /// Mutant: commits without an entry not counted.
    #[tokio::test]
    async fn a_commit_without_an_entry_is_missed_too() {
        let (before, after) = epochs(Command::Schedule { notification: said(), due: Timestamp::MAX }).await;
        assert_ne!(before, after);
    }

    /// Mutant: count the commits of publishers only.
    #[tokio::test]
    async fn what_is_erased_trimmed_and_expired_is_in_the_head_file_by_number_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, at) = (folder.path().join("pregon.db"), Timestamp::from_second(60).expect("in range"));
        let store = open(folder.path());
        let user: UserId = "zoe".parse().expect("valid");
        let theirs = |expires_at| {
            let audiences = vec![Audience::User(user.clone())];
            Command::Publish(Arc::new(Notification { audiences, expires_at, ..(*said()).clone() }))
        };
        for command in [theirs(None), Command::Erase { user: user.clone() }, theirs(Some(NOW)), theirs(Some(NOW))] {
            store.one(NOW, command).await.expect("done");
        }
        let record = || std::fs::read(folder.path().join("pregon.head")).expect("read");
        let (epoch, known) = (store.seal().epoch, record());
        let before = std::fs::read(&path).expect("read");
        store.advance(at).await.expect("advanced");
        while store.trim(at).await.expect("trimmed") {}
        assert_ne!(record(), known, "what maintenance removes is counted");
        assert_eq!(record().len(), RECORD_BYTES);
        drop(store);
        assert_eq!(open(folder.path()).seal().epoch, epoch, "the newest entry has gone, and nothing is lost");
        std::fs::write(&path, before).expect("written");
        assert_ne!(open(folder.path()).seal().epoch, epoch, "what was removed would be there again");
    }

    /// Mutant: a new file beside a head file is no doubt.
    #[tokio::test]
    async fn of_a_log_that_may_not_be_what_it_was_no_more_is_said_than_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(open(folder.path()));
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        let reached = Reached::load(&connection).expect("read");
        let further = Reached { head: Position(9), ..reached };
        let other = Reached { epoch: reached.epoch ^ 1, ..reached };
        assert_eq!(doubt(None, false, false, reached), None, "a new store");
        assert_eq!(doubt(Some(reached), true, true, reached), None);
        for (said, had_one, text) in [
            (None, true, "nobody can tell"),
            (None, false, "nobody can tell"),
            (Some(other), true, "a backup was restored"),
            (Some(other), false, "pregon.db is new"),
            (Some(further), true, "has lost what was committed last"),
        ] {
            let doubt = doubt(said, true, had_one, reached).expect("doubted");
            assert!(doubt.contains(text), "{doubt}");
            assert!(doubt.contains("has lost") == said.is_some_and(|said| said == further), "{doubt}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_gone_or_empty_beside_a_head_file_is_another_log() {
        for is_gone in [true, false] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("pregon.db");
            let first = open(folder.path()).seal().epoch;
            if is_gone {
                std::fs::remove_file(&path).expect("removed");
            } else {
                std::fs::write(&path, "").expect("emptied");
            }
            let second = open(folder.path()).seal().epoch;
            assert_ne!(second, first);
            assert_eq!(open(folder.path()).seal().epoch, second, "the new one stays");
        }
    }

    #[tokio::test]
    async fn what_changes_nothing_is_no_commit_to_be_missed() {
        let (before, after) = epochs(Command::Recall { id: NotificationId::generate() }).await;
        assert_eq!(before, after);
    }

    /// A folder in its place is what nobody can write to, not even root. Mutants: never tried again; told to nobody.
    #[tokio::test]
    async fn a_head_file_that_cannot_be_written_is_counted_and_said_until_it_can() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pregon.head");
        std::fs::create_dir(&path).expect("made");
        let store = open(folder.path());
        let failed = || store.options.metrics.maintenance_failed.get_or_create(&metrics::Work { work: "head" }).get();
        let fails = [Failing { work: "head", passes: false }];
        // A start always commits something; this waits for it.
        store.advance(NOW).await.expect("advanced");
        assert_eq!(store.check().await.expect("checked"), fails);
        let at_start = failed();
        assert!(at_start > 0, "counted");
        let publish = async || store.one(NOW, Command::Publish(said())).await.expect("published");
        publish().await;
        assert!(store.check().await.expect("checked") == fails && failed() > at_start);
        std::fs::remove_dir(&path).expect("removed");
        // Also where nothing is published.
        store.advance(NOW).await.expect("advanced");
        assert_eq!(store.check().await.expect("checked"), []);
        let while_it_failed = failed();
        publish().await;
        let epoch = store.seal().epoch;
        let record = std::fs::read(&path).expect("made").try_into().expect("whole");
        let said = Reached::of(record).expect("ours");
        assert_eq!((said.head, said.epoch, failed()), (Position(2), epoch, while_it_failed));
        drop(store);
        assert_eq!(open(folder.path()).seal().epoch, epoch, "nothing is missed");
    }

    #[test]
    fn a_write_to_the_head_file_that_fails_is_tried_again() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(open(folder.path()));
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        checksum::add_to(&connection).expect("added");
        let mut head = HeadFile::open(folder.path(), &connection, &Counter::default()).expect("opens");
        // One that is open for reading alone.
        head.file = Some(File::open(&head.path).expect("opens"));
        assert!(head.note(Position(7), 0).is_err());
        let path = head.path.clone();
        let said = || Reached::of(std::fs::read(&path).expect("read").try_into().expect("whole")).expect("ours");
        assert_eq!(said().head, Position(0));
        assert!(head.note(Position(7), 0).is_ok(), "it can be made anew");
        assert_eq!(said(), head.reached);
    }

    /// Mutants: the word makes no difference; it is believed also where there is no log.
    #[tokio::test]
    async fn a_backup_that_is_said_to_be_restored_has_a_new_epoch_and_is_no_loss() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, head) = (folder.path().join("pregon.db"), folder.path().join("pregon.head"));
        let store = open(folder.path());
        store.one(NOW, Command::Publish(said())).await.expect("published");
        let first = store.seal().epoch;
        drop(store);
        let backup = std::fs::read(&path).expect("read");
        open(folder.path()).one(NOW, Command::Publish(said())).await.expect("published");
        std::fs::write(&path, backup).expect("written");
        std::fs::write(&head, "restored\n").expect("written");
        let store = open(folder.path());
        let second = store.seal().epoch;
        assert_ne!(second, first);
        assert_eq!(store.options.metrics.lost.get(), 0);
        drop(store);
        let store = open(folder.path());
        assert_eq!((store.seal().epoch, store.options.metrics.lost.get()), (second, 0), "it is said once");
        drop(store);
        std::fs::write(&head, "restored").expect("written");
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(open(folder.path()).options.metrics.lost.get(), 1, "nothing was restored");
    }

    #[tokio::test]
    async fn a_log_whose_head_file_is_missing_or_damaged_has_a_new_epoch() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pregon.head");
        let first = open(folder.path()).seal().epoch;
        assert_eq!(open(folder.path()).seal().epoch, first);
        std::fs::remove_file(&path).expect("removed");
        let second = open(folder.path()).seal().epoch;
        assert_ne!(second, first);
        let mut record = std::fs::read(&path).expect("read");
        record[13] ^= 1;
        std::fs::write(&path, record).expect("written");
        assert_ne!(open(folder.path()).seal().epoch, second);
    }
}
