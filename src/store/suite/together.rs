//! What every backend must do where several ask without knowing of each other.

use std::sync::Arc;

use tempfile::TempDir;

use super::{NOW, done, message, notification_at, notified, wanted};
use crate::auth::ServerKey;
use crate::auth::keys::{KEYS_MAX, KeptKey};
use crate::content::{Content, Fields, Patch};
use crate::notification::{Notification, NotificationId};
use crate::store::{Append, Appended, Command, Once, Outcome, RequestKey, Store};

/// That a notification says another message.
pub(super) fn says(id: NotificationId, message: &str) -> Command {
    let content = notification_at(0, &[], message).content.clone();
    Command::Edit { id, patch: Patch::new(&["message".to_owned()], &content) }
}

/// What a request is known by that the server's own key has come with.
pub(super) fn request_key(key: &str) -> RequestKey {
    RequestKey { owner: String::new(), key: key.to_owned() }
}

/// Runs this part of the suite, each against a store of its own.
pub(super) async fn run(fresh: impl Fn() -> (Arc<dyn Store>, TempDir)) {
    edits_of_other_fields_that_were_prepared_together_all_hold(&fresh().0).await;
    requests_of_several_back_ends_may_have_the_same_name(&fresh().0).await;
    no_more_keys_are_kept_than_may_be_whoever_asks_at_once(&fresh().0).await;
}

/// Mutant: read what the notification says when the edit is asked for.
async fn edits_of_other_fields_that_were_prepared_together_all_hold(store: &Arc<dyn Store>) {
    let with = |name: &str, fields: Fields| {
        let content = Content::parse(&fields).expect("valid");
        Patch::new(&[name.to_owned()], &content)
    };
    let some = || Fields { message: "dos".into(), ..Fields::default() };
    let due = NOW.checked_add(jiff::SignedDuration::from_hours(1)).expect("in range");
    for scheduled in [false, true] {
        let notification = notification_at(1_000, &["user:1"], "una");
        let id = notification.id;
        let command = if scheduled { Command::Schedule { notification, due } } else { Command::Publish(notification) };
        done(store, command).await;
        // All are ready before the first is done.
        let patches = [
            with("message", some()),
            with("title", Fields { title: Some("Título".into()), ..some() }),
            with("data", Fields { data: Some(serde_json::json!({"n": 1})), ..some() }),
            with("url", Fields { url: Some("/a".into()), ..some() }),
            with("url", some()),
        ];
        let commands = patches.into_iter().map(|patch| Command::Edit { id, patch }).collect();
        let Appended::Done(outcomes) = store.append(Append { at: NOW, commands, once: None }).await.expect("appended")
        else {
            panic!("it has no key")
        };
        let says = |notification: &Notification| notification.content.json().to_owned();
        let after: Vec<String> = outcomes
            .iter()
            .map(|outcome| if let Outcome::Edited(notification) = outcome { says(notification) } else { String::new() })
            .collect();
        let whole = r#"{"message":"dos","title":"Título","data":{"n":1}}"#;
        assert_eq!(after[0], r#"{"message":"dos"}"#);
        assert_eq!(after[3], r#"{"message":"dos","title":"Título","url":"/a","data":{"n":1}}"#, "in one order");
        assert_eq!(after[4], whole, "each answer is what the notification says then");
        let found = store.find(id).await.expect("read").expect("there");
        assert_eq!((says(&found.notification), found.position.is_none()), (whole.to_owned(), scheduled));
    }
}

async fn requests_of_several_back_ends_may_have_the_same_name(store: &Arc<dyn Store>) {
    let owned = |owner: &str| RequestKey { owner: owner.into(), ..request_key("aviso-1") };
    let ask = async |owner: &str, fingerprint: u8, answer: &str| {
        let once = Some(Once { key: owned(owner), fingerprint: [fingerprint; 32], answer: answer.into() });
        let commands = vec![notified(&["user:1"], answer)];
        store.append(Append { at: NOW, commands, once }).await.expect("asked")
    };
    assert!(matches!(ask("", 1, "una").await, Appended::Done(_)));
    assert!(matches!(ask("tienda", 2, "dos").await, Appended::Done(_)), "another back end's");
    assert!(matches!(ask("taller", 2, "tres").await, Appended::Done(_)));
    assert_eq!(ask("tienda", 2, "cuatro").await, Appended::Repeated("dos".into()));
    assert_eq!(ask("tienda", 1, "cinco").await, Appended::KeyReused);
    let answered = async |owner: &str| {
        let answered = store.answered(&owned(owner)).await.expect("read");
        answered.map(|answered| answered.answer)
    };
    assert_eq!(answered("taller").await.as_deref(), Some("tres"));
    assert_eq!(answered("nadie").await, None);
    let items = super::page(store, wanted("1")).await.items;
    assert_eq!(items.iter().map(|item| message(&item.notification)).collect::<Vec<_>>(), ["tres", "dos", "una"]);
}

/// Mutant: count the keys before the commit.
async fn no_more_keys_are_kept_than_may_be_whoever_asks_at_once(store: &Arc<dyn Store>) {
    let key = |number: usize| KeptKey::of(&ServerKey::generate(), number.to_string(), Vec::new(), NOW, None);
    let commands = (0..=KEYS_MAX).map(|number| Command::KeepKey(key(number))).collect();
    let appended = store.append(Append { at: NOW, commands, once: None }).await.expect("appended");
    let Appended::Done(outcomes) = appended else { panic!("it has no key") };
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Kept).count(), KEYS_MAX);
    assert_eq!(outcomes.last(), Some(&Outcome::TooMany));
    assert_eq!(store.keys().await.expect("read").len(), KEYS_MAX);
}
