//! `/v1/tokens`: user tokens, for back ends without a library that makes them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::App;
use super::draft::duration;
use super::error::Problem;
use super::identity::Manager;
use super::operations::{AsServer, Conflicting, OfType, Stored, WithBody};
use super::request::{Object, encoded, json};
use super::shapes::access::{Token, TokenWanted};
use crate::notification::UserId;
use crate::publish::TOPICS_MAX;
use crate::sse;

/// The fields of a request.
pub(super) const FIELDS: [&str; 3] = ["user_id", "topics", "expires_in"];
/// How long a token is valid if nothing else is asked for, and at most.
const VALID_DEFAULT: Duration = Duration::from_hours(1);
pub(super) const VALID_MAX: Duration = Duration::from_hours(30 * 24);

/// Makes a user token, for a back end without a library that does.
///
/// With `topics` it makes her a member of them too, as `PUT /v1/topics/{topic}/subscribers/{user}` does: a membership is
/// kept by the server, so it can be ended at once, whatever tokens are about.
#[utoipa::path(
    post,
    path = "/v1/tokens",
    tag = "users",
    operation_id = "make_token",
    request_body = TokenWanted,
    responses(
        (status = 201, description = "A token.", body = Token),
        AsServer,
        WithBody,
        OfType,
        Conflicting,
        Stored
    ),
    security(("server_key" = []))
)]
pub(super) async fn make(
    _: Manager,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut object = Object::read(&headers, body).await?;
    object.must_have("user_id", "must say whose token it is");
    let user: Option<UserId> = object.parsed("user_id", "name", |id| id.parse().map_err(|error| format!("{error}")));
    let valid = object.parsed("expires_in", "duration", |text| {
        let valid = duration(text)?;
        let fits = valid >= Duration::from_secs(1) && valid <= VALID_MAX;
        if fits { Ok(valid) } else { Err("must be from 1s to 30d".to_owned()) }
    });
    let topics =
        object.strings("topics", TOPICS_MAX, |name| name.parse().map_err(|error| ("name", format!("{error}"))));
    object.refuse_rest(&FIELDS);
    let user = object.finish(user)?;
    let expires_at =
        app.publisher.now().checked_add(valid.unwrap_or(VALID_DEFAULT)).map_err(|_| Problem::internal())?;
    let (token, expires_at) = app.auth.token(&user, expires_at).ok_or_else(Problem::tokens_off)?;
    // Before the token is out: with it she has what is published to them from here on.
    let joined = app.publisher.join(user.clone(), topics.unwrap_or_default()).await?;
    joined.ok_or_else(|| Problem::too_many_topics(app.options.topics_per_user_max))?;
    let token = Token { token, expires_at: sse::time(expires_at), user_id: user.to_string() };
    Ok(json(StatusCode::CREATED, encoded(&token)))
}
