//! `/v1/session`: a user token in a cookie that no script can read; and `/v1/stream/tickets`: a stream without a token in
//! its URL. Both are for browsers, whose own `EventSource` sends no header.
//!
//! Deliberately absent: sessions that the server remembers. The cookie is the token, and ends with it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{HeaderValue, SET_COOKIE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use jiff::Timestamp;

use super::App;
use super::address::Client;
use super::error::Problem;
use super::identity::{self, Asking, Reader};
use super::operations::{AsUser, Whose};
use super::outside::Connected;
use super::request::{encoded, json};
use super::shapes::access::{Session, Ticket};
use crate::auth::tickets::Admission;
use crate::sse;

/// Puts a user token into a cookie.
///
/// From then on the browser sends it by itself, also with an `EventSource`. It can't be read by scripts, is not sent from
/// other sites, and ends with the token. Where the browser would drop the cookie, since it is connected without TLS or the page is
/// of another site, there is no session (`403 session_impossible`). Whatever it is used to change must come from a page of this server
/// (`Sec-Fetch-Site` or `Origin` says so).
#[utoipa::path(
    post,
    path = "/v1/session",
    tag = "users",
    operation_id = "begin_session",
    responses(
        (
            status = 200,
            description = "The cookie is set.",
            body = Session,
            headers(("Set-Cookie" = String, description = "The cookie: `HttpOnly`, `SameSite=Lax`, and `Secure` but on this machine."))
        ),
        AsUser
    ),
    security(("user_token" = []))
)]
pub(super) async fn begin(
    State(app): State<Arc<App>>,
    client: Client,
    method: Method,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let asking = Asking { method: &method, headers: &headers, uri: &uri, client };
    let (token, user, expires_at) = identity::bearer(&app, &asking)?;
    // What the browser would drop must not look like a session.
    if headers.get(identity::SEC_FETCH_SITE).is_some_and(|site| site == "cross-site") {
        return Err(Problem::session_of_another_site());
    }
    let connected = Connected::of(&app, &headers, client);
    if connected == Connected::Plainly {
        return Err(Problem::session_in_plain_text());
    }
    let session = Session { user_id: user.to_string(), expires_at: sse::time(expires_at) };
    let mut response = json(StatusCode::OK, encoded(&session));
    set_session(&app, &mut response, connected, &token, expires_at);
    Ok(response)
}

/// Puts a token into the cookie, for as long as it is valid.
pub(super) fn set_session(
    app: &App,
    response: &mut Response,
    connected: Connected,
    token: &str,
    expires_at: Timestamp,
) {
    let left = expires_at.duration_since(app.publisher.now()).as_secs().max(0);
    set_cookie(app, response, connected, token, Duration::seconds(left));
}

/// Removes the cookie.
#[utoipa::path(
    delete,
    path = "/v1/session",
    tag = "users",
    operation_id = "end_session",
    responses(
        (
            status = 204,
            description = "The browser has no cookie any more.",
            headers(("Set-Cookie" = String, description = "The cookie, empty and over."))
        ),
        AsUser
    ),
    security(("session" = []), ())
)]
pub(super) async fn end(State(app): State<Arc<App>>, client: Client, headers: HeaderMap) -> Result<Response, Problem> {
    if !identity::may_change_unasked(&app, &headers, client) {
        return Err(Problem::cross_site());
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&app, &mut response, Connected::of(&app, &headers, client), "", Duration::ZERO);
    Ok(response)
}

fn set_cookie(app: &App, response: &mut Response, connected: Connected, token: &str, valid: Duration) {
    let is_secure = matches!(connected, Connected::Securely | Connected::Plainly);
    let cookie = Cookie::build((identity::session_name(app, is_secure), token))
        .path(identity::session_path(app))
        .http_only(true)
        .secure(is_secure)
        .same_site(SameSite::Lax)
        .max_age(valid)
        .build();
    let cookie = HeaderValue::try_from(cookie.to_string()).expect("a token is printable ASCII");
    response.headers_mut().insert(SET_COOKIE, cookie);
}

/// Gives a ticket that opens one stream.
///
/// For an `EventSource` on another origin, which sends neither header nor cookie: `/v1/stream?ticket=…`. It is used up
/// when the stream opens, so a client that comes back asks for another one, and says in `last_event_id` how far it had
/// got.
#[utoipa::path(
    post,
    path = "/v1/stream/tickets",
    tag = "stream",
    operation_id = "make_ticket",
    params(Whose),
    responses(
        (status = 201, description = "A ticket.", body = Ticket),
        AsUser
    ),
    security(("user_token" = []), ("session" = []), ("server_key" = []))
)]
pub(super) async fn ticket(
    State(app): State<Arc<App>>,
    client: Client,
    method: Method,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let asking = Asking { method: &method, headers: &headers, uri: &uri, client };
    let Reader { user, expires_at, trust, .. } = identity::named_reader(&app, &asking)?;
    let (user_id, now) = (user.to_string(), app.publisher.now());
    let (ticket, until) = app.tickets.issue(Admission { user, issued_at: now, expires_at, trust }, now);
    let ticket = Ticket { ticket, expires_at: sse::time(until), user_id };
    Ok(json(StatusCode::CREATED, encoded(&ticket)))
}
