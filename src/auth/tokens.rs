//! User tokens: a JWT (RFC 7519) whose `sub` is the user. This is the only file that knows JWT.
//!
//! **Invariants:** the algorithm is fixed with the key, never taken from the token. A token without an end is none. An issuer
//! and an audience that are configured must be there and be those. Nothing in a token makes the server ask anybody else.
//!
//! Deliberately absent so far: several issuers, and keys that are fetched.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::Principal;
use crate::notification::{NameError, UserId};

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenAlgorithm(Algorithm);

impl TokenAlgorithm {
    /// HMAC with SHA-256, by a secret.
    pub const HS256: TokenAlgorithm = TokenAlgorithm(Algorithm::HS256);

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
        let known = Self::KNOWN.iter().find(|(_, algorithm)| *algorithm == self.0);
        f.write_str(known.map_or("unknown", |(name, _)| name))
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
    /// It is no key of that kind.
    #[error("must be a public key of {0} in PEM (-----BEGIN PUBLIC KEY-----)")]
    Pem(TokenAlgorithm),
}

/// The key with which tokens are checked: a secret, which also signs them, or the public one of a pair.
#[derive(Clone)]
pub struct TokenKey {
    algorithm: TokenAlgorithm,
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
        if let Some(bytes_min) = algorithm.secret_bytes_min() {
            let fits = text.len() >= bytes_min;
            return if fits {
                Ok(TokenKey::secret(algorithm, text.as_bytes()))
            } else {
                Err(TokenKeyError::Short(bytes_min))
            };
        }
        let checking = match algorithm.0 {
            Algorithm::ES256 => DecodingKey::from_ec_pem(text.as_bytes()),
            Algorithm::EdDSA => DecodingKey::from_ed_pem(text.as_bytes()),
            _ => DecodingKey::from_rsa_pem(text.as_bytes()),
        };
        let checking = checking.map_err(|_| TokenKeyError::Pem(algorithm))?;
        Ok(TokenKey { algorithm, checking, signing: None })
    }

    fn secret(algorithm: TokenAlgorithm, secret: &[u8]) -> TokenKey {
        let (checking, signing) = (DecodingKey::from_secret(secret), EncodingKey::from_secret(secret));
        TokenKey { algorithm, checking, signing: Some(signing) }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Which tokens are accepted.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// Signed with that.
    pub key: TokenKey,
    /// Whose `iss` is that, if it is named.
    pub issuer: Option<String>,
    /// Whose `aud` is that or has it, if it is named. If it is not, a token made for a certain audience is not ours.
    pub audience: Option<String>,
}

impl TokenRules {
    /// All that are signed with that key.
    #[must_use]
    pub fn of(key: TokenKey) -> TokenRules {
        TokenRules { key, issuer: None, audience: None }
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
    /// It was made by somebody else.
    #[error("is of another issuer (`iss`)")]
    Issuer,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

/// Checks tokens, and makes them.
pub(super) struct Tokens {
    rules: TokenRules,
    validation: Validation,
}

impl Tokens {
    pub(super) fn new(rules: TokenRules) -> Tokens {
        let mut validation = Validation::new(rules.key.algorithm.0);
        validation.leeway = 0;
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = &rules.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = &rules.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        Tokens { rules, validation }
    }

    /// Whose token that is.
    pub(super) fn user(&self, token: &[u8]) -> Result<Principal, TokenError> {
        let checked = jsonwebtoken::decode::<Claims>(token, &self.rules.key.checking, &self.validation);
        let Claims { sub, exp } = checked.map_err(|error| self.error(error.into_kind()))?.claims;
        let missing = |claim: &str| TokenError::Claim(claim.to_owned());
        let user = sub.ok_or_else(|| missing("sub"))?.parse()?;
        let expires_at = exp.and_then(|second| Timestamp::from_second(second).ok()).ok_or_else(|| missing("exp"))?;
        Ok(Principal::User { user, expires_at })
    }

    /// Makes a token that is valid until then, in whole seconds; nothing if the key can only check.
    pub(super) fn make(&self, user: &UserId, expires_at: Timestamp) -> Option<(String, Timestamp)> {
        let TokenRules { key, issuer, audience } = &self.rules;
        let (now, exp) = (Timestamp::now().as_second(), expires_at.as_second());
        let made = Made { sub: user.as_str(), iat: now, exp, iss: issuer.as_deref(), aud: audience.as_deref() };
        let token = jsonwebtoken::encode(&Header::new(key.algorithm.0), &made, key.signing.as_ref()?).ok()?;
        Some((token, Timestamp::from_second(made.exp).ok()?))
    }

    fn error(&self, kind: ErrorKind) -> TokenError {
        match kind {
            ErrorKind::InvalidAlgorithm | ErrorKind::MissingAlgorithm | ErrorKind::UnsupportedAlgorithm => {
                TokenError::Algorithm(self.rules.key.algorithm)
            }
            ErrorKind::InvalidSignature => TokenError::Signature,
            ErrorKind::ExpiredSignature => TokenError::Expired,
            ErrorKind::ImmatureSignature => TokenError::NotYet,
            ErrorKind::InvalidIssuer => TokenError::Issuer,
            ErrorKind::InvalidAudience => TokenError::Audience,
            ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => TokenError::Claim(claim),
            _ => TokenError::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "a secret of at least sixty-four bytes, so that it fits every algorithm there is";

    fn algorithm(name: &str) -> TokenAlgorithm {
        name.parse().expect("known")
    }

    fn rules(name: &str, key: &str) -> TokenRules {
        TokenRules::of(TokenKey::given(algorithm(name), key).expect("a key"))
    }

    fn signed(claims: &Value, name: &str, key: &EncodingKey) -> Vec<u8> {
        jsonwebtoken::encode(&Header::new(algorithm(name).0), claims, key).expect("signed").into_bytes()
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
        let claims = json!({"sub": "ñandú|42", "exp": expires_at});
        let principal = Principal::User {
            user: "ñandú|42".parse().expect("valid"),
            expires_at: Timestamp::from_second(expires_at).expect("in range"),
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
        let named = TokenRules { issuer: Some("us".into()), audience: Some("them".into()), ..rules("HS512", SECRET) };
        for rules in [TokenRules::of(TokenKey::generate()), named] {
            let tokens = Tokens::new(rules);
            let (token, expires_at) = tokens.make(&user, soon).expect("there is a secret");
            assert_eq!(tokens.user(token.as_bytes()), Ok(Principal::User { user: user.clone(), expires_at }));
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
            (json!({"sub": "1", "exp": "soon"}), "HS256", TokenError::Malformed),
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

    /// Mutant: an issuer or an audience that need not be there.
    #[test]
    fn an_issuer_and_an_audience_that_are_named_must_be_those() {
        let named =
            TokenRules { issuer: Some("https://us".into()), audience: Some("pregon".into()), ..rules("HS256", SECRET) };
        let tokens = Tokens::new(named);
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
