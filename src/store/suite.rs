//! What every backend must do; one run against a fresh store.

use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use uuid::Uuid;

use super::{Asked, Backlog, Command, Follower, Item, Opening, Outcome, Page, Status, Store, StoreError, Wanted};
use crate::auth::ServerKey;
use crate::auth::keys::KeptKey;
use crate::notification::{Change, Entry, Interest, Notification, NotificationId, Position, Topic, UserId};
use crate::state::Counts;

mod access;
mod inbox;
mod members;
mod model;
mod notifications;
mod reader;
pub(super) mod sequences;
mod together;

pub(super) use notifications::notification;
use notifications::notification_at;

/// Runs all of the suite. `open` opens the store that lies in a folder, made if it is not there.
pub(super) async fn run(open: impl Fn(&Path) -> Arc<dyn Store>) {
    let fresh = || {
        let folder = tempfile::tempdir().expect("a folder");
        (open(folder.path()), folder)
    };
    positions_rise_and_what_is_appended_is_read(&fresh().0).await;
    the_follower_hears_of_an_entry_when_it_can_be_read_and_before_the_answer(&fresh().0).await;
    a_follower_gets_the_backlog_and_then_everything_in_order(&fresh().0).await;
    a_read_is_bounded_by_the_head_and_by_the_limit(&fresh().0).await;
    a_notification_for_several_audiences_is_one_entry(&fresh().0).await;
    members::run(&fresh).await;
    a_time_is_found_in_the_log(&fresh().0).await;
    a_time_is_found_in_the_log_though_the_clock_was_set_back(&fresh().0).await;
    retention_removes_what_is_old_and_keeps_the_newest(&fresh().0).await;
    concurrent_appends_have_one_order(&fresh().0).await;
    server_keys_are_kept_until_they_are_forgotten(&fresh().0).await;
    access::a_secret_is_kept_until_its_end_or_until_all_are_replaced(&fresh().0).await;
    a_revocation_is_in_the_log_and_stays_when_it_is_trimmed(&fresh().0).await;
    inbox::run(&fresh).await;
    together::run(&fresh).await;
    what_was_appended_is_there_after_reopening(&open).await;
    no_position_is_given_out_twice(&open).await;
}

const NO_BACKLOG: Backlog = Backlog { entries: 0, bytes: 0 };

fn user(id: &str) -> UserId {
    id.parse().expect("valid")
}

fn topic(name: &str) -> Topic {
    name.parse().expect("valid")
}

fn notified(audiences: &[&str], message: &str) -> Command {
    Command::Publish(notification_at(1_000, audiences, message))
}

/// The time at which all is done that says no other.
const NOW: Timestamp = Timestamp::constant(1, 0);

async fn done(store: &Arc<dyn Store>, command: Command) -> Outcome {
    store.one(NOW, command).await.expect("done")
}

async fn append(store: &Arc<dyn Store>, command: Command) -> Option<Position> {
    match done(store, command).await {
        Outcome::Logged(position) => Some(position),
        _ => None,
    }
}

async fn publish(store: &Arc<dyn Store>, audience: &str, message: &str) -> Position {
    append(store, notified(&[audience], message)).await.expect("a notification always has a position")
}

/// That the log says so, wherever.
const LOGGED: Outcome = Outcome::Logged(Position::START);

/// Whether a notification has not expired at that time.
fn lasts(notification: &Notification, at: Timestamp) -> bool {
    notification.expires_at.is_none_or(|expires| expires > at)
}

/// How many these are.
fn counted(items: &[Item]) -> Counts {
    let mut counts = Counts::default();
    for item in items {
        counts.add(&item.state);
    }
    counts
}

/// What a stream of that user has to know.
async fn opened(store: &Arc<dyn Store>, id: &str, since: Option<Timestamp>) -> Opening {
    let [opening] =
        store.open(vec![Asked { user: user(id), since, at: NOW }]).await.expect("opened").try_into().expect("one");
    opening
}

/// The messages that a user reads after a position.
async fn messages_after(store: &Arc<dyn Store>, id: &str, after: Position) -> Vec<String> {
    let opening = opened(store, id, None).await;
    let slice = store.read_after(&opening.interest, after, opening.head, 1000).await.expect("read");
    assert_eq!(slice.through, opening.head);
    slice.entries.iter().filter_map(notified_in).map(|n| message(&n)).collect()
}

/// The notification that an entry publishes.
fn notified_in(entry: &Entry) -> Option<Arc<Notification>> {
    if let Change::Notified(notification) = &entry.change { Some(Arc::clone(notification)) } else { None }
}

