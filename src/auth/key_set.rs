//! Key sets: a document (JWK Set, RFC 7517) becomes the public keys that it has for tokens. Pure and total.
//!
//! **Invariant:** how a key is used is decided here, from the key alone: by its `alg`, or the one algorithm that its kind has
//! here. What is a secret, is meant for something else or is too weak is no key, and the others are none the worse for it.
//!
//! Deliberately absent: certificates (`x5c`, `x5u`), and anything else that says where more could be found.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::tokens::{Numbers, PublicKey, TokenAlgorithm};

/// Largest document, in bytes. A key has some 400 to 2,000.
pub(super) const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// Most keys of a document: a token that names none is checked with all that fit.
pub(super) const KEYS_MAX: usize = 32;
/// Longest name of a key, in bytes.
const KEY_ID_BYTES_MAX: usize = 255;
/// Shortest and longest modulus of RSA, in bits. Shorter ones are too weak (RFC 7518, section 3.3), longer ones cost too much.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Longest exponent of RSA, in bytes: more than 33 bits are not taken by the library that checks.
const EXPONENT_BYTES_MAX: usize = 4;
/// Each number of a point, in bytes.
const COORDINATE_BYTES: usize = 32;

/// What a document has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeySet {
    /// The keys for tokens.
    pub(super) keys: Vec<PublicKey>,
    /// What else is in it: its place, and why it is no key for tokens.
    pub(super) refused: Vec<(usize, KeyRefusal)>,
}

/// Why a document is no key set.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeySetError {
    /// It is something else.
    #[error("it is no JWK Set")]
    Malformed(#[from] serde_json::Error),
    /// It has too many keys.
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
}

/// Why something in a key set is no key for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyRefusal {
    /// It lacks something, or has it in another form.
    #[error("is not well-formed")]
    Malformed,
    /// It is a secret, and stands in public.
    #[error("is a secret, which has no place in a key set")]
    Secret,
    /// It is for something else.
    #[error("is not for signatures (`use`, `key_ops`)")]
    Purpose,
    /// It is of a kind that is not known here.
    #[error("is of another kind than RS256, PS256, ES256 and EdDSA with Ed25519 (`kty`, `crv`, `alg`)")]
    Kind,
    /// It is an RSA key that is too short or too long.
    #[error("is an RSA key of less than 2,048 or more than 8,192 bits, or with an unusual exponent")]
    Size,
    /// Its name is too long.
    #[error("has a `kid` of more than 255 bytes")]
    Id,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// A key as it stands there. What is not named here is not looked at.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// What only a private key has.
    d: Option<Value>,
}

impl KeySet {
    /// Reads a document.
    pub(super) fn read(document: &[u8]) -> Result<KeySet, KeySetError> {
        let Document { keys } = serde_json::from_slice(document)?;
        if keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let mut set = KeySet::default();
        for (place, value) in keys.into_iter().enumerate() {
            match key(value) {
                Ok(key) => set.keys.push(key),
                Err(refusal) => set.refused.push((place, refusal)),
            }
        }
        Ok(set)
    }
}

fn key(value: Value) -> Result<PublicKey, KeyRefusal> {
    let jwk = Jwk::deserialize(value).map_err(|_| KeyRefusal::Malformed)?;
    if jwk.kty == "oct" || jwk.d.is_some() {
        return Err(KeyRefusal::Secret);
    }
    let signs = jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
    let verifies = jwk.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|name| name == "verify"));
    if !(signs && verifies) {
        return Err(KeyRefusal::Purpose);
    }
    if jwk.kid.as_ref().is_some_and(|id| id.len() > KEY_ID_BYTES_MAX) {
        return Err(KeyRefusal::Id);
    }
    let (algorithm, numbers) = match (jwk.kty.as_str(), jwk.crv.as_deref(), jwk.alg.as_deref()) {
        // Of the two that an RSA key may be for, RS256 is what those mean who don't say.
        ("RSA", None, None | Some("RS256")) => (TokenAlgorithm::RS256, rsa(&jwk)?),
        ("RSA", None, Some("PS256")) => (TokenAlgorithm::PS256, rsa(&jwk)?),
        ("EC", Some("P-256"), None | Some("ES256")) => (TokenAlgorithm::ES256, p256(&jwk)?),
        ("OKP", Some("Ed25519"), None | Some("EdDSA")) => {
            (TokenAlgorithm::EDDSA, Numbers::Ed25519(coordinate(jwk.x.as_deref())?))
        }
        _ => return Err(KeyRefusal::Kind),
    };
    Ok(PublicKey { id: jwk.kid, algorithm, numbers })
}

