//! What every backend must do about who is a member of a topic.

use std::sync::Arc;

use tempfile::TempDir;

use super::{NOW, append, messages_after, opened, publish, topic, user};
use crate::notification::Position;
use crate::store::{Append, Command, MEMBERS_COUNTED_MAX, Store};

/// Runs this part of the suite, each against a store of its own.
pub(super) async fn run(fresh: impl Fn() -> (Arc<dyn Store>, TempDir)) {
    a_member_reads_what_was_published_while_she_was_one(&fresh().0).await;
    members_are_counted_as_they_are_now(&fresh().0).await;
}

async fn a_member_reads_what_was_published_while_she_was_one(store: &Arc<dyn Store>) {
    let joined = || Command::Join { user: user("1"), topics: vec![topic("obras")] };
    let left = || Command::Leave { user: user("1"), topic: topic("obras") };
    assert_eq!(append(store, left()).await, None, "not a member: nothing changes");
    publish(store, "topic:obras", "antes").await;
    assert!(append(store, joined()).await.is_some());
    assert_eq!(append(store, joined()).await, None, "a member already: nothing changes");
    publish(store, "topic:obras", "dentro").await;
    publish(store, "topic:otras", "ajena").await;
    assert_eq!(store.members(&topic("obras"), None, 10).await.expect("read"), [user("1")]);
    assert!(append(store, left()).await.is_some());
    publish(store, "topic:obras", "fuera").await;
    assert!(store.members(&topic("obras"), None, 10).await.expect("read").is_empty());
    assert!(append(store, joined()).await.is_some());
    publish(store, "topic:obras", "de nuevo").await;
    assert_eq!(messages_after(store, "1", Position::START).await, ["dentro", "de nuevo"]);
    assert_eq!(opened(store, "1", None).await.counts.unread, 2);
    for id in ["b", "c", "a"] {
        append(store, Command::Join { user: user(id), topics: vec![topic("obras")] }).await.expect("joined");
    }
    let some = store.members(&topic("obras"), Some(user("1")), 2).await.expect("read");
    assert_eq!(some, [user("a"), user("b")], "in order of names, after the one given, at most two");
}

async fn members_are_counted_as_they_are_now(store: &Arc<dyn Store>) {
    let topics = [topic("taller"), topic("nadie"), topic("coro")];
    let counted = async || store.count_members(&topics).await.expect("counted");
    assert_eq!(counted().await, [0, 0, 0]);
    let join = |number: usize| {
        let also = if number < 3 { vec![topic("taller"), topic("coro")] } else { vec![topic("coro")] };
        Command::Join { user: user(&format!("m{number}")), topics: also }
    };
    let commands = (0..MEMBERS_COUNTED_MAX + 5).map(join).collect();
    store.append(Append { at: NOW, commands, once: None }).await.expect("joined");
    assert_eq!(counted().await, [3, 0, MEMBERS_COUNTED_MAX], "no further than that");
    assert_eq!(counted().await, [3, 0, MEMBERS_COUNTED_MAX], "and again");
    append(store, Command::Leave { user: user("m0"), topic: topic("taller") }).await.expect("left");
    assert_eq!(counted().await, [2, 0, MEMBERS_COUNTED_MAX]);
    append(store, Command::Erase { user: user("m1") }).await.expect("erased");
    assert_eq!(counted().await, [1, 0, MEMBERS_COUNTED_MAX]);
    assert!(store.count_members(&[]).await.expect("counted").is_empty());
}
