//! On whose behalf a request is made, from its headers and parameters.

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use jiff::Timestamp;

use super::App;
use super::error::Problem;
use super::request::parameter;
use crate::auth::{Principal, Refusal};
use crate::notification::UserId;

const SERVER_KEY_HINT: &str = "send Authorization: Bearer pregon_sk_… with the key that the server was started with";
const USER_HINT: &str = "send a user token (Authorization: Bearer, or ?access_token=), or the server key and ?user_id=; for a \
                         demo, start the server with --open-user-id";

/// The application's back end; extracted from the request before anything else is looked at.
pub(super) struct Backend;

impl axum::extract::FromRequestParts<std::sync::Arc<App>> for Backend {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &std::sync::Arc<App>) -> Result<Self, Problem> {
        match from_header(app, &parts.headers).unwrap_or(Err(Refusal::Missing)) {
            Ok(Principal::Server) => Ok(Backend),
            Ok(Principal::User { .. }) => {
                Err(Problem::forbidden("a user's token does not do this; the server key does"))
            }
            Err(refusal) => Err(Problem::unauthorized(&refusal, SERVER_KEY_HINT)),
        }
    }
}

/// A user who reads, and until when she may.
pub(super) struct Reader {
    pub(super) user: UserId,
    pub(super) expires_at: Option<Timestamp>,
}

/// The user whose stream or page is asked for; nothing if none is named.
pub(super) fn reader(app: &App, headers: &HeaderMap, uri: &Uri) -> Result<Option<Reader>, Problem> {
    let named = parameter(uri, &["user_id"]);
    let named = named.map(|name| name.parse::<UserId>().map_err(|error| Problem::query("user_id", error))).transpose();
    let principal = from_header(app, headers)
        .or_else(|| parameter(uri, &["access_token"]).map(|token| app.auth.user(token.as_bytes())))
        .unwrap_or(Err(Refusal::Missing));
    match principal {
        Ok(Principal::User { user, expires_at }) => {
            if named?.is_some_and(|named| named != user) {
                return Err(Problem::forbidden("the token is another user's than `user_id` names"));
            }
            return Ok(Some(Reader { user, expires_at: Some(expires_at) }));
        }
        Ok(Principal::Server) => {}
        Err(Refusal::Missing) if app.options.open_user_id => {}
        // Whoever is named by nobody learns nothing about anybody: the page then asks for a name.
        Err(Refusal::Missing) if matches!(named, Ok(None)) => {}
        Err(refusal) => return Err(Problem::unauthorized(&refusal, USER_HINT)),
    }
    Ok(named?.map(|user| Reader { user, expires_at: None }))
}

/// The same where somebody must be named.
pub(super) fn named_reader(app: &App, headers: &HeaderMap, uri: &Uri) -> Result<Reader, Problem> {
    match reader(app, headers, uri)? {
        Some(reader) => Ok(reader),
        // Whoever may name anybody has only forgotten to.
        None if headers.contains_key(AUTHORIZATION) || app.options.open_user_id => {
            Err(Problem::query("user_id", "must say whose notifications are meant"))
        }
        None => Err(Problem::unauthorized(&Refusal::Missing, USER_HINT)),
    }
}

/// The user whose inbox it is: by her token, or named by the server key, or by anybody where that is allowed.
pub(super) struct Owner(pub(super) UserId);

impl axum::extract::FromRequestParts<std::sync::Arc<App>> for Owner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &std::sync::Arc<App>) -> Result<Self, Problem> {
        named_reader(app, &parts.headers, &parts.uri).map(|reader| Owner(reader.user))
    }
}

fn from_header(app: &App, headers: &HeaderMap) -> Option<Result<Principal, Refusal>> {
    headers.get(AUTHORIZATION).map(|header| app.auth.principal(header.as_bytes()))
}
