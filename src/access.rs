//! Access: the server keys of the store, and the revocation of all that a user has been given.
//!
//! **Invariant:** the store first, then memory: what is answered holds also after a restart, and a key that could not be
//! stored is never accepted. A revocation is an entry of the log, so her streams end as delivery comes to it; one that is
//! about to begin learns of it from the store.
//!
//! Deliberately absent: what a credential is, and what it may do ([`crate::auth`]).

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::auth::keys::{KeptKey, KeyId, Scope};
use crate::auth::revocations::Revoked;
use crate::auth::{Auth, ServerKey};
use crate::notification::UserId;
use crate::store::{Command, Outcome, Store, StoreError};

/// Changes what is accepted.
pub struct Access {
    store: Arc<dyn Store>,
    auth: Arc<Auth>,
    clock: fn() -> Timestamp,
}

/// A key that has just been made: the only moment at which it is known itself.
pub struct Made {
    /// The key.
    pub key: ServerKey,
    /// What is kept of it.
    pub kept: KeptKey,
}

impl Access {
    /// Accepts from here on what the store holds.
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
        Ok(Access { store, auth, clock })
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
        if self.store.one(now, Command::KeepKey(kept.clone())).await? == Outcome::TooMany {
            return Ok(None);
        }
        self.auth.keys().keep(&kept);
        Ok(Some(Made { key, kept }))
    }

    /// Accepts a key no longer; says whether there was one of that id.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn forget_key(&self, id: KeyId) -> Result<bool, StoreError> {
        let outcome = self.store.one((self.clock)(), Command::ForgetKey { id }).await?;
        self.auth.keys().forget(id);
        Ok(outcome != Outcome::Missing)
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
        self.store.one(now, Command::Revoke { user: user.clone(), through: revoked.through }).await?;
        self.auth.revocations().note(user, revoked);
        let left = 1_000_000_000 - now.subsec_nanosecond();
        tokio::time::sleep(revoked.ahead + Duration::from_nanos(u64::try_from(left).unwrap_or_default())).await;
        Ok(())
    }
}
