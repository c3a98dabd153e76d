//! `/v1/notifications/batch`: many notifications in one commit.
//!
//! **Invariant:** an item that is wrong keeps no other from being published, and each is answered in its place. Of large
//! batches one at a time is read and committed; all other requests go on meanwhile.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::App;
use super::draft::draft;
use super::error::Problem;
use super::identity::{Backend, Permitted};
use super::notifications::{Asked, answered, mark_replayed, send};
use super::operations::{AsServer, Conflicting, OfType, Once, Stored, WithBody};
use super::request::{self, BODY_BYTES_MAX, Object, encoded, json};
use super::shapes::{Batch, BatchResult, BatchResults, Lines, Receipt, Refused};
use crate::notification::Notification;

/// Most notifications in one batch.
pub(super) const BATCH_MAX: usize = 1000;
/// Most notifications in a batch that takes no turn, and its largest body, in bytes.
const SMALL_BATCH_MAX: usize = 32;
const SMALL_BATCH_BYTES_MAX: usize = 64 * 1024;
/// Bytes that are read until another request may go on.
const BYTES_PER_TURN: usize = 64 * 1024;
/// Largest body of a batch, in bytes.
pub(super) const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most audiences of all notifications of one batch together: each is a row, and a commit keeps the others waiting.
pub(super) const BATCH_AUDIENCES_MAX: usize = 10_000;

/// Publishes many notifications.
///
/// What is right of them is published in one commit, and what has come of each is said in its place.
#[utoipa::path(
    post,
    path = "/v1/notifications/batch",
    tag = "publish",
    operation_id = "publish_batch",
    params(Once),
    request_body(
        description = "1 to 1000 notifications, as an array or one a line. At most 4 MiB.",
        content((Batch = "application/json"), (Lines = "application/x-ndjson"))
    ),
    responses(
        (
            status = 200,
            description = "What has come of each item. What is right of it is published in one commit.",
            body = BatchResults,
            headers(("Idempotent-Replayed" = String, description = "`true` if this is the answer to an earlier request with the same key."))
        ),
        AsServer,
        WithBody,
        OfType,
        Conflicting,
        Stored
    ),
    security(("server_key" = []))
)]
pub(super) async fn publish(
    backend: Backend,
    State(app): State<Arc<App>>,
    asked: Asked,
    body: Body,
) -> Result<Response, Problem> {
    let says_lines = is_lines(&asked.headers);
    let body = if says_lines {
        request::body_of(body, BATCH_BYTES_MAX).await?
    } else {
        request::json_of(&asked.headers, body, BATCH_BYTES_MAX).await?
    };
    // Without a type of its own, what begins as an object is the first of the lines.
    let begins_as_object = request::without_mark(&body).trim_ascii_start().starts_with(b"{");
    let lines = says_lines || (begins_as_object && !request::is_json(&asked.headers));
    let request = asked.request(&backend, &body)?;
    if let Some(answer) = answered(&app, request.as_ref()).await? {
        return Ok(respond(answer, true));
    }
    let items = if lines { items_of_lines(&body)? } else { items_of_array(&body)? };
    if items.is_empty() || items.len() > BATCH_MAX {
        return Err(Problem::batch_size(BATCH_MAX));
    }
    let is_small = items.len() <= SMALL_BATCH_MAX && body.len() <= SMALL_BATCH_BYTES_MAX;
    let _turn = if is_small { None } else { app.large_batches.acquire().await.ok() };
    let now = app.publisher.now();
    let mut drafts = Vec::new();
    let read = |item: &str| {
        // As alone; and the tree of one item takes many times the memory of its text.
        if item.len() > BODY_BYTES_MAX {
            return Err(Problem::item_too_large(BODY_BYTES_MAX));
        }
        let mut object = match request::parse_json(item.as_bytes())? {
            Value::Object(fields) => Object::of(fields),
            _ => return Err(Problem::malformed_json("each item must be a JSON object")),
        };
        let draft = draft(&mut object, None, now);
        backend.permit(object.finish(draft)?)
    };
    // What is wrong with each, or nothing if it goes out.
    let mut problems = Vec::with_capacity(items.len());
    let mut bytes_read = 0;
    for item in items {
        problems.push(read(item).map(|draft| drafts.push(draft)).err().map(Problem::item));
        bytes_read += item.len();
        if bytes_read > BYTES_PER_TURN {
            bytes_read = 0;
            tokio::task::yield_now().await;
        }
    }
    if drafts.iter().map(Permitted::audience_count).sum::<usize>() > BATCH_AUDIENCES_MAX {
        return Err(Problem::batch_audiences(BATCH_AUDIENCES_MAX));
    }
    let answer = |published: &[Notification]| {
        let mut published = published.iter();
        let results = problems.into_iter().filter_map(|problem| match problem {
            Some(error) => Some(BatchResult::Refused(Refused { error })),
            None => published.next().map(Receipt::of).map(BatchResult::Published),
        });
        encoded(&BatchResults { data: results.collect() })
    };
    let (answer, replayed) = send(&app, &backend, drafts, request, answer).await?;
    Ok(respond(answer, replayed))
}

fn respond(answer: String, replayed: bool) -> Response {
    let mut response = json(StatusCode::OK, answer);
    mark_replayed(&mut response, replayed);
    response
}

fn is_lines(headers: &HeaderMap) -> bool {
    matches!(request::media_type(headers).as_str(), "application/x-ndjson" | "application/ndjson" | "application/jsonl")
}

/// The items, not yet parsed; at most one more than a batch may have.
fn items_of_lines(body: &[u8]) -> Result<Vec<&str>, Problem> {
    let text = std::str::from_utf8(request::without_mark(body)).map_err(|_| Problem::not_utf8())?;
    Ok(text.lines().filter(|line| !line.trim().is_empty()).take(BATCH_MAX + 1).collect())
}

fn items_of_array(body: &[u8]) -> Result<Vec<&str>, Problem> {
    let Items(items) = serde_json::from_slice(request::without_mark(body)).map_err(|error| {
        let is_other = error.is_data() && request::parse_json(body).is_ok();
        Problem::malformed_json(if is_other { "the body must be a JSON array".to_owned() } else { error.to_string() })
    })?;
    Ok(items)
}

/// The items of an array as they stand in it. A tree of all of them would take many times the memory of the text.
struct Items<'a>(Vec<&'a str>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Items<'de>, A::Error> {
                let mut items = Vec::new();
                while items.len() <= BATCH_MAX {
                    let Some(item) = array.next_element::<&RawValue>()? else { return Ok(Items(items)) };
                    items.push(item.get());
                }
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(Texts)
    }
}
