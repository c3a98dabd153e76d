//! User tokens: a JWT (RFC 7519) whose `sub` is the user. Only this file and those below it know JWT.
//!
//! **Invariants:** a token is checked with the keys of the issuer that it names and with no others, so none can sign for
//! another. The algorithm is fixed with the key, never taken from the token. A token without an end is none. An audience that
//! is configured must be there and be that. Nothing in a token makes the server ask anybody else.
//!
//! Deliberately absent: where keys come from. That is the configuration's and `jwks`'s.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::Principal;
use crate::loopback::is_loopback;
use crate::notification::{NameError, UserId};

mod issuing;
pub mod own;
mod pem;
mod unverified;

pub(super) use issuing::{Issuing, Replaced};
use own::{OWN_ISSUER, Own};
use unverified::Unverified;

/// [`TokenRules::leeway`] unless it is given, and the longest.
pub const LEEWAY_DEFAULT: Duration = Duration::from_secs(30);
/// Beyond this a wrong clock has to be set right: a longer leeway would widen what a stolen token may claim.
pub const LEEWAY_MAX: Duration = Duration::from_mins(5);

/// Longest address of a key set, in bytes.
const JWKS_URL_BYTES_MAX: usize = 2048;

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenAlgorithm(Algorithm);

impl TokenAlgorithm {
    /// HMAC with SHA-256, by a secret.
    pub const HS256: TokenAlgorithm = TokenAlgorithm(Algorithm::HS256);
    /// RSA with PKCS #1 v1.5 and SHA-256.
    pub(super) const RS256: TokenAlgorithm = TokenAlgorithm(Algorithm::RS256);
    /// RSA with PSS and SHA-256.
    pub(super) const PS256: TokenAlgorithm = TokenAlgorithm(Algorithm::PS256);
    /// ECDSA over P-256 with SHA-256.
    pub(super) const ES256: TokenAlgorithm = TokenAlgorithm(Algorithm::ES256);
    /// Ed25519.
    pub(super) const EDDSA: TokenAlgorithm = TokenAlgorithm(Algorithm::EdDSA);

    /// Those that are known, by their names in RFC 7518 and RFC 8037.
    const KNOWN: [(&'static str, Algorithm); 7] = [
        ("HS256", Algorithm::HS256),
        ("HS384", Algorithm::HS384),
        ("HS512", Algorithm::HS512),
        ("RS256", Algorithm::RS256),
        ("PS256", Algorithm::PS256),
        ("ES256", Algorithm::ES256),
        ("EdDSA", Algorithm::EdDSA),
    ];

    fn name(self) -> &'static str {
        Self::KNOWN.iter().find(|(_, algorithm)| *algorithm == self.0).map_or("unknown", |(name, _)| name)
    }

    /// What a public key must be for it, for people.
    fn kind(self) -> &'static str {
        match self.0 {
            Algorithm::ES256 => "a public P-256 key",
            Algorithm::EdDSA => "a public Ed25519 key",
            _ => "a public RSA key of 2,048 to 8,192 bits",
        }
    }

    /// Fewest bytes of its secret: as many as its hash gives (RFC 7518, section 3.2); nothing if it has a pair of keys.
    fn secret_bytes_min(self) -> Option<usize> {
        match self.0 {
            Algorithm::HS256 => Some(32),
            Algorithm::HS384 => Some(48),
            Algorithm::HS512 => Some(64),
            _ => None,
        }
    }
}

impl fmt::Display for TokenAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TokenAlgorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::KNOWN.iter().find(|(name, _)| *name == text);
        known.map(|(_, algorithm)| TokenAlgorithm(*algorithm)).ok_or_else(|| {
            let names: Vec<&str> = Self::KNOWN.iter().map(|(name, _)| *name).collect();
            format!("must be one of {}", names.join(", "))
        })
    }
}

/// Why a key can't check tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeyError {
    /// The secret can be guessed.
    #[error("must have at least {0} bytes")]
    Short(usize),
    /// A key in PEM given as a secret. A public one is known to others, who could then sign.
    #[error("is a key in PEM, while {0} takes a secret: set the algorithm of the key (RS256, PS256, ES256 or EdDSA)")]
    NotSecret(TokenAlgorithm),
    /// The private key of a pair.
    #[error(
        "is a private key, which only the issuer should have: give the public key of the pair (openssl pkey -pubout)"
    )]
    Private,
    /// No key of that kind.
    #[error("must be {kind} in PEM (-----BEGIN PUBLIC KEY-----) for {0}", kind = .0.kind())]
    Pem(TokenAlgorithm),
}

/// A public key in numbers, big-endian, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    /// Its name (`kid`).
    pub(super) id: Option<String>,
    /// The only way in which it is used.
    pub(super) algorithm: TokenAlgorithm,
    /// What it is.
    pub(super) numbers: Numbers,
}

/// What a public key is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Of RSA.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// A point of P-256: 4, x, y (SEC 1).
    P256(Vec<u8>),
    /// A point of Ed25519.
    Ed25519(Vec<u8>),
}

/// The key with which tokens are checked: a secret, which also signs them, or the public one of a pair.
#[derive(Clone)]
pub struct TokenKey {
    algorithm: TokenAlgorithm,
    /// Its name (`kid`): then it checks no token that names another.
    id: Option<String>,
    checking: DecodingKey,
    /// There if it is a secret.
    signing: Option<EncodingKey>,
}