fn rsa(jwk: &Jwk) -> Result<Numbers, KeyRefusal> {
    let (modulus, exponent) = (number(jwk.n.as_deref())?, number(jwk.e.as_deref())?);
    let unused_bits = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = modulus.len() * 8 - unused_bits;
    let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
    let usual = exponent.len() <= EXPONENT_BYTES_MAX && odd && exponent != [1];
    if MODULUS_BITS.contains(&bits) && usual { Ok(Numbers::Rsa { modulus, exponent }) } else { Err(KeyRefusal::Size) }
}

fn p256(jwk: &Jwk) -> Result<Numbers, KeyRefusal> {
    let (x, y) = (coordinate(jwk.x.as_deref())?, coordinate(jwk.y.as_deref())?);
    Ok(Numbers::P256([vec![4], x, y].concat()))
}

/// A number without leading zeros.
fn number(text: Option<&str>) -> Result<Vec<u8>, KeyRefusal> {
    let bytes = bytes(text)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Ok(bytes[zeros..].to_vec())
}

/// A number of a point, which keeps its zeros.
fn coordinate(text: Option<&str>) -> Result<Vec<u8>, KeyRefusal> {
    let bytes = bytes(text)?;
    if bytes.len() == COORDINATE_BYTES { Ok(bytes) } else { Err(KeyRefusal::Malformed) }
}

