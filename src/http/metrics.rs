//! `/metrics`, and the counting of requests.
//!
//! For the back end with its server key; without a credential on the listener for the inside (`--admin-listen`).

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::App;
use super::identity::Backend;
use super::operations::AsServer;
use super::request_log::{Caller, Line};
use crate::metrics::{Answered, MEDIA_TYPE, Requests, Route};

/// Says how the server is, in numbers.
///
/// In the text format of `OpenMetrics`, for Prometheus. `docs/operations.md` says what each means.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    operation_id = "metrics",
    responses(
        (
            status = 200,
            description = "The numbers.",
            body = String,
            content_type = "application/openmetrics-text",
            example = json!("# HELP pregon_streams Open streams.\n# TYPE pregon_streams gauge\npregon_streams 42\n# EOF\n")
        ),
        AsServer
    ),
    security(("server_key" = []))
)]
pub(super) async fn metrics(_: Backend, State(app): State<Arc<App>>) -> Response {
    text(&app)
}

/// The same on the inside of a network.
pub(super) async fn without_credential(State(app): State<Arc<App>>) -> Response {
    text(&app)
}

fn text(app: &App) -> Response {
    let away = app.auth.issuers_without_keys().len();
    app.metrics.issuers_without_keys.set(i64::try_from(away).unwrap_or(i64::MAX));
    app.metrics.body_bytes.set(i64::try_from(app.bodies.held()).unwrap_or(i64::MAX));
    let head =
        [(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (StatusCode::OK, head, app.metrics.text()).into_response()
}

/// A request that is being answered.
pub(super) struct Counted {
    route: String,
    method: &'static str,
    begun: Instant,
}

impl Counted {
    pub(super) fn begin(request: &Request) -> Counted {
        let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
        Counted { route, method: name(request.method()), begun: Instant::now() }
    }

    pub(super) fn end(self, requests: &Requests, status: StatusCode, request_id: &str, caller: Option<&Caller>) {
        let Counted { route, method, begun } = self;
        Line { method, route: &route, status, took: begun.elapsed(), request_id, caller }.write();
        requests.seconds.get_or_create(&Route { route: route.clone() }).observe(begun.elapsed().as_secs_f64());
        requests.answered.get_or_create(&Answered { route, method, status: status.as_u16() }).inc();
    }
}

/// A method, if it is one of those that may be asked for here. A client may send any word.
fn name(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|name| method.as_str() == *name).unwrap_or("OTHER")
}
