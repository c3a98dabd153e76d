//! `/v1/users/{user}`: a user as a whole, and all that she has been given.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::App;
use super::error::Problem;
use super::identity::Manager;
use super::operations::{self, AsServer, Stored};
use super::request::Named;
use crate::notification::UserId;

/// Refuses from here on all that a user has been given: tokens, sessions, tickets.
///
/// Her streams end at once. What is refused says when it was issued (`iat`), and that was before now; or does not say. The
/// answer comes when the second is over, since `iat` has whole seconds, and later by as much as the clock of an issuer was seen
/// ahead: a token that is signed after it is good.
#[utoipa::path(
    delete,
    path = "/v1/users/{user}/tokens",
    tag = "users",
    operation_id = "revoke_tokens",
    params(
        ("user" = String, Path, format = "name", description = "The user's id, 1 to 128 bytes.", example = json!("1"))
    ),
    responses(
        (status = 204, description = "It is refused, whoever signed it and however long it was to be valid."),
        AsServer,
        operations::Named,
        Stored
    ),
    security(("server_key" = []))
)]
pub(super) async fn revoke(
    _: Manager,
    State(app): State<Arc<App>>,
    Named(user): Named<UserId>,
) -> Result<StatusCode, Problem> {
    app.access.revoke(user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Erases a user: her own notifications, what she has marked, her memberships.
///
/// Doing it again changes nothing. Tokens, sessions and tickets of the user stay valid: revoke them first with
/// `DELETE /v1/users/{user}/tokens`, and do not sign new ones.
#[utoipa::path(
    delete,
    path = "/v1/users/{user}",
    tag = "users",
    operation_id = "erase",
    params(
        ("user" = String, Path, format = "name", description = "The user's id, 1 to 128 bytes.", example = json!("1"))
    ),
    responses(
        (status = 204, description = "Nothing is left; her open streams have `reset`."),
        AsServer,
        operations::Named,
        Stored
    ),
    security(("server_key" = []))
)]
pub(super) async fn erase(
    _: Manager,
    State(app): State<Arc<App>>,
    Named(user): Named<UserId>,
) -> Result<StatusCode, Problem> {
    app.publisher.erase(user).await?;
    Ok(StatusCode::NO_CONTENT)
}
