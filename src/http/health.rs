//! `/healthz` and `/readyz`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::App;
use super::error::Problem;
use super::operations::Readiness;
use super::shapes::Ready;
use crate::store::StoreError;

/// Says that the process lives, and that no restart would help it.
///
/// Fails when the store has stopped for good.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    operation_id = "healthz",
    responses(
        (status = 200, description = "It does.", body = String, example = json!("ok\n")),
        Readiness
    )
)]
pub(super) async fn healthz(State(app): State<Arc<App>>) -> Result<&'static str, Problem> {
    if app.inbox.has_stopped() {
        return Err(StoreError::Stopped.into());
    }
    Ok("ok\n")
}

/// Says whether the server takes requests.
///
/// It does, the store has not stopped, and its maintenance meets no error of the disk. Fails first when the server is
/// about to end. While the keys of an issuer can't be had, all others are served.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    operation_id = "readyz",
    responses(
        (status = 200, description = "It does.", body = Ready),
        Readiness
    )
)]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Ready>, Problem> {
    if app.is_draining() {
        return Err(Problem::draining());
    }
    let failing = app.inbox.check().await?;
    if failing.iter().any(|failing| !failing.passes) {
        return Err(Problem::maintenance_fails(&failing));
    }
    let maintenance_failing = failing.into_iter().map(|failing| failing.work).collect();
    let weakened = if app.options.open_user_id { vec!["open-user-id"] } else { Vec::new() };
    let issuers_without_keys = app.auth.issuers_without_keys();
    Ok(Json(Ready { status: "ready", weakened, issuers_without_keys, maintenance_failing }))
}
