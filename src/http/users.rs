//! `/v1/users/{user}`: a user as a whole.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::App;
use super::error::Problem;
use super::identity::Backend;
use super::operations::{self, AsServer, Stored};
use super::request::Named;
use crate::notification::UserId;

/// Erases a user: her own notifications, what she has marked, her memberships.
///
/// Doing it again changes nothing.
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
    _: Backend,
    State(app): State<Arc<App>>,
    Named(user): Named<UserId>,
) -> Result<StatusCode, Problem> {
    app.publisher.erase(user).await?;
    Ok(StatusCode::NO_CONTENT)
}
