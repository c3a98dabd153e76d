//! `/healthz` and `/readyz`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::App;
use super::error::Problem;

/// The process lives.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// What `/readyz` says when all is well.
#[derive(Serialize)]
pub(super) struct Ready {
    status: &'static str,
    streams: usize,
    /// Options in force that weaken a promise.
    #[serde(rename = "unsafe")]
    weakened: Vec<&'static str>,
}

/// The server takes requests and the store can be written. Fails first when the server is about to end.
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Ready>, Problem> {
    if app.is_draining() {
        return Err(Problem::draining());
    }
    app.inbox.check().await?;
    let weakened = if app.options.open_user_id { vec!["open-user-id"] } else { Vec::new() };
    Ok(Json(Ready { status: "ready", streams: app.delivery.connections(), weakened }))
}
