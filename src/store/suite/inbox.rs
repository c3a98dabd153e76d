//! What every backend must do with what users have: pages, marks, edits, expiry, schedules, limits.

use std::sync::Arc;

use jiff::Timestamp;
use tempfile::TempDir;
use uuid::Uuid;

use super::together::{request_key, says};
use super::{
    NO_BACKLOG, NOW, Witness, append, done, message, messages_after, notification_at, notified, opened, page, publish,
    topic, user, wanted,
};
use crate::content::{Content, Fields};
use crate::notification::{Change, Entry, Interest, Notification, NotificationId, Position, RemovalReason};
use crate::state::{Counts, Set};
use crate::store::{Append, Appended, Command, Follower, Once, Outcome, Selection, Status, Store, StoreError, Wanted};

/// Runs this part of the suite, each against a store of its own.
pub(super) async fn run(fresh: impl Fn() -> (Arc<dyn Store>, TempDir)) {
    an_inbox_is_paged_newest_first_and_by_state(&fresh().0).await;
    what_is_large_is_read_a_few_at_a_time(&fresh().0).await;
    marks_of_all_and_of_some_agree(&fresh().0).await;
    a_user_marks_only_what_she_has(&fresh().0).await;
    what_comes_back_is_as_it_was(&fresh().0).await;
    an_edit_and_a_recall_reach_whoever_has_the_notification(&fresh().0).await;
    who_has_left_is_told_of_changes_to_what_she_has(&fresh().0).await;
    a_notification_takes_the_place_of_the_one_before(&fresh().0).await;
    a_notification_takes_the_place_of_all_that_went_to_the_same_users(&fresh().0).await;
    what_has_expired_is_nobodys(&fresh().0).await;
    what_is_scheduled_comes_when_it_is_due_and_once(&fresh().0).await;
    a_repeated_request_is_done_once(&fresh().0).await;
    a_user_has_no_more_than_the_newest(&fresh().0).await;
    what_is_muted_is_not_hers_from_there_on(&fresh().0).await;
    an_erased_user_has_nothing_and_the_others_theirs(&fresh().0).await;
}

/// What an entry says, for people who read a failed test.
fn said(entry: &Entry) -> String {
    match &entry.change {
        Change::Notified(notification) => message(notification),
        Change::Edited(notification) => format!("edited: {}", message(notification)),
        Change::Removed { reason, .. } => reason.name().to_owned(),
        Change::Marked { marked, .. } => marked.json().to_owned(),
        Change::Muted { categories, .. } => format!("muted: {}", categories.join(", ")),
        Change::Erased { .. } => "erased".to_owned(),
        Change::Joined { .. } => "joined".to_owned(),
        Change::Left { .. } => "left".to_owned(),
        Change::Revoked { .. } => "revoked".to_owned(),
    }
}

/// All that a user's streams have said since a position.
async fn said_after(store: &Arc<dyn Store>, id: &str, after: Position) -> Vec<String> {
    let opening = opened(store, id, None).await;
    let slice = store.read_after(&opening.interest, after, opening.head, 1000).await.expect("read");
    slice.entries.iter().map(said).filter(|said| said != "joined" && said != "left").collect()
}

/// What a user has, as messages, newest first.
async fn messages(store: &Arc<dyn Store>, wanted: Wanted) -> Vec<String> {
    page(store, wanted).await.items.iter().map(|item| message(&item.notification)).collect()
}

async fn counts(store: &Arc<dyn Store>, id: &str) -> [usize; 3] {
    let Counts { unread, unseen, total } = page(store, wanted(id)).await.counts;
    [unread, unseen, total]
}

fn read() -> Set {
    Set { read: Some(true), ..Set::default() }
}

async fn mark(store: &Arc<dyn Store>, id: &str, selection: Selection, set: Set) -> Outcome {
    done(store, Command::Mark { user: user(id), selection, set }).await
}

async fn what_is_large_is_read_a_few_at_a_time(store: &Arc<dyn Store>) {
    const LARGE: usize = 200;
    for number in 0..LARGE {
        let published = notification_at(1_000, &["user:1"], &format!("{number} {}", "x".repeat(4000)));
        append(store, Command::Publish(published)).await.expect("a position");
    }
    let (mut before, mut pages) = (None, Vec::new());
    loop {
        let page = page(store, Wanted { limit: LARGE, before, ..wanted("1") }).await;
        before = page.items.last().map(|item| item.position);
        pages.push(page.items.len());
        if !page.more {
            break;
        }
    }
    assert!(pages.iter().sum::<usize>() == LARGE && pages.len() > 1, "each on one page: {pages:?}");
    let opening = opened(store, "1", None).await;
    let (mut after, mut slices) = (Position::START, Vec::new());
    while after < opening.head {
        let slice = store.read_after(&opening.interest, after, opening.head, LARGE).await.expect("read");
        after = slice.through;
        slices.push(slice.entries.len());
    }
    assert!(slices.iter().sum::<usize>() == LARGE && slices.len() > 1, "each said once: {slices:?}");
}

