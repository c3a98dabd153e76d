//! Random damage to the store's files, judged by what the store said before: no text but the right ones, and no gap in silence.
//!
//! `PREGON_DAMAGES` says how many of each kind are tried; the gate tries few, `scripts/damage` 500.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use rusqlite::Connection;

use super::{Options, SqliteStore};
use crate::content::{Content, Patch};
use crate::notification::{Change, Entry, Notification, Position, UserId};
use crate::store::suite::notification;
use crate::store::{Asked, Backlog, Command, Follower, Outcome, Status, Store as _, Wanted};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const USERS: [&str; 4] = ["0", "1", "2", "3"];
const AUDIENCES: [&str; 7] = ["user:0", "user:1", "user:2", "user:3", "topic:t", "topic:u", "everyone"];
const PUBLISHED: usize = 300;
/// What is damaged: the file after a clean end; the `-wal` after `kill -9`; the same if half of it had gone to the file.
const DAMAGED: [(&str, &str); 3] =
    [("stopped", "pregon.db"), ("killed", "pregon.db-wal"), ("killed after a checkpoint", "pregon.db-wal")];

fn user(name: &str) -> UserId {
    name.parse().expect("valid")
}

fn open(folder: &Path) -> Result<SqliteStore, super::OpenError> {
    SqliteStore::open(folder, Options::default())
}

fn content(number: usize) -> Content {
    Content::from_stored(&format!("{{\"message\":\"{number} {}\"}}", "x".repeat(number % 200)))
}

/// Publishes, edits, takes back, and lets users come and go. Gives all that notifications have ever said.
async fn fill(store: &SqliteStore, numbers: std::ops::Range<usize>) -> HashSet<String> {
    let (mut ids, mut ever) = (Vec::new(), HashSet::new());
    for number in numbers {
        let notification = Arc::new(Notification {
            content: content(number),
            ..notification(&[AUDIENCES[number % AUDIENCES.len()]], "x")
        });
        ids.push(notification.id);
        ever.insert(format!("{notification:?}"));
        store.one(NOW, Command::Publish(notification)).await.expect("stored");
        let (user, topic) = (user(USERS[number % 4]), ["t", "u"][number % 2].parse().expect("valid"));
        let id = ids[number % ids.len()];
        let more = match number % 10 {
            1 => Command::Edit { id, patch: Patch::new(&["message".to_owned()], &content(number)) },
            3 => Command::Recall { id },
            5 => Command::Join { user, topics: vec![topic] },
            7 => Command::Leave { user, topic },
            _ => continue,
        };
        if let Outcome::Edited(edited) = store.one(NOW, more).await.expect("stored") {
            ever.insert(format!("{edited:?}"));
        }
    }
    ever
}

/// What an entry says, and if that is a notification, which.
fn text(entry: &Entry) -> Text {
    let notification = match &entry.change {
        Change::Notified(notification) | Change::Edited(notification) => Some(format!("{notification:?}")),
        _ => None,
    };
    (format!("{entry:?}"), notification)
}

type Text = (String, Option<String>);

#[derive(Default)]
struct Heard(Mutex<Vec<(Position, Text)>>);

impl Follower for Heard {
    fn committed(&self, _: Position, entries: &[Entry], _: Position) {
        self.0.lock().expect("not poisoned").extend(entries.iter().map(|entry| (entry.position, text(entry))));
    }

    fn trimmed(&self, _: Position) {}
}

/// What a store says.
#[derive(Default)]
struct Said {
    epoch: u32,
    /// By user and cursor; nothing if it was refused or the client told to start anew.
    replays: HashMap<(usize, u64), Option<Vec<Text>>>,
    /// By user; nothing if refused.
    pages: Vec<Option<Vec<String>>>,
    /// The newest entries.
    tail: Vec<(Position, Text)>,
    /// A cursor before that is told `reset`, whoever has it.
    oldest: Position,
    damages: u64,
}

async fn said(store: &SqliteStore, head: u64) -> Said {
    let mut said = Said { epoch: store.seal().epoch, oldest: Position(u64::MAX), ..Said::default() };
    let follower = Arc::new(Heard::default());
    if store.follow(Arc::clone(&follower) as _, Backlog { entries: 100, bytes: 1 << 20 }).await.is_ok() {
        said.tail = std::mem::take(&mut *follower.0.lock().expect("not poisoned"));
    }
    for (index, name) in USERS.iter().enumerate() {
        let opened = store.open(vec![Asked { user: user(name), since: None, at: NOW }]).await.ok();
        for cursor in [0, head / 4, head / 2, head * 3 / 4, head - 1] {
            let mut replay = None;
            if let Some(opening) = opened.as_ref().map(|openings| &openings[0]) {
                said.oldest = said.oldest.min(opening.oldest);
                let read = store.read_after(&opening.interest, Position(cursor), Position(head), 10_000).await;
                replay = read.ok().map(|slice| slice.entries.iter().map(text).collect());
            }
            said.replays.insert((index, cursor), replay);
        }
        let wanted = Wanted {
            user: user(name),
            status: Status::All,
            category: None,
            topic: None,
            before: None,
            limit: 1000,
            at: NOW,
        };
        let page = store.page(wanted).await.ok();
        said.pages.push(page.map(|page| page.items.iter().map(|item| format!("{:?}", item.notification)).collect()));
    }
    said.damages = store.options.metrics.damaged.get();
    said
}

