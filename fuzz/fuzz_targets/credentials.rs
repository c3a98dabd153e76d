//! A credential that nobody was given opens nothing, whatever it looks like; one that is signed is read without a panic,
//! whatever it says.
//!
//! The first byte says what the rest is: what stands after `Authorization:`, a token, or the claims or the header of a token
//! that is then signed with the right secret.
#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use libfuzzer_sys::fuzz_target;
use pregon::auth::tokens::{TokenAlgorithm, TokenKey, TokenRules};
use pregon::auth::{Auth, Principal, ServerKey};
use pregon_fuzz::{SECRET, SERVER_KEY};
use serde::Deserialize;

static AUTH: LazyLock<Auth> = LazyLock::new(|| {
    let key = TokenKey::given(TokenAlgorithm::HS256, SECRET).expect("it is long enough");
    Auth::new(ServerKey::given(SERVER_KEY).as_ref(), Some(TokenRules::of(key)), None)
});

const HEADER: &[u8] = br#"{"alg":"HS256","typ":"JWT"}"#;
const CLAIMS: &[u8] = br#"{"sub":"1","exp":4102444800,"iat":1767225600}"#;

/// A token of these parts, signed with the right secret as its header may or may not say.
fn signed(header: &[u8], claims: &[u8]) -> Vec<u8> {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a secret signs");
    format!("{message}.{signature}").into_bytes()
}

/// Of the claims what says something here. All else is passed over, and may be anything that is JSON.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    sub: String,
    exp: Option<f64>,
}

/// The same of a header.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Header {
    alg: String,
}

fn read<'de, T: Deserialize<'de>>(json: &'de [u8]) -> T {
    assert!(json.trim_ascii_start().starts_with(b"{"), "what was accepted is an object");
    serde_json::from_slice(json).expect("what was accepted can be read")
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    match kind % 4 {
        0 => {
            let known = format!("Bearer {SERVER_KEY}");
            let is_known = String::from_utf8_lossy(rest).trim().ends_with(SERVER_KEY);
            assert!(AUTH.principal(rest).is_err() || is_known, "{known} is not {rest:?}");
        }
        1 => assert!(AUTH.user(rest).is_err(), "{rest:?} was never signed"),
        2 => {
            // Whoever it is for, it says so, and it ends.
            if let Ok(Principal::User { user, .. }) = AUTH.user(&signed(HEADER, rest)) {
                let claims: Claims = read(rest);
                assert_eq!(claims.sub, user.as_str());
                assert!(claims.exp.is_some());
            }
        }
        _ => {
            if AUTH.user(&signed(rest, CLAIMS)).is_ok() {
                assert_eq!(read::<Header>(rest).alg, "HS256", "the algorithm is the key's, not the token's");
            }
        }
    }
});
