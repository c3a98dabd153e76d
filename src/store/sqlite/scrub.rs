//! Writes zeros over what pages of the file have that belongs to no row.
//!
//! SQLite writes zeros over a row that it deletes, but when it moves rows from one page to another it leaves copies of them
//! in the unused part of a page, for as long as that page is not rearranged again. A text that is taken back later is still
//! there then.
//!
//! **Invariant:** once the `-wal` has been copied and what was in it scrubbed, no page has anything but its rows. All
//! pages that are written stand in the `-wal` first; what was there before the start is looked at by [`look`].
//!
//! It writes past SQLite, which has no other way in a build of its own: only while all of the `-wal` is in the file and the
//! writer has begun a transaction, so that nobody writes a page meanwhile, and only where no row is, so that whoever reads
//! one sees the same before, meanwhile and after. The writer's cache, which has the pages as they were, is emptied. After a
//! crash SQLite may copy what is in the `-wal` once more; it is noted once more then.
//!
//! The file is held open as long as a connection of ours is: closing it would let go of the locks that SQLite has on it.
//!
//! Deliberately absent: free pages and the rest of a row's last page, which SQLite fills with zeros (`secure_delete`); and
//! files of more than 128 GiB, in which other pages can look like such of rows.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::mpsc::WeakSender;

use super::background::Background;
use super::failure;
use super::tasks::Task;

mod page;

/// Pages that are scrubbed while nobody reads or writes: some milliseconds.
const PAGES_PER_TURN: usize = 1024;
/// Pages that are looked at in one read.
const PAGES_PER_SLICE: u32 = 256;
/// From this number of a page on, the first byte of what refers to it is that of a page of rows.
const PAGES_MAX: u32 = 2 << 24;
/// The head of a file, of a `-wal`, and of a page in it.
const HEAD_BYTES: usize = 100;
const WAL_HEAD_BYTES: usize = 32;
pub(super) const FRAME_HEAD_BYTES: u64 = 24;

/// How the pages of a file are laid out.
#[derive(Clone, Copy)]
struct Layout {
    page_bytes: usize,
    pages: u32,
    /// Pages from one of those that say where others belong to the next; those have no rows.
    between_maps: Option<u32>,
}

impl Layout {
    /// Nothing if its pages can't be told apart.
    fn of(file: &File) -> io::Result<Option<Layout>> {
        let mut head = [0; HEAD_BYTES];
        if file.metadata()?.len() < HEAD_BYTES as u64 {
            return Ok(None);
        }
        file.read_exact_at(&mut head, 0)?;
        let page_bytes = match u16::from_be_bytes([head[16], head[17]]) {
            1 => 1 << 16,
            bytes => usize::from(bytes),
        };
        let (is_left_out, has_maps) = (head[20], head[52..56] != [0; 4]);
        let pages = u32::try_from(file.metadata()?.len() / (page_bytes.max(1) as u64)).unwrap_or(u32::MAX);
        let is_known = page_bytes.is_power_of_two() && page_bytes >= 512 && is_left_out == 0 && pages < PAGES_MAX;
        let between_maps = has_maps.then(|| u32::try_from(page_bytes / 5 + 1).unwrap_or(u32::MAX));
        Ok(is_known.then_some(Layout { page_bytes, pages, between_maps }))
    }

    /// Whether a page may have rows of a user. The first has the tables' names.
    fn may_have_rows(self, number: u32) -> bool {
        number >= 2
            && number <= self.pages
            && self.between_maps.is_none_or(|between| !(number - 2).is_multiple_of(between))
    }

    fn offset(self, number: u32) -> u64 {
        u64::from(number - 1) * self.page_bytes as u64
    }
}

/// The parts of a page that are to be zeros and are not.
fn unclean(page: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    page::unused(page).unwrap_or_default().into_iter().filter(|part| page[part.clone()] != ZEROS[..part.len()])
}

/// Up to where the pages in the `-wal` have been noted.
#[derive(Default)]
struct Noted {
    salts: [u8; 8],
    frames: u64,
}

/// The pages that are to be scrubbed.
pub(super) struct Scrub {
    pub(super) file: Arc<File>,
    noted: Noted,
    /// That stood in the `-wal`. Nobody has looked yet whether they are clean.
    written: BTreeSet<u32>,
    /// Another thread looks at them: see [`unclean_of`].
    looked_at: Vec<u32>,
    /// Not clean, or perhaps not.
    due: BTreeSet<u32>,
}

