//! Who asks: a bearer token becomes a [`Principal`], or a refusal that says why.
//!
//! A back end has a server key ([`keys`]); a user has a token that the back end has signed: a JWT (RFC 7519) whose `sub` is the
//! user ([`tokens`]); for one stream there are [`tickets`].
//!
//! **Invariants:** a secret is looked up by its digest, and never shown: `Debug` prints `***`. Whoever is let in by a key that
//! may go away holds its [`Trust`], and so hears when it has.
//!
//! Deliberately absent: the disk, and what a request asks for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use crate::limits::Rate;
use crate::notification::UserId;

pub mod jwks;
mod key_set;
pub mod keys;
pub mod revocations;
pub mod tickets;
pub mod tokens;

use keys::{Key, Keys};
use revocations::Revocations;
use tokens::own::TokenSecret;
use tokens::{Issuing, JwksUrl, TokenError, TokenRules, Tokens};

/// Fewest characters of a server key.
pub const SERVER_KEY_LENGTH_MIN: usize = 16;
const SERVER_KEY_PREFIX: &str = "pregon_sk_";

/// A key with which an application's back end publishes and manages.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerKey(String);

impl ServerKey {
    /// A new key: `pregon_sk_` and 43 characters that hold 256 random bits.
    #[must_use]
    pub fn generate() -> ServerKey {
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random).expect("the operating system has randomness");
        ServerKey(format!("{SERVER_KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
    }

    /// Takes a key that was given; nothing if it is too short to be one, or can't stand in a header.
    #[must_use]
    pub fn given(text: &str) -> Option<ServerKey> {
        let fits = text.len() >= SERVER_KEY_LENGTH_MIN && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| ServerKey(text.to_owned()))
    }

    /// The key itself, for whoever is to use it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// On whose behalf a request is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The application's back end: may do what its key gives a right to.
    Server(Arc<Key>),
    /// A user: may read what is hers.
    User {
        /// Who she is.
        user: UserId,
        /// When her token was issued: at the beginning of time if it does not say.
        issued_at: Timestamp,
        /// Until when her token says so.
        expires_at: Timestamp,
        /// That of the key it was signed with; nothing if that key lasts as long as the server.
        trust: Option<Trust>,
    },
}

/// Whether a key is still what tokens are checked with. It is shared by all that was opened with it, and ends once.
#[derive(Clone, Debug)]
pub struct Trust(Arc<AtomicBool>);

impl Trust {
    pub(crate) fn begin() -> Trust {
        Trust(Arc::new(AtomicBool::new(true)))
    }

    pub(crate) fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether what it has opened may stay open.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Two are equal if they end together.
impl PartialEq for Trust {
    fn eq(&self, other: &Trust) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Trust {}

/// Why a request has no principal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No credential at all.
    #[error("no credential was given")]
    Missing,
    /// Something else than a bearer token.
    #[error("the Authorization header is not `Bearer` and a token")]
    Scheme,
    /// A key that is not accepted.
    #[error("the server key is not known here")]
    Unknown,
    /// A key whose time is over.
    #[error("the server key has expired")]
    KeyExpired,
    /// A ticket that opens nothing.
    #[error("the ticket is not known here: it has been used, is older than a minute, or was given before a restart")]
    Ticket,
    /// What was issued before all of its user's was revoked.
    #[error("all that the user had been given by then has been revoked")]
    Revoked,
    /// Whatever it is: from that address came so many that were wrong that none is looked at.
    #[error("too many credentials from this address were wrong: {allowed}")]
    Shut {
        /// How long that lasts.
        wait: Duration,
        /// How many may be.
        allowed: Rate,
    },
    /// A token that did not pass.
    #[error("the token {0}")]
    Token(#[from] TokenError),
}

impl Refusal {
    /// Whether the refused credential may have been guessed, which is counted against the address that it came from: an unknown
    /// server key, or a token whose signature does not match.
    ///
    /// A credential that the server once accepted (expired, revoked, a used ticket) was not guessed. Nor was a token with a valid
    /// signature that is refused for its claims: if an issuer makes such tokens, all its users have them, and many of them may
    /// share one address, which must not be locked out.
    #[must_use]
    pub fn is_guess(&self) -> bool {
        matches!(self, Self::Unknown | Self::Token(TokenError::Signature))
    }
}

/// The credentials that are accepted.
pub struct Auth {
    keys: Keys,
    tokens: Tokens,
    revocations: Revocations,
}

impl Auth {
    /// Accepts that server key, if one is given, and user tokens of the issuers in the rules. Each server key may publish that
    /// often, if there is a limit.
    #[must_use]
    pub fn new(server_key: Option<&ServerKey>, tokens: Option<TokenRules>, publishes: Option<Rate>) -> Auth {
        let keys = Keys::none(publishes);
        if let Some(key) = server_key {
            keys.keep_given(key);
        }
        let tokens = Tokens::new(tokens.unwrap_or_else(TokenRules::none));
        let revocations = Revocations::new(tokens.leeway());
        Auth { keys, tokens, revocations }
    }

