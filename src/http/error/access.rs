//! Problems about who may do what.

use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use super::{Problem, RETRY_AFTER_SECONDS};
use crate::auth::Refusal;
use crate::auth::keys::Scope;
use crate::auth::tokens::TokenError;

impl Problem {
    /// The request needs a credential, or a better one; or nobody can say now whether its own is good.
    pub fn unauthorized(refusal: &Refusal, hint: &'static str) -> Problem {
        if *refusal == Refusal::Token(TokenError::Away) {
            return Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "issuer_unavailable",
                "Issuer unavailable",
                refusal.to_string(),
            )
            .with_hint("send it again later; /readyz names the issuers whose keys are missing")
            .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        let (challenge, code) = match refusal {
            Refusal::Shut { wait, .. } => return Problem::rate_limited(refusal.to_string(), *wait),
            Refusal::Missing => ("Bearer", "credential_missing"),
            Refusal::Scheme => ("Bearer error=\"invalid_request\"", "credential_malformed"),
            Refusal::Unknown => ("Bearer error=\"invalid_token\"", "credential_unknown"),
            Refusal::KeyExpired => ("Bearer error=\"invalid_token\"", "key_expired"),
            Refusal::Revoked => ("Bearer error=\"invalid_token\"", "token_revoked"),
            Refusal::Ticket => ("Bearer error=\"invalid_token\"", "ticket_invalid"),
            Refusal::Token(TokenError::Expired) => ("Bearer error=\"invalid_token\"", "token_expired"),
            Refusal::Token(_) => ("Bearer error=\"invalid_token\"", "token_invalid"),
        };
        Problem::new(StatusCode::UNAUTHORIZED, code, "Unauthorized", refusal.to_string())
            .with_hint(hint)
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// The credential is good, and not for this.
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", "Forbidden", detail)
    }

    /// The server key is good, and does not give that right.
    pub fn scope_missing(wanted: &Scope) -> Problem {
        let detail = format!("this server key does not have the scope `{wanted}`");
        Problem::new(StatusCode::FORBIDDEN, "scope_missing", "Scope missing", detail)
            .with_hint("an admin makes another: pregon key create, or POST /v1/keys")
    }

    /// There is no room for another key.
    pub fn too_many_keys(keys_max: usize) -> Problem {
        let detail = format!("there are {keys_max} server keys, and no more are kept");
        Problem::conflict("too_many_keys", "Too many keys", detail)
            .with_hint("revoke some that nobody uses: DELETE /v1/keys/{id}")
    }

    /// Without that key nobody could make another one.
    pub fn last_admin_key() -> Problem {
        let detail = "no other server key with admin lasts as long as this one, and the server was started without one";
        Problem::conflict("last_admin_key", "Last admin key", detail).with_hint("make another one first: POST /v1/keys")
    }

    /// A browser sent a change without a credential but its cookie, and does not say that a page of ours asked for it.
    pub fn cross_site() -> Problem {
        let detail =
            "with a cookie, or with no credential, what changes something must come from a page of this server";
        Problem::new(StatusCode::FORBIDDEN, "cross_site", "Cross-site request", detail)
            .with_hint("send the user token itself (Authorization: Bearer) from elsewhere")
    }

    /// A browser would drop the cookie, since it is connected without TLS.
    pub fn session_in_plain_text() -> Problem {
        let detail = "the browser is connected without TLS, and would drop the cookie, which is for secure connections";
        Problem::new(StatusCode::FORBIDDEN, "session_impossible", "Session impossible", detail).with_hint(
            "use https; or start the server with --public-url http://... if everybody on that network may read along",
        )
    }

    /// A browser would drop the cookie, since the page is of another site.
    pub fn session_of_another_site() -> Problem {
        let detail = "the page is of another site than this server, and its browser would drop the cookie";
        Problem::new(StatusCode::FORBIDDEN, "session_impossible", "Session impossible", detail).with_hint(
            "send the user token itself (Authorization: Bearer), or mount the server under the page's own origin",
        )
    }

    /// The server is asked for by a name that is not its own.
    pub fn misdirected() -> Problem {
        Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            "Misdirected request",
            "this server needs no credential of those on its machine, so it answers to the names of this machine only",
        )
        .with_hint("ask for localhost, or start the server with --public-url and the address that browsers use")
    }

    /// There is no secret of the server's own in use.
    pub fn secret_configured() -> Problem {
        let detail = "this server signs user tokens with a secret of its configuration, not with its own";
        Problem::conflict("secret_configured", "Secret configured", detail)
            .with_hint("replace it there: jwt_key, or the keys of [[issuers]]")
    }

    /// Too many old secrets are still accepted.
    pub fn too_many_secrets(secrets_max: usize) -> Problem {
        let detail = format!("{secrets_max} secrets are still accepted; nothing was changed");
        Problem::conflict("too_many_secrets", "Too many secrets", detail)
            .with_hint("revoke the tokens of all of them: {\"revoke\": true}")
    }
}
