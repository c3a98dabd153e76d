//! Access: the server keys and the token secrets of the store, and the revocation of all that a user has been given.
//!
//! **Invariant:** the store first, then memory: what is answered holds also after a restart, and a key that could not be
//! stored is never accepted. Once the store has a change, memory follows even if the client has gone away. A revocation is
//! an entry of the log, so her streams end as delivery comes to it; one that is about to begin learns of it from the store.
//!
//! Deliberately absent: what a credential is, and what it may do ([`crate::auth`]).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::auth::keys::{KeptKey, KeyId, Scope};
use crate::auth::revocations::Revoked;
use crate::auth::tokens::own::{TokenSecret, VALID_MAX};
use crate::auth::{Auth, ServerKey};
use crate::notification::UserId;
use crate::store::{self, Command, Outcome, Store, StoreError};

/// Changes what is accepted.
pub struct Access {
    store: Arc<dyn Store>,
    auth: Arc<Auth>,
    clock: fn() -> Timestamp,
    /// One rotation at a time, so that memory takes the secrets in the order in which the store did.
    rotation: Arc<Mutex<()>>,
}

/// A key that has just been made: the only moment at which it is known itself.
pub struct Made {
    /// The key.
    pub key: ServerKey,
    /// What is kept of it.
    pub kept: KeptKey,
}

/// What has come of revoking a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// It is accepted no longer.
    Done,
    /// There is none of that id.
    Missing,
    /// It is the last one that may do everything, and still accepted.
    LastAdmin,
}

