//! `/notifications` and `/v1/stream`: where a stream begins, as events, as lines of JSON, or as one answer to a poll.
//!
//! The answer carries a [`TakeOver`]; the listener then takes the connection from HTTP and gives it to an engine.
//!
//! **Invariant:** a temporary condition is answered 200, `retry:`, end. Only what will not pass by itself (a bad
//! credential, no user, a senseless parameter) is an error, since a browser then gives up for good.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse as _, Response};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

use super::address::Client;
use super::error::Problem;
use super::identity::{self, Asking, Reader};
use super::operations::{AsUser, Language, Streaming, Whose};
use super::request::parameter;
use super::shapes::Polled;
use super::{App, language, poll};
use crate::delivery::{Delivery, NewStream, Start};
use crate::event_id::EVENT_ID_LENGTH;
use crate::limits::Address;
use crate::sse::{self, Form, Wire};

/// Asks the listener to make a stream of the answer.
#[derive(Clone, Debug)]
pub struct TakeOver(pub NewStream);

/// Streams what is new, at once, for a browser.
///
/// The same as `/v1/stream`, at the address where an `EventSource` of the page looks for it.
#[utoipa::path(
    get,
    path = "/notifications",
    tag = "stream",
    operation_id = "notifications",
    params(Whose, Language, Streaming),
    responses(
        (
            status = 200,
            description = "A stream that goes on until the token ends or the server sends it away; with `poll=1` one answer. A \
                           temporary condition (too many streams, too many wrong credentials, the server about to end) is a stream of `retry:` alone.",
            content(
                (String = "text/event-stream", example = json!("id: q0bN2nJv7cO1m9kX3fHsVQ\ndata: {\"id\": \"01a20cb5-116e-716b-aa33-fad3da96c4bc\", \"timestamp\": \"2026-11-24T09:00:00.000Z\", \"message\": \"Ha salido\"}\n\n")),
                (String = "application/x-ndjson", example = json!("{\"event\": \"notification\", \"id\": \"q0bN2nJv7cO1m9kX3fHsVQ\", \"data\": {\"message\": \"Ha salido\"}}\n")),
                (Polled = "application/json")
            )
        ),
        AsUser
    ),
    security(("user_token" = []), ("session" = []), ("access_token" = []), ("ticket" = []), ("server_key" = []))
)]
pub(super) async fn notifications(
    app: State<Arc<App>>,
    client: Client,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    stream(app, client, method, uri, headers).await
}

/// Streams what is new, at once.
///
/// As Server-Sent Events, as JSON lines (`Accept: application/x-ndjson`), or as one answer to a poll. The first event is
/// `hello`. Every event has an id; a stream that begins after it (`Last-Event-ID`, `?last_event_id=`) misses nothing and
/// doubles nothing.
#[utoipa::path(
    get,
    path = "/v1/stream",
    tag = "stream",
    operation_id = "stream",
    params(Whose, Language, Streaming),
    responses(
        (
            status = 200,
            description = "A stream that goes on until the token ends or the server sends it away; with `poll=1` one answer. A \
                           temporary condition (too many streams, too many wrong credentials, the server about to end) is a stream of `retry:` alone.",
            content(
                (String = "text/event-stream", example = json!("id: q0bN2nJv7cO1m9kX3fHsVQ\ndata: {\"id\": \"01a20cb5-116e-716b-aa33-fad3da96c4bc\", \"timestamp\": \"2026-11-24T09:00:00.000Z\", \"message\": \"Ha salido\"}\n\n")),
                (String = "application/x-ndjson", example = json!("{\"event\": \"notification\", \"id\": \"q0bN2nJv7cO1m9kX3fHsVQ\", \"data\": {\"message\": \"Ha salido\"}}\n")),
                (Polled = "application/json")
            )
        ),
        AsUser
    ),
    security(("user_token" = []), ("session" = []), ("access_token" = []), ("ticket" = []), ("server_key" = []))
)]
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    client: Client,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asking = Asking { method: &method, headers: &headers, uri: &uri, client };
    let reader = match identity::listener(&app, &asking) {
        // What passes by itself: a browser that was told so by a status would never come back.
        Err(problem) if problem.is_temporary() => None,
        reader => Some(reader?),
    };
    let start = start(&app.delivery, &headers, &uri)?;
    let polled = match parameter(&uri, &["poll"]).as_deref() {
        None | Some("0" | "false") => false,
        Some("1" | "true") => true,
        Some(_) => return Err(Problem::query("poll", "must be 1, true, 0 or false")),
    };
    let wire = if polled || wants_lines(&headers) { Wire::Lines } else { Wire::Events };
    let form = Form { wire, languages: language::wanted(&headers, &uri), ..Form::default() };
    let asker = reader.as_ref().map(|reader| reader.asker.clone());
    let stream = match reader {
        Some(Reader { user, issued_at, expires_at, trust, ticket, .. }) => seated(
            &app,
            client.address,
            NewStream { user, start, issued_at, expires_at, trust, ticket, form, place: None },
        ),
        None => Err("credential"),
    };
    let stream = stream.inspect_err(|reason| app.metrics.streams.refuse(reason)).ok();
    if polled && method != Method::HEAD {
        return poll::answer(&app, asker.zip(stream), &headers, &uri).await;
    }
    let mut response = (head(wire), ()).into_response();
    if polled {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if method == Method::HEAD {
        return Ok(response);
    }
    match stream {
        Some(stream) => {
            response.extensions_mut().insert(TakeOver(stream));
        }
        None => *response.body_mut() = sse::retry(wire, app.delivery.retry_ms()).data().into(),
    }
    Ok(response)
}

