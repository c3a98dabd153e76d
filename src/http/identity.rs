//! On whose behalf a request is made, from its headers and parameters.

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};

use super::App;
use super::error::Problem;
use super::request::parameter;
use crate::auth::{Principal, Refusal};
use crate::notification::UserId;

const SERVER_KEY_HINT: &str = "send Authorization: Bearer pregon_sk_… with the key that the server was started with";
const USER_HINT: &str =
    "send Authorization: Bearer with the server key, or, for a demo, start the server with --open-user-id";

/// The application's back end; extracted from the request before anything else is looked at.
pub(super) struct Backend;

impl axum::extract::FromRequestParts<std::sync::Arc<App>> for Backend {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &std::sync::Arc<App>) -> Result<Self, Problem> {
        match principal(app, &parts.headers) {
            Ok(Principal::Server) => Ok(Backend),
            Err(refusal) => Err(Problem::unauthorized(refusal, SERVER_KEY_HINT)),
        }
    }
}

/// The user whose stream or page is asked for; nothing if none is named.
pub(super) fn reader(app: &App, headers: &HeaderMap, uri: &Uri) -> Result<Option<UserId>, Problem> {
    let named = parameter(uri, &["user_id"]);
    match principal(app, headers) {
        Ok(Principal::Server) => {}
        Err(Refusal::Missing) if app.options.open_user_id => {}
        // Whoever is named by nobody learns nothing about anybody: the page then asks for a name.
        Err(Refusal::Missing) if named.is_none() => {}
        Err(refusal) => return Err(Problem::unauthorized(refusal, USER_HINT)),
    }
    named.map(|name| name.parse().map_err(|error| Problem::query("user_id", error))).transpose()
}

fn principal(app: &App, headers: &HeaderMap) -> Result<Principal, Refusal> {
    app.auth.principal(headers.get(AUTHORIZATION).map(axum::http::HeaderValue::as_bytes))
}
