//! Random histories after which every stream, from whatever cursor, says what the store says and nothing else: a tail keeps
//! nothing that was taken back, edited away or erased.
//!
//! **Invariant:** a history is a plain value, so a failing one can be shrunk and does the same again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::AbortHandle;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::TestCaseError;
use uuid::Uuid;

use super::{Delivery, NewStream, Options, Start};
use crate::content::{Content, Fields, Patch};
use crate::notification::{Change, Notification, NotificationId, Position, UserId};
use crate::sse::{Form, Wire};
use crate::store::sqlite::{self, SqliteStore};
use crate::store::{Append, Command, Store};

const USERS: [&str; 2] = ["ana", "bea"];
const AUDIENCES: [&str; 4] = ["user:ana", "user:bea", "topic:obras", "everyone"];
const CATEGORIES: [&str; 2] = ["facturas", "avisos"];

/// `back` counts notifications from the newest.
#[derive(Clone, Debug)]
enum Step {
    Publish { to: Vec<&'static str>, category: Option<&'static str>, replaces: bool },
    Edit { back: usize, category: Option<&'static str> },
    Recall { back: usize },
    Join(&'static str),
    Leave(&'static str),
    Mute(&'static str, Vec<&'static str>),
    Erase(&'static str),
}

fn step() -> impl Strategy<Value = Step> {
    let user = || prop::sample::select(&USERS[..]);
    let category = || prop::option::of(prop::sample::select(&CATEGORIES[..]));
    prop_oneof![
        8 => (subsequence(&AUDIENCES[..], 1..=2), category(), prop::bool::weighted(0.2))
            .prop_map(|(to, category, replaces)| Step::Publish { to, category, replaces }),
        4 => (0..6_usize, category()).prop_map(|(back, category)| Step::Edit { back, category }),
        2 => (0..6_usize).prop_map(|back| Step::Recall { back }),
        2 => user().prop_map(Step::Join),
        1 => user().prop_map(Step::Leave),
        2 => (user(), subsequence(&CATEGORIES[..], 0..=2)).prop_map(|(user, muted)| Step::Mute(user, muted)),
        1 => user().prop_map(Step::Erase),
    ]
}

/// A server without HTTP, and what has been published on it.
struct Node {
    store: Arc<dyn Store>,
    delivery: Delivery,
    published: Vec<NotificationId>,
}

impl Node {
    async fn take(&mut self, number: usize, step: Step) {
        let user = |name: &str| name.parse::<UserId>().expect("valid");
        let topic = || "obras".parse().expect("valid");
        let fields = |category: Option<&str>| Fields {
            message: format!("texto {number}"),
            category: category.map(str::to_owned),
            ..Fields::default()
        };
        let nth = |back: usize| self.published.iter().rev().nth(back).copied().unwrap_or_else(NotificationId::generate);
        let command = match step {
            Step::Publish { to, category, replaces } => {
                let id = NotificationId(Uuid::from_u128(number as u128 + 1));
                self.published.push(id);
                Command::Publish(Arc::new(Notification {
                    id,
                    timestamp: Timestamp::UNIX_EPOCH,
                    audiences: to.iter().map(|audience| audience.parse().expect("valid")).collect(),
                    content: Content::parse(&fields(category)).expect("valid"),
                    expires_at: None,
                    replaces: replaces.then(|| "estado".parse().expect("valid")),
                }))
            }
            Step::Edit { back, category } => {
                let content = Content::parse(&fields(category)).expect("valid");
                let patch = Patch::new(&["message".to_owned(), "category".to_owned()], &content);
                Command::Edit { id: nth(back), patch }
            }
            Step::Recall { back } => Command::Recall { id: nth(back) },
            Step::Join(name) => Command::Join { user: user(name), topics: vec![topic()] },
            Step::Leave(name) => Command::Leave { user: user(name), topic: topic() },
            Step::Mute(name, categories) => {
                let categories = categories.into_iter().map(str::to_owned).collect();
                Command::Mute { user: user(name), categories }
            }
            Step::Erase(name) => Command::Erase { user: user(name) },
        };
        let append = Append { at: Timestamp::UNIX_EPOCH, commands: vec![command], once: None };
        self.store.append(append).await.expect("stored");
    }

    /// The lines of the store after a cursor; for each, whether a later line replaces it.
    async fn wanted(&self, user: &UserId, cursor: Position, head: Position) -> Vec<(String, bool)> {
        let interest = self.store.interest(user).await.expect("read");
        let entries = self.store.read_after(&interest, cursor, head, 10_000).await.expect("read").entries;
        let edited = |entry: &crate::notification::Entry| matches!(entry.change, Change::Edited(_));
        let superfluous = |at: usize| {
            edited(&entries[at])
                && entries[at + 1..].iter().any(|later| edited(later) && later.origin == entries[at].origin)
        };
        let line = |at: usize| {
            let told = self.delivery.shared.told(&entries[at])?;
            let pieces = told.frame.pieces(&lines(), true);
            Some((String::from_utf8(pieces.concat()).expect("text"), superfluous(at)))
        };
        (0..entries.len()).filter_map(line).collect()
    }

    /// The lines of a stream after a cursor, up to the notification with that id.
    async fn said(&self, user: &UserId, cursor: Position, last: NotificationId) -> Vec<String> {
        let (abort, _) = AbortHandle::new_pair();
        let mut body = self.delivery.attach_body(
            NewStream {
                user: user.clone(),
                start: Start::After(cursor),
                issued_at: None,
                expires_at: None,
                trust: None,
                ticket: None,
                form: lines(),
                place: None,
            },
            abort,
        );
        let last = last.to_string();
        let mut said = String::new();
        while !(said.ends_with('\n') && said.contains(&last)) {
            let bytes = tokio::time::timeout(Duration::from_secs(20), body.next()).await;
            said.push_str(
                std::str::from_utf8(&bytes.expect("something is said").expect("the stream goes on")).expect("text"),
            );
        }
        // The greeting is none of the log.
        said.split_inclusive('\n').skip(1).map(str::to_owned).collect()
    }
}

fn lines() -> Form {
    Form { wire: Wire::Lines, ..Form::default() }
}

async fn agrees(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().expect("a folder");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path(), sqlite::Options::default()).expect("opened"));
    let delivery = Delivery::start(Options::default(), Arc::clone(&store)).await.expect("started");
    let mut node = Node { store, delivery, published: Vec::new() };
    let count = steps.len();
    for (number, step) in steps.into_iter().enumerate() {
        node.take(number, step).await;
    }
    node.take(count, Step::Publish { to: vec!["everyone"], category: None, replaces: false }).await;
    let last = *node.published.last().expect("published");
    let head = node.store.find(last).await.expect("read").and_then(|found| found.position).expect("published");
    for name in USERS {
        let user: UserId = name.parse().expect("valid");
        for cursor in (0..head.0).step_by(3).map(Position) {
            let (wanted, said) = (node.wanted(&user, cursor, head).await, node.said(&user, cursor, last).await);
            let mut said = said.into_iter().peekable();
            for (line, superfluous) in wanted {
                let is_next = said.peek() == Some(&line);
                prop_assert!(is_next || superfluous, "{name} after {cursor:?}: {:?} for {line:?}", said.peek());
                said.next_if(|_| is_next);
            }
            prop_assert_eq!(said.next(), None, "{} after {:?} is told more", name, cursor);
        }
    }
    node.delivery.stop().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Mutants: a tail that keeps what an erased user had, what an earlier edit said, or the category of before.
    #[test]
    fn whatever_the_store_forgets_no_stream_says_again(steps in prop::collection::vec(step(), 10..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(agrees(steps))?;
    }
}
