//! The server's own issuer: secrets that are made here and kept in the store, so that the server can make user tokens without
//! being given a key.
//!
//! **Invariants:** the newest secret signs. An older one checks tokens until its end. When a secret goes, the [`Trust`] of all
//! that was opened with it ends.
//!
//! Deliberately absent: the disk.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::issuing::principal;
use super::unverified::Unverified;
use super::{TokenAlgorithm, TokenError, TokenKey};
use crate::auth::{Principal, Trust};
use crate::notification::FromStore;

/// What `iss` is in tokens that are signed with the server's own secret. No other issuer may have this name.
pub const OWN_ISSUER: &str = "urn:pregon:server";

/// Most secrets that are kept.
pub const SECRETS_MAX: usize = 100;

/// Longest time that a token made here is valid, and so the longest time for which an old secret is needed.
pub const VALID_MAX: Duration = Duration::from_hours(30 * 24);

/// The id of a secret: `kid` of the tokens that are signed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretId(pub Uuid);

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStore for SecretId {}

impl FromStr for SecretId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(SecretId)
    }
}

/// A secret that user tokens are signed with (HS256).
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret {
    /// Rises with each secret that is made.
    pub id: SecretId,
    /// 256 random bits.
    pub secret: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When tokens signed with it are refused; nothing for the one that signs.
    pub until: Option<Timestamp>,
}

impl TokenSecret {
    /// Makes a secret that signs from now on.
    #[must_use]
    pub fn generate(now: Timestamp) -> TokenSecret {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).expect("the operating system has randomness");
        TokenSecret { id: SecretId(Uuid::now_v7()), secret, created_at: now, until: None }
    }

    /// All secrets once this one signs and those before it end at that time at the latest.
    #[must_use]
    pub fn in_place_of(self, mut old: Vec<TokenSecret>, until: Timestamp) -> Vec<TokenSecret> {
        old.retain(|_| self.created_at < until);
        for secret in &mut old {
            secret.until.get_or_insert(until);
        }
        old.push(self);
        old
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSecret({}, ***)", self.id)
    }
}

/// A secret in use.
struct Accepted {
    id: String,
    until: Option<Timestamp>,
    key: TokenKey,
    trust: Trust,
}

impl Accepted {
    fn of(secret: &TokenSecret) -> Accepted {
        let id = secret.id.to_string();
        let key = TokenKey::secret(TokenAlgorithm::HS256, &secret.secret).named(&id);
        Accepted { id, until: secret.until, key, trust: Trust::begin() }
    }
}

/// The secrets in use, oldest first.
#[derive(Default)]
pub(in crate::auth) struct Own {
    accepted: RwLock<Vec<Arc<Accepted>>>,
}

impl Own {
    /// Takes the secrets of the store in place of those that it has. One that is kept keeps its trust.
    pub(in crate::auth) fn replace(&self, secrets: &[TokenSecret]) {
        let mut accepted = self.accepted.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::take(&mut *accepted);
        for secret in secrets {
            let new = match old.iter().find(|old| old.id == secret.id.to_string()) {
                Some(old) => Accepted { trust: old.trust.clone(), ..Accepted::of(secret) },
                None => Accepted::of(secret),
            };
            accepted.push(Arc::new(new));
        }
        for old in old.iter().filter(|old| !accepted.iter().any(|new| new.id == old.id)) {
            old.trust.end();
        }
    }

    /// The key that signs; nothing before the store's secrets are here.
    pub(super) fn signing(&self) -> Option<TokenKey> {
        let accepted = self.accepted.read().unwrap_or_else(PoisonError::into_inner);
        accepted.iter().rev().find(|secret| secret.until.is_none()).map(|secret| secret.key.clone())
    }

    /// Whose token that is.
    pub(super) fn check(&self, token: &Unverified<'_>, leeway: Duration) -> Result<Principal, TokenError> {
        let now = Timestamp::now();
        let accepted = self.accepted.read().unwrap_or_else(PoisonError::into_inner);
        let in_force = |secret: &&Arc<Accepted>| secret.until.is_none_or(|until| now < until);
        let named = accepted.iter().filter(in_force).find(|secret| Some(secret.id.as_str()) == token.key_id());
        let secret = Arc::clone(named.ok_or(TokenError::Key)?);
        drop(accepted);
        token.verify(&secret.key)?;
        let mut principal = principal(token, Some(secret.trust.clone()), leeway, now)?;
        // No token that was made here says so; whoever has stolen the secret may sign one that does.
        if let (Principal::User { expires_at, .. }, Some(until)) = (&mut principal, secret.until) {
            *expires_at = (*expires_at).min(until);
        }
        Ok(principal)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TokenRules, Tokens};
    use super::*;
    use crate::notification::UserId;

    /// Mutants: an old secret is accepted for ever; a secret that stays loses its trust; one that goes keeps it.
    #[test]
    fn an_old_secret_checks_until_its_end_and_its_trust_ends_when_it_goes() {
        let now = Timestamp::now();
        let later = now.checked_add(Duration::from_mins(1)).expect("in range");
        let far = now.checked_add(Duration::from_mins(2)).expect("in range");
        let tokens = Tokens::new(TokenRules::none());
        let (first, second) = (TokenSecret::generate(now), TokenSecret::generate(now));
        let user: UserId = "1".parse().expect("valid");
        assert_eq!(tokens.make(&user, far), None, "no secret is here yet");
        tokens.own().replace(std::slice::from_ref(&first));
        let (token, _) = tokens.make(&user, far).expect("made");
        let seen = || tokens.user(token.as_bytes());
        let Ok(Principal::User { trust: Some(trust), .. }) = seen() else { panic!("{:?}", seen()) };

        tokens.own().replace(&[TokenSecret { until: Some(later), ..first.clone() }, second.clone()]);
        assert!(trust.holds());
        let Ok(Principal::User { expires_at, .. }) = seen() else { panic!("{:?}", seen()) };
        assert_eq!(expires_at, later, "not longer than its secret");
        let (new, _) = tokens.make(&user, far).expect("made");
        assert_ne!(token.split('.').next(), new.split('.').next(), "the newest secret signs");

        tokens.own().replace(&[TokenSecret { until: Some(now), ..first }, second.clone()]);
        assert_eq!(seen(), Err(TokenError::Key));
        tokens.own().replace(&[second]);
        assert_eq!(seen(), Err(TokenError::Key));
        assert!(!trust.holds());
        assert!(tokens.user(new.as_bytes()).is_ok());
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", TokenSecret { secret: [7; 32], ..TokenSecret::generate(Timestamp::UNIX_EPOCH) });
        assert!(shown.ends_with("***)") && !shown.contains("7, 7"), "{shown}");
    }
}