async fn an_inbox_is_paged_newest_first_and_by_state(store: &Arc<dyn Store>) {
    append(store, Command::Join { user: user("1"), topics: vec![topic("obras")] }).await.expect("joined");
    let mut ids = Vec::new();
    for (audience, message) in
        [("user:1", "a"), ("topic:obras", "b"), ("everyone", "c"), ("user:2", "x"), ("user:1", "d")]
    {
        let published = notification_at(1_000, &[audience], message);
        ids.push(published.id);
        append(store, Command::Publish(published)).await.expect("a position");
    }
    assert_eq!(messages(store, wanted("1")).await, ["d", "c", "b", "a"]);
    let first = page(store, Wanted { limit: 2, ..wanted("1") }).await;
    assert!(first.more);
    let before = first.items.last().map(|item| item.position);
    let second = page(store, Wanted { limit: 2, before, ..wanted("1") }).await;
    assert!(!second.more);
    assert_eq!(second.items.iter().map(|item| message(&item.notification)).collect::<Vec<_>>(), ["b", "a"]);
    mark(store, "1", Selection::These(vec![ids[0]]), read()).await;
    mark(store, "1", Selection::These(vec![ids[2]]), Set { archived: Some(true), ..Set::default() }).await;
    let with = |status| Wanted { status, ..wanted("1") };
    assert_eq!(messages(store, with(Status::All)).await, ["d", "b", "a"]);
    assert_eq!(messages(store, with(Status::Unread)).await, ["d", "b"]);
    assert_eq!(messages(store, with(Status::Read)).await, ["a"]);
    assert_eq!(messages(store, with(Status::Archived)).await, ["c"]);
    assert_eq!(counts(store, "1").await, [2, 2, 3]);
    assert_eq!(counts(store, "2").await, [2, 2, 2], "what one user marks is hers alone");
    let of_topic = Wanted { topic: Some(topic("obras")), ..wanted("1") };
    assert_eq!(messages(store, of_topic).await, ["b"]);
    let fields = Fields { message: "e".into(), category: Some("envíos".into()), ..Fields::default() };
    let published = Notification {
        id: NotificationId(Uuid::now_v7()),
        content: Content::parse(&fields).expect("valid"),
        ..Notification::clone(&notification_at(1_000, &["user:1"], "e"))
    };
    append(store, Command::Publish(Arc::new(published))).await.expect("a position");
    let of_category = Wanted { category: Some("envíos".into()), ..wanted("1") };
    assert_eq!(messages(store, of_category).await, ["e"]);
}

/// Whether a state comes from a watermark or from a row of its own can't be seen from outside.
async fn marks_of_all_and_of_some_agree(store: &Arc<dyn Store>) {
    let mut ids = Vec::new();
    for number in 0..4 {
        let published = notification_at(1_000, &["user:1"], &number.to_string());
        ids.push(published.id);
        append(store, Command::Publish(published)).await.expect("a position");
    }
    let these = |numbers: &[usize]| Selection::These(numbers.iter().map(|number| ids[*number]).collect());
    let unread = Set { read: Some(false), ..Set::default() };
    let Outcome::Marked { counts: after, missing } = mark(store, "1", Selection::UpTo(ids[2]), read()).await else {
        panic!("not marked")
    };
    assert_eq!((after, missing), (Counts { unread: 1, unseen: 1, total: 4 }, vec![]));
    mark(store, "1", these(&[1]), unread).await;
    assert_eq!(counts(store, "1").await, [2, 1, 4], "unread again, under the watermark");
    mark(store, "1", these(&[0]), Set { seen: Some(false), ..Set::default() }).await;
    assert_eq!(counts(store, "1").await, [3, 2, 4]);
    let later = Timestamp::from_second(9).expect("in range");
    let all = Command::Mark { user: user("1"), selection: Selection::All, set: read() };
    store.one(later, all.clone()).await.expect("done");
    assert_eq!(counts(store, "1").await, [0, 0, 4]);
    let page = page(store, wanted("1")).await;
    let read_at: Vec<i64> = page.items.iter().map(|item| item.state.read_at.expect("read").as_second()).collect();
    assert_eq!(read_at, [9, 1, 9, 9], "what had been read keeps its time");
    let head = page.head;
    store.one(later, all).await.expect("done");
    assert_eq!(opened(store, "1", None).await.head, head, "what changes nothing is not in the log");
    publish(store, "user:1", "más").await;
    assert_eq!(counts(store, "1").await, [1, 1, 5], "what comes later is not marked");
    let state = said_after(store, "1", Position::START).await;
    assert_eq!(state.iter().filter(|said| said.contains("\"set\"")).count(), 4, "{state:?}");
    assert!(said_after(store, "2", Position::START).await.is_empty(), "no other user is told");
}

