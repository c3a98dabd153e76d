//! The suite for the server's own secrets.

use std::sync::Arc;

use jiff::Timestamp;

use super::{NOW, done, user};
use crate::auth::tokens::own::{SECRETS_MAX, TokenSecret};
use crate::store::{Append, Appended, Command, Outcome, Store};

/// Mutants: old secrets stay at a rotation that revokes; a second rotation prolongs the first secret.
pub(super) async fn a_secret_is_kept_until_its_end_or_until_all_are_replaced(store: &Arc<dyn Store>) {
    let at = |second| Timestamp::from_second(second).expect("in range");
    let mut expected: Vec<TokenSecret> = Vec::new();
    for (second, until) in [(1, 9), (2, 12), (10, 20), (11, 11)] {
        let new = TokenSecret::generate(at(second));
        let rotate = Command::RotateSecret { new: new.clone(), until: at(until) };
        assert_eq!(store.one(at(second), rotate).await.expect("done"), Outcome::Kept);
        expected.retain(|secret| secret.until.is_none_or(|until| until > at(second)));
        expected = new.in_place_of(expected, at(until));
        assert_eq!(store.token_secrets().await.expect("read"), expected);
    }
    assert_eq!(expected.len(), 1, "the last one has replaced all");
    let user = user("1");
    for command in [Command::Erase { user: user.clone() }, Command::Revoke { user, through: at(12) }] {
        done(store, command).await;
    }
    assert_eq!(store.token_secrets().await.expect("read"), expected, "it is nobody's");
    let commands = (0..SECRETS_MAX).map(|_| Command::RotateSecret { new: TokenSecret::generate(NOW), until: at(99) });
    let appended = store.append(Append { at: NOW, commands: commands.collect(), once: None }).await.expect("appended");
    let Appended::Done(outcomes) = appended else { panic!("it has no key") };
    assert_eq!(outcomes.last(), Some(&Outcome::TooMany));
    assert_eq!(store.token_secrets().await.expect("read").len(), SECRETS_MAX);
}
