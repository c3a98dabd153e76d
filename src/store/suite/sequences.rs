//! Random sequences of whatever users and publishers do, with crashes and reconnects among it, held against the model.
//!
//! After each step every user has as many as the model says, and one of them, in turn, in that order and in that state;
//! in the end all of them. And whoever reads from her cursor, whenever she comes, and only does what the entries say ends
//! up with what is in her inbox.
//!
//! **Invariant:** a sequence is a plain value and time is passed in, so a failing one can be shrunk and does the same
//! again. Ids are counted up.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tempfile::TempDir;
use uuid::Uuid;

use super::model::Model;
use super::together::request_key;
use super::{LOGGED, counted, lasts, topic, user, wanted};
use crate::content::{Content, Fields, Patch};
use crate::notification::{Change, Entry, Interest, Notification, NotificationId, Position, UserId};
use crate::state::{Counts, Set};
use crate::store::{Append, Appended, Asked, Command, Item, Once, Outcome, Page, Selection, Status, Store, Wanted};

/// What a store has to be opened with: few notifications are many then.
pub(in crate::store) const INBOX_MAX: usize = 8;
/// Sequences in all.
const SEQUENCES: u32 = 2_000;
const STEPS: std::ops::Range<usize> = 20..40;
const USERS: [&str; 3] = ["ana", "bea", "eva"];
const TOPICS: [&str; 2] = ["obras", "avisos"];
const AUDIENCES: [&str; 6] = ["user:ana", "user:bea", "user:eva", "topic:obras", "topic:avisos", "everyone"];
/// Statuses that together have each notification once, and so have unread, read and archived.
const EACH: [Status; 2] = [Status::All, Status::Archived];
/// Entries that a reader asks for at once, and notifications on a page: few, so that it takes several.
const ENTRIES_PER_READ: usize = 3;
const ITEMS_PER_PAGE: usize = 5;