    /// The server keys that are accepted.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// What has been revoked.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Who sends a request with that `Authorization` header.
    ///
    /// # Errors
    /// When nobody does who is known.
    pub fn principal(&self, authorization: &[u8]) -> Result<Principal, Refusal> {
        let (scheme, token) = authorization.split_at_checked(7).ok_or(Refusal::Scheme)?;
        if !scheme.eq_ignore_ascii_case(b"Bearer ") || token.is_empty() {
            return Err(Refusal::Scheme);
        }
        if let Some(key) = self.keys.find(token) {
            return if key.has_expired(Timestamp::now()) {
                Err(Refusal::KeyExpired)
            } else {
                Ok(Principal::Server(key))
            };
        }
        if token.split(|byte| *byte == b'.').count() != 3 {
            // Not even the form of a token: it was meant as a key.
            return Err(Refusal::Unknown);
        }
        self.user(token)
    }

    /// Whose token that is.
    ///
    /// # Errors
    /// When it does not pass.
    pub fn user(&self, token: &[u8]) -> Result<Principal, Refusal> {
        let principal = self.tokens.user(token)?;
        if let Principal::User { user, issued_at, .. } = &principal {
            let now = Timestamp::now();
            // Noted also of a token that is refused: the next revocation shall cover its like.
            self.revocations.seen(*issued_at, now);
            if self.revocations.cover(user, *issued_at, now) {
                return Err(Refusal::Revoked);
            }
        }
        Ok(principal)
    }

    /// The issuers whose keys can't be had at the moment, so that their tokens can't be checked.
    #[must_use]
    pub fn issuers_without_keys(&self) -> Vec<String> {
        let away = self.fetching().filter(|(issuing, _)| issuing.is_away());
        away.map(|(issuing, _)| issuing.name().to_owned()).collect()
    }

    /// The issuers whose keys are fetched, and from where.
    fn fetching(&self) -> impl Iterator<Item = (&Arc<Issuing>, &JwksUrl)> {
        let issuers = self.tokens.issuers().iter();
        issuers.filter_map(|issuing| Some((issuing, issuing.jwks_url()?)))
    }

    /// Makes a token of a user that is valid until then, in whole seconds; nothing before the store's secrets are here.
    #[must_use]
    pub fn token(&self, user: &UserId, expires_at: Timestamp) -> Option<(String, Timestamp)> {
        self.tokens.make(user, expires_at)
    }

    /// Takes the server's own secrets, as they are in the store. Whatever was opened with one that is not among them ends.
    pub fn keep_secrets(&self, secrets: &[TokenSecret]) {
        self.tokens.own().replace(secrets);
    }

    /// Whether tokens are signed with the server's own secret.
    #[must_use]
    pub fn signs_with_own_secret(&self) -> bool {
        self.tokens.signs_with_own()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("a SHA-256 digest has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::keys::{KeptKey, Scope};
    use super::*;

    #[test]
    fn only_the_key_itself_is_accepted_and_a_refusal_says_why() {
        let key = ServerKey::generate();
        let auth = Auth::new(Some(&key), None, None);
        let says = |header: &str| auth.principal(header.as_bytes());
        for scheme in ["Bearer", "bearer"] {
            let principal = says(&format!("{scheme} {}", key.reveal()));
            assert!(matches!(principal, Ok(Principal::Server(key)) if key.allows(&Scope::Admin)));
        }
        assert_eq!(says(&format!("Bearer {}x", key.reveal())), Err(Refusal::Unknown));
        assert_eq!(says("Bearer pregon_sk_"), Err(Refusal::Unknown));
        assert_eq!(says("Bearer a.b.c"), Err(Refusal::Token(TokenError::Malformed)));
        assert_eq!(says("Bearer "), Err(Refusal::Scheme));
        assert_eq!(says("Basic dXNlcjpwYXNz"), Err(Refusal::Scheme));
        assert_eq!(says("é"), Err(Refusal::Scheme));
        let expiring = |expires_at| {
            let key = ServerKey::generate();
            auth.keys().keep(&KeptKey::of(
                &key,
                "x".into(),
                vec![Scope::Admin],
                Timestamp::UNIX_EPOCH,
                Some(expires_at),
            ));
            says(&format!("Bearer {}", key.reveal()))
        };
        assert_eq!(expiring(Timestamp::now()), Err(Refusal::KeyExpired));
        assert!(expiring(Timestamp::MAX).is_ok());
    }

    #[test]
    fn keys_are_long_random_and_not_shown() {
        assert_ne!(ServerKey::generate(), ServerKey::generate());
        assert_eq!(ServerKey::generate().reveal().len(), SERVER_KEY_PREFIX.len() + 43);
        assert_eq!(format!("{:?}", ServerKey::generate()), "***");
        assert_eq!(ServerKey::given("short"), None);
        assert_eq!(ServerKey::given("sixteen letters\n"), None);
    }
}