impl TokenKey {
    /// A new secret of 256 random bits, for HS256.
    #[must_use]
    pub fn generate() -> TokenKey {
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random).expect("the operating system has randomness");
        TokenKey::secret(TokenAlgorithm::HS256, &random)
    }

    /// Takes a key that was given: a secret as it stands, or a public key in PEM.
    ///
    /// # Errors
    /// When it is none for that algorithm.
    pub fn given(algorithm: TokenAlgorithm, text: &str) -> Result<TokenKey, TokenKeyError> {
        let Some(bytes_min) = algorithm.secret_bytes_min() else {
            let checking = pem::public_key(algorithm, text)?;
            return Ok(TokenKey { algorithm, id: None, checking, signing: None });
        };
        if pem::is_pem(text) {
            Err(TokenKeyError::NotSecret(algorithm))
        } else if text.len() < bytes_min {
            Err(TokenKeyError::Short(bytes_min))
        } else {
            Ok(TokenKey::secret(algorithm, text.as_bytes()))
        }
    }

    /// The same under a name (`kid`).
    #[must_use]
    pub fn named(self, id: impl Into<String>) -> TokenKey {
        TokenKey { id: Some(id.into()), ..self }
    }

    fn secret(algorithm: TokenAlgorithm, secret: &[u8]) -> TokenKey {
        let (checking, signing) = (DecodingKey::from_secret(secret), EncodingKey::from_secret(secret));
        TokenKey { algorithm, id: None, checking, signing: Some(signing) }
    }

    fn public(key: &PublicKey) -> TokenKey {
        let checking = match &key.numbers {
            Numbers::Rsa { modulus, exponent } => DecodingKey::from_rsa_raw_components(modulus, exponent),
            Numbers::P256(point) => DecodingKey::from_ec_der(point),
            Numbers::Ed25519(point) => DecodingKey::from_ed_der(point),
        };
        TokenKey { algorithm: key.algorithm, id: key.id.clone(), checking, signing: None }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a key set is: `https:`, or `http:` on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUrl(Url);

impl JwksUrl {
    /// The address.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.0.host().is_some_and(|host| is_loopback(&host))
    }
}

impl FromStr for JwksUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > JWKS_URL_BYTES_MAX {
            return Err(format!("must have at most {JWKS_URL_BYTES_MAX} bytes"));
        }
        let url = JwksUrl(Url::parse(text).map_err(|error| format!("must be an address: {error}"))?);
        if !(url.0.scheme() == "https" || url.0.scheme() == "http" && url.is_loopback()) {
            return Err("must be https:, or http: on this machine".into());
        }
        if !url.0.username().is_empty() || url.0.password().is_some() {
            return Err("must hold no user name and no password: a key set is public".into());
        }
        Ok(url)
    }
}

/// Whose tokens are accepted.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// Those who make them, each with another name.
    pub issuers: Vec<Issuer>,
    /// How far `nbf` and `iat` may be ahead of this server's clock, at most [`LEEWAY_MAX`].
    pub leeway: Duration,
}

/// Somebody who makes tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// What `iss` of its tokens is. The one without a name has all tokens that name none of the others.
    pub name: Option<String>,
    /// What their `aud` is or has, if it is named. If it is not, a token made for a certain audience is not ours.
    pub audience: Option<String>,
    /// The keys that are given, at least one unless others are fetched.
    pub keys: Vec<TokenKey>,
    /// Where its other keys are.
    pub jwks_url: Option<JwksUrl>,
}

impl TokenRules {
    /// Only tokens that are made here.
    #[must_use]
    pub fn none() -> TokenRules {
        TokenRules { issuers: Vec::new(), leeway: LEEWAY_DEFAULT }
    }

    /// All tokens that are signed with that key.
    #[must_use]
    pub fn of(key: TokenKey) -> TokenRules {
        let issuers = vec![Issuer { name: None, audience: None, keys: vec![key], jwks_url: None }];
        TokenRules { issuers, leeway: LEEWAY_DEFAULT }
    }
}

/// Why a token does not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It can't be read.
    #[error("is not a well-formed JWT")]
    Malformed,
    /// It is signed in another way.
    #[error("must be signed with {0}")]
    Algorithm(TokenAlgorithm),
    /// It was not signed with our key, or has been changed since.
    #[error("has a signature that does not match")]
    Signature,
    /// Its time is over.
    #[error("has expired")]
    Expired,
    /// Its time has not come.
    #[error("is not valid yet (`nbf`)")]
    NotYet,
    /// Its `iat` is further ahead than the leeway: the issuer's clock and this server's differ.
    #[error("says that it was issued in the future (`iat`): the clocks of its issuer and of this server differ")]
    Future,
    /// The header has a parameter with which the token can't be read as it was meant.
    #[error("has a header parameter that is not supported (`{0}`)")]
    Header(&'static str),
    /// It was made by somebody else.
    #[error("is of another issuer (`iss`)")]
    Issuer,
    /// It was not made here, and no other issuer is configured.
    #[error(
        "was not made by this server (POST /v1/tokens), which was started without --jwt-key, --jwks-url and [[issuers]]"
    )]
    NotOurs,
    /// Its issuer has no such key.
    #[error("is signed with a key (`kid`) that its issuer does not have")]
    Key,
    /// Nobody can say now whether it is good.
    #[error("can't be checked now: the keys of its issuer could not be fetched")]
    Away,
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

/// The claims of a token that is made here.
#[derive(Serialize)]
struct Made<'a> {
    sub: &'a str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

/// Checks tokens, and makes them.
pub(super) struct Tokens {
    issuers: Vec<Arc<Issuing>>,
    leeway: Duration,
    own: Own,
}