/// What is too old for an inbox comes back into it when something newer is taken back, as it was.
async fn what_comes_back_is_as_it_was(store: &Arc<dyn Store>) {
    let mark_all = async |second: i64| {
        let all = Command::Mark { user: user("1"), selection: Selection::All, set: read() };
        store.one(Timestamp::from_second(second).expect("in range"), all).await.expect("done")
    };
    for second in [7, 8] {
        publish(store, "everyone", &second.to_string()).await;
        mark_all(second).await;
    }
    let newer: Vec<_> = (0..1000).map(|number| notification_at(9_000, &["everyone"], &number.to_string())).collect();
    let commands = newer.iter().cloned().map(Command::Publish).collect();
    let at = Timestamp::from_second(9).expect("in range");
    store.append(Append { at, commands, once: None }).await.expect("appended");
    mark_all(10).await;
    for (recalled, second) in [(5, 8), (6, 7)] {
        append(store, Command::Recall { id: newer[recalled].id }).await.expect("recalled");
        let oldest = Wanted { limit: 1000, ..wanted("1") };
        let oldest = page(store, oldest).await.items.pop().expect("a thousand");
        assert_eq!(message(&oldest.notification), second.to_string());
        assert_eq!(oldest.state.read_at.map(Timestamp::as_second), Some(second));
    }
}

async fn a_user_marks_only_what_she_has(store: &Arc<dyn Store>) {
    let hers = notification_at(1_000, &["user:1"], "suya");
    let other = notification_at(1_000, &["user:2"], "ajena");
    let (hers_id, other_id, none) = (hers.id, other.id, NotificationId(Uuid::nil()));
    append(store, Command::Publish(hers)).await.expect("a position");
    append(store, Command::Publish(other)).await.expect("a position");
    let selection = Selection::These(vec![other_id, hers_id, none]);
    let Outcome::Marked { missing, counts: after } = mark(store, "1", selection, read()).await else {
        panic!("not marked")
    };
    assert_eq!((missing, after.unread), (vec![other_id, none], 0));
    assert_eq!(counts(store, "2").await, [1, 1, 1]);
    assert_eq!(mark(store, "1", Selection::UpTo(other_id), read()).await, Outcome::Missing);
    assert_eq!(store.item(&user("1"), other_id, NOW).await.expect("read"), None);
    assert!(store.item(&user("1"), hers_id, NOW).await.expect("read").is_some_and(|item| item.state.read_at.is_some()));
}

async fn an_edit_and_a_recall_reach_whoever_has_the_notification(store: &Arc<dyn Store>) {
    append(store, Command::Join { user: user("1"), topics: vec![topic("t")] }).await.expect("joined");
    let published = notification_at(1_000, &["topic:t"], "antes");
    let id = published.id;
    let at = append(store, Command::Publish(published)).await.expect("a position");
    append(store, Command::Join { user: user("2"), topics: vec![topic("t")] }).await.expect("joined");
    mark(store, "1", Selection::All, read()).await;
    let edit = || says(id, "después");
    assert!(matches!(done(store, edit()).await, Outcome::Edited(_)));
    let head = opened(store, "1", None).await.head;
    assert!(matches!(done(store, edit()).await, Outcome::Edited(_)));
    assert_eq!(opened(store, "1", None).await.head, head, "it said so already");
    assert_eq!(messages(store, wanted("1")).await, ["después"]);
    assert_eq!(counts(store, "1").await, [0, 0, 1], "an edit leaves it read");
    assert_eq!(said_after(store, "1", at).await.last().expect("told"), "edited: después");
    assert_eq!(said_after(store, "1", Position::START).await[0], "después", "a replay says what it says now");
    assert!(said_after(store, "2", Position::START).await.is_empty(), "who came later has nothing of it");
    assert!(matches!(done(store, Command::Recall { id }).await, Outcome::Logged(_)));
    assert_eq!(done(store, Command::Recall { id }).await, Outcome::Missing);
    assert_eq!(done(store, edit()).await, Outcome::Missing);
    assert_eq!(counts(store, "1").await, [0, 0, 0]);
    assert_eq!(store.find(id).await.expect("read"), None);
    let said = said_after(store, "1", at).await;
    assert_eq!(said.last().expect("told"), "recalled");
    assert!(!said.iter().any(|said| said.contains("después")), "nothing of what it said is left: {said:?}");
    assert!(said_after(store, "2", Position::START).await.is_empty());
}

