//! `/v1/tokens`: user tokens, for back ends without a library that makes them; and the server's own secret, which signs them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::App;
use super::draft::duration;
use super::error::Problem;
use super::identity::{Admin, Manager};
use super::operations::{AsServer, Conflicting, OfType, Stored, WithBody};
use super::request::{Object, encoded, json};
use super::shapes::access::{Rotated, Rotation, Token, TokenWanted};
use crate::auth::tokens::own::{SECRETS_MAX, VALID_MAX};
use crate::notification::UserId;
use crate::publish::TOPICS_MAX;
use crate::sse;

/// The fields of a request.
pub(super) const FIELDS: [&str; 3] = ["user_id", "topics", "expires_in"];
pub(super) const ROTATION: [&str; 1] = ["revoke"];
/// How long a token is valid if nothing else is asked for.
const VALID_DEFAULT: Duration = Duration::from_hours(1);

/// Makes a user token, for a back end without a library that does.
///
/// It is signed with the first secret of the configuration (`--jwt-key`, `[[issuers]]`), or with the server's own one if there
/// is none there.
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
    let (token, expires_at) = app.auth.token(&user, expires_at).ok_or_else(Problem::internal)?;
    // Before the token is out: with it she has what is published to them from here on.
    let joined = app.publisher.join(user.clone(), topics.unwrap_or_default()).await?;
    joined.ok_or_else(|| Problem::too_many_topics(app.options.topics_per_user_max))?;
    let token = Token { token, expires_at: sse::time(expires_at), user_id: user.to_string() };
    Ok(json(StatusCode::CREATED, encoded(&token)))
}

/// Signs user tokens with a new secret of the server's own.
///
/// Tokens that it made before are good until they end, at most 30 days; with `"revoke": true` they are refused at once, and the
/// streams that were opened with them end. Tokens that others sign, and server keys, are not concerned.
#[utoipa::path(
    post,
    path = "/v1/tokens/rotate",
    tag = "users",
    operation_id = "rotate_token_secret",
    request_body(content = Option<Rotation>, description = "Nothing revokes nothing."),
    responses(
        (status = 200, description = "Another secret signs.", body = Rotated),
        AsServer,
        WithBody,
        OfType,
        Conflicting,
        Stored
    ),
    security(("server_key" = []))
)]
pub(super) async fn rotate(
    _: Admin,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut object = Object::optional(&headers, body).await?;
    let revoke = object.boolean("revoke").unwrap_or_default();
    object.refuse_rest(&ROTATION);
    object.finish(Some(()))?;
    if !app.auth.signs_with_own_secret() {
        return Err(Problem::secret_configured());
    }
    let until = app.access.rotate_secret(revoke).await?;
    let until = until.ok_or_else(|| Problem::too_many_secrets(SECRETS_MAX))?;
    Ok(json(StatusCode::OK, encoded(&Rotated { old_tokens_until: sse::time(until) })))
}
