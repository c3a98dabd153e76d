//! Who asks: a bearer token becomes a [`Principal`], or a refusal that says why.
//!
//! A back end has a server key; a user has a token that the back end has signed: a JWT (RFC 7519) whose `sub` is the
//! user ([`tokens`]); for one stream there are [`tickets`].
//!
//! **Invariants:** a secret is compared by its digest in constant time, and never shown: `Debug` prints `***`. Whoever is let
//! in by a key that may go away holds its [`Trust`], and so hears when it has.
//!
//! Deliberately absent so far: server keys kept in the store.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use crate::notification::UserId;

pub mod jwks;
mod key_set;
pub mod tickets;
pub mod tokens;

use tokens::{Issuing, JwksUrl, TokenError, TokenRules, Tokens};

/// Fewest characters of a server key.
pub const SERVER_KEY_LENGTH_MIN: usize = 16;
const SERVER_KEY_PREFIX: &str = "pregon_sk_";

/// A key with which an application's back end publishes and manages.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerKey(String);

impl ServerKey {
    /// A new key: `pregon_sk_` and 32 characters that hold 192 random bits.
    #[must_use]
    pub fn generate() -> ServerKey {
        let mut random = [0; 24];
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
    /// The application's back end: may publish, manage, and read as any user.
    Server,
    /// A user: may read what is hers.
    User {
        /// Who she is.
        user: UserId,
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
    /// A token, and this server has no key to check it with.
    #[error("user tokens are not accepted here: the server was started without --jwt-key, --jwks-url and [[issuers]]")]
    TokensOff,
    /// A ticket that opens nothing.
    #[error("the ticket is not known here: it has been used, is older than a minute, or was given before a restart")]
    Ticket,
    /// A token that did not pass.
    #[error("the token {0}")]
    Token(#[from] TokenError),
}

/// The credentials that are accepted.
pub struct Auth {
    server_key_digest: [u8; 32],
    tokens: Option<Tokens>,
}

impl Auth {
    /// Accepts that server key, and user tokens if there are rules for them.
    #[must_use]
    pub fn new(server_key: &ServerKey, tokens: Option<TokenRules>) -> Auth {
        Auth { server_key_digest: sha256(server_key.0.as_bytes()), tokens: tokens.map(Tokens::new) }
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
        if verify_slices_are_equal(&sha256(token), &self.server_key_digest).is_ok() {
            return Ok(Principal::Server);
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
        Ok(self.tokens.as_ref().ok_or(Refusal::TokensOff)?.user(token)?)
    }

    /// The issuers whose keys can't be had at the moment, so that their tokens can't be checked.
    #[must_use]
    pub fn issuers_without_keys(&self) -> Vec<String> {
        let away = self.fetching().filter(|(issuing, _)| issuing.is_away());
        away.map(|(issuing, _)| issuing.name().to_owned()).collect()
    }

    /// The issuers whose keys are fetched, and from where.
    fn fetching(&self) -> impl Iterator<Item = (&Arc<Issuing>, &JwksUrl)> {
        let issuers = self.tokens.iter().flat_map(Tokens::issuers);
        issuers.filter_map(|issuing| Some((issuing, issuing.jwks_url()?)))
    }

    /// Makes a token of a user that is valid until then, in whole seconds; nothing if there is no secret for it.
    #[must_use]
    pub fn token(&self, user: &UserId, expires_at: Timestamp) -> Option<(String, Timestamp)> {
        self.tokens.as_ref()?.make(user, expires_at)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("a SHA-256 digest has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_itself_is_accepted_and_a_refusal_says_why() {
        let key = ServerKey::generate();
        let auth = Auth::new(&key, None);
        let says = |header: &str| auth.principal(header.as_bytes());
        assert_eq!(says(&format!("Bearer {}", key.reveal())), Ok(Principal::Server));
        assert_eq!(says(&format!("bearer {}", key.reveal())), Ok(Principal::Server));
        assert_eq!(says(&format!("Bearer {}x", key.reveal())), Err(Refusal::Unknown));
        assert_eq!(says("Bearer pregon_sk_"), Err(Refusal::Unknown));
        assert_eq!(says("Bearer a.b.c"), Err(Refusal::TokensOff));
        assert_eq!(says("Bearer "), Err(Refusal::Scheme));
        assert_eq!(says("Basic dXNlcjpwYXNz"), Err(Refusal::Scheme));
        assert_eq!(says("é"), Err(Refusal::Scheme));
    }

    #[test]
    fn keys_are_long_random_and_not_shown() {
        assert_ne!(ServerKey::generate(), ServerKey::generate());
        assert_eq!(ServerKey::generate().reveal().len(), SERVER_KEY_PREFIX.len() + 32);
        assert_eq!(format!("{:?}", ServerKey::generate()), "***");
        assert_eq!(ServerKey::given("short"), None);
        assert_eq!(ServerKey::given("sixteen letters\n"), None);
    }
}