/// What she got as a member she still has, so she must hear what becomes of it; also as a member once more.
async fn who_has_left_is_told_of_changes_to_what_she_has(store: &Arc<dyn Store>) {
    let join = || Command::Join { user: user("1"), topics: vec![topic("t")] };
    let leave = || Command::Leave { user: user("1"), topic: topic("t") };
    let (first, second) = (notification_at(1_000, &["topic:t"], "una"), notification_at(1_000, &["topic:t"], "dos"));
    let missed = notification_at(1_000, &["topic:t"], "ajena");
    let (first_id, second_id, missed_id) = (first.id, second.id, missed.id);
    append(store, join()).await.expect("joined");
    append(store, Command::Publish(first)).await.expect("a position");
    append(store, Command::Publish(second)).await.expect("a position");
    append(store, leave()).await.expect("left");
    let cursor = append(store, Command::Publish(missed)).await.expect("a position");
    append(store, Command::Recall { id: first_id }).await.expect("recalled");
    append(store, Command::Recall { id: missed_id }).await.expect("recalled");
    assert_eq!(said_after(store, "1", cursor).await, ["recalled"], "of what she has, and of nothing else");
    let cursor = append(store, join()).await.expect("joined");
    assert!(matches!(done(store, says(second_id, "dos y media")).await, Outcome::Edited(_)));
    assert_eq!(said_after(store, "1", cursor).await, ["edited: dos y media"]);
    assert_eq!(messages(store, wanted("1")).await, ["dos y media"]);
}

fn keyed(audiences: &[&str], message: &str) -> Command {
    let replaces = Some("progreso".parse().expect("valid"));
    let notification = Notification::clone(&notification_at(1_000, audiences, message));
    Command::Publish(Arc::new(Notification { replaces, ..notification }))
}

/// Two can have come to have the same audiences when a user was erased.
async fn a_notification_takes_the_place_of_all_that_went_to_the_same_users(store: &Arc<dyn Store>) {
    append(store, keyed(&["user:1", "user:2"], "10 %")).await.expect("a position");
    append(store, keyed(&["user:2"], "20 %")).await.expect("a position");
    append(store, Command::Erase { user: user("1") }).await.expect("erased");
    append(store, keyed(&["user:2"], "30 %")).await.expect("a position");
    assert_eq!(messages(store, wanted("2")).await, ["30 %"]);
}

async fn a_notification_takes_the_place_of_the_one_before(store: &Arc<dyn Store>) {
    let keyed = |audience: &str, message: &str| keyed(&[audience], message);
    for (audience, message) in [("user:1", "10 %"), ("user:2", "ajeno"), ("user:1", "20 %"), ("user:1", "30 %")] {
        append(store, keyed(audience, message)).await.expect("a position");
    }
    assert_eq!(messages(store, wanted("1")).await, ["30 %"]);
    assert_eq!(messages(store, wanted("2")).await, ["ajeno"]);
    assert_eq!(said_after(store, "1", Position::START).await, ["replaced", "replaced", "30 %"]);
    let reason = RemovalReason::Replaced;
    let entries = store.read_after(&Interest::of(user("1")), Position::START, Position::END, 10).await.expect("read");
    assert!(
        entries.entries.iter().any(|entry| matches!(&entry.change, Change::Removed { reason: r, .. } if *r == reason))
    );
}

fn expiring(second: i64, message: &str) -> Arc<Notification> {
    let expires_at = Some(Timestamp::from_second(second).expect("in range"));
    Arc::new(Notification { expires_at, ..Notification::clone(&notification_at(1_000, &["user:1"], message)) })
}