impl Tokens {
    pub(super) fn new(rules: TokenRules) -> Tokens {
        let TokenRules { issuers, leeway } = rules;
        let issuing = |issuer| Arc::new(Issuing::new(issuer, leeway));
        Tokens { issuers: issuers.into_iter().map(issuing).collect(), leeway, own: Own::default() }
    }

    /// How far the times of a token may be ahead.
    pub(super) fn leeway(&self) -> Duration {
        self.leeway
    }

    /// The server's own secrets.
    pub(super) fn own(&self) -> &Own {
        &self.own
    }

    /// Those who make them.
    pub(super) fn issuers(&self) -> &[Arc<Issuing>] {
        &self.issuers
    }

    /// Whose token that is.
    pub(super) fn user(&self, token: &[u8]) -> Result<Principal, TokenError> {
        // Nothing of this is verified yet. It can only refuse, and picks, among keys that are here, those that it is verified with.
        let token = Unverified::read(token)?;
        let name = match token.claim("iss") {
            None => None,
            Some(Value::String(name)) => Some(name.as_str()),
            Some(_) => return Err(TokenError::Claim("iss".to_owned())),
        };
        if name == Some(OWN_ISSUER) && self.signs_with_own() {
            return self.own.check(&token, self.leeway);
        }
        self.issuer(name)?.check(&token)
    }

    fn issuer(&self, name: Option<&str>) -> Result<&Issuing, TokenError> {
        let with = |name: Option<&str>| self.issuers.iter().find(|issuing| issuing.rules().name.as_deref() == name);
        let found = with(name).or_else(|| with(None));
        found.map(|issuing| &**issuing).ok_or_else(|| match name {
            _ if self.issuers.is_empty() => TokenError::NotOurs,
            Some(_) => TokenError::Issuer,
            None => TokenError::Claim("iss".to_owned()),
        })
    }

    /// The first secret that is configured, and its issuer.
    fn given_secret(&self) -> Option<(&Issuer, &TokenKey)> {
        let mut keys = self.issuers.iter().flat_map(|issuing| {
            let issuer = issuing.rules();
            issuer.keys.iter().map(move |key| (issuer, key))
        });
        keys.find(|(_, key)| key.signing.is_some())
    }

    /// Whether tokens are signed with the server's own secret: unless another one is configured. Then its own is not accepted.
    pub(super) fn signs_with_own(&self) -> bool {
        self.given_secret().is_none()
    }

    /// Makes a token that is valid until then, in whole seconds; nothing before the store's secrets are here.
    pub(super) fn make(&self, user: &UserId, expires_at: Timestamp) -> Option<(String, Timestamp)> {
        let (name, audience, key) = match self.given_secret() {
            Some((issuer, key)) => (issuer.name.as_deref(), issuer.audience.as_deref(), key.clone()),
            None => (Some(OWN_ISSUER), None, self.own.signing()?),
        };
        let secret = key.signing.as_ref()?;
        let (now, exp) = (Timestamp::now().as_second(), expires_at.as_second());
        let made = Made { sub: user.as_str(), iat: now, exp, iss: name, aud: audience };
        let header = Header { kid: key.id.clone(), ..Header::new(key.algorithm.0) };
        let token = jsonwebtoken::encode(&header, &made, secret).ok()?;
        Some((token, Timestamp::from_second(made.exp).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    };
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use serde_json::json;

    use super::*;
    use crate::auth::Trust;

    const SECRET: &str = "a secret of at least sixty-four bytes, so that it fits every algorithm there is";

    const RSA_OF_1024_BITS: &str = "-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDPuX3bfnFFC5zlMnHVvcAJsZxb\n\
UNqSXKObyioXcI8uj7QyesYp89lOd3ASY1W9GFWo2xGNqGH+Zz63irESwrGNZYHc\n\
m7z2jaZ9AgsX2Ny7Y+f9ZG3EfIGZgYYggwqPq/C3CbRnYCa4EJ16iEZI+UNV3Q+K\n\
tlrVRQHTSqgGchOP8QIDAQAB\n\
-----END PUBLIC KEY-----\n";

    fn algorithm(name: &str) -> TokenAlgorithm {
        name.parse().expect("known")
    }

    fn rules(name: &str, key: &str) -> TokenRules {
        TokenRules::of(TokenKey::given(algorithm(name), key).expect("a key"))
    }

    fn accepting(issuers: Vec<Issuer>) -> TokenRules {
        TokenRules { issuers, leeway: LEEWAY_DEFAULT }
    }

    /// Those of an issuer with a name and an audience.
    fn issuer(name: Option<&str>, audience: Option<&str>, keys: Vec<TokenKey>) -> Issuer {
        Issuer { name: name.map(str::to_owned), audience: audience.map(str::to_owned), keys, jwks_url: None }
    }

    fn secret(name: &str) -> TokenKey {
        TokenKey::given(algorithm(name), SECRET).expect("a key")
    }

    fn signed(claims: &Value, name: &str, key: &EncodingKey) -> Vec<u8> {
        signed_as(claims, name, key, None)
    }

    fn signed_as(claims: &Value, name: &str, key: &EncodingKey, id: Option<&str>) -> Vec<u8> {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm(name).0) };
        jsonwebtoken::encode(&header, claims, key).expect("signed").into_bytes()
    }

    fn by_secret(claims: &Value, name: &str) -> Vec<u8> {
        signed(claims, name, &EncodingKey::from_secret(SECRET.as_bytes()))
    }

    fn in_seconds(seconds: i64) -> i64 {
        Timestamp::now().as_second() + seconds
    }