fn wanted(id: &str) -> Wanted {
    Wanted { user: user(id), status: Status::All, category: None, topic: None, before: None, limit: 1000, at: NOW }
}

async fn page(store: &Arc<dyn Store>, wanted: Wanted) -> Page {
    store.page(wanted).await.expect("read")
}

fn message(notification: &Notification) -> String {
    let json: serde_json::Value = serde_json::from_str(notification.content.json()).expect("JSON");
    json["message"].as_str().expect("a message").to_owned()
}

async fn positions_rise_and_what_is_appended_is_read(store: &Arc<dyn Store>) {
    let sent = notification_at(1_764_000_000_123, &["user:1"], "uno\n\"dos\"");
    let first = append(store, Command::Publish(Arc::clone(&sent))).await.expect("a position");
    let second = publish(store, "user:2", "otra").await;
    assert!(first < second);
    let opening = opened(store, "1", None).await;
    assert_eq!((opening.head, opening.counts.unread, opening.oldest), (second, 1, Position::START));
    let slice = store.read_after(&opening.interest, Position::START, opening.head, 10).await.expect("read");
    let change = Change::Notified(Arc::clone(&sent));
    assert_eq!(slice.entries, [Entry { position: first, origin: first, change }]);
    let page = page(store, wanted("1")).await;
    assert_eq!((page.items[0].position, &page.items[0].notification, page.head), (first, &sent, second));
    let found = store.find(sent.id).await.expect("read").expect("there");
    assert_eq!((found.notification, found.position, found.due), (sent, Some(first), None));
    assert_eq!(store.find(NotificationId(Uuid::nil())).await.expect("read"), None);
    assert_eq!(opened(store, "nobody", None).await.counts, Counts::default());
    let asked = ["2", "nobody", "1"].map(|id| Asked { user: user(id), since: None, at: NOW });
    let openings = store.open(asked.to_vec()).await.expect("opened");
    assert_eq!(
        openings.iter().map(|o| (o.interest.user.as_str(), o.counts.unread)).collect::<Vec<_>>(),
        [("2", 1), ("nobody", 0), ("1", 1)]
    );
}

/// Notes the order of what happens to it.
#[derive(Default)]
struct Witness {
    seen: Mutex<Vec<(Position, Vec<Position>)>>,
    trimmed: Mutex<Vec<Position>>,
    readable: Mutex<Vec<bool>>,
    reader: Option<(Arc<dyn Store>, tokio::runtime::Handle)>,
}

impl Follower for Witness {
    fn committed(&self, before: Position, entries: &[Entry], through: Position) {
        let positions = entries.iter().map(|e| e.position).collect::<Vec<_>>();
        if let (Some((store, runtime)), Some(last)) = (&self.reader, positions.last()) {
            let interest = Interest::of(user("1"));
            let slice = runtime.block_on(store.read_after(&interest, before, *last, 1000)).expect("read");
            self.readable.lock().expect("not poisoned").push(slice.entries.len() == entries.len());
        }
        assert_eq!(positions.last().copied().unwrap_or(before), through);
        self.seen.lock().expect("not poisoned").push((before, positions));
    }

    fn trimmed(&self, through: Position) {
        self.trimmed.lock().expect("not poisoned").push(through);
    }
}

async fn the_follower_hears_of_an_entry_when_it_can_be_read_and_before_the_answer(store: &Arc<dyn Store>) {
    let reader = Some((Arc::clone(store), tokio::runtime::Handle::current()));
    let witness = Arc::new(Witness { reader, ..Witness::default() });
    store.follow(Arc::clone(&witness) as Arc<dyn Follower>, NO_BACKLOG).await.expect("followed");
    for count in 1..=5 {
        publish(store, "user:1", "hola").await;
        let readable = witness.readable.lock().expect("not poisoned").clone();
        assert_eq!(readable, vec![true; count], "told once it could be read, and before the answer");
    }
}