async fn what_has_expired_is_nobodys(store: &Arc<dyn Store>) {
    let at = |second| Timestamp::from_second(second).expect("in range");
    append(store, Command::Publish(expiring(50, "pronto"))).await.expect("a position");
    append(store, Command::Publish(expiring(90, "tarde"))).await.expect("a position");
    publish(store, "user:1", "siempre").await;
    let when = |second| Wanted { at: at(second), ..wanted("1") };
    assert_eq!(messages(store, when(49)).await, ["siempre", "tarde", "pronto"]);
    assert_eq!(messages(store, when(50)).await, ["siempre", "tarde"]);
    assert_eq!(page(store, when(50)).await.counts.total, 2);
    let next = store.advance(at(10)).await.expect("advanced");
    assert_eq!(next, Some(at(50)), "says when to come again");
    while store.advance(at(60)).await.expect("advanced") == Some(at(60)) {}
    assert_eq!(messages_after(store, "1", Position::START).await, ["tarde", "siempre"], "it is gone from the disk");
    assert_eq!(opened(store, "1", None).await.oldest, Position::START, "and owed to nobody");
}

async fn what_is_scheduled_comes_when_it_is_due_and_once(store: &Arc<dyn Store>) {
    let at = |second| Timestamp::from_second(second).expect("in range");
    let later = |message: &str| notification_at(1_000, &["user:1"], message);
    let (first, recalled, edited, stale) =
        (later("primera"), later("retirada"), later("sin editar"), expiring(95, "tarde"));
    for (notification, due) in [(&first, 50), (&recalled, 60), (&edited, 70), (&stale, 90)] {
        let command = Command::Schedule { notification: Arc::clone(notification), due: at(due) };
        assert_eq!(done(store, command).await, Outcome::Kept);
    }
    assert_eq!(store.find(edited.id).await.expect("read").expect("there").due, Some(at(70)));
    assert!(matches!(done(store, says(edited.id, "editada")).await, Outcome::Edited(_)));
    assert_eq!(done(store, Command::Recall { id: recalled.id }).await, Outcome::Kept);
    assert_eq!(store.advance(at(49)).await.expect("advanced"), Some(at(50)));
    assert!(messages(store, wanted("1")).await.is_empty());
    let witness = Arc::new(Witness::default());
    store.follow(Arc::clone(&witness) as Arc<dyn Follower>, NO_BACKLOG).await.expect("followed");
    assert_eq!(store.advance(at(50)).await.expect("advanced"), Some(at(70)));
    assert_eq!(witness.seen.lock().expect("not poisoned").len(), 2, "whoever listens is told");
    let page = page(store, wanted("1")).await;
    assert_eq!(page.items[0].notification.timestamp, at(50), "stamped when it was published");
    while store.advance(at(100)).await.expect("advanced") == Some(at(100)) {}
    assert_eq!(
        messages(store, wanted("1")).await,
        ["editada", "primera"],
        "late, and without what had expired by then"
    );
    assert_eq!(store.advance(at(200)).await.expect("advanced"), None);
}

async fn a_repeated_request_is_done_once(store: &Arc<dyn Store>) {
    let ask = async |key: &str, fingerprint: u8, second: i64, answer: &str| {
        let once = Some(Once { key: request_key(key), fingerprint: [fingerprint; 32], answer: answer.into() });
        let at = Timestamp::from_second(second).expect("in range");
        store.append(Append { at, commands: vec![notified(&["user:1"], answer)], once }).await.expect("asked")
    };
    assert!(matches!(ask("k", 1, 10, "una").await, Appended::Done(_)));
    assert_eq!(ask("k", 1, 20, "dos").await, Appended::Repeated("una".into()));
    assert_eq!(ask("k", 2, 20, "tres").await, Appended::KeyReused);
    let answered = async |key: &str| {
        let answered = store.answered(&request_key(key)).await.expect("read");
        answered.map(|answered| answered.again(&[1; 32]))
    };
    assert_eq!(answered("k").await, Some(Appended::Repeated("una".into())));
    assert_eq!(answered("nadie").await, None);
    assert!(matches!(ask("otra", 1, 20, "cuatro").await, Appended::Done(_)));
    assert_eq!(messages(store, wanted("1")).await, ["cuatro", "una"]);
    let day = 24 * 3600;
    for step in [day + 11, 31 * day, 3650 * day, -3650 * day, -3600, 3600, 0] {
        let now = Timestamp::from_second(1_000_000_000 + step).expect("in range");
        while store.advance(now).await.expect("advanced").is_some_and(|next| next <= now) {}
        assert_eq!(ask("k", 1, 1_000_000_000 + step, "cinco").await, Appended::Repeated("una".into()), "{step} s");
        assert_eq!(answered("k").await, Some(Appended::Repeated("una".into())), "{step} s");
    }
}

