//! An issuer at work: the keys that it has at the moment, given and fetched, and how a token is checked with them.
//!
//! **Invariants:** a key that is no longer there checks nothing more, and the [`Trust`] in it ends. One that stays keeps its
//! own, whatever happens to the others.
//!
//! Deliberately absent: which issuer a token is of, and how keys are fetched.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;
use serde_json::Value;

use super::{Issuer, JwksUrl, PublicKey, TokenError, TokenKey};
use crate::auth::{Principal, Trust};

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    iat: Option<Value>,
    nbf: Option<Value>,
    exp: Option<i64>,
}

/// A `NumericDate` in seconds, which RFC 7519 lets have parts; nothing if the claim is absent or null.
fn seconds(claim: Option<&Value>, name: &str) -> Result<Option<f64>, TokenError> {
    let number = |value: &Value| value.as_f64().ok_or_else(|| TokenError::Claim(name.to_owned()));
    claim.map(number).transpose()
}

impl Claims {
    fn principal(self, trust: Option<Trust>, leeway: Duration, now: Timestamp) -> Result<Principal, TokenError> {
        let Claims { sub, iat, nbf, exp } = self;
        let (iat, nbf) = (seconds(iat.as_ref(), "iat")?, seconds(nbf.as_ref(), "nbf")?);
        let latest = now.as_duration().as_secs_f64() + leeway.as_secs_f64();
        if nbf.is_some_and(|nbf| nbf > latest) {
            return Err(TokenError::NotYet);
        }
        if iat.is_some_and(|iat| iat > latest) {
            return Err(TokenError::Future);
        }
        let missing = |claim: &str| TokenError::Claim(claim.to_owned());
        let user = sub.ok_or_else(|| missing("sub"))?.parse()?;
        let expires_at = exp.and_then(|second| Timestamp::from_second(second).ok()).ok_or_else(|| missing("exp"))?;
        let issued_at = iat.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let issued_at = issued_at.and_then(|age| Timestamp::UNIX_EPOCH.checked_add(age).ok());
        Ok(Principal::User { user, issued_at: issued_at.unwrap_or(Timestamp::MIN), expires_at, trust })
    }
}

/// A key that is in force, and what a token must have beside its signature.
struct Checking {
    key: TokenKey,
    validation: Validation,
    /// There if it may go away.
    trust: Option<Trust>,
}

impl Checking {
    fn new(issuer: &Issuer, key: TokenKey, trust: Option<Trust>) -> Checking {
        let mut validation = Validation::new(key.algorithm.0);
        // One leeway would hold for `exp` too, and streams end with it; `nbf` and `iat` are looked at in `Claims::principal`.
        validation.leeway = 0;
        validation.validate_nbf = false;
        let mut required = vec!["exp", "sub"];
        if let Some(name) = &issuer.name {
            validation.set_issuer(&[name]);
            required.push("iss");
        }
        if let Some(audience) = &issuer.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        Checking { key, validation, trust }
    }

    /// Whether it may have signed a token that names that key.
    fn may_be(&self, id: Option<&str>) -> bool {
        id.is_none() || self.key.id.is_none() || self.key.id.as_deref() == id
    }

    fn check(&self, token: &[u8]) -> Result<Claims, TokenError> {
        let checked = jsonwebtoken::decode::<Claims>(token, &self.key.checking, &self.validation);
        checked.map(|checked| checked.claims).map_err(|error| match error.into_kind() {
            ErrorKind::InvalidAlgorithm | ErrorKind::MissingAlgorithm | ErrorKind::UnsupportedAlgorithm => {
                TokenError::Algorithm(self.key.algorithm)
            }
            ErrorKind::InvalidSignature => TokenError::Signature,
            ErrorKind::ExpiredSignature => TokenError::Expired,
            ErrorKind::ImmatureSignature => TokenError::NotYet,
            ErrorKind::InvalidIssuer => TokenError::Issuer,
            ErrorKind::InvalidAudience => TokenError::Audience,
            ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => TokenError::Claim(claim),
            _ => TokenError::Malformed,
        })
    }
}

