//! `/notifications` and `/v1/stream`: where a stream begins.
//!
//! The answer carries a [`TakeOver`]; the listener then takes the connection from HTTP and gives it to an engine.
//!
//! **Invariant:** a temporary condition is answered 200, `retry:`, end. Only what will not pass by itself (a bad
//! credential, no user, a senseless parameter) is an error, since a browser then gives up for good.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;

use super::App;
use super::error::Problem;
use super::identity::{self, Reader};
use super::request::parameter;
use crate::delivery::{Delivery, NewStream, Start};
use crate::event_id::EVENT_ID_LENGTH;
use crate::sse;

/// Asks the listener to make a stream of the answer.
#[derive(Clone, Debug)]
pub struct TakeOver(pub NewStream);

pub(super) async fn stream(
    State(app): State<Arc<App>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(Reader { user, expires_at }) = identity::reader(&app, &headers, &uri)? else {
        return Err(Problem::query("user_id", "must say whose notifications are wanted"));
    };
    let start = start(&app.delivery, &headers, &uri)?;
    let mut response = ().into_response();
    let answer = response.headers_mut();
    answer.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    // nginx collects a whole answer before it passes it on, unless told so.
    answer.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    if method == Method::HEAD {
        return Ok(response);
    }
    if app.is_draining() || app.delivery.connections() >= app.options.streams_max {
        *response.body_mut() = sse::retry(app.delivery.retry_ms()).into();
    } else {
        response.extensions_mut().insert(TakeOver(NewStream { user, start, expires_at }));
    }
    Ok(response)
}

/// Where the client has got to. The header wins: a browser that reconnects sends it, and repeats the URL of old.
fn start(delivery: &Delivery, headers: &HeaderMap, uri: &Uri) -> Result<Start, Problem> {
    let opened = |id: &[u8]| delivery.ids().open(id).map_or(Start::Unknown, Start::After);
    if let Some(id) = headers.get("last-event-id").filter(|id| !id.is_empty()) {
        return Ok(opened(id.as_bytes()));
    }
    if let Some(id) = parameter(uri, &["last_event_id", "lastEventId", "lastEventID"]) {
        return Ok(opened(id.as_bytes()));
    }
    let Some(since) = parameter(uri, &["since"]) else { return Ok(Start::Now) };
    if since == "earliest" {
        return Ok(Start::Earliest);
    }
    if let Some(position) = delivery.ids().open(since.as_bytes()) {
        return Ok(Start::After(position));
    }
    if let Ok(time) = since.parse::<Timestamp>() {
        return Ok(Start::Since(time));
    }
    if let Ok(age) = humantime::parse_duration(&since)
        && let Ok(time) = Timestamp::now().checked_sub(age)
    {
        return Ok(Start::Since(time));
    }
    // An id of another log, or of this one before a new epoch: the stream opens, and says that it can't go on from it.
    if since.len() == EVENT_ID_LENGTH {
        return Ok(Start::Unknown);
    }
    Err(Problem::query("since", "must be earliest, an event id, a time (RFC 3339) or a duration such as 1h"))
}