async fn a_user_has_no_more_than_the_newest(store: &Arc<dyn Store>) {
    let mut positions = Vec::new();
    for number in 0..1_200 {
        positions.push(publish(store, "user:1", &number.to_string()).await);
    }
    assert_eq!(counts(store, "1").await, [1000, 1000, 1000]);
    assert_eq!(messages(store, wanted("1")).await.last().expect("some"), "200");
    let opening = opened(store, "1", None).await;
    assert!(opening.oldest >= positions[99] && opening.oldest <= positions[199], "the disk keeps few more");
    let read = |after| store.read_after(&opening.interest, after, opening.head, 10);
    assert!(matches!(read(positions[0]).await, Err(StoreError::Trimmed { oldest }) if oldest == opening.oldest));
    assert!(read(opening.oldest).await.is_ok());
    assert_eq!(opened(store, "2", None).await.oldest, Position::START, "another user has lost nothing");
}

async fn what_is_muted_is_not_hers_from_there_on(store: &Arc<dyn Store>) {
    let about = |category: Option<&str>, message: &str| {
        let fields = Fields { message: message.into(), category: category.map(str::to_owned), ..Fields::default() };
        Command::Publish(Arc::new(Notification {
            content: Content::parse(&fields).expect("valid"),
            ..Notification::clone(&notification_at(1_000, &["everyone"], message))
        }))
    };
    let mute = |categories: &[&str]| Command::Mute {
        user: user("1"),
        categories: categories.iter().map(|category| (*category).to_owned()).collect(),
    };
    append(store, about(Some("ofertas"), "antes")).await.expect("a position");
    assert!(append(store, mute(&["ofertas"])).await.is_some());
    assert_eq!(done(store, mute(&["ofertas"])).await, Outcome::Unchanged);
    append(store, about(Some("ofertas"), "callada")).await.expect("a position");
    append(store, about(Some("avisos"), "otra")).await.expect("a position");
    append(store, about(None, "ninguna")).await.expect("a position");
    assert!(append(store, mute(&[])).await.is_some());
    append(store, about(Some("ofertas"), "después")).await.expect("a position");
    assert_eq!(messages(store, wanted("1")).await, ["después", "ninguna", "otra", "antes"]);
    assert_eq!(counts(store, "1").await, [4, 4, 4]);
    assert_eq!(counts(store, "2").await, [5, 5, 5]);
    assert_eq!(messages_after(store, "1", Position::START).await, ["antes", "otra", "ninguna", "después"]);
}

async fn an_erased_user_has_nothing_and_the_others_theirs(store: &Arc<dyn Store>) {
    append(store, Command::Join { user: user("1"), topics: vec![topic("t")] }).await.expect("joined");
    let before = publish(store, "user:1", "suya").await;
    append(store, notified(&["user:1", "user:2"], "de ambas")).await.expect("a position");
    mark(store, "1", Selection::All, read()).await;
    let later = Timestamp::from_second(99).expect("in range");
    for audiences in [&["user:1"][..], &["user:1", "user:11", "user:2"]] {
        let scheduled = Command::Schedule { notification: notification_at(1_000, audiences, "luego"), due: later };
        assert_eq!(done(store, scheduled).await, Outcome::Kept);
    }
    assert!(append(store, Command::Erase { user: user("1") }).await.is_some());
    assert!(messages(store, wanted("1")).await.is_empty());
    assert!(store.interest(&user("1")).await.expect("read").memberships.is_empty());
    assert!(store.members(&topic("t"), None, 10).await.expect("read").is_empty());
    assert_eq!(said_after(store, "1", before).await, ["erased"]);
    assert_eq!(messages(store, wanted("2")).await, ["de ambas"]);
    store.advance(later).await.expect("advanced");
    assert!(messages(store, wanted("1")).await.is_empty(), "nor does anything come later");
    assert_eq!(messages(store, wanted("2")).await, ["luego", "de ambas"]);
    assert_eq!(messages(store, wanted("11")).await, ["luego"]);
    assert_eq!(done(store, Command::Erase { user: user("nobody") }).await, Outcome::Unchanged);
}