/// What of it is wrong. In another epoch the log may be an older one, so that any text is right that ever was.
fn judge(truth: &Said, ever: &HashSet<String>, said: &Said) -> Vec<String> {
    let mut faults = Vec::new();
    let is_older = said.epoch != truth.epoch;
    let replayed = said.replays.values().flatten().flatten();
    let notified =
        replayed.chain(said.tail.iter().map(|(_, text)| text)).filter_map(|(_, notification)| notification.as_ref());
    for wrong in notified.chain(said.pages.iter().flatten().flatten()).filter(|text| !ever.contains(*text)) {
        faults.push(format!("wrong text: {wrong}"));
    }
    if is_older {
        return faults;
    }
    for (known, read) in truth.pages.iter().zip(&said.pages) {
        let (Some(known), Some(read)) = (known, read) else { continue };
        if let Some(wrong) = read.iter().find(|text| !known.contains(text)) {
            faults.push(format!("wrong on a page: {wrong}"));
        }
        if read.len() < known.len() && said.damages == 0 {
            faults.push("left out of a page in silence".to_owned());
        }
    }
    if let Some((first, _)) = said.tail.first() {
        for missed in truth.tail.iter().filter(|entry| entry.0 > *first && !said.tail.contains(entry)) {
            if said.oldest < missed.0 {
                faults.push(format!("a gap in the tail: {missed:?}"));
            }
        }
    }
    for (which, known) in &truth.replays {
        let (Some(known), Some(read)) = (known, &said.replays[which]) else { continue };
        if let Some(wrong) = read.iter().find(|text| !known.contains(text)) {
            faults.push(format!("wrong in a replay {which:?}: {wrong:?}"));
        }
        if let Some(missed) = known.iter().find(|text| !read.contains(text)) {
            faults.push(format!("a gap in a replay {which:?}: {missed:?}"));
        }
    }
    faults
}

fn damage(bytes: &mut Vec<u8>, kind: &str, random: &mut fastrand::Rng) {
    let block = random.choice([512, 4096]).expect("there are some");
    match kind {
        "flip" => {
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u8(..8);
        }
        "swap" => {
            let (one, other) =
                (random.usize(..bytes.len() / block) * block, random.usize(..bytes.len() / block) * block);
            for index in 0..block {
                bytes.swap(one + index, other + index);
            }
        }
        _ => bytes.truncate(random.usize(..bytes.len())),
    }
}

fn copy(from: &Path, to: &Path) {
    for name in ["pregon.db", "pregon.db-wal", "pregon.head"] {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).expect("copied");
        }
    }
}

/// Makes of a store that was killed in the middle and of the same that was killed later one whose file has what the first had in its
/// `-wal`, while the `-wal` of the other goes on, as it does as long as somebody reads.
fn go_halfway(later: &Path, earlier: &Path) {
    let checkpointed = Connection::open(earlier.join("pregon.db")).expect("opens");
    checkpointed.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).expect("checkpointed");
    for name in ["pregon.db-wal", "pregon.head"] {
        std::fs::copy(later.join(name), earlier.join(name)).expect("copied");
    }
    // Closing it would make a checkpoint of what it doesn't know.
    std::mem::forget(checkpointed);
}

/// Mutants: no look through the file; damaged addresses not seen by it.
#[tokio::test]
async fn damaged_files_give_no_wrong_text_and_no_gap_in_silence() {
    let count = std::env::var("PREGON_DAMAGES").map_or(6, |count| count.parse().expect("a number"));
    let [work, killed, halfway] = std::array::from_fn(|_| tempfile::tempdir().expect("a folder"));
    let store = open(work.path()).expect("opens");
    let mut ever = fill(&store, 0..PUBLISHED / 2).await;
    drop(store);
    let store = open(work.path()).expect("opens");
    ever.extend(fill(&store, PUBLISHED / 2..PUBLISHED * 3 / 4).await);
    copy(work.path(), halfway.path());
    ever.extend(fill(&store, PUBLISHED * 3 / 4..PUBLISHED).await);
    // As `kill -9` leaves it.
    copy(work.path(), killed.path());
    go_halfway(killed.path(), halfway.path());
    let head = store.open(vec![Asked { user: user("0"), since: None, at: NOW }]).await.expect("opened")[0].head.0;
    drop(store);
    let truth = said(&open(work.path()).expect("opens"), head).await;
    assert_eq!(truth.damages, 0);
    assert_eq!(truth.replays.values().filter(|replay| replay.is_none()).count(), 0);
    let mut random = fastrand::Rng::with_seed(11);
    let (mut faults, mut table) = (Vec::new(), Vec::new());
    for ((state, file), template) in DAMAGED.into_iter().zip([work.path(), killed.path(), halfway.path()]) {
        for kind in ["flip", "swap", "truncation"] {
            let (mut refused, mut anew, mut noticed) = (0, 0, 0);
            for trial in 0..count {
                let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
                copy(template, folder.path());
                let path = folder.path().join(file);
                let mut bytes = std::fs::read(&path).expect("read");
                damage(&mut bytes, kind, &mut random);
                std::fs::write(&path, bytes).expect("written");
                let Ok(store) = open(folder.path()) else {
                    refused += 1;
                    continue;
                };
                let said = said(&store, head).await;
                anew += u32::from(said.epoch != truth.epoch);
                noticed += u32::from(said.damages > 0);
                faults.extend(
                    judge(&truth, &ever, &said)
                        .into_iter()
                        .map(|fault| format!("{kind} {trial} of {file}, {state}: {fault}")),
                );
            }
            table.push(format!(
                "{file}, {state}, {kind}: {count}, not opened {refused}, new epoch {anew}, damage named {noticed}"
            ));
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}\n{}", faults.len(), table.join("\n"), faults.join("\n"));
    if std::env::var_os("PREGON_DAMAGES").is_some() {
        // Past the capture of the tests: the figures are what a long run is for.
        writeln!(std::io::stdout(), "{}", table.join("\n")).expect("written");
    }
}