impl Scrub {
    pub(super) fn new(file: Arc<File>) -> Scrub {
        let (noted, written, looked_at, due) = Default::default();
        Scrub { file, noted, written, looked_at, due }
    }

    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub(super) fn due_pages(&self) -> usize {
        self.due.len()
    }

    pub(super) fn add(&mut self, pages: impl IntoIterator<Item = u32>) {
        self.due.extend(pages);
    }

    /// What was written and copied since the last time, for another thread to look at.
    pub(super) fn hand_out(&mut self) -> Vec<u32> {
        self.looked_at.extend(std::mem::take(&mut self.written));
        self.looked_at.clone()
    }

    /// The other thread has added what is not clean.
    pub(super) fn looked(&mut self) {
        self.looked_at.clear();
    }

    /// All that was written is due, and looked at by the writer when it is scrubbed.
    pub(super) fn take_all(&mut self) {
        self.due.append(&mut self.written);
        self.due.extend(self.looked_at.drain(..));
    }

    /// Notes the pages that were written into the `-wal` since the last time, and says whether there were any: before a
    /// checkpoint copies the last of it, and before each commit with which SQLite may begin it again. The writer does so,
    /// since nobody else appends to it.
    pub(super) fn note(&mut self, wal: &Path) -> io::Result<bool> {
        match self.note_all(wal) {
            // Another process has emptied it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
            noted => noted,
        }
    }

    fn note_all(&mut self, wal: &Path) -> io::Result<bool> {
        let wal = match File::open(wal) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        let bytes = wal.metadata()?.len();
        let mut head = [0; WAL_HEAD_BYTES];
        let Some(rest) = bytes.checked_sub(WAL_HEAD_BYTES as u64) else { return Ok(false) };
        wal.read_exact_at(&mut head, 0)?;
        // Two numbers that change whenever it begins again; what is left from before has others.
        let salts = &head[16..24];
        if self.noted.salts != salts {
            self.noted = Noted { salts: salts.try_into().expect("eight bytes"), frames: 0 };
        }
        let frame_bytes = FRAME_HEAD_BYTES + u64::from(u32::from_be_bytes([head[8], head[9], head[10], head[11]]));
        let mut frame = [0; 16];
        let before = self.noted.frames;
        for number in before..rest / frame_bytes {
            wal.read_exact_at(&mut frame, WAL_HEAD_BYTES as u64 + number * frame_bytes)?;
            if self.noted.salts != frame[8..] {
                break;
            }
            self.written.insert(u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]));
            // The last frame of a commit says how large the file is. What a rollback has left is written over.
            if frame[4..8] != [0; 4] {
                self.noted.frames = number + 1;
            }
        }
        Ok(self.noted.frames > before)
    }

    /// Scrubs some pages, after all that is noted was copied.
    pub(super) fn go_on(&mut self, connection: &Connection, wal: &Path) -> rusqlite::Result<()> {
        if !self.is_due() {
            return Ok(());
        }
        // Another process that writes makes no publisher wait.
        connection.busy_timeout(Duration::ZERO)?;
        let begun = connection.execute_batch("BEGIN IMMEDIATE");
        connection.busy_timeout(super::BUSY_MAX)?;
        begun?;
        // Another process may have written since, which is not copied yet.
        let written = self.note(wal).and_then(|more| if more { Ok(false) } else { self.write_zeros() });
        connection.execute_batch("ROLLBACK")?;
        if written.map_err(|error| failure::of_file(&error))? {
            // Else a page would be written again as it was.
            connection.execute_batch("PRAGMA shrink_memory")?;
        }
        Ok(())
    }

    /// Says whether there was something to be done.
    fn write_zeros(&mut self) -> io::Result<bool> {
        let mut written = false;
        let Some(layout) = Layout::of(&self.file)? else {
            self.due.clear();
            return Ok(written);
        };
        let mut page = vec![0; layout.page_bytes];
        for _ in 0..PAGES_PER_TURN {
            let Some(number) = self.due.first().copied() else { break };
            if layout.may_have_rows(number) {
                self.file.read_exact_at(&mut page, layout.offset(number))?;
                for part in unclean(&page) {
                    self.file.write_all_at(&vec![0; part.len()], layout.offset(number) + part.start as u64)?;
                    written = true;
                }
            }
            self.due.remove(&number);
        }
        Ok(written)
    }
}

