//! Who asks: a bearer token becomes a [`Principal`], or a refusal that says why.
//!
//! A back end has a server key; a user has a token that the back end has signed: a JWT (RFC 7519) whose `sub` is the
//! user. This is the only file that knows JWT.
//!
//! **Invariants:** a secret is compared by its digest in constant time, and never shown: `Debug` prints `***`. The
//! algorithm is fixed with the key, never taken from the token. A token without an end is none.
//!
//! Deliberately absent so far: other algorithms than HS256, several issuers, and keys kept in the store.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::notification::{NameError, UserId};

pub mod tickets;

/// Fewest characters of a server key.
pub const SERVER_KEY_LENGTH_MIN: usize = 16;
/// Fewest bytes of a key that signs user tokens: as many as SHA-256 gives (RFC 7518, section 3.2).
pub const TOKEN_KEY_BYTES_MIN: usize = 32;
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

/// The secret with which user tokens are signed (HS256), by an application's back end or here.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey(Vec<u8>);

impl TokenKey {
    /// A new secret of 256 random bits.
    #[must_use]
    pub fn generate() -> TokenKey {
        let mut random = vec![0; TOKEN_KEY_BYTES_MIN];
        aws_lc_rs::rand::fill(&mut random).expect("the operating system has randomness");
        TokenKey(random)
    }

    /// Takes a secret that was given; nothing if it is too short to be one.
    #[must_use]
    pub fn given(text: &str) -> Option<TokenKey> {
        (text.len() >= TOKEN_KEY_BYTES_MIN).then(|| TokenKey(text.into()))
    }
}

impl fmt::Debug for TokenKey {
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
    },
}

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
    #[error("user tokens are not accepted here: the server was started without --jwt-key")]
    TokensOff,
    /// A ticket that opens nothing.
    #[error("the ticket is not known here: it has been used, is older than a minute, or was given before a restart")]
    Ticket,
    /// A token that did not pass.
    #[error("the token {0}")]
    Token(#[from] TokenError),
}

/// Why a token does not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It can't be read.
    #[error("is not a well-formed JWT")]
    Malformed,
    /// It is signed in another way.
    #[error("must be signed with HS256")]
    Algorithm,
    /// It was not signed with our key, or has been changed since.
    #[error("has a signature that does not match")]
    Signature,
    /// Its time is over.
    #[error("has expired")]
    Expired,
    /// Its time has not come.
    #[error("is not valid yet (`nbf`)")]
    NotYet,
    /// It was made for somebody else.
    #[error("is for another audience (`aud`)")]
    Audience,
    /// A claim is missing or of the wrong type.
    #[error("has no usable `{0}`")]
    Claim(String),
    /// Its `sub` is no user.
    #[error("has a `sub` that is no user id: it {0}")]
    Subject(#[from] NameError),
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<i64>,
}

/// The claims of a token that is made here.
#[derive(Serialize)]
struct Made<'a> {
    sub: &'a str,
    iat: i64,
    exp: i64,
}

/// The credentials that are accepted.
pub struct Auth {
    server_key_digest: [u8; 32],
    tokens: Option<Tokens>,
}

/// How user tokens are checked and made.
struct Tokens {
    checking: DecodingKey,
    validation: Validation,
    signing: EncodingKey,
}

impl Auth {
    /// Accepts that server key, and user tokens if there is a key for them.
    #[must_use]
    pub fn new(server_key: &ServerKey, token_key: Option<&TokenKey>) -> Auth {
        let tokens = token_key.map(|TokenKey(secret)| {
            let mut validation = Validation::new(Algorithm::HS256);
            validation.leeway = 0;
            validation.validate_nbf = true;
            validation.set_required_spec_claims(&["exp", "sub"]);
            Tokens { checking: DecodingKey::from_secret(secret), validation, signing: EncodingKey::from_secret(secret) }
        });
        Auth { server_key_digest: sha256(server_key.0.as_bytes()), tokens }
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
        let Tokens { checking, validation, .. } = self.tokens.as_ref().ok_or(Refusal::TokensOff)?;
        let checked = jsonwebtoken::decode::<Claims>(token, checking, validation);
        let Claims { sub, exp } = checked.map_err(|error| TokenError::of(error.into_kind()))?.claims;
        let missing = |claim: &str| TokenError::Claim(claim.to_owned());
        let user = sub.ok_or_else(|| missing("sub"))?.parse().map_err(TokenError::Subject)?;
        let expires_at = exp.and_then(|second| Timestamp::from_second(second).ok()).ok_or_else(|| missing("exp"))?;
        Ok(Principal::User { user, expires_at })
    }

    /// Makes a token of a user that is valid until then, in whole seconds; nothing if there is no key for it.
    #[must_use]
    pub fn token(&self, user: &UserId, expires_at: Timestamp) -> Option<(String, Timestamp)> {
        let Tokens { signing, .. } = self.tokens.as_ref()?;
        let made = Made { sub: user.as_str(), iat: Timestamp::now().as_second(), exp: expires_at.as_second() };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &made, signing).ok()?;
        Some((token, Timestamp::from_second(made.exp).ok()?))
    }
}