/// Asks a client to come back, without a look at who it is.
pub(super) async fn postponed(app: &Arc<App>, headers: &HeaderMap, uri: &Uri) -> Result<Response, Problem> {
    app.metrics.streams.refuse("places");
    if matches!(parameter(uri, &["poll"]).as_deref(), Some("1" | "true")) {
        return poll::answer(app, None, headers, uri).await;
    }
    let wire = if wants_lines(headers) { Wire::Lines } else { Wire::Events };
    Ok((head(wire), sse::retry(wire, app.delivery.retry_ms()).data()).into_response())
}

/// The headers of a stream.
fn head(wire: Wire) -> [(HeaderName, HeaderValue); 3] {
    let media_type = match wire {
        Wire::Events => "text/event-stream",
        Wire::Lines => "application/x-ndjson",
    };
    [
        (CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        // nginx collects a whole answer before it passes it on, unless told so.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ]
}

/// The stream, with its place among those from its address if they are counted.
///
/// # Errors
/// One of [`Refused::REASONS`](crate::metrics::Refused::REASONS) if there is no room for it now.
fn seated(app: &App, address: Option<Address>, mut stream: NewStream) -> Result<NewStream, &'static str> {
    if app.is_draining() {
        return Err("draining");
    }
    if app.delivery.connections() >= app.options.streams_max {
        return Err("full");
    }
    if let Some((at_once, address)) = app.streams_per_address.as_ref().zip(address) {
        stream.place = Some(Arc::new(at_once.enter(address).ok_or("address")?));
    }
    Ok(stream)
}

/// Whether the client would rather have lines of JSON than events.
fn wants_lines(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let lines = ["application/x-ndjson", "application/ndjson", "application/jsonl"];
    let types = accepted.split(',').map(|range| range.split(';').next().unwrap_or_default().trim());
    types.into_iter().any(|wanted| lines.iter().any(|known| wanted.eq_ignore_ascii_case(known)))
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
    if let Some(time) = time(&since).or_else(|| Timestamp::now().checked_sub(age(&since)?).ok()) {
        return Ok(Start::Since(time));
    }
    // An id of another log, or of this one before a new epoch: the stream opens, and says that it can't go on from it.
    if since.len() == EVENT_ID_LENGTH {
        return Ok(Start::Unknown);
    }
    Err(Problem::query(
        "since",
        "must be earliest, an event id, a time (RFC 3339), a date or a duration such as 1h or PT1H",
    ))
}

/// A time (RFC 3339), or the midnight (UTC) with which a date begins. The `+` of an offset that was not percent-encoded
/// arrives as a space.
fn time(text: &str) -> Option<Timestamp> {
    let with_plus = text.rsplit_once(' ').map(|(time, offset)| format!("{time}+{offset}"));
    let time = [Some(text), with_plus.as_deref()].into_iter().flatten().find_map(|text| text.parse().ok());
    time.or_else(|| TimeZone::UTC.to_timestamp(text.parse::<Date>().ok()?.at(0, 0, 0, 0)).ok())
}

/// A duration such as `1h 30m` or, by ISO 8601, `PT1H30M` and `P1D`. A day has 24 hours; a month has no fixed length.
fn age(text: &str) -> Option<Duration> {
    let by_iso = || text.parse::<Span>().ok()?.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?.try_into().ok();
    humantime::parse_duration(text).ok().or_else(by_iso)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_read_in_every_form_that_people_write() {
        let midnight: Timestamp = "2026-11-30T00:00:00Z".parse().expect("a time");
        for text in ["2026-11-30T00:00:00Z", "2026-11-30T01:00:00+01:00", "2026-11-30T01:00:00 01:00", "2026-11-30"] {
            assert_eq!(time(text), Some(midnight), "{text}");
        }
        for (text, hours) in
            [("1h", 1), ("60min", 1), ("PT1H", 1), ("pt1h", 1), ("P1D", 24), ("P1DT1H", 25), ("2d", 48)]
        {
            assert_eq!(age(text), Some(Duration::from_hours(hours)), "{text}");
        }
        for text in ["", "yesterday", "1", "P1M", "-PT1H", "2026-13-01", "1h ago"] {
            assert_eq!((time(text), age(text)), (None, None), "{text}");
        }
    }
}
