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
use super::reader::{EACH, Reader, inbox};
use super::together::request_key;
use super::{LOGGED, counted, lasts, topic, user};
use crate::content::{Content, Fields, Patch};
use crate::notification::{Interest, Notification, NotificationId, Position};
use crate::state::{Counts, Set};
use crate::store::{Append, Appended, Asked, Command, Item, Once, Outcome, Selection, Status, Store};

/// What a store has to be opened with: few notifications are many then.
pub(in crate::store) const INBOX_MAX: usize = 8;
pub(in crate::store) const PASSED_MAX: usize = 3;
/// Sequences in all, unless the environment has another number in `PREGON_SEQUENCES`. `scripts/test --all` tries 2,000.
const SEQUENCES: u32 = 200;
const STEPS: std::ops::Range<usize> = 20..40;
const USERS: [&str; 3] = ["ana", "bea", "eva"];
const TOPICS: [&str; 2] = ["obras", "avisos"];
const CATEGORIES: [&str; 2] = ["ofertas", "averías"];
const AUDIENCES: [&str; 6] = ["user:ana", "user:bea", "user:eva", "topic:obras", "topic:avisos", "everyone"];

/// Something that is asked of the log. `back` counts notifications from the newest; times are seconds from now.
#[derive(Clone, Debug)]
enum Wish {
    Publish { to: Vec<&'static str>, lasting: Option<i64>, replaces: Option<&'static str>, due: Option<i64> },
    Edit { back: usize, names: Vec<&'static str>, text: Option<u8> },
    Recall { back: usize },
    Join { user: &'static str, topic: &'static str },
    Leave { user: &'static str, topic: &'static str },
    Mark { user: &'static str, which: Which, set: Set },
    Mute { user: &'static str, categories: Vec<String> },
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
        4 => (users(), subsequence(CATEGORIES.map(str::to_owned).to_vec(), 0..=2))
            .prop_map(|(user, categories)| Wish::Mute { user, categories }),
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

/// Holds a store against the model. `open` opens the one in a folder, with [`INBOX_MAX`] and
/// [`PASSED_MAX`].
pub(in crate::store) fn run(open: impl Fn(&Path) -> Arc<dyn Store> + Sync) {
    // More than there are cores: a sequence mostly waits for the store's own threads.
    let threads = 3 * std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get).min(8);
    let sequences = std::env::var("PREGON_SEQUENCES").map_or(SEQUENCES, |number| number.parse().expect("a number"));
    let cases = sequences.div_ceil(u32::try_from(threads).expect("few"));
    let some = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&prop::collection::vec(step(), STEPS), |steps| runtime.block_on(Trial::new(&open).run(steps)))
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

/// A mark says how many she has; then so many muted ones come for everyone that what she had is out of reach, and of none
/// of these is she told. This failed once: what she was told was held against what she has since then.
pub(in crate::store) async fn run_muted_after_a_mark(open: impl Fn(&Path) -> Arc<dyn Store>) {
    let publish = |to| Wish::Publish { to: vec![to], lasting: None, replaces: None, due: None };
    let all = Set { read: Some(true), ..Set::default() };
    let steps = [
        Wish::Mute { user: "eva", categories: CATEGORIES.map(str::to_owned).to_vec() },
        // Ids are counted up: the first and the third are about a category, the second is about none.
        publish("user:ana"),
        publish("everyone"),
        Wish::Mark { user: "eva", which: Which::All, set: all },
        publish("everyone"),
        publish("everyone"),
        publish("user:ana"),
        publish("everyone"),
    ];
    let mut trial = Trial::new(&open);
    let mut counts = Vec::new();
    for wish in steps {
        trial.take(Step::Ask(vec![wish])).await.expect("as the model says");
        let asked = vec![Asked { user: user("eva"), since: None, at: trial.now }];
        counts.push(trial.store.open(asked).await.expect("opened")[0].counts.total);
    }
    assert_eq!(counts, [0, 0, 1, 1, 1, 1, 1, 0], "the third that is passed over is the last");
    let eva = trial.readers.iter().position(|reader| reader.user == user("eva")).expect("a reader");
    trial.reconnect(eva).await.expect("what eva was told was right then");
    let told = trial.readers[eva].counts.expect("the mark is the last that she was told").0;
    assert_eq!(told, Counts { unread: 0, unseen: 0, total: 1 });
    trial.end().await.expect("as the model says");
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
            model: Model { inbox_max: INBOX_MAX, passed_max: PASSED_MAX, interests, ..Model::default() },
            readers: USERS.map(Reader::new),
            now: super::NOW,
            ids: Vec::new(),
            answers: HashMap::new(),
        }
    }

    async fn run(mut self, steps: Vec<Step>) -> Result<(), TestCaseError> {
        for (number, step) in steps.into_iter().enumerate() {
            self.take(step).await?;
            self.compare(&USERS[number % USERS.len()..][..1], &EACH).await?;
        }
        self.end().await
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
                    content: content(id, &id.to_string()),
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
            Wish::Join { user: id, topic: name } => Command::Join { user: user(id), topics: vec![topic(name)] },
            Wish::Leave { user: id, topic: name } => Command::Leave { user: user(id), topic: topic(name) },
            Wish::Mark { user: id, which, set } => {
                let selection = match which {
                    Which::These(back) => Selection::These(back.into_iter().map(|back| self.id(back)).collect()),
                    Which::UpTo(back) => Selection::UpTo(self.id(back)),
                    Which::All => Selection::All,
                };
                Command::Mark { user: user(id), selection, set }
            }
            Wish::Mute { user: id, categories } => Command::Mute { user: user(id), categories },
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
        // What the inbox no longer reaches stays with whoever has read it.
        let expected = self.model.inbox(&reader.user, self.now);
        let reached: Vec<_> = expected.iter().map(|item| item.notification.id).collect();
        let hers: Vec<_> =
            self.model.newest(&reader.user, self.now, usize::MAX).map(|item| item.notification.id).collect();
        let out_of_reach: Vec<_> = hers.iter().copied().filter(|id| !reached.contains(id)).collect();
        let kept = |one: &&Arc<Notification>| lasts(one, self.now) && !out_of_reach.contains(&one.id);
        let has = reader.has.iter().rev().filter(kept).take(INBOX_MAX);
        // An erased user is taken from the audiences of a notification, which changes nothing for the others.
        let shown = |notification: &Arc<Notification>| {
            (notification.id, notification.content.json().to_owned(), notification.expires_at)
        };
        let (has, there): (Vec<_>, Vec<_>) = (has.map(shown).collect(), there.map(shown).collect());
        prop_assert_eq!(has, there, "what {} has read", &reader.user);
        // Of what is muted nobody is told, and it may have put something out of reach since these were counted.
        let passed_too_many = expected.len() < hers.len().min(INBOX_MAX);
        if let Some((counts, at)) = reader.counts
            && at == self.now
            && !passed_too_many
        {
            prop_assert_eq!(counts, counted(&expected), "what {} was told", &reader.user);
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

/// That these fields say something else; a title may also say nothing.
fn patch(names: &[&str], text: Option<u8>) -> Patch {
    let title = text.map(|text| text.to_string());
    let fields = Fields { message: format!("{text:?}"), title, ..Fields::default() };
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Patch::new(&names, &Content::parse(&fields).expect("valid"))
}

/// Two of three are about a category, which stays what it is.
fn content(id: NotificationId, message: &str) -> Content {
    let category = CATEGORIES.get(usize::from(id.0.as_bytes()[15] % 3)).map(|category| (*category).to_owned());
    Content::parse(&Fields { message: message.to_owned(), category, ..Fields::default() }).expect("valid")
}

/// Where a notification stands is the store's to know.
fn without_positions(items: &[Item]) -> Vec<Item> {
    items.iter().map(|item| Item { position: Position::START, ..item.clone() }).collect()
}