impl TokenError {
    fn of(kind: ErrorKind) -> TokenError {
        match kind {
            ErrorKind::InvalidAlgorithm | ErrorKind::MissingAlgorithm | ErrorKind::UnsupportedAlgorithm => {
                Self::Algorithm
            }
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::ImmatureSignature => Self::NotYet,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => Self::Claim(claim),
            _ => Self::Malformed,
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("a SHA-256 digest has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a secret of at least thirty-two bytes";

    fn token(claims: &serde_json::Value, algorithm: Algorithm, secret: &str) -> String {
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::new(algorithm), claims, &key).expect("signed")
    }

    fn in_seconds(seconds: i64) -> i64 {
        Timestamp::now().as_second() + seconds
    }

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
    fn a_token_is_its_subject_until_it_expires() {
        let auth = Auth::new(&ServerKey::generate(), TokenKey::given(SECRET).as_ref());
        let expires_at = in_seconds(60);
        let token = token(&serde_json::json!({"sub": "ñandú|42", "exp": expires_at}), Algorithm::HS256, SECRET);
        let principal = Principal::User {
            user: "ñandú|42".parse().expect("valid"),
            expires_at: Timestamp::from_second(expires_at).expect("in range"),
        };
        assert_eq!(auth.principal(format!("Bearer {token}").as_bytes()), Ok(principal.clone()));
        assert_eq!(auth.user(token.as_bytes()), Ok(principal));
    }

    #[test]
    fn a_token_that_is_made_here_is_accepted_here() {
        let auth = Auth::new(&ServerKey::generate(), Some(&TokenKey::generate()));
        let user: UserId = "ñandú|42".parse().expect("valid");
        let soon = Timestamp::from_second(in_seconds(60)).expect("in range");
        let (token, expires_at) = auth.token(&user, soon).expect("there is a key");
        assert_eq!(auth.user(token.as_bytes()), Ok(Principal::User { user: user.clone(), expires_at }));
        assert_eq!(Auth::new(&ServerKey::generate(), None).token(&user, soon), None);
    }

    #[test]
    fn a_token_that_does_not_pass_says_which_check_failed() {
        let auth = Auth::new(&ServerKey::generate(), TokenKey::given(SECRET).as_ref());
        let (soon, past) = (in_seconds(60), in_seconds(-2));
        let good = serde_json::json!({"sub": "1", "exp": soon});
        let claim = |name: &str| TokenError::Claim(name.into());
        for (claims, algorithm, secret, wanted) in [
            (good.clone(), Algorithm::HS256, "another secret of thirty-two bytes, or more", TokenError::Signature),
            (good, Algorithm::HS384, SECRET, TokenError::Algorithm),
            (serde_json::json!({"sub": "1", "exp": past}), Algorithm::HS256, SECRET, TokenError::Expired),
            (serde_json::json!({"sub": "1", "exp": soon, "nbf": soon}), Algorithm::HS256, SECRET, TokenError::NotYet),
            (serde_json::json!({"sub": "1", "exp": soon, "aud": "x"}), Algorithm::HS256, SECRET, TokenError::Audience),
            (serde_json::json!({"sub": "1"}), Algorithm::HS256, SECRET, claim("exp")),
            (serde_json::json!({"exp": soon}), Algorithm::HS256, SECRET, claim("sub")),
            (serde_json::json!({"sub": "1", "exp": "soon"}), Algorithm::HS256, SECRET, TokenError::Malformed),
            (serde_json::json!({"sub": "a b", "exp": soon}), Algorithm::HS256, SECRET, NameError::Character.into()),
        ] {
            let token = token(&claims, algorithm, secret);
            assert_eq!(auth.user(token.as_bytes()), Err(Refusal::Token(wanted)), "{claims}");
        }
        // {"alg":"none"}, and something that is not even JSON.
        let unsigned =
            format!("eyJhbGciOiJub25lIn0.{}.", URL_SAFE_NO_PAD.encode(format!("{{\"sub\":\"1\",\"exp\":{soon}}}")));
        for token in [unsigned.as_str(), "a.b.c", "abc", "", "..", "\u{1f980}.x.y"] {
            assert!(matches!(auth.user(token.as_bytes()), Err(Refusal::Token(_))), "{token}");
        }
    }

    #[test]
    fn keys_are_long_random_and_not_shown() {
        assert_ne!(ServerKey::generate(), ServerKey::generate());
        assert_eq!(ServerKey::generate().reveal().len(), SERVER_KEY_PREFIX.len() + 32);
        assert_eq!(format!("{:?}", ServerKey::generate()), "***");
        assert_eq!(ServerKey::given("short"), None);
        assert_eq!(ServerKey::given("sixteen letters\n"), None);
        assert_eq!(TokenKey::given(&SECRET[..31]), None);
        assert_eq!(format!("{:?}", TokenKey::given(SECRET)), "Some(***)");
    }
}