/// Something that is asked of the log. `back` counts notifications from the newest; times are seconds from now.
#[derive(Clone, Debug)]
enum Wish {
    Publish { to: Vec<&'static str>, lasting: Option<i64>, replaces: Option<&'static str>, due: Option<i64> },
    Edit { back: usize, names: Vec<&'static str>, text: Option<u8> },
    Recall { back: usize },
    Join { user: &'static str, topic: &'static str },
    Leave { user: &'static str, topic: &'static str },
    Mark { user: &'static str, which: Which, set: Set },
    Erase { user: &'static str },
}

#[derive(Clone, Debug)]
enum Which {
    These(Vec<usize>),
    UpTo(usize),
    All,
}

#[derive(Clone, Debug)]
enum Step {
    Ask(Vec<Wish>),
    /// A request that may have been made before: its key, and what else it says.
    AskOnce(&'static str, u8, Vec<Wish>),
    /// Time passes; and perhaps what is due then is done.
    Wait {
        seconds: i64,
        advanced: bool,
    },
    /// The process ends, and a new one finds the files as they are.
    Crash,
    /// A user reads on.
    Reconnect(usize),
}

fn to() -> impl Strategy<Value = Vec<&'static str>> {
    prop_oneof![
        5 => prop::sample::select(&AUDIENCES[..]).prop_map(|audience| vec![audience]),
        2 => subsequence(&AUDIENCES[..], 2..=3),
    ]
}

fn set() -> impl Strategy<Value = Set> {
    let any = (any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<bool>>());
    prop_oneof![
        2 => Just(Set { read: Some(true), ..Set::default() }),
        3 => any.prop_map(|(seen, read, archived)| Set { seen, read, archived }),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let users = || prop::sample::select(&USERS[..]);
    let topics = || prop::sample::select(&TOPICS[..]);
    let which = prop_oneof![
        prop::collection::vec(0..12_usize, 1..4).prop_map(Which::These),
        (0..12_usize).prop_map(Which::UpTo),
        Just(Which::All),
    ];
    let seldom = |seconds: std::ops::Range<i64>| prop::option::weighted(0.2, seconds);
    let replaces = prop::option::weighted(0.3, prop::sample::select(&["estado", "progreso"][..]));
    prop_oneof![
        10 => (to(), seldom(1..30), replaces, seldom(1..20))
            .prop_map(|(to, lasting, replaces, due)| Wish::Publish { to, lasting, replaces, due }),
        2 => (0..12_usize, subsequence(&["message", "title"][..], 1..=2), prop::option::of(0..3_u8))
            .prop_map(|(back, names, text)| Wish::Edit { back, names, text }),
        3 => (0..12_usize).prop_map(|back| Wish::Recall { back }),
        4 => (users(), topics()).prop_map(|(user, topic)| Wish::Join { user, topic }),
        2 => (users(), topics()).prop_map(|(user, topic)| Wish::Leave { user, topic }),
        7 => (users(), which, set()).prop_map(|(user, which, set)| Wish::Mark { user, which, set }),
        1 => users().prop_map(|user| Wish::Erase { user }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let wishes = || prop::collection::vec(wish(), 1..3);
    let seconds = prop_oneof![8 => 1..15_i64, 1 => Just(25 * 3600)];
    prop_oneof![
        16 => wishes().prop_map(Step::Ask),
        2 => (prop::sample::select(&["una", "otra"][..]), 0..2_u8, wishes())
            .prop_map(|(key, says, wishes)| Step::AskOnce(key, says, wishes)),
        4 => (seconds, any::<bool>()).prop_map(|(seconds, advanced)| Step::Wait { seconds, advanced }),
        1 => Just(Step::Crash),
        3 => (0..USERS.len()).prop_map(Step::Reconnect),
    ]
}

/// Holds a store against the model. `open` opens the one in a folder, with [`INBOX_MAX`].
pub(in crate::store) fn run(open: impl Fn(&Path) -> Arc<dyn Store> + Sync) {
    // More than there are cores: a sequence mostly waits for the store's own threads.
    let threads = 3 * std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get).min(8);
    let cases = SEQUENCES.div_ceil(u32::try_from(threads).expect("few"));
    let some = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        TestRunner::new(config).run(&prop::collection::vec(step(), STEPS), |steps| {
            runtime.block_on(async {
                let mut trial = Trial::new(&open);
                for (number, step) in steps.into_iter().enumerate() {
                    trial.take(step).await?;
                    trial.compare(&USERS[number % USERS.len()..][..1], &EACH).await?;
                }
                trial.end().await
            })
        })
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        for thread in running {
            if let Err(error) = thread.join().expect("no panic outside of a sequence") {
                panic!("{error}");
            }
        }
    });
}

/// A folder in memory, if there is such: what is tested is not the disk.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder")
}

/// One sequence under way.
struct Trial<'a, Open> {
    open: &'a Open,
    store: Arc<dyn Store>,
    folder: TempDir,
    model: Model,
    readers: [Reader; 3],
    now: Timestamp,
    /// All that have been made up so far.
    ids: Vec<NotificationId>,
    /// What requests that may come again were answered: what they said, the answer, when.
    answers: HashMap<&'static str, (u8, String)>,
}

impl<'a, Open: Fn(&Path) -> Arc<dyn Store>> Trial<'a, Open> {
    fn new(open: &'a Open) -> Self {
        let folder = folder();
        let interests = USERS.map(|id| (user(id), Interest::of(user(id)))).into();
        Trial {
            open,
            store: open(folder.path()),
            folder,
            model: Model { inbox_max: INBOX_MAX, interests, ..Model::default() },
            readers: USERS.map(Reader::new),
            now: super::NOW,
            ids: Vec::new(),
            answers: HashMap::new(),
        }
    }