    fn pem(der: &[u8]) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    /// For each algorithm with a pair of keys: the private one, and the public one in PEM.
    fn pairs() -> Vec<(&'static str, EncodingKey, String)> {
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("generated");
        let curve_private = ec.to_pkcs8v1().expect("encoded");
        let curve_public: PublicKeyX509Der<'_> = ec.public_key().as_der().expect("encoded");
        let ed = Ed25519KeyPair::generate().expect("generated");
        let ed_private: Pkcs8V1Der<'_> = ed.as_der().expect("encoded");
        let ed_public: PublicKeyX509Der<'_> = ed.public_key().as_der().expect("encoded");
        let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("generated");
        let rsa_private: Pkcs8V1Der<'_> = rsa.as_der().expect("encoded");
        let rsa_public: PublicKeyX509Der<'_> = rsa.public_key().as_der().expect("encoded");
        let rsa_private = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(rsa_private.as_ref())
        );
        let rsa_private = EncodingKey::from_rsa_pem(rsa_private.as_bytes()).expect("a key");
        vec![
            ("ES256", EncodingKey::from_ec_der(curve_private.as_ref()), pem(curve_public.as_ref())),
            ("EdDSA", EncodingKey::from_ed_der(ed_private.as_ref()), pem(ed_public.as_ref())),
            ("RS256", rsa_private.clone(), pem(rsa_public.as_ref())),
            ("PS256", rsa_private, pem(rsa_public.as_ref())),
        ]
    }

    #[test]
    fn a_token_is_its_subject_until_it_expires() {
        let expires_at = in_seconds(60);
        let claims = json!({"sub": "ñandú|42", "iat": 7, "exp": expires_at});
        let principal = Principal::User {
            user: "ñandú|42".parse().expect("valid"),
            issued_at: Timestamp::from_second(7).expect("in range"),
            expires_at: Timestamp::from_second(expires_at).expect("in range"),
            trust: None,
        };
        for name in ["HS256", "HS384", "HS512"] {
            let tokens = Tokens::new(rules(name, SECRET));
            assert_eq!(tokens.user(&by_secret(&claims, name)), Ok(principal.clone()), "{name}");
        }
        for (name, private, public) in pairs() {
            let tokens = Tokens::new(rules(name, &public));
            assert_eq!(tokens.user(&signed(&claims, name, &private)), Ok(principal.clone()), "{name}");
            assert_eq!(tokens.make(&"1".parse().expect("valid"), Timestamp::now()), None, "{name} can only check");
        }
    }

    #[test]
    fn a_token_that_is_made_here_is_accepted_here() {
        let user: UserId = "ñandú|42".parse().expect("valid");
        let soon = Timestamp::from_second(in_seconds(60)).expect("in range");
        let (_, _, public) = pairs().swap_remove(0);
        let can_only_check = TokenKey::given(algorithm("ES256"), &public).expect("a key");
        let first = issuer(Some("first"), None, vec![can_only_check]);
        let named = issuer(Some("us"), Some("them"), vec![secret("HS512").named("2026")]);
        for rules in [TokenRules::of(TokenKey::generate()), accepting(vec![first, named])] {
            let tokens = Tokens::new(rules);
            let (token, expires_at) = tokens.make(&user, soon).expect("there is a secret");
            let Ok(Principal::User { user: made_for, issued_at, expires_at: end, trust: None }) =
                tokens.user(token.as_bytes())
            else {
                panic!("it is accepted");
            };
            assert_eq!((made_for, end), (user.clone(), expires_at));
            assert!((0..60).contains(&(Timestamp::now().as_second() - issued_at.as_second())), "{issued_at}");
        }
    }

    #[test]
    fn a_token_that_does_not_pass_says_which_check_failed() {
        let tokens = Tokens::new(rules("HS256", SECRET));
        let (soon, past) = (in_seconds(60), in_seconds(-2));
        let good = json!({"sub": "1", "exp": soon});
        let claim = |name: &str| TokenError::Claim(name.into());
        for (claims, name, wanted) in [
            (good.clone(), "HS384", TokenError::Algorithm(TokenAlgorithm::HS256)),
            (json!({"sub": "1", "exp": past}), "HS256", TokenError::Expired),
            (json!({"sub": "1", "exp": soon, "nbf": soon}), "HS256", TokenError::NotYet),
            (json!({"sub": "1", "exp": soon, "aud": "x"}), "HS256", TokenError::Audience),
            (json!({"sub": "1"}), "HS256", claim("exp")),
            (json!({"exp": soon}), "HS256", claim("sub")),
            (json!({"sub": "1", "exp": "soon"}), "HS256", claim("exp")),
            (json!({"sub": 1.5, "exp": soon}), "HS256", claim("sub")),
            (json!({"sub": ["1"], "exp": soon}), "HS256", claim("sub")),
            (json!({"sub": {}, "exp": soon}), "HS256", claim("sub")),
            (json!({"sub": true, "exp": soon}), "HS256", claim("sub")),
            (json!({"sub": "1", "exp": [soon]}), "HS256", claim("exp")),
            (json!({"sub": "1", "exp": {"at": soon}}), "HS256", claim("exp")),
            (json!({"sub": "a b", "exp": soon}), "HS256", NameError::Character.into()),
        ] {
            assert_eq!(tokens.user(&by_secret(&claims, name)), Err(wanted), "{claims}");
        }
        let other = EncodingKey::from_secret(b"another secret of thirty-two bytes, or more");
        assert_eq!(tokens.user(&signed(&good, "HS256", &other)), Err(TokenError::Signature));
        // {"alg":"none"}, and something that is not even JSON.
        let unsigned =
            format!("eyJhbGciOiJub25lIn0.{}.", URL_SAFE_NO_PAD.encode(format!("{{\"sub\":\"1\",\"exp\":{soon}}}")));
        for token in [unsigned.as_str(), "a.b.c", "abc", "", "..", "\u{1f980}.x.y"] {
            assert!(tokens.user(token.as_bytes()).is_err(), "{token}");
        }
    }

    /// Mutant: one that does not say when it was issued counts as new.
    #[test]
    fn a_token_says_when_it_was_issued_or_is_as_old_as_can_be() {
        let tokens = Tokens::new(rules("HS256", SECRET));
        let issued_at = |iat: Value| {
            let token = by_secret(&json!({"sub": "1", "exp": in_seconds(60), "iat": iat}), "HS256");
            let principal = tokens.user(&token).unwrap_or_else(|error| panic!("{iat}: {error}"));
            if let Principal::User { issued_at, .. } = principal { issued_at } else { panic!("a user's") }
        };
        assert_eq!(issued_at(json!(1_000)).as_millisecond(), 1_000_000);
        assert_eq!(issued_at(json!(1_000.5)).as_millisecond(), 1_000_500);
        for nothing in [Value::Null, json!(-1)] {
            assert_eq!(issued_at(nothing), Timestamp::MIN);
        }
    }

    /// As back ends write it that give their users numbers.
    #[test]
    fn a_subject_may_be_a_whole_number() {
        let tokens = Tokens::new(rules("HS256", SECRET));
        for number in ["1", "0", "-7", "18446744073709551615"] {
            let claims: Value =
                serde_json::from_str(&format!(r#"{{"sub":{number},"exp":{}}}"#, in_seconds(60))).expect("JSON");
            let Ok(Principal::User { user, .. }) = tokens.user(&by_secret(&claims, "HS256")) else {
                panic!("{number} is a user");
            };
            assert_eq!(user.as_str(), number);
        }
        // In more than one notation, or rounded.
        for number in ["1.0", "1e3", "18446744073709551616"] {
            let claims: Value =
                serde_json::from_str(&format!(r#"{{"sub":{number},"exp":{}}}"#, in_seconds(60))).expect("JSON");
            assert_eq!(tokens.user(&by_secret(&claims, "HS256")), Err(TokenError::Claim("sub".into())), "{number}");
        }
    }

    /// Mutant: a time is a whole number.
    #[test]
    fn the_times_of_a_token_may_have_fractions_and_need_no_certain_notation() {
        let tokens = Tokens::new(rules("HS256", SECRET));
        let end = |exp: &str| {
            let claims: Value = serde_json::from_str(&format!(r#"{{"sub":"1","exp":{exp}}}"#)).expect("JSON");
            tokens.user(&by_secret(&claims, "HS256")).map(|principal| match principal {
                Principal::User { expires_at, .. } => expires_at.as_millisecond(),
                Principal::Server(_) => panic!("a user's"),
            })
        };
        let soon = in_seconds(60);
        assert_eq!(end(&format!("{soon}.5")), Ok(soon * 1000 + 500));
        assert_eq!(end(&format!("{soon}.0")), Ok(soon * 1000));
        assert_eq!(end("4.1024448e9"), Ok(4_102_444_800_000));
        for past in ["0", "-1", "-0.5", "0.5", "1e9", "-1e300", "-9223372036854775808"] {
            assert_eq!(end(past), Err(TokenError::Expired), "{past}");
        }
        assert_eq!(end(&format!("{}.9", in_seconds(-2))), Err(TokenError::Expired));
        let milliseconds = format!("{soon}000");
        for beyond in ["1e300", "18446744073709551615", "18446744073709551616", "253402300800", &milliseconds] {
            assert_eq!(end(beyond), Err(TokenError::Claim("exp".into())), "{beyond}");
        }
        for (claim, past) in [("nbf", json!(1_000.5)), ("nbf", json!(-1)), ("iat", json!(1e3)), ("iat", json!(-0.5))] {
            let mut claims = json!({"sub": "1", "exp": soon});
            claims[claim] = past;
            assert!(tokens.user(&by_secret(&claims, "HS256")).is_ok(), "{claims}");
        }
    }

    /// Mutant: any leeway is enough.
    #[test]
    fn nbf_and_iat_may_be_ahead_by_the_leeway_and_no_further() {
        let leeway = |seconds| {
            let rules = TokenRules { leeway: Duration::from_secs(seconds), ..rules("HS256", SECRET) };
            let tokens = Tokens::new(rules);
            move |claim: &str, ahead: Value| {
                let mut claims = json!({"sub": "1", "exp": in_seconds(900)});
                claims[claim] = ahead;
                tokens.user(&by_secret(&claims, "HS256")).map(|_| ())
            }
        };
        let (half_a_minute, none) = (leeway(30), leeway(0));
        for (claim, refusal) in [("nbf", TokenError::NotYet), ("iat", TokenError::Future)] {
            for ahead in [-600, -1, 0, 2, 25, 30] {
                assert_eq!(half_a_minute(claim, json!(in_seconds(ahead))), Ok(()), "{claim} {ahead}");
            }
            for ahead in [40, 3_600, 1_000_000_000] {
                assert_eq!(half_a_minute(claim, json!(in_seconds(ahead))), Err(refusal.clone()), "{claim} {ahead}");
            }
            assert_eq!(half_a_minute(claim, json!(1e300)), Err(refusal.clone()), "{claim}");
            assert_eq!(none(claim, json!(in_seconds(0))), Ok(()), "{claim}");
            assert_eq!(none(claim, json!(in_seconds(10))), Err(refusal), "{claim}");
            for other in [json!("soon"), json!(true), json!([in_seconds(0)]), json!({})] {
                assert_eq!(half_a_minute(claim, other), Err(TokenError::Claim(claim.into())), "{claim}");
            }
        }
        // The end of a token has no leeway: its streams end with it.
        let tokens = Tokens::new(rules("HS256", SECRET));
        let ended = by_secret(&json!({"sub": "1", "exp": in_seconds(-2)}), "HS256");
        assert_eq!(tokens.user(&ended), Err(TokenError::Expired));
    }

    /// Mutant: no parameter is critical.
    #[test]
    fn a_token_whose_header_asks_for_more_than_is_understood_is_refused() {
        let tokens = Tokens::new(rules("HS256", SECRET));
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let says = |header: &str, claims: &str| {
            let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
            let signature =
                jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a secret signs");
            tokens.user(format!("{message}.{signature}").as_bytes()).map(|_| ())
        };
        let claims = format!(r#"{{"sub":"1","exp":{}}}"#, in_seconds(60));
        let with = |more: &str| says(&format!(r#"{{"alg":"HS256","typ":"JWT"{more}}}"#), &claims);
        for harmless in ["", r#","b64":true"#, r#","cty":"json""#, r#","typ2":"x""#, r#","jku":"http://127.0.0.1:1/""#]
        {
            assert_eq!(with(harmless), Ok(()), "{harmless}");
        }
        for (more, name) in [
            (r#","crit":["x"]"#, "crit"),
            (r#","crit":["exp"],"exp":1"#, "crit"),
            (r#","crit":["b64"],"b64":true"#, "crit"),
            (r#","crit":[]"#, "crit"),
            (r#","crit":null"#, "crit"),
            (r#","crit":"x""#, "crit"),
            (r#","crit":{"x":1}"#, "crit"),
            (r#","\u0063rit":["x"]"#, "crit"),
            (r#","b64":false"#, "b64"),
            (r#","b64":null"#, "b64"),
            (r#","b64":0"#, "b64"),
            (r#","b64":"true""#, "b64"),
            (r#","zip":"DEF""#, "zip"),
            (r#","enc":"A128GCM""#, "enc"),
            (r#","cty":"JWT""#, "cty"),
            (r#","cty":"jwt""#, "cty"),
            (r#","kid":1"#, "kid"),
            (r#","kid":["1"]"#, "kid"),
        ] {
            assert_eq!(with(more), Err(TokenError::Header(name)), "{more}");
        }
        for twice in [
            r#","alg":"HS256""#,
            r#","alg":"none""#,
            r#","kid":"1","kid":"2""#,
            r#","x":1,"x":1"#,
            r#","b64":false,"b64":true"#,
            r#","crit":["x"],"crit":[]"#,
        ] {
            assert_eq!(with(twice), Err(TokenError::Malformed), "{twice}");
        }
        let header = r#"{"alg":"HS256"}"#;
        for name in ["sub", "exp", "iat", "nbf", "iss", "aud", "anything", r"\u0073ub"] {
            let twice = format!(r#"{},"{name}":1,"{name}":1}}"#, claims.trim_end_matches('}'));
            assert_eq!(says(header, &twice), Err(TokenError::Malformed), "{twice}");
        }
    }

    /// Mutant: an issuer or an audience that need not be there.
    #[test]
    fn an_issuer_and_an_audience_that_are_named_must_be_those() {
        let named = issuer(Some("https://us"), Some("pregon"), vec![secret("HS256")]);
        let tokens = Tokens::new(accepting(vec![named]));
        let soon = in_seconds(60);
        let says = |iss: Value, aud: Value| {
            let mut claims = json!({"sub": "1", "exp": soon, "iss": iss, "aud": aud});
            claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
            tokens.user(&by_secret(&claims, "HS256")).map(|_| ())
        };
        assert_eq!(says(json!("https://us"), json!("pregon")), Ok(()));
        assert_eq!(says(json!("https://us"), json!(["other", "pregon"])), Ok(()));
        assert_eq!(says(json!("https://them"), json!("pregon")), Err(TokenError::Issuer));
        assert_eq!(says(json!("https://us/"), json!("pregon")), Err(TokenError::Issuer));
        assert_eq!(says(json!("https://us"), json!("other")), Err(TokenError::Audience));
        assert_eq!(says(json!("https://us"), json!([])), Err(TokenError::Audience));
        assert_eq!(says(Value::Null, json!("pregon")), Err(TokenError::Claim("iss".into())));
        assert_eq!(says(json!("https://us"), Value::Null), Err(TokenError::Claim("aud".into())));
        let without = Tokens::new(rules("HS256", SECRET));
        for audience in [json!(1), json!(true), json!({}), json!([1]), json!(["pregon", 1])] {
            assert_eq!(says(json!("https://us"), audience.clone()), Err(TokenError::Claim("aud".into())), "{audience}");
            let token = by_secret(&json!({"sub": "1", "exp": soon, "aud": audience}), "HS256");
            assert_eq!(without.user(&token), Err(TokenError::Claim("aud".into())), "{audience}, and none is wanted");
        }
    }

    /// Three issuers, one of them without a name, and every way to sign in another's name.
    #[test]
    fn no_issuer_signs_for_another() {
        let secrets = [b'1', b'2', b'3'].map(|byte| [byte; 64]);
        let key = |number: usize| {
            let text = std::str::from_utf8(&secrets[number]).expect("ASCII");
            TokenKey::given(algorithm("HS256"), text).expect("a key").named("the same")
        };
        let issuers = vec![
            issuer(Some("https://first"), None, vec![key(0)]),
            issuer(Some("https://second"), None, vec![key(1)]),
            issuer(None, None, vec![key(2)]),
        ];
        let tokens = Tokens::new(accepting(issuers));
        let soon = in_seconds(60);
        for (signer, secret) in secrets.iter().enumerate() {
            for (iss, its) in [
                (json!("https://first"), 0),
                (json!("https://second"), 1),
                (Value::Null, 2),
                (json!("https://third"), 2),
                (json!("https://first/"), 2),
                (json!("HTTPS://FIRST"), 2),
                (json!(""), 2),
            ] {
                for id in [None, Some("the same")] {
                    let claims = json!({"sub": "1", "exp": soon, "iss": iss});
                    let token = signed_as(&claims, "HS256", &EncodingKey::from_secret(secret), id);
                    let wanted = if signer == its { Ok(()) } else { Err(TokenError::Signature) };
                    assert_eq!(tokens.user(&token).map(|_| ()), wanted, "{signer} signs {claims}");
                }
            }
            let several = json!({"sub": "1", "exp": soon, "iss": ["https://first", "https://second"]});
            let token = signed(&several, "HS256", &EncodingKey::from_secret(secret));
            assert_eq!(tokens.user(&token), Err(TokenError::Claim("iss".into())));
        }
    }

    #[test]
    fn a_token_is_checked_with_the_key_that_it_names_and_each_key_has_one_algorithm() {
        let pairs = pairs();
        let keys = pairs.iter().map(|(name, _, public)| {
            TokenKey::given(algorithm(name), public).expect("a key").named(format!("key of {name}"))
        });
        let tokens = Tokens::new(accepting(vec![issuer(None, None, keys.collect())]));
        let claims = json!({"sub": "1", "exp": in_seconds(60)});
        let says = |name: &str, private: &EncodingKey, id: Option<&str>| {
            tokens.user(&signed_as(&claims, name, private, id)).map(|_| ())
        };
        for (name, private, _) in &pairs {
            assert_eq!(says(name, private, Some(&format!("key of {name}"))), Ok(()), "{name}");
            assert_eq!(says(name, private, None), Ok(()), "{name}: it is found among all");
            assert_eq!(says(name, private, Some("another")), Err(TokenError::Key), "{name}");
            for (other, _, _) in pairs.iter().filter(|(other, _, _)| other != name) {
                let refused = Err(TokenError::Algorithm(algorithm(other)));
                assert_eq!(says(name, private, Some(&format!("key of {other}"))), refused, "{name} as {other}");
            }
        }
    }

    /// Each kind of key, out of a document as an issuer shows it.
    #[test]
    fn a_key_of_a_key_set_checks_what_was_signed_with_it() {
        let shows = Issuer { jwks_url: Some("https://us/keys".parse().expect("valid")), ..issuer(None, None, vec![]) };
        let tokens = Tokens::new(accepting(vec![shows]));
        let claims = json!({"sub": "1", "exp": in_seconds(60)});
        for (name, private, _) in pairs() {
            let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&private, algorithm(name).0).expect("a public key");
            let document = json!({"keys": [jwk]}).to_string();
            let set = crate::auth::key_set::KeySet::read(document.as_bytes()).expect("a key set");
            tokens.issuers()[0].replace(set.keys);
            assert_eq!(tokens.user(&signed(&claims, name, &private)).map(|_| ()), Ok(()), "{document}");
            let another = pairs().into_iter().find(|(other, _, _)| *other == name).expect("one of each").1;
            assert_eq!(tokens.user(&signed(&claims, name, &another)), Err(TokenError::Signature), "{name}");
        }
    }

    #[test]
    fn a_key_that_is_gone_loses_its_trust_and_the_others_keep_theirs() {
        let fetched = |id: &str| {
            let pair = Ed25519KeyPair::generate().expect("generated");
            let private: Pkcs8V1Der<'_> = pair.as_der().expect("encoded");
            let numbers = Numbers::Ed25519(pair.public_key().as_ref().to_vec());
            let public = PublicKey { id: Some(id.to_owned()), algorithm: TokenAlgorithm::EDDSA, numbers };
            (EncodingKey::from_ed_der(private.as_ref()), public)
        };
        let shows = Issuer { jwks_url: Some("https://us/keys".parse().expect("valid")), ..issuer(None, None, vec![]) };
        let tokens = Tokens::new(accepting(vec![shows]));
        let issuing = &tokens.issuers()[0];
        let claims = json!({"sub": "1", "exp": in_seconds(60)});
        let trust = |id: &str, private: &EncodingKey| -> Result<Trust, TokenError> {
            let principal = tokens.user(&signed_as(&claims, "EdDSA", private, Some(id)))?;
            let Principal::User { trust, .. } = principal else { panic!("a user's") };
            Ok(trust.expect("it may go away"))
        };
        let [(a, public_a), (b, public_b), (c, public_c)] = [fetched("a"), fetched("b"), fetched("c")];
        assert_eq!((issuing.is_away(), trust("a", &a)), (true, Err(TokenError::Away)));
        assert_eq!(issuing.replace(vec![public_a, public_b.clone()]), Replaced { new: 2, gone: 0 });
        let (in_a, in_b) = (trust("a", &a).expect("good"), trust("b", &b).expect("good"));
        assert_eq!(issuing.replace(vec![public_c, public_b]), Replaced { new: 1, gone: 1 });
        assert!(!in_a.holds() && in_b.holds() && !issuing.is_away());
        assert_eq!(trust("a", &a), Err(TokenError::Key));
        assert_eq!(trust("b", &b), Ok(in_b.clone()), "it is the same as before");
        let in_c = trust("c", &c).expect("good");
        assert_eq!(issuing.withdraw(), 2);
        assert!(!in_b.holds() && !in_c.holds());
        assert_eq!(trust("b", &b), Err(TokenError::Away));
        assert_eq!(issuing.withdraw(), 0);
    }

    #[test]
    fn a_key_set_has_an_address_that_nobody_can_change_on_the_way() {
        for (text, loopback) in [
            ("https://login.example/keys", false),
            ("https://10.0.0.1:8443/keys?x=y", false),
            ("http://127.0.0.1:9/keys", true),
            ("http://localhost/keys", true),
            ("http://login.localhost/keys", true),
            ("http://[::1]:9/keys", true),
        ] {
            assert_eq!(text.parse::<JwksUrl>().expect(text).is_loopback(), loopback, "{text}");
        }
        for text in [
            "http://login.example/keys",
            "http://127.0.0.1.evil.example/keys",
            "http://localhost.evil.example/keys",
            "http://127.0.0.1@evil.example/keys",
            "https://user:password@login.example/keys",
            "file:///etc/keys",
            "ftp://127.0.0.1/keys",
            "data:application/json,{}",
            "/keys",
            "",
        ] {
            assert!(text.parse::<JwksUrl>().is_err(), "{text}");
        }
    }

    /// The classic: a token signed with the public key, as if it were a secret.
    #[test]
    fn a_public_key_is_no_secret() {
        let claims = json!({"sub": "1", "exp": in_seconds(60)});
        for (name, _, public) in pairs() {
            let tokens = Tokens::new(rules(name, &public));
            for (forged_name, secret) in [("HS256", public.as_bytes()), ("HS512", public.trim().as_bytes())] {
                let forged = signed(&claims, forged_name, &EncodingKey::from_secret(secret));
                assert_eq!(tokens.user(&forged), Err(TokenError::Algorithm(algorithm(name))), "{name}");
            }
        }
    }

    /// Otherwise the server starts and refuses every token. Mutants: a curve, and a size of RSA, that nobody looks at.
    #[test]
    fn a_key_that_could_check_no_token_is_refused() {
        let refused = |name: &str, key: &str| TokenKey::given(algorithm(name), key).map(|_| ()).expect_err(name);
        let labelled = |label: &str, der: &[u8]| pem(der).replace("PUBLIC KEY", label);
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
            for name in ["RS256", "PS256", "ES256", "EdDSA"] {
                assert_eq!(refused(name, &labelled(label, &[1; 64])), TokenKeyError::Private, "{label} for {name}");
            }
        }
        let pairs = pairs();
        let [ec, ed, rsa] = [0, 1, 2].map(|place: usize| pairs[place].2.as_str());
        for (name, key) in [("ES256", rsa), ("ES256", ed), ("EdDSA", rsa), ("EdDSA", ec), ("RS256", ec), ("PS256", ed)]
        {
            assert_eq!(refused(name, key), TokenKeyError::Pem(algorithm(name)), "{key}");
        }
        let other_curve = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("generated");
        let other_curve: PublicKeyX509Der<'_> = other_curve.public_key().as_der().expect("encoded");
        assert_eq!(refused("ES256", &pem(other_curve.as_ref())), TokenKeyError::Pem(algorithm("ES256")));
        for name in ["RS256", "PS256"] {
            assert_eq!(refused(name, RSA_OF_1024_BITS), TokenKeyError::Pem(algorithm(name)), "{name}");
        }
    }

    /// It is public: whoever has it could sign.
    #[test]
    fn a_key_in_pem_is_no_secret() {
        for (_, _, public) in pairs() {
            for name in ["HS256", "HS384", "HS512"] {
                for text in [public.clone(), public.replace('\n', "\\n"), public.replace("PUBLIC", "PRIVATE")] {
                    let refused = TokenKey::given(algorithm(name), &text).map(|_| ()).expect_err(name);
                    assert_eq!(refused, TokenKeyError::NotSecret(algorithm(name)), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_public_key_may_stand_in_one_line_with_its_line_ends_written_out() {
        let claims = json!({"sub": "1", "exp": in_seconds(60)});
        for (name, private, public) in pairs() {
            let tokens = Tokens::new(rules(name, &public.replace('\n', "\\n")));
            assert!(tokens.user(&signed(&claims, name, &private)).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_key_must_be_one_of_its_kind() {
        let refused = |name: &str, key: &str| TokenKey::given(algorithm(name), key).map(|_| ()).expect_err(name);
        assert_eq!(refused("HS256", &SECRET[..31]), TokenKeyError::Short(32));
        assert_eq!(refused("HS384", &SECRET[..47]), TokenKeyError::Short(48));
        assert_eq!(refused("HS512", &SECRET[..63]), TokenKeyError::Short(64));
        for name in ["RS256", "PS256", "ES256", "EdDSA"] {
            assert_eq!(refused(name, SECRET), TokenKeyError::Pem(algorithm(name)));
        }
        for (name, _, public) in pairs() {
            let other = if name == "ES256" { "EdDSA" } else { "ES256" };
            assert_eq!(refused(other, &public), TokenKeyError::Pem(algorithm(other)), "a key of {name}");
        }
        assert!("none".parse::<TokenAlgorithm>().is_err() && "hs256".parse::<TokenAlgorithm>().is_err());
        assert_eq!(format!("{:?}", TokenKey::generate()), "***");
    }
}
