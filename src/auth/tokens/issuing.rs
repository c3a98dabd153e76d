//! An issuer at work: the keys that it has at the moment, given and fetched, and how a token is checked with them.
//!
//! **Invariants:** a key that is no longer there checks nothing more, and the [`Trust`] in it ends. One that stays keeps its
//! own, whatever happens to the others.
//!
//! Deliberately absent: which issuer a token is of, and how keys are fetched.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::unverified::Unverified;
use super::{Issuer, JwksUrl, PublicKey, TokenError, TokenKey};
use crate::auth::{Principal, Trust};
use crate::notification::UserId;

/// A `NumericDate` in seconds since 1970, which RFC 7519 lets have a fraction; nothing if the claim is absent or null.
fn seconds(token: &Unverified<'_>, name: &str) -> Result<Option<f64>, TokenError> {
    let number = |value: &Value| value.as_f64().ok_or_else(|| TokenError::Claim(name.to_owned()));
    token.claim(name).map(number).transpose()
}

/// Whose token it is. Many back ends number their users, and give the number as it is.
fn subject(token: &Unverified<'_>) -> Result<UserId, TokenError> {
    Ok(match token.claim("sub") {
        Some(Value::String(text)) => text.parse()?,
        Some(Value::Number(number)) if !number.is_f64() => number.to_string().parse()?,
        _ => return Err(TokenError::Claim("sub".to_owned())),
    })
}

/// Nothing before 1970 or after 9999.
fn moment(seconds: f64) -> Option<Timestamp> {
    Timestamp::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?).ok()
}

/// Who may do what with a token whose signature is right, until when.
pub(super) fn principal(
    token: &Unverified<'_>,
    trust: Option<Trust>,
    leeway: Duration,
    now: Timestamp,
) -> Result<Principal, TokenError> {
    let missing = || TokenError::Claim("exp".to_owned());
    let exp = seconds(token, "exp")?.ok_or_else(missing)?;
    // Before 1970. A time after 9999 is refused: most likely it is in milliseconds.
    let expires_at = if exp < 0.0 { Some(Timestamp::UNIX_EPOCH) } else { moment(exp) };
    let expires_at = expires_at.ok_or_else(missing)?;
    if expires_at <= now {
        return Err(TokenError::Expired);
    }
    let (nbf, iat) = (seconds(token, "nbf")?, seconds(token, "iat")?);
    let latest = now.as_duration().as_secs_f64() + leeway.as_secs_f64();
    if nbf.is_some_and(|nbf| nbf > latest) {
        return Err(TokenError::NotYet);
    }
    if iat.is_some_and(|iat| iat > latest) {
        return Err(TokenError::Future);
    }
    let issued_at = iat.and_then(moment);
    let user = subject(token)?;
    Ok(Principal::User { user, issued_at: issued_at.unwrap_or(Timestamp::MIN), expires_at, trust })
}

/// A key that is in force.
struct Checking {
    key: TokenKey,
    /// There if it may go away.
    trust: Option<Trust>,
}

impl Checking {
    /// Whether it may have signed a token that names that key.
    fn may_be(&self, id: Option<&str>) -> bool {
        id.is_none() || self.key.id.is_none() || self.key.id.as_deref() == id
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
        let given = issuer.keys.iter().map(|key| Checking { key: key.clone(), trust: None }).collect();
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
                    let checking = Checking { key: TokenKey::public(&key), trust: Some(Trust::begin()) };
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

    /// Whose token that is.
    pub(super) fn check(&self, token: &Unverified<'_>) -> Result<Principal, TokenError> {
        let fetched = self.fetched();
        let fetched = fetched.iter().flat_map(|keys| keys.iter()).map(|fetched| &*fetched.checking);
        let mut refused = TokenError::Key;
        for checking in self.given.iter().chain(fetched).filter(|checking| checking.may_be(token.key_id())) {
            match token.verify(&checking.key) {
                // Another of its keys may fit. That a signature does not match says more than that it is of another kind.
                Err(error @ TokenError::Algorithm(_)) if refused == TokenError::Key => refused = error,
                Err(TokenError::Algorithm(_)) => {}
                Err(TokenError::Signature) => refused = TokenError::Signature,
                Err(error) => return Err(error),
                Ok(()) => {
                    self.check_audience(token)?;
                    return principal(token, checking.trust.clone(), self.leeway, Timestamp::now());
                }
            }
        }
        Err(if self.is_away() { TokenError::Away } else { refused })
    }

    /// Refuses a token that was made for somebody else.
    fn check_audience(&self, token: &Unverified<'_>) -> Result<(), TokenError> {
        let unusable = || TokenError::Claim("aud".to_owned());
        let said = match token.claim("aud") {
            None if self.issuer.audience.is_none() => return Ok(()),
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(several)) => {
                several.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(unusable)?
            }
            _ => return Err(unusable()),
        };
        let is_ours = self.issuer.audience.as_deref().is_some_and(|ours| said.contains(&ours));
        if is_ours { Ok(()) } else { Err(TokenError::Audience) }
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