    async fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Ask(wishes) => self.ask(wishes, None).await?,
            Step::AskOnce(key, says, wishes) => self.ask(wishes, Some((key, says))).await?,
            Step::Wait { seconds, advanced } => {
                self.now += Duration::from_secs(seconds.unsigned_abs());
                if advanced {
                    while self.store.advance(self.now).await.expect("advanced").is_some_and(|next| next <= self.now) {}
                    self.model.advance(self.now);
                }
            }
            Step::Crash => {
                let left = folder();
                for file in std::fs::read_dir(self.folder.path()).expect("listed") {
                    let name = file.expect("listed").file_name();
                    // What only lives in memory is gone.
                    if !name.to_string_lossy().ends_with("-shm") {
                        std::fs::copy(self.folder.path().join(&name), left.path().join(&name)).expect("copied");
                    }
                }
                let before = std::mem::replace(&mut self.store, (self.open)(left.path()));
                prop_assert_eq!(self.store.seal().epoch, before.seal().epoch);
                drop(before);
                self.folder = left;
            }
            Step::Reconnect(reader) => self.reconnect(reader).await?,
        }
        Ok(())
    }

    async fn ask(&mut self, wishes: Vec<Wish>, once: Option<(&'static str, u8)>) -> Result<(), TestCaseError> {
        let answer = self.ids.len().to_string();
        let commands: Vec<Command> = wishes.into_iter().map(|wish| self.command(wish)).collect();
        let known = once.and_then(|(key, _)| self.answers.get(key)).cloned();
        let expected = match (once, known) {
            (Some((_, says)), Some((said, answer))) if says == said => Appended::Repeated(answer),
            (Some(_), Some(_)) => Appended::KeyReused,
            _ => {
                if let Some((key, says)) = once {
                    self.answers.insert(key, (says, answer.clone()));
                }
                let done = commands.iter().map(|command| self.model.apply(command.clone(), self.now));
                Appended::Done(done.collect())
            }
        };
        let erases: Vec<bool> = commands.iter().map(|command| matches!(command, Command::Erase { .. })).collect();
        let once = once.map(|(key, says)| Once { key: request_key(key), fingerprint: [says; 32], answer });
        let mut got = self.store.append(Append { at: self.now, commands, once }).await.expect("appended");
        if let Appended::Done(outcomes) = &mut got {
            for (outcome, erases) in outcomes.iter_mut().zip(erases) {
                // Whether there was anything of hers to erase is the store's to know.
                if matches!(outcome, Outcome::Logged(_)) || erases && *outcome == Outcome::Unchanged {
                    *outcome = LOGGED;
                }
            }
        }
        prop_assert_eq!(got, expected);
        Ok(())
    }

    fn command(&mut self, wish: Wish) -> Command {
        match wish {
            Wish::Publish { to, lasting, replaces, due } => {
                let id = NotificationId(Uuid::from_u128(self.ids.len() as u128 + 1));
                self.ids.push(id);
                let later = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
                let due = due.map(|seconds| self.now + later(seconds));
                let notification = Arc::new(Notification {
                    id,
                    timestamp: self.now,
                    audiences: to.into_iter().map(|audience| audience.parse().expect("valid")).collect(),
                    content: content(&id.to_string()),
                    expires_at: lasting.map(|seconds| due.unwrap_or(self.now) + later(seconds)),
                    replaces: replaces.map(|key| key.parse().expect("valid")),
                });
                match due {
                    Some(due) => Command::Schedule { notification, due },
                    None => Command::Publish(notification),
                }
            }
            Wish::Edit { back, names, text } => Command::Edit { id: self.id(back), patch: patch(&names, text) },
            Wish::Recall { back } => Command::Recall { id: self.id(back) },
            Wish::Join { user: id, topic: name } => Command::Join { user: user(id), topic: topic(name) },
            Wish::Leave { user: id, topic: name } => Command::Leave { user: user(id), topic: topic(name) },
            Wish::Mark { user: id, which, set } => {
                let selection = match which {
                    Which::These(back) => Selection::These(back.into_iter().map(|back| self.id(back)).collect()),
                    Which::UpTo(back) => Selection::UpTo(self.id(back)),
                    Which::All => Selection::All,
                };
                Command::Mark { user: user(id), selection, set }
            }
            Wish::Erase { user: id } => Command::Erase { user: user(id) },
        }
    }

    /// The id so many before the newest; one that there never was if that is too far back.
    fn id(&self, back: usize) -> NotificationId {
        self.ids.iter().rev().nth(back).copied().unwrap_or(NotificationId(Uuid::nil()))
    }

    /// That every user has as many as the model says, and these users the same.
    async fn compare(&self, whole: &[&str], statuses: &[Status]) -> Result<(), TestCaseError> {
        let asked = USERS.map(|id| Asked { user: user(id), since: None, at: self.now });
        let openings = self.store.open(asked.to_vec()).await.expect("opened");
        for opening in openings {
            let user = &opening.interest.user;
            let expected = self.model.inbox(user, self.now);
            prop_assert_eq!(opening.counts, counted(&expected), "counts of {}", user);
            if whole.contains(&user.as_str()) {
                let (there, _) = inbox(&self.store, user, self.now, statuses).await?;
                prop_assert_eq!(without_positions(&there), without_positions(&expected), "inbox of {}", user);
            }
        }
        Ok(())
    }

    async fn reconnect(&mut self, reader: usize) -> Result<(), TestCaseError> {
        let reader = &mut self.readers[reader];
        reader.read(&self.store, self.now).await?;
        let (there, _) = inbox(&self.store, &reader.user, self.now, &EACH).await?;
        let there = there.iter().filter(|item| item.position >= reader.oldest).map(|item| &item.notification);
        let has = reader.has.iter().rev().filter(|notification| lasts(notification, self.now)).take(INBOX_MAX);
        // An erased user is taken from the audiences of a notification, which changes nothing for the others.
        let shown = |notification: &Arc<Notification>| {
            (notification.id, notification.content.json().to_owned(), notification.expires_at)
        };
        let (has, there): (Vec<_>, Vec<_>) = (has.map(shown).collect(), there.map(shown).collect());
        prop_assert_eq!(has, there, "what {} has read", &reader.user);
        if let Some((counts, at)) = reader.counts
            && at == self.now
        {
            prop_assert_eq!(
                counts,
                counted(&self.model.inbox(&reader.user, self.now)),
                "what {} was told",
                &reader.user
            );
        }
        Ok(())
    }

    /// Everybody reads to the end.
    async fn end(mut self) -> Result<(), TestCaseError> {
        for reader in 0..self.readers.len() {
            self.reconnect(reader).await?;
        }
        self.compare(&USERS, &[Status::Unread, Status::Read, Status::Archived]).await
    }
}