async fn a_follower_gets_the_backlog_and_then_everything_in_order(store: &Arc<dyn Store>) {
    let mut positions = Vec::new();
    for _ in 0..5 {
        positions.push(publish(store, "user:1", "antes").await);
    }
    positions.push(append(store, Command::Join { user: user("1"), topics: vec![topic("t")] }).await.expect("joined"));
    let witness = Arc::new(Witness::default());
    store
        .follow(Arc::clone(&witness) as Arc<dyn Follower>, Backlog { entries: 3, bytes: 1000 })
        .await
        .expect("followed");
    for _ in 0..4 {
        positions.push(publish(store, "everyone", "después").await);
    }
    let few = Arc::new(Witness::default());
    let bytes = 2 * r#"{"message":"después"}"#.len();
    store.follow(Arc::clone(&few) as Arc<dyn Follower>, Backlog { entries: 100, bytes }).await.expect("followed");
    let heard: usize = few.seen.lock().expect("not poisoned").iter().map(|(_, positions)| positions.len()).sum();
    assert_eq!(heard, 2, "no more than fit");
    let seen = witness.seen.lock().expect("not poisoned").clone();
    let heard: Vec<Position> = seen.iter().flat_map(|(_, positions)| positions.clone()).collect();
    assert_eq!(heard, positions[3..], "three of before, then all of after, each once");
    assert!(seen[0].0 >= positions[2] && seen[0].0 < positions[3], "the backlog begins where it says");
    for pair in seen.windows(2) {
        let ended = pair[0].1.last().unwrap_or(&pair[0].0);
        assert_eq!(pair[1].0, *ended, "each batch begins where the last one ended");
    }
}

async fn a_read_is_bounded_by_the_head_and_by_the_limit(store: &Arc<dyn Store>) {
    let mut positions = Vec::new();
    for number in 0..10 {
        positions.push(publish(store, "user:1", &number.to_string()).await);
    }
    let interest = Interest::of(user("1"));
    let bounded = store.read_after(&interest, positions[1], positions[6], 100).await.expect("read");
    assert_eq!(bounded.entries.iter().map(|entry| entry.position).collect::<Vec<_>>(), positions[2..=6]);
    assert_eq!(bounded.through, positions[6]);
    let limited = store.read_after(&interest, positions[1], positions[9], 3).await.expect("read");
    assert_eq!(limited.entries.iter().map(|entry| entry.position).collect::<Vec<_>>(), positions[2..=4]);
    assert_eq!(limited.through, positions[4], "what lies behind the limit is still to be read");
}

async fn a_notification_for_several_audiences_is_one_entry(store: &Arc<dyn Store>) {
    append(store, Command::Join { user: user("1"), topics: vec![topic("t")] }).await.expect("joined");
    let at = append(store, notified(&["user:1", "topic:t", "everyone"], "una vez")).await.expect("a position");
    let opening = opened(store, "1", None).await;
    assert_eq!(opening.counts.unread, 1);
    let slice = store.read_after(&opening.interest, Position::START, opening.head, 10).await.expect("read");
    let entries = slice.entries.iter().filter(|entry| notified_in(entry).is_some());
    assert_eq!(entries.map(|entry| entry.position).collect::<Vec<_>>(), [at]);
    append(store, notified(&["user:2", "everyone"], "también")).await.expect("a position");
    assert_eq!(opened(store, "2", None).await.counts.unread, 2);
}

async fn a_time_is_found_in_the_log(store: &Arc<dyn Store>) {
    let mut positions = vec![];
    for second in 1..=50 {
        let change = Command::Publish(notification_at(second * 1_000, &["user:1"], "x"));
        positions.push(append(store, change).await.expect("a position"));
    }
    for (millisecond, expected) in
        [(0, Position::START), (25_000, positions[23]), (25_001, positions[24]), (99_000, positions[49])]
    {
        let at = Timestamp::from_millisecond(millisecond).expect("in range");
        let opening = opened(store, "1", Some(at)).await;
        assert_eq!(opening.since, Some(expected), "{millisecond} ms");
    }
}

/// Mutant: times are taken to rise.
async fn a_time_is_found_in_the_log_though_the_clock_was_set_back(store: &Arc<dyn Store>) {
    const DAY: i64 = 24 * 3600;
    let mut positions = vec![];
    // For an hour the clock is 31 days ahead, then an hour behind, then right; and requests overtake each other a little.
    for minute in 0..300 {
        let off_by = match minute {
            100..160 => 31 * DAY,
            160..200 => -3600,
            _ => 0,
        };
        let jitter = if minute % 7 == 0 { 0 } else { 900 };
        let at = (40 * DAY + minute * 60 + off_by) * 1_000 - jitter;
        let change = Command::Publish(notification_at(at, &["user:1"], "x"));
        positions.push(append(store, change).await.expect("a position"));
    }
    for (minute, expected) in
        [(240, positions[239]), (299, positions[298]), (300, positions[299]), (200, positions[199])]
    {
        let at = Timestamp::from_second(40 * DAY + minute * 60 - 1).expect("in range");
        assert_eq!(opened(store, "1", Some(at)).await.since, Some(expected), "minute {minute}");
    }
    // Behind the clock's step everything is newer.
    let at = Timestamp::from_second(40 * DAY + 50 * 60 - 1).expect("in range");
    assert_eq!(opened(store, "1", Some(at)).await.since, Some(positions[49]));
    assert_eq!(opened(store, "1", Some(Timestamp::UNIX_EPOCH)).await.since, Some(Position::START));
}

