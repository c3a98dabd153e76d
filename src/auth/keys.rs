//! Server keys: what each gives a right to, and which are accepted.
//!
//! A key is made of 256 random bits, so a plain SHA-256 is all that is kept of it: nobody finds such a number by trying, and
//! a slow hash would only slow down every request.
//!
//! **Invariants:** a key is looked up by its digest in memory, so no request waits for the disk, and the time that a look-up
//! takes tells nothing about a secret. What a key may do is decided here alone.
//!
//! Deliberately absent: the disk. Keys are changed in the store first, then here ([`Keys::keep`], [`Keys::forget`]).

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use uuid::Uuid;

use super::{ServerKey, sha256};
use crate::limits::{Bucket, Rate};
use crate::notification::{Audience, AudienceError, FromStore};

/// Most keys in a store.
pub const KEYS_MAX: usize = 1000;
/// Most scopes of a key.
pub const SCOPES_MAX: usize = 100;
/// Longest name of a key, in bytes of UTF-8.
pub const KEY_NAME_BYTES_MAX: usize = 128;
/// Characters of a key that are shown afterwards, so that people can tell keys apart.
pub const HINT_LENGTH: usize = 4;

/// The digest of a key.
pub type Digest = [u8; 32];

/// The public id of a key: a UUID of version 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub Uuid);

/// That a text is no id of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID")]
pub struct KeyIdError;