fn bytes(text: Option<&str>) -> Result<Vec<u8>, KeyRefusal> {
    URL_SAFE_NO_PAD.decode(text.unwrap_or_default()).map_err(|_| KeyRefusal::Malformed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn encoded(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// A key of each kind that is known.
    fn known() -> [(Value, TokenAlgorithm); 3] {
        [
            (json!({"kty": "RSA", "n": encoded(&[0xc1; 256]), "e": "AQAB"}), TokenAlgorithm::RS256),
            (
                json!({"kty": "EC", "crv": "P-256", "x": encoded(&[1; 32]), "y": encoded(&[2; 32])}),
                TokenAlgorithm::ES256,
            ),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(&[3; 32])}), TokenAlgorithm::EDDSA),
        ]
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is made for the call")]
    fn with(key: &Value, changes: Value) -> Value {
        let mut key = key.clone();
        for (name, value) in changes.as_object().expect("an object") {
            key[name] = value.clone();
        }
        key
    }

    fn read(keys: &[Value]) -> KeySet {
        KeySet::read(json!({"keys": keys}).to_string().as_bytes()).expect("a key set")
    }

    /// What becomes of a key: its algorithm, or why it is none.
    fn says(key: Value) -> Result<TokenAlgorithm, KeyRefusal> {
        let set = read(&[key]);
        match (set.keys.as_slice(), set.refused.as_slice()) {
            ([key], []) => Ok(key.algorithm),
            ([], [(0, refusal)]) => Err(*refusal),
            _ => panic!("{set:?}"),
        }
    }

    #[test]
    fn a_key_has_one_algorithm_which_it_says_or_which_its_kind_has() {
        for (key, algorithm) in known() {
            assert_eq!(says(key.clone()), Ok(algorithm));
            let name = algorithm.to_string();
            let more =
                json!({"alg": name, "use": "sig", "kid": "1", "key_ops": ["verify"], "x5u": "http://127.0.0.1:1/"});
            assert_eq!(says(with(&key, more)), Ok(algorithm));
            for other in ["HS256", "none", "RS512", "ES384", "", "rs256", "RSA-OAEP"] {
                assert_eq!(says(with(&key, json!({"alg": other}))), Err(KeyRefusal::Kind), "{name} as {other}");
            }
        }
        let [(rsa, _), (ec, _), (okp, _)] = known();
        assert_eq!(says(with(&rsa, json!({"alg": "PS256"}))), Ok(TokenAlgorithm::PS256));
        for (key, changes) in [
            (&rsa, json!({"alg": "ES256"})),
            (&ec, json!({"alg": "RS256"})),
            (&ec, json!({"crv": "P-384"})),
            (&ec, json!({"crv": "secp256k1"})),
            (&okp, json!({"crv": "X25519"})),
            (&okp, json!({"kty": "AKP"})),
        ] {
            assert_eq!(says(with(key, changes.clone())), Err(KeyRefusal::Kind), "{changes}");
        }
    }

    /// Mutant: a secret is a key like any other.
    #[test]
    fn what_is_secret_weak_or_for_something_else_is_no_key() {
        let [(rsa, _), (ec, _), (okp, _)] = known();
        let secret = encoded(&[7; 64]);
        for (key, refusal) in [
            (json!({"kty": "oct", "k": secret, "alg": "HS256", "use": "sig"}), KeyRefusal::Secret),
            (json!({"kty": "oct", "k": secret}), KeyRefusal::Secret),
            (with(&ec, json!({"d": secret})), KeyRefusal::Secret),
            (with(&rsa, json!({"use": "enc"})), KeyRefusal::Purpose),
            (with(&rsa, json!({"use": ""})), KeyRefusal::Purpose),
            (with(&ec, json!({"key_ops": ["sign"]})), KeyRefusal::Purpose),
            (with(&rsa, json!({"n": encoded(&[0xc1; 128])})), KeyRefusal::Size),
            (with(&rsa, json!({"n": encoded(&[0x7f; 256])})), KeyRefusal::Size),
            (with(&rsa, json!({"n": encoded(&[0xc1; 1025])})), KeyRefusal::Size),
            (with(&rsa, json!({"n": encoded(&[0; 256])})), KeyRefusal::Size),
            (with(&rsa, json!({"e": "AQ"})), KeyRefusal::Size),
            (with(&rsa, json!({"e": "Ag"})), KeyRefusal::Size),
            (with(&rsa, json!({"e": ""})), KeyRefusal::Size),
            (with(&rsa, json!({"n": "a+b/"})), KeyRefusal::Malformed),
            (with(&rsa, json!({"n": 3})), KeyRefusal::Malformed),
            (with(&ec, json!({"x": encoded(&[1; 31])})), KeyRefusal::Malformed),
            (with(&ec, json!({"y": null})), KeyRefusal::Malformed),
            (with(&okp, json!({"x": encoded(&[1; 57])})), KeyRefusal::Malformed),
            (with(&okp, json!({"kid": ["1"]})), KeyRefusal::Malformed),
            (with(&okp, json!({"kid": "x".repeat(256)})), KeyRefusal::Id),
            (json!({}), KeyRefusal::Malformed),
            (json!("key"), KeyRefusal::Malformed),
            (Value::Null, KeyRefusal::Malformed),
        ] {
            assert_eq!(says(key.clone()), Err(refusal), "{key}");
        }
        let set = read(&[json!({"kty": "oct", "k": secret}), with(&okp, json!({"kid": "good"}))]);
        assert_eq!(set.refused, [(0, KeyRefusal::Secret)]);
        assert_eq!(set.keys[0].id.as_deref(), Some("good"), "and the others are none the worse for it");
    }

    #[test]
    fn a_document_is_a_key_set_of_limited_length_or_none() {
        let (okp, _) = known()[2].clone();
        assert_eq!(read(&vec![okp.clone(); KEYS_MAX]).keys.len(), KEYS_MAX);
        let too_many = json!({"keys": vec![okp; KEYS_MAX + 1]}).to_string();
        assert!(matches!(KeySet::read(too_many.as_bytes()), Err(KeySetError::TooMany)));
        assert_eq!(read(&[]), KeySet::default(), "an issuer may have no key any more");
        let deep = format!("{{\"keys\": {}", "[".repeat(100_000));
        for text in
            ["", "{}", "[]", "null", "{\"keys\": {}}", "{\"keys\": [], \"keys\": []}", "\u{feff}{\"keys\": []}", &deep]
        {
            assert!(matches!(KeySet::read(text.as_bytes()), Err(KeySetError::Malformed(_))), "{text:.40}");
        }
    }
}
