//! A token before its signature is checked: its parts, and the names in its header and claims.
//!
//! **Invariant:** a token passes only if every parameter that changes how it must be read is understood here. `crit` lists
//! extensions that a receiver must understand (RFC 7515, section 4.1.11), and none is understood. The payload is the claims
//! themselves: base64url (`b64`, RFC 7797), neither compressed (`zip`) nor encrypted (`enc`), and no other token (`cty`,
//! RFC 7519, section 5.2).
//!
//! No name may stand twice (RFC 7515, section 4; RFC 7519, section 4): readers of JSON differ in which of the two they take.
//!
//! Deliberately absent: parameters that name or bring a key (`jwk`, `jku`, `x5u`, `x5c`), which are never used, and `typ`.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::{TokenError, TokenKey};

/// What a token says.
pub(super) struct Unverified<'a> {
    /// The two parts that the signature is of, with the point between them.
    message: &'a str,
    signature: &'a str,
    header: Members,
    claims: Members,
}

impl<'a> Unverified<'a> {
    /// Reads a token. One whose header or claims can't be read here as their issuer meant them is refused.
    pub(super) fn read(token: &'a [u8]) -> Result<Unverified<'a>, TokenError> {
        let parts = std::str::from_utf8(token).ok().and_then(|token| {
            let (message, signature) = token.rsplit_once('.')?;
            let (header, claims) = message.split_once('.')?;
            Some((message, signature, members(header)?, members(claims)?))
        });
        let (message, signature, header, claims) = parts.ok_or(TokenError::Malformed)?;
        let unsupported = |name: &str| match (name, header.0.get(name)) {
            (_, None) | ("kid", Some(Value::Null | Value::String(_))) => false,
            ("b64", Some(value)) => *value != Value::Bool(true),
            ("cty", Some(value)) => value.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("JWT")),
            _ => true,
        };
        match ["crit", "b64", "zip", "enc", "cty", "kid"].into_iter().find(|name| unsupported(name)) {
            Some(name) => Err(TokenError::Header(name)),
            None => Ok(Unverified { message, signature, header, claims }),
        }
    }

    /// The name of the key that it says it was signed with.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.0.get("kid").and_then(Value::as_str)
    }

    /// A claim; nothing if it is absent or null.
    pub(super) fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.0.get(name).filter(|value| !value.is_null())
    }

    /// Whether that key signed it, in the one way in which the key is used.
    pub(super) fn verify(&self, key: &TokenKey) -> Result<(), TokenError> {
        if self.header.0.get("alg").and_then(Value::as_str) != Some(key.algorithm.name()) {
            return Err(TokenError::Algorithm(key.algorithm));
        }
        match jsonwebtoken::crypto::verify(self.signature, self.message.as_bytes(), &key.checking, key.algorithm.0) {
            Ok(true) => Ok(()),
            Ok(false) => Err(TokenError::Signature),
            Err(_) => Err(TokenError::Malformed),
        }
    }
}

fn members(part: &str) -> Option<Members> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The members of a JSON object, none of which stands twice.
struct Members(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Distinct)
    }
}

struct Distinct;

impl<'de> Visitor<'de> for Distinct {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Members(members))
    }
}
