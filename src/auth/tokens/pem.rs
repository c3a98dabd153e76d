//! Keys in PEM, as people paste them.
//!
//! **Invariant:** a key that is taken here can check a signature of its algorithm: it is public, of the right kind, curve and
//! size. Otherwise the server would start and refuse every token.
//!
//! Deliberately absent: keys in numbers, which come from a key set.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};

use super::{TokenAlgorithm, TokenKeyError};

/// Whether a text has something in PEM.
pub(super) fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN ")
}

/// Reads the public key of a pair. Its line ends may be written as `\n`: files of variables have one line for each.
pub(super) fn public_key(algorithm: TokenAlgorithm, text: &str) -> Result<DecodingKey, TokenKeyError> {
    if text.contains("PRIVATE KEY-----") {
        return Err(TokenKeyError::Private);
    }
    let text = text.replace("\\n", "\n");
    let (read, parameters): (fn(&[u8]) -> _, &'static dyn VerificationAlgorithm) = match algorithm.0 {
        Algorithm::ES256 => (DecodingKey::from_ec_pem, &ECDSA_P256_SHA256_FIXED),
        Algorithm::EdDSA => (DecodingKey::from_ed_pem, &ED25519),
        _ => (DecodingKey::from_rsa_pem, &RSA_PKCS1_2048_8192_SHA256),
    };
    let key = read(text.as_bytes()).ok().filter(|key| can_check(key, parameters));
    key.ok_or(TokenKeyError::Pem(algorithm))
}

fn can_check(key: &DecodingKey, parameters: &'static dyn VerificationAlgorithm) -> bool {
    let Ok(bytes) = key.try_get_as_bytes() else { return false };
    let Ok(parsed) = ParsedPublicKey::new(parameters, bytes) else { return false };
    if key.family() != AlgorithmFamily::Rsa {
        return true;
    }
    // Parsing does not look at the size of an RSA key, and checking a signature does.
    let der: Result<PublicKeyX509Der<'_>, _> = parsed.as_der();
    der.is_ok_and(|der| PublicEncryptingKey::from_der(der.as_ref()).is_ok())
}