/// Which of the pages are to be scrubbed; all of them if they can't be read. Nothing keeps one from being written meanwhile:
/// then it is noted again.
pub(super) fn unclean_of(file: &File, mut pages: Vec<u32>) -> Vec<u32> {
    let Ok(Some(layout)) = Layout::of(file) else { return pages };
    let mut page = vec![0; layout.page_bytes];
    pages.retain(|number| {
        layout.may_have_rows(*number)
            && (file.read_exact_at(&mut page, layout.offset(*number)).is_err() || unclean(&page).next().is_some())
    });
    pages
}

/// Looks through the file as it is at the start, for what a crash or an older version has left. Nothing keeps what is read from
/// being changed meanwhile: what is changed is looked at again, and what is found is looked at once more before it is changed.
pub(super) fn look(file: Arc<File>, tasks: WeakSender<Task>) -> Background {
    Background::start("store-scrub", move |slices| {
        let mut next = 2;
        loop {
            let begun_at = Instant::now();
            match look_at(&file, next) {
                Ok(Some((pages, after))) => {
                    next = after;
                    let Some(tasks) = tasks.upgrade() else { return };
                    if !pages.is_empty() && tasks.blocking_send(Task::Scrub { pages }).is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "the file of the store could not be looked through for what was taken back");
                    return;
                }
            }
            if !slices.pause(begun_at) {
                return;
            }
        }
    })
}