/// A key that was fetched.
#[derive(Clone)]
struct Fetched {
    key: PublicKey,
    checking: Arc<Checking>,
}

/// What another key set has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) struct Replaced {
    pub(in crate::auth) new: usize,
    pub(in crate::auth) gone: usize,
}

/// An issuer, and the keys that it has at the moment.
pub(in crate::auth) struct Issuing {
    issuer: Issuer,
    given: Vec<Checking>,
    /// How far `nbf` and `iat` may be ahead.
    leeway: Duration,
    /// Nothing while they can't be had.
    fetched: RwLock<Option<Arc<[Fetched]>>>,
}

impl Issuing {
    pub(super) fn new(issuer: Issuer, leeway: Duration) -> Issuing {
        let given = issuer.keys.iter().map(|key| Checking::new(&issuer, key.clone(), None)).collect();
        Issuing { given, leeway, issuer, fetched: RwLock::new(None) }
    }

    /// What it was given as.
    pub(super) fn rules(&self) -> &Issuer {
        &self.issuer
    }

    /// Its name, for people.
    pub(in crate::auth) fn name(&self) -> &str {
        self.issuer.name.as_deref().unwrap_or("(without a name)")
    }

    pub(in crate::auth) fn jwks_url(&self) -> Option<&JwksUrl> {
        self.issuer.jwks_url.as_ref()
    }

    /// Whether it has keys elsewhere that can't be had.
    pub(in crate::auth) fn is_away(&self) -> bool {
        self.jwks_url().is_some() && self.fetched().is_none()
    }

    fn fetched(&self) -> Option<Arc<[Fetched]>> {
        self.fetched.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the keys that it has from now on. What was opened with one that is not among them ends.
    pub(in crate::auth) fn replace(&self, keys: Vec<PublicKey>) -> Replaced {
        let before = self.fetched();
        let known = |key: &PublicKey| before.iter().flat_map(|keys| keys.iter()).find(|known| known.key == *key);
        let mut new = 0;
        let now: Arc<[Fetched]> = keys
            .into_iter()
            .map(|key| {
                known(&key).cloned().unwrap_or_else(|| {
                    new += 1;
                    let checking = Checking::new(&self.issuer, TokenKey::public(&key), Some(Trust::begin()));
                    Fetched { key, checking: Arc::new(checking) }
                })
            })
            .collect();
        *self.fetched.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&now));
        Replaced { new, gone: distrust(before.as_deref(), &now) }
    }

    /// Lets go of all that was fetched; gives how many there were.
    pub(in crate::auth) fn withdraw(&self) -> usize {
        distrust(self.fetched.write().unwrap_or_else(PoisonError::into_inner).take().as_deref(), &[])
    }

    /// Whose token that is, which says that it was signed with the key of that name.
    pub(super) fn check(&self, token: &[u8], id: Option<&str>) -> Result<Principal, TokenError> {
        let fetched = self.fetched();
        let fetched = fetched.iter().flat_map(|keys| keys.iter()).map(|fetched| &*fetched.checking);
        let mut refused = TokenError::Key;
        for checking in self.given.iter().chain(fetched).filter(|checking| checking.may_be(id)) {
            match checking.check(token) {
                // Another of its keys may fit. That a signature does not match says more than that it is of another kind.
                Err(error @ TokenError::Algorithm(_)) if refused == TokenError::Key => refused = error,
                Err(TokenError::Algorithm(_)) => {}
                Err(TokenError::Signature) => refused = TokenError::Signature,
                Err(error) => return Err(error),
                Ok(claims) => return claims.principal(checking.trust.clone(), self.leeway, Timestamp::now()),
            }
        }
        Err(if self.is_away() { TokenError::Away } else { refused })
    }
}

/// Ends the trust in those that are no longer there; gives how many.
fn distrust(before: Option<&[Fetched]>, now: &[Fetched]) -> usize {
    let gone = before
        .unwrap_or_default()
        .iter()
        .filter(|old| !now.iter().any(|kept| Arc::ptr_eq(&kept.checking, &old.checking)));
    gone.filter_map(|old| old.checking.trust.as_ref()).map(Trust::end).count()
}