/// A client that does what it is told, and nothing else.
struct Reader {
    user: UserId,
    cursor: Position,
    /// In the order in which they came.
    has: Vec<Arc<Notification>>,
    /// Of what is older she may not know.
    oldest: Position,
    /// What she was told last, and when that was counted, if nothing has come since.
    counts: Option<(Counts, Timestamp)>,
}

impl Reader {
    fn new(id: &str) -> Reader {
        Reader { user: user(id), cursor: Position::START, has: Vec::new(), oldest: Position::START, counts: None }
    }

    async fn read(&mut self, store: &Arc<dyn Store>, now: Timestamp) -> Result<(), TestCaseError> {
        let asked = vec![Asked { user: self.user.clone(), since: None, at: now }];
        let opening = store.open(asked).await.expect("opened").remove(0);
        prop_assert!(self.cursor <= opening.head, "positions go on");
        while self.cursor < opening.head {
            let read = store.read_after(&opening.interest, self.cursor, opening.head, ENTRIES_PER_READ).await;
            let slice = read.expect("nothing has been removed before its time");
            prop_assert!(slice.entries.is_sorted_by(|a, b| a.position < b.position));
            prop_assert!(slice.through > self.cursor && slice.through <= opening.head);
            for entry in &slice.entries {
                prop_assert!(entry.position > self.cursor && entry.position <= slice.through);
                self.counts = None;
                if self.does_not_know_from(entry) {
                    return self.look(store, now).await;
                }
            }
            self.cursor = slice.through;
        }
        Ok(())
    }

