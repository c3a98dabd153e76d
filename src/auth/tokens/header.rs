//! The names in a token's header and claims, read before the signature is checked.
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
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::TokenError;

/// Refuses a token whose header or claims can't be read here as their issuer meant them.
pub(super) fn check(token: &[u8]) -> Result<(), TokenError> {
    let mut parts = token.split(|byte| *byte == b'.');
    let header: Unique<Value> = read(parts.next())?;
    read::<IgnoredAny>(parts.next())?;
    let unsupported = |name: &str| match (name, header.0.get(name)) {
        (_, None) => false,
        ("b64", Some(value)) => *value != Value::Bool(true),
        ("cty", Some(value)) => value.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("JWT")),
        _ => true,
    };
    match ["crit", "b64", "zip", "enc", "cty"].into_iter().find(|name| unsupported(name)) {
        Some(name) => Err(TokenError::Header(name)),
        None => Ok(()),
    }
}

fn read<T: for<'de> Deserialize<'de>>(part: Option<&[u8]>) -> Result<Unique<T>, TokenError> {
    let json = part.and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    json.and_then(|json| serde_json::from_slice(&json).ok()).ok_or(TokenError::Malformed)
}

/// The members of a JSON object, none of which stands twice.
struct Unique<T>(BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Unique<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData))
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = Unique<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique<T>, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, T>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Unique(members))
    }
}