impl Access {
    /// Accepts from here on what the store holds. Makes a secret for user tokens if the store has none that can be read.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn load(store: Arc<dyn Store>, auth: Arc<Auth>, clock: fn() -> Timestamp) -> Result<Access, StoreError> {
        for key in store.keys().await? {
            auth.keys().keep(&key);
        }
        for (user, through) in store.revocations().await? {
            auth.revocations().note(user, Revoked { through, ahead: Duration::ZERO });
        }
        let access = Access { store, auth, clock, rotation: Arc::default() };
        let secrets = access.store.token_secrets().await?;
        if secrets.iter().any(|secret| secret.until.is_none()) {
            access.auth.keep_secrets(&secrets);
        } else {
            access.rotate_secret(false).await?;
        }
        Ok(access)
    }

    /// Whether the store has a key that may do everything.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn has_admin(&self) -> Result<bool, StoreError> {
        let now = (self.clock)();
        Ok(self.store.keys().await?.iter().any(|key| key.is_admin(now)))
    }

    /// The keys of the store, as they were made.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn keys(&self) -> Result<Vec<KeptKey>, StoreError> {
        self.store.keys().await
    }

    /// Makes a key that is accepted at once; nothing if there are as many as may be.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn make_key(
        &self,
        name: String,
        scopes: Vec<Scope>,
        expires_at: Option<Timestamp>,
    ) -> Result<Option<Made>, StoreError> {
        let (key, now) = (ServerKey::generate(), (self.clock)());
        let kept = KeptKey::of(&key, name, scopes, now, expires_at);
        let new = kept.clone();
        let accept = move |auth: &Auth, outcome: &Outcome| {
            if *outcome != Outcome::TooMany {
                auth.keys().keep(&new);
            }
        };
        let outcome = self.change(now, Command::KeepKey(kept.clone()), accept).await?;
        Ok((outcome != Outcome::TooMany).then_some(Made { key, kept }))
    }

    /// Accepts a key no longer. A server that was started without a key keeps one that may do everything, unless another one
    /// does so that lasts as long: else nobody could make another one at last, and it could not be started again.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn forget_key(&self, id: KeyId) -> Result<Forgotten, StoreError> {
        let command = Command::ForgetKey { id, leaves_admin: !self.auth.keys().has_given() };
        let refuse = move |auth: &Auth, outcome: &Outcome| {
            if *outcome != Outcome::LastAdmin {
                auth.keys().forget(id);
            }
        };
        Ok(match self.change((self.clock)(), command, refuse).await? {
            Outcome::Missing => Forgotten::Missing,
            Outcome::LastAdmin => Forgotten::LastAdmin,
            _ => Forgotten::Done,
        })
    }

    /// Signs user tokens with another secret from here on. Those that were signed with the one before are good until their
    /// own end, at most as long as a token may be valid, or are refused at once if they are revoked. Gives until when they may be
    /// good; nothing, and nothing is changed, if too many old secrets are still accepted.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn rotate_secret(&self, revoke: bool) -> Result<Option<Timestamp>, StoreError> {
        let now = (self.clock)();
        let until = if revoke { now } else { now.checked_add(VALID_MAX).unwrap_or(Timestamp::MAX) };
        let (store, auth, rotation) = (Arc::clone(&self.store), Arc::clone(&self.auth), Arc::clone(&self.rotation));
        store::to_the_end(async move {
            let _alone = rotation.lock().await;
            let (old, new) = (store.token_secrets().await?, TokenSecret::generate(now));
            let outcome = store.one(now, Command::RotateSecret { new: new.clone(), until }).await?;
            if outcome == Outcome::TooMany {
                return Ok(None);
            }
            auth.keep_secrets(&new.in_place_of(old, until));
            Ok(Some(until))
        })
        .await
    }

    /// Refuses from here on all that a user has been given, and ends their streams. Returns when the last second that the
    /// revocation covers is over: a token says in whole seconds when it was issued, and one that is signed after the answer
    /// shall be good. That takes up to a second, and as much longer as the clock of an issuer was seen ahead of this one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn revoke(&self, user: UserId) -> Result<(), StoreError> {
        let now = (self.clock)();
        let revoked = self.auth.revocations().at(now);
        let command = Command::Revoke { user: user.clone(), through: revoked.through };
        self.change(now, command, move |auth, _| auth.revocations().note(user, revoked)).await?;
        let left = 1_000_000_000 - now.subsec_nanosecond();
        tokio::time::sleep(revoked.ahead + Duration::from_nanos(u64::try_from(left).unwrap_or_default())).await;
        Ok(())
    }

    /// Changes the store, then memory; does both even if the caller is dropped in between.
    async fn change(
        &self,
        at: Timestamp,
        command: Command,
        in_memory: impl FnOnce(&Auth, &Outcome) + Send + 'static,
    ) -> Result<Outcome, StoreError> {
        let (store, auth) = (Arc::clone(&self.store), Arc::clone(&self.auth));
        store::to_the_end(async move {
            let outcome = store.one(at, command).await?;
            in_memory(&auth, &outcome);
            Ok(outcome)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::runtime::Handle;
    use tokio::task::yield_now;

    use super::*;
    use crate::store::sqlite::{self, SqliteStore};

    /// Asks for a change, goes away before it is stored, and waits until everything is done that goes on without a client.
    async fn give_up<T>(access: &Access, change: impl Future<Output = Result<T, StoreError>>) {
        assert!(Box::pin(change).now_or_never().is_none(), "it was stored at once");
        while Handle::current().metrics().num_alive_tasks() > 0 {
            yield_now().await;
        }
        // What was asked of the store before this is done.
        access.store.check().await.expect("well");
    }

    /// Mutant: the change of memory is given up with the request.
    #[tokio::test]
    async fn memory_follows_the_store_though_the_client_goes_away_in_between() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path(), sqlite::Options::default()).expect("opened");
        let auth = Arc::new(Auth::new(None, None, None));
        let access = Access::load(Arc::new(store), Arc::clone(&auth), Timestamp::now).await.expect("loaded");

        let made =
            access.make_key("x".into(), vec![Scope::Manage], None).await.expect("stored").expect("there is room");
        let bearer = format!("Bearer {}", made.key.reveal());
        assert!(auth.principal(bearer.as_bytes()).is_ok());
        give_up(&access, access.forget_key(made.kept.id)).await;
        assert!(access.keys().await.expect("read").is_empty());
        assert!(auth.principal(bearer.as_bytes()).is_err(), "a key is accepted that is no longer stored");

        let (user, now): (UserId, _) = ("1".parse().expect("valid"), Timestamp::now());
        give_up(&access, access.revoke(user.clone())).await;
        assert_eq!(access.store.revocations().await.expect("read").len(), 1);
        assert!(auth.revocations().cover(&user, now, now), "a token is accepted though its revocation is stored");
    }
}
