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

/// Of any type, so that a claim of the wrong one is named in the refusal.
#[derive(Deserialize)]
struct Claims {
    sub: Option<Value>,
    iat: Option<Value>,
    nbf: Option<Value>,
    exp: Option<Value>,
}

/// A `NumericDate` in seconds since 1970, which RFC 7519 lets have a fraction; nothing if the claim is absent or null.
fn seconds(claim: Option<&Value>, name: &str) -> Result<Option<f64>, TokenError> {
    let number = |value: &Value| value.as_f64().ok_or_else(|| TokenError::Claim(name.to_owned()));
    claim.map(number).transpose()
}

/// Nothing before 1970 or after 9999.
fn moment(seconds: f64) -> Option<Timestamp> {
    Timestamp::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?).ok()
}

impl Claims {
    fn principal(self, trust: Option<Trust>, leeway: Duration, now: Timestamp) -> Result<Principal, TokenError> {
        let Claims { sub, iat, nbf, exp } = self;
        let missing = |claim: &str| TokenError::Claim(claim.to_owned());
        let [exp, nbf, iat] =
            [(exp, "exp"), (nbf, "nbf"), (iat, "iat")].map(|(claim, name)| seconds(claim.as_ref(), name));
        let exp = exp?.ok_or_else(|| missing("exp"))?;
        // Before 1970. A time after 9999 is refused: most likely it is in milliseconds.
        let expires_at = if exp < 0.0 { Some(Timestamp::UNIX_EPOCH) } else { moment(exp) };
        let expires_at = expires_at.ok_or_else(|| missing("exp"))?;
        if expires_at <= now {
            return Err(TokenError::Expired);
        }
        let (nbf, iat) = (nbf?, iat?);
        let latest = now.as_duration().as_secs_f64() + leeway.as_secs_f64();
        if nbf.is_some_and(|nbf| nbf > latest) {
            return Err(TokenError::NotYet);
        }
        if iat.is_some_and(|iat| iat > latest) {
            return Err(TokenError::Future);
        }
        let user = sub.as_ref().and_then(Value::as_str).ok_or_else(|| missing("sub"))?.parse()?;
        let issued_at = iat.and_then(moment);
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
        // The times are looked at in `Claims::principal`: the crate rounds them, and has one leeway for all.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let mut required = Vec::new();
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