impl FromStore for KeyId {}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| KeyIdError)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a key gives a right to. Written `admin`, `manage`, `publish:everyone`, `publish:user:1`, `publish:topic:orders.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything, keys too.
    Admin,
    /// Topics, users, inboxes, tokens; and to see, edit and recall whatever has been published.
    Manage,
    /// To publish to that audience, and to edit and recall what went to such audiences alone. A name that ends in `*` stands
    /// for all that begin so.
    Publish(Audience),
}

/// Why a scope is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// It is none of the three.
    #[error("must be admin, manage, or publish: with user:ID, topic:NAME or everyone behind it")]
    Kind,
    /// What stands behind `publish:` is no audience.
    #[error("has behind `publish:` what is no audience: {0}")]
    Audience(#[from] AudienceError),
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        match text {
            "admin" => Ok(Self::Admin),
            "manage" => Ok(Self::Manage),
            _ => match text.strip_prefix("publish:") {
                Some(audience) => Ok(Self::Publish(audience.parse()?)),
                None => Err(ScopeError::Kind),
            },
        }
    }
}

impl FromStore for Scope {
    fn from_store(text: &str) -> Result<Self, ScopeError> {
        match text.strip_prefix("publish:") {
            Some(audience) => Ok(Self::Publish(Audience::from_store(audience)?)),
            None => text.parse(),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str("admin"),
            Self::Manage => f.write_str("manage"),
            Self::Publish(audience) => write!(f, "publish:{audience}"),
        }
    }
}

/// Whether a pattern means an audience.
fn covers(pattern: &Audience, audience: &Audience) -> bool {
    let begins = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    };
    match (pattern, audience) {
        (Audience::Everyone, Audience::Everyone) => true,
        (Audience::User(pattern), Audience::User(user)) => begins(pattern.as_str(), user.as_str()),
        (Audience::Topic(pattern), Audience::Topic(topic)) => begins(pattern.as_str(), topic.as_str()),
        _ => false,
    }
}

/// A key as it is kept: everything but the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptKey {
    /// Its public id.
    pub id: KeyId,
    /// Its digest.
    pub digest: Digest,
    /// Its name, which is also its owner: keys of one name share their idempotency keys.
    pub name: String,
    /// What it gives a right to.
    pub scopes: Vec<Scope>,
    /// Its last characters.
    pub hint: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused, if ever.
    pub expires_at: Option<Timestamp>,
}

impl KeptKey {
    /// What is kept of a new key.
    #[must_use]
    pub fn of(
        key: &ServerKey,
        name: String,
        scopes: Vec<Scope>,
        created_at: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> KeptKey {
        let secret = key.reveal();
        KeptKey {
            id: KeyId(Uuid::now_v7()),
            digest: sha256(secret.as_bytes()),
            name,
            scopes,
            hint: secret[secret.len() - HINT_LENGTH..].to_owned(),
            created_at,
            expires_at,
        }
    }

    /// Whether it may do everything, at that time.
    #[must_use]
    pub fn is_admin(&self, at: Timestamp) -> bool {
        self.scopes.contains(&Scope::Admin) && self.expires_at.is_none_or(|end| at < end)
    }

    /// Whether it does not expire before another one.
    #[must_use]
    pub fn lasts_as_long_as(&self, other: &KeptKey) -> bool {
        self.expires_at.is_none_or(|end| other.expires_at.is_some_and(|others| others <= end))
    }
}

/// A key that is accepted.
#[derive(Debug)]
pub struct Key {
    /// Nothing for the key that the server was started with.
    id: Option<KeyId>,
    name: String,
    scopes: Vec<Scope>,
    expires_at: Option<Timestamp>,
    /// How much it may publish now, if there is a limit.
    publishes: Option<Bucket>,
}

/// Two are equal if they are the same one.
impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.id == other.id
    }
}

impl Eq for Key {}

impl Key {
    /// Its public id; nothing for the key that the server was started with.
    #[must_use]
    pub fn id(&self) -> Option<KeyId> {
        self.id
    }

    /// The name of its owner: keys of one name are of one back end, so that a key can be replaced by another one. Empty for
    /// the key that the server was started with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it gives that right.
    #[must_use]
    pub fn allows(&self, wanted: &Scope) -> bool {
        self.scopes.iter().any(|scope| match (scope, wanted) {
            (Scope::Admin, _) | (Scope::Manage, Scope::Manage) => true,
            (Scope::Publish(pattern), Scope::Publish(audience)) => covers(pattern, audience),
            _ => false,
        })
    }

    /// What it would have to give a right to, and does not, so that all these may be published to.
    #[must_use]
    pub fn missing_for(&self, audiences: &[Audience]) -> Option<Scope> {
        audiences.iter().cloned().map(Scope::Publish).find(|wanted| !self.allows(wanted))
    }

    /// How much it may publish now, if there is a limit.
    #[must_use]
    pub fn publishes(&self) -> Option<&Bucket> {
        self.publishes.as_ref()
    }

    /// Whether its time is over.
    #[must_use]
    pub fn has_expired(&self, at: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= at)
    }
}

/// The keys that are accepted.
#[derive(Debug, Default)]
pub struct Keys {
    by_digest: RwLock<HashMap<Digest, Arc<Key>>>,
    publishes: Option<Rate>,
}

impl Keys {
    /// None yet. Each may publish that often, if there is a limit.
    pub(super) fn none(publishes: Option<Rate>) -> Keys {
        Keys { by_digest: RwLock::default(), publishes }
    }

    /// Accepts the key that the server was started with. It may do everything, and never expires.
    pub(super) fn keep_given(&self, key: &ServerKey) {
        self.insert(sha256(key.reveal().as_bytes()), None, String::new(), vec![Scope::Admin], None);
    }

    /// Whether the server was started with a key.
    #[must_use]
    pub fn has_given(&self) -> bool {
        self.by_digest.read().unwrap_or_else(PoisonError::into_inner).values().any(|key| key.id.is_none())
    }

    /// Accepts a key of the store.
    pub fn keep(&self, KeptKey { id, digest, name, scopes, expires_at, .. }: &KeptKey) {
        self.insert(*digest, Some(*id), name.clone(), scopes.clone(), *expires_at);
    }

    /// Accepts a key of the store no longer.
    pub fn forget(&self, id: KeyId) {
        self.by_digest.write().unwrap_or_else(PoisonError::into_inner).retain(|_, key| key.id != Some(id));
    }

    fn insert(
        &self,
        digest: Digest,
        id: Option<KeyId>,
        name: String,
        scopes: Vec<Scope>,
        expires_at: Option<Timestamp>,
    ) {
        let key = Key { id, name, scopes, expires_at, publishes: self.publishes.map(Bucket::new) };
        self.by_digest.write().unwrap_or_else(PoisonError::into_inner).insert(digest, Arc::new(key));
    }

    /// The key that a secret is, whether or not it has expired.
    pub(super) fn find(&self, secret: &[u8]) -> Option<Arc<Key>> {
        self.by_digest.read().unwrap_or_else(PoisonError::into_inner).get(&sha256(secret)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn key(scopes: &[&str]) -> Key {
        let scopes = scopes.iter().map(|text| scope(text)).collect();
        Key { id: None, name: String::new(), scopes, expires_at: None, publishes: None }
    }

    #[test]
    fn a_scope_is_written_as_it_is_read() {
        for text in [
            "admin",
            "manage",
            "publish:everyone",
            "publish:user:1",
            "publish:user:*",
            "publish:topic:orders",
            "publish:topic:a:b*",
        ] {
            assert_eq!(scope(text).to_string(), text);
        }
        for text in ["", "Admin", "publish", "publish:", "publish:*", "publish:user", "publish:user:", "manage "] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }

    /// Mutant: a pattern means whatever contains it.
    #[test]
    fn a_key_gives_a_right_to_what_its_scopes_say_and_to_nothing_else() {
        let rights = ["admin", "manage", "publish:everyone", "publish:user:1", "publish:user:12", "publish:topic:1"];
        for (scopes, allowed) in [
            (&[][..], &[][..]),
            (&["admin"], &[0, 1, 2, 3, 4, 5]),
            (&["manage"], &[1]),
            (&["publish:everyone"], &[2]),
            (&["publish:user:1"], &[3]),
            (&["publish:user:1*"], &[3, 4]),
            (&["publish:user:2*"], &[]),
            (&["publish:user:*"], &[3, 4]),
            (&["publish:topic:*"], &[5]),
            (&["publish:user:12", "publish:topic:1"], &[4, 5]),
        ] {
            let key = key(scopes);
            for (number, right) in rights.iter().enumerate() {
                assert_eq!(key.allows(&scope(right)), allowed.contains(&number), "{scopes:?}: {right}");
            }
        }
        let audiences: Vec<Audience> = ["user:1", "everyone"].map(|name| name.parse().expect("valid")).into();
        assert_eq!(key(&["publish:user:*"]).missing_for(&audiences), Some(scope("publish:everyone")));
        assert_eq!(key(&["publish:user:*", "publish:everyone"]).missing_for(&audiences), None);
    }

    #[test]
    fn a_key_is_found_by_itself_until_it_is_forgotten() {
        let (given, made) = (ServerKey::generate(), ServerKey::generate());
        let kept = KeptKey::of(&made, "x".into(), vec![Scope::Manage], Timestamp::UNIX_EPOCH, None);
        assert!(made.reveal().ends_with(&kept.hint) && kept.hint.len() == HINT_LENGTH);
        let keys = Keys::default();
        keys.keep_given(&given);
        keys.keep(&kept);
        let finds = |key: &ServerKey| keys.find(key.reveal().as_bytes());
        assert!(finds(&given).is_some_and(|key| key.allows(&Scope::Admin)));
        assert!(finds(&made).is_some_and(|key| key.allows(&Scope::Manage) && !key.allows(&Scope::Admin)));
        assert_eq!(keys.find(&kept.digest), None, "what is kept is no key");
        keys.forget(kept.id);
        assert_eq!(finds(&made), None);
        assert!(finds(&given).is_some());
    }
}