/// Of some pages from one on those that are to be scrubbed, and the number of the next one; nothing if that was the last.
fn look_at(file: &File, first: u32) -> io::Result<Option<(Vec<u32>, u32)>> {
    let Some(layout) = Layout::of(file)? else { return Ok(None) };
    let count = PAGES_PER_SLICE.min((layout.pages + 1).saturating_sub(first));
    if count == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0; layout.page_bytes * count as usize];
    match file.read_exact_at(&mut bytes, layout.offset(first)) {
        // It has become shorter.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let pages = (first..).zip(bytes.chunks(layout.page_bytes));
    let pages = pages.filter(|(number, page)| layout.may_have_rows(*number) && unclean(page).next().is_some());
    Ok(Some((pages.map(|(number, _)| number).collect(), first + count)))
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use jiff::Timestamp;

    use super::*;
    use crate::content::{Content, Fields, Patch};
    use crate::notification::{Audience, Notification, NotificationId, UserId};
    use crate::store::sqlite::{Options, SqliteStore};
    use crate::store::{Append, Command, Store as _};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const MARK: &[u8] = b"canario-";
    const USERS: usize = 20;

    /// All texts of a history that stand in the files of a folder, by their numbers.
    fn found(folder: &Path) -> HashSet<usize> {
        let mut found = HashSet::new();
        let files = std::fs::read_dir(folder).expect("read");
        let mut files: Vec<_> = files.map(|file| file.expect("read").path()).collect();
        // What goes from the `-wal` to the file meanwhile is found in one of them.
        files.sort_unstable_by(|a, b| b.cmp(a));
        for file in files {
            let bytes = std::fs::read(file).unwrap_or_default();
            for (at, _) in bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK) {
                // A text that goes on in another page may have its number there: it can't be told which one that is.
                let number = bytes.get(at + MARK.len()..at + MARK.len() + 6);
                let number: Option<usize> = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
                found.extend(number);
            }
        }
        found
    }

    /// What is published, edited, taken back and erased at random, and what may still be said of it.
    struct History {
        random: fastrand::Rng,
        texts: usize,
        /// Whose it is, and the number of its text.
        there: HashMap<NotificationId, (usize, usize)>,
    }

    impl History {
        fn content(&mut self) -> Content {
            let longest = 1 << self.random.u32(5..13);
            let padding = "x".repeat(self.random.usize(0..longest));
            self.texts += 1;
            let message = format!("canario-{:06} {padding}", self.texts);
            Content::parse(&Fields { message, ..Fields::default() }).expect("valid")
        }

        fn command(&mut self) -> Command {
            let any = self.random.usize(..self.there.len().max(1));
            let one = self.there.keys().nth(any).copied();
            match (self.random.u8(..100), one) {
                (0..20, Some(id)) => {
                    let patch = Patch::new(&["message".to_owned()], &self.content());
                    self.there.get_mut(&id).expect("there").1 = self.texts;
                    Command::Edit { id, patch }
                }
                (20..55, Some(id)) => {
                    self.there.remove(&id);
                    Command::Recall { id }
                }
                (55, _) => {
                    let erased = self.random.usize(..USERS);
                    self.there.retain(|_, (user, _)| *user != erased);
                    Command::Erase { user: format!("u{erased}").parse().expect("valid") }
                }
                (kind, _) => {
                    let (user, content) = (self.random.usize(..USERS), self.content());
                    let id = NotificationId(uuid::Uuid::from_u128(self.random.u128(..)));
                    self.there.insert(id, (user, self.texts));
                    let user: UserId = format!("u{user}").parse().expect("valid");
                    let audiences = vec![Audience::User(user)];
                    let (expires_at, replaces) = (None, None);
                    let notification =
                        Arc::new(Notification { id, timestamp: NOW, audiences, content, expires_at, replaces });
                    if kind < 80 {
                        Command::Publish(notification)
                    } else {
                        Command::Schedule { notification, due: NOW + Duration::from_hours(1) }
                    }
                }
            }
        }

        async fn happen(&mut self, store: &SqliteStore) {
            for _ in 0..300 {
                let commands = (0..10).map(|_| self.command()).collect();
                store.append(Append { at: NOW, commands, once: None }).await.expect("done");
            }
        }

        /// What is found and should not be.
        fn left(&self, folder: &Path) -> HashSet<usize> {
            let found = found(folder);
            let there: HashSet<usize> = self.there.values().map(|(_, text)| *text).collect();
            assert!(there.is_subset(&found), "it is looked in the right place");
            &found - &there
        }
    }

    /// Mutant: pages are left as they are.
    #[tokio::test]
    async fn whatever_was_taken_back_is_in_no_part_of_a_page_soon_after_nor_after_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let open =
            || SqliteStore::open(folder.path(), Options { inbox_max: 100_000, ..Options::default() }).expect("opens");
        let mut history = History { random: fastrand::Rng::with_seed(13), texts: 0, there: HashMap::new() };
        let store = open();
        history.happen(&store).await;
        // The scheduler does so at least once a minute.
        let begun_at = Instant::now();
        while !history.left(folder.path()).is_empty() && begun_at.elapsed() < Duration::from_secs(30) {
            store.advance(NOW).await.expect("advanced");
        }
        assert_eq!(history.left(folder.path()), HashSet::new(), "soon after");
        drop(store);
        let store = open();
        history.happen(&store).await;
        drop(store);
        assert_eq!(history.left(folder.path()), HashSet::new(), "after the end");
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        let whole: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("read");
        assert_eq!(whole, "ok");
    }

    /// It may be copied while zeros are written. Mutant: whatever was written meanwhile, they are written.
    #[test]
    fn nothing_is_scrubbed_if_another_process_has_written_since_the_wal_was_copied() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, wal) = (folder.path().join("pregon.db"), folder.path().join("pregon.db-wal"));
        let connection = Connection::open(&path).expect("opens");
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (t)")
            .expect("made");
        let file = File::options().read(true).write(true).open(&path).expect("opens");
        let mut scrub = Scrub::new(Arc::new(file));
        assert!(scrub.note(&wal).expect("noted"));
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).expect("copied");
        let other = Connection::open(&path).expect("opens");
        other.execute_batch("INSERT INTO t VALUES (1)").expect("written");
        scrub.take_all();
        scrub.go_on(&connection, &wal).expect("left alone");
        assert!(scrub.is_due());
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).expect("copied");
        scrub.go_on(&connection, &wal).expect("scrubbed");
        assert!(!scrub.is_due());
    }

    /// As a crash leaves it, or a server that did not scrub. Mutant: only what is written later is looked at.
    #[tokio::test]
    async fn what_is_left_from_before_the_start_goes_soon_after_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let mut history = History { random: fastrand::Rng::with_seed(13), texts: 0, there: HashMap::new() };
        let store = open();
        history.happen(&store).await;
        drop(store);
        let path = folder.path().join("pregon.db");
        let mut bytes = std::fs::read(&path).expect("read");
        let layout = Layout::of(&File::open(&path).expect("opens")).expect("read").expect("known");
        let mut put = 0;
        for (number, page) in (1..).zip(bytes.chunks_mut(layout.page_bytes)) {
            let parts = if layout.may_have_rows(number) { page::unused(page) } else { None };
            for part in parts.unwrap_or_default() {
                if part.len() > 20 {
                    page[part.start..part.start + 14].copy_from_slice(b"canario-999999");
                    put += 1;
                }
            }
        }
        assert!(put > 50, "{put}");
        std::fs::write(&path, bytes).expect("written");
        let store = open();
        let begun_at = Instant::now();
        while found(folder.path()).contains(&999_999) && begun_at.elapsed() < Duration::from_secs(30) {
            store.advance(NOW).await.expect("advanced");
        }
        assert_eq!(history.left(folder.path()), HashSet::new());
        assert_eq!(store.options.metrics.damaged.get(), 0);
    }
}