async fn retention_removes_what_is_old_and_keeps_the_newest(store: &Arc<dyn Store>) {
    let mut positions = vec![];
    for second in 1..=1_200 {
        let change = Command::Publish(notification_at(second * 1_000, &["user:1", "topic:t"], "x"));
        positions.push(append(store, change).await.expect("a position"));
    }
    let trim = async |millisecond| {
        let at = Timestamp::from_millisecond(millisecond).expect("in range");
        while store.trim(at).await.expect("trimmed") {}
    };
    let witness = Arc::new(Witness::default());
    store.follow(Arc::<Witness>::clone(&witness), NO_BACKLOG).await.expect("followed");
    trim(1_000_000).await;
    assert_eq!(witness.trimmed.lock().expect("not poisoned").last(), Some(&positions[998]), "the follower is told");
    let opening = opened(store, "1", None).await;
    assert_eq!((opening.counts.unread, opening.oldest, opening.head), (201, positions[998], positions[1199]));
    let interest = Interest::of(user("1"));
    let read = async |after| store.read_after(&interest, after, positions[1199], 10).await;
    assert!(matches!(read(positions[997]).await, Err(StoreError::Trimmed { oldest }) if oldest == positions[998]));
    assert_eq!(read(positions[998]).await.expect("read").entries[0].position, positions[999]);
    trim(9_000_000).await;
    let opening = opened(store, "1", None).await;
    assert_eq!((opening.counts.unread, opening.oldest), (1, positions[1198]), "the newest stays");
    assert!(publish(store, "user:1", "y").await > positions[1199]);
}

async fn concurrent_appends_have_one_order(store: &Arc<dyn Store>) {
    let witness = Arc::new(Witness::default());
    store.follow(Arc::clone(&witness) as Arc<dyn Follower>, NO_BACKLOG).await.expect("followed");
    let publishers: Vec<_> = (0..8)
        .map(|publisher| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let mut positions = Vec::new();
                for number in 0..50 {
                    positions.push(publish(&store, "user:1", &format!("{publisher} {number}")).await);
                }
                assert!(positions.is_sorted(), "one after the other stays so");
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.expect("published");
    }
    let seen = witness.seen.lock().expect("not poisoned").clone();
    let heard: Vec<Position> = seen.into_iter().flat_map(|(_, positions)| positions).collect();
    assert_eq!(heard.len(), 400);
    assert!(heard.is_sorted_by(|a, b| a < b));
    assert_eq!(messages_after(store, "1", Position::START).await.len(), 400);
}

async fn server_keys_are_kept_until_they_are_forgotten(store: &Arc<dyn Store>) {
    let kept = |name: &str, scopes: &[&str], expires_at| {
        let scopes = scopes.iter().map(|scope| scope.parse().expect("valid")).collect();
        KeptKey::of(&ServerKey::generate(), name.into(), scopes, NOW, expires_at)
    };
    let later = Timestamp::from_second(99).expect("in range");
    let keys =
        [kept("tienda", &["manage", "publish:user:*", "publish:topic:ñandú"], None), kept("x y", &[], Some(later))];
    let before = opened(store, "1", None).await.head;
    for key in &keys {
        assert_eq!(done(store, Command::KeepKey(key.clone())).await, Outcome::Kept);
    }
    assert_eq!(store.keys().await.expect("read"), keys);
    let forget = Command::ForgetKey { id: keys[0].id, leaves_admin: false };
    assert_eq!(done(store, forget.clone()).await, Outcome::Kept);
    assert_eq!(done(store, forget).await, Outcome::Missing);
    assert_eq!(store.keys().await.expect("read"), keys[1..]);
    let admins = [kept("a", &["admin"], None), kept("b", &["admin"], None), kept("c", &["admin"], Some(NOW))];
    for key in &admins {
        done(store, Command::KeepKey(key.clone())).await;
    }
    let forget = async |key: usize| done(store, Command::ForgetKey { id: admins[key].id, leaves_admin: true }).await;
    assert_eq!(forget(0).await, Outcome::Kept);
    assert_eq!(forget(1).await, Outcome::LastAdmin, "the third has expired");
    assert_eq!(forget(2).await, Outcome::Kept);
    // One that expires stands in for none that lasts longer.
    let shorter = kept("d", &["admin"], Some(later));
    done(store, Command::KeepKey(shorter.clone())).await;
    assert_eq!(forget(1).await, Outcome::LastAdmin, "the other one will expire");
    assert_eq!(done(store, Command::ForgetKey { id: shorter.id, leaves_admin: true }).await, Outcome::Kept);
    assert_eq!(store.keys().await.expect("read"), [keys[1].clone(), admins[1].clone()]);
    assert_eq!(opened(store, "1", None).await.head, before, "the log says nothing of it");
}