    /// Does what an entry says. True if she must look at her inbox.
    fn does_not_know_from(&mut self, entry: &Entry) -> bool {
        match &entry.change {
            Change::Notified(notification) => {
                if self.has.iter().all(|known| known.id != notification.id) {
                    self.has.push(Arc::clone(notification));
                }
            }
            Change::Edited(notification) => {
                if let Some(known) = self.has.iter_mut().find(|known| known.id == notification.id) {
                    *known = Arc::clone(notification);
                }
            }
            Change::Removed { id, .. } => self.has.retain(|known| known.id != *id),
            Change::Marked { marked, .. } => {
                let json: serde_json::Value = serde_json::from_str(marked.json()).expect("JSON");
                let count = |name: &str| usize::try_from(json["counts"][name].as_u64().expect("a count")).expect("few");
                let counts = Counts { unread: count("unread"), unseen: count("unseen"), total: count("total") };
                self.counts = Some((counts, json["at"].as_str().expect("a time").parse().expect("a time")));
            }
            Change::Erased { .. } => return true,
            Change::Joined { .. } | Change::Left { .. } | Change::Muted { .. } | Change::Revoked { .. } => {}
        }
        false
    }

    /// Takes what is in her inbox, and goes on from there.
    async fn look(&mut self, store: &Arc<dyn Store>, now: Timestamp) -> Result<(), TestCaseError> {
        let (items, head) = inbox(store, &self.user, now, &EACH).await?;
        self.oldest = items.last().filter(|_| items.len() == INBOX_MAX).map_or(Position::START, |item| item.position);
        self.has = items.into_iter().rev().map(|item| item.notification).collect();
        self.cursor = head;
        Ok(())
    }
}

/// That these fields say something else; a title may also say nothing.
fn patch(names: &[&str], text: Option<u8>) -> Patch {
    let title = text.map(|text| text.to_string());
    let fields = Fields { message: format!("{text:?}"), title, ..Fields::default() };
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Patch::new(&names, &Content::parse(&fields).expect("valid"))
}

fn content(message: &str) -> Content {
    Content::parse(&Fields { message: message.to_owned(), ..Fields::default() }).expect("valid")
}

/// All that is in an inbox, newest first, page by page, and the end of the log.
async fn inbox(
    store: &Arc<dyn Store>,
    user: &UserId,
    at: Timestamp,
    statuses: &[Status],
) -> Result<(Vec<Item>, Position), TestCaseError> {
    let mut items: Vec<Item> = Vec::new();
    let mut head = Position::START;
    for status in statuses.iter().copied() {
        let mut before = None;
        loop {
            let wanted = Wanted { status, before, limit: ITEMS_PER_PAGE, at, ..wanted(user.as_str()) };
            let page: Page = store.page(wanted).await.expect("read");
            prop_assert!(page.items.iter().all(|item| status.includes(&item.state)));
            prop_assert!(page.items.is_sorted_by(|newer, older| newer.position > older.position));
            before = page.items.last().map(|item| item.position);
            items.extend(page.items);
            head = page.head;
            if !page.more {
                break;
            }
        }
    }
    items.sort_by_key(|item| std::cmp::Reverse(item.position));
    Ok((items, head))
}

/// Where a notification stands is the store's to know.
fn without_positions(items: &[Item]) -> Vec<Item> {
    items.iter().map(|item| Item { position: Position::START, ..item.clone() }).collect()
}