async fn a_revocation_is_in_the_log_and_stays_when_it_is_trimmed(store: &Arc<dyn Store>) {
    let at = |second| Timestamp::from_second(second).expect("in range");
    let revoke = |second, id: &str| store.one(at(second), Command::Revoke { user: user(id), through: at(second) });
    assert_eq!(opened(store, "1", None).await.revoked_at, None);
    for (second, id) in [(5, "1"), (7, "2"), (6, "1")] {
        assert!(matches!(revoke(second, id).await.expect("done"), Outcome::Logged(_)));
    }
    // A clock that has been set back takes nothing back.
    revoke(4, "1").await.expect("done");
    let opening = opened(store, "1", None).await;
    assert_eq!(opening.revoked_at, Some(at(6)));
    let said = store.read_after(&opening.interest, Position::START, opening.head, 10).await.expect("read");
    let revoked = Change::Revoked { user: user("1") };
    assert_eq!(said.entries.iter().filter(|entry| entry.change == revoked).count(), 3);
    while store.trim(at(100)).await.expect("trimmed") {}
    append(store, Command::Erase { user: user("1") }).await;
    let mut revocations = store.revocations().await.expect("read");
    revocations.sort();
    assert_eq!(revocations, [(user("1"), at(6)), (user("2"), at(7))], "also of whom was erased");
}

async fn what_was_appended_is_there_after_reopening(open: &impl Fn(&Path) -> Arc<dyn Store>) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let seal = store.seal();
    let first = publish(&store, "user:1", "primera").await;
    append(&store, Command::Join { user: user("1"), topics: vec![topic("t")] }).await.expect("joined");
    drop(store);
    let store = open(folder.path());
    assert_eq!((store.seal().epoch, store.seal().key), (seal.epoch, seal.key));
    assert!(publish(&store, "topic:t", "segunda").await > first);
    assert_eq!(messages_after(&store, "1", Position::START).await, ["primera", "segunda"]);
}

/// Also when the newest entry has expired and a new process finds the log without it.
async fn no_position_is_given_out_twice(open: &impl Fn(&Path) -> Arc<dyn Store>) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    publish(&store, "user:1", "queda").await;
    let expires_at = Some(Timestamp::from_second(50).expect("in range"));
    let brief = Notification { expires_at, ..Notification::clone(&notification_at(1_000, &["user:1"], "breve")) };
    let newest = append(&store, Command::Publish(Arc::new(brief))).await.expect("a position");
    let later = Timestamp::from_second(60).expect("in range");
    while store.advance(later).await.expect("advanced") == Some(later) {}
    assert_eq!(messages_after(&store, "1", Position::START).await, ["queda"]);
    assert_eq!(opened(&store, "1", None).await.head, newest, "whoever has read so far is not ahead of the log");
    drop(store);
    let store = open(folder.path());
    let witness = Arc::new(Heads::default());
    store.follow(Arc::<Heads>::clone(&witness), Backlog { entries: 10, bytes: 1000 }).await.expect("followed");
    assert_eq!(witness.0.lock().expect("not poisoned").last(), Some(&newest), "the backlog ends where the log does");
    assert!(publish(&store, "user:1", "nueva").await > newest);
    assert_eq!(messages_after(&store, "1", newest).await, ["nueva"]);
}

/// Notes how far it is told that the log goes.
#[derive(Default)]
struct Heads(Mutex<Vec<Position>>);

impl Follower for Heads {
    fn committed(&self, _before: Position, _entries: &[Entry], through: Position) {
        self.0.lock().expect("not poisoned").push(through);
    }

    fn trimmed(&self, _through: Position) {}
}
