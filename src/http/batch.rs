//! `/v1/notifications/batch`: many notifications in one request.
//!
//! **Invariant:** an item that is wrong keeps no other from being published, and each is answered in its place. A batch is
//! published in order, a piece in each commit, so that nobody else waits for all of it; of large batches one at a time is read
//! and committed. Each piece of a batch with an `Idempotency-Key` is remembered by itself: whoever repeats a batch that was
//! broken off has the rest published, and nothing twice.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::App;
use super::draft::draft;
use super::error::{ItemProblem, Problem};
use super::identity::{Backend, Permitted};
use super::members;
use super::notifications::{Asked, answered, mark_replayed, send};
use super::operations::{AsServer, Conflicting, OfType, Once, Stored, WithBody};
use super::request::{self, BODY_BYTES_MAX, Object, encoded, json};
use super::shapes::{Batch, BatchResult, BatchResults, Lines, Receipt, Refused};
use crate::blocking;
use crate::notification::Notification;

/// Most notifications in one batch.
pub(super) const BATCH_MAX: usize = 1000;
/// Most notifications in a batch that takes no turn, and its largest body, in bytes. A larger body is taken apart on a thread
/// of its own: of 4 MiB that takes some ten milliseconds, in which nobody else would be served.
const SMALL_BATCH_MAX: usize = 32;
const SMALL_BATCH_BYTES_MAX: usize = 64 * 1024;
/// Most notifications and bytes in one commit, unless one item alone is larger: others wait for one commit. Where one piece
/// ends and the next begins depends on nothing but the body, so that a repeated request has the same pieces. With 128 in a
/// piece a batch of small notifications takes two thirds of the time, and others wait half as long again.
const PIECE_MAX: usize = 32;
const PIECE_BYTES_MAX: usize = 32 * 1024;
/// Bytes that are read until another request may go on.
const BYTES_PER_TURN: usize = 64 * 1024;
/// Largest body of a batch, in bytes.
pub(super) const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most audiences of all notifications of one batch together: each is a row.
pub(super) const BATCH_AUDIENCES_MAX: usize = 10_000;

/// Publishes many notifications.
///
/// They are published in order, and what has come of each is said in its place. If the connection breaks, the first of them may
/// have been published: repeated with the same `Idempotency-Key`, the request publishes the rest, and nothing twice.
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
            description = "What has come of each item.",
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
    let body_is_small = body.len() <= SMALL_BATCH_BYTES_MAX;
    let mut turn = if body_is_small { None } else { app.large_batches.acquire().await.ok() };
    let owner = backend.owner().to_owned();
    let take_apart = move || {
        let request = asked.request(&owner, &body)?;
        let items = if lines { items_of_lines(&body) } else { items_of_array(&body) };
        Ok::<_, Problem>((request, items?))
    };
    let (request, items) =
        if body_is_small { take_apart() } else { blocking::run(take_apart).await.expect("it does not panic") }?;
    if items.is_empty() || items.len() > BATCH_MAX {
        return Err(Problem::batch_size(BATCH_MAX));
    }
    let part = |number| request.as_ref().map(|request| request.part(number));
    let (mut results, mut parts) = (Vec::new(), 0);
    while results.len() < items.len()
        && let Some(answer) = answered(&app, part(parts).as_ref()).await?
    {
        results.extend(results_of(&answer));
        parts += 1;
    }
    let rest = items.get(results.len()..).unwrap_or_default();
    if rest.len() > SMALL_BATCH_MAX && turn.is_none() {
        turn = app.large_batches.acquire().await.ok();
    }
    let mut read = read(&backend, rest, app.publisher.now()).await?.into_iter();
    let (drafts, problems): (Vec<_>, Vec<_>) =
        pieces(rest).map(|piece| sorted(read.by_ref().take(piece.len()))).unzip();
    let sending = drafts.into_iter().zip(&problems).zip(parts..).map(|((drafts, problems), number)| {
        send(&app, drafts, part(number), |published| encoded(&published_among(problems, published)))
    });
    let (sent, failed) = up_to_failure(sending).await;
    let replayed = failed.is_none() && sent.iter().all(|(_, before)| *before);
    for (answer, _) in &sent {
        results.extend(results_of(answer));
    }
    if let Some(problem) = failed {
        if results.is_empty() {
            return Err(problem);
        }
        // What came before it is published, and a problem of the whole request would deny that.
        let error = problem.item();
        for problems in &problems[sent.len()..] {
            let refused = || BatchResult::Refused(Refused { error: error.clone() });
            results.extend(results_of(&encoded(&told(problems, refused))));
        }
    }
    drop(turn);
    let results = members::count(&app, results.iter().map(|result| result.get().to_owned()).collect()).await;
    Ok(respond(format!("{{\"data\":[{}]}}", results.join(",")), replayed))
}

/// What may be published of the items of a piece, and for each item what is wrong with it, if something is.
fn sorted(items: impl Iterator<Item = Result<Permitted, ItemProblem>>) -> (Vec<Permitted>, Vec<Option<ItemProblem>>) {
    let mut drafts = Vec::new();
    let problems = items.map(|item| item.map(|draft| drafts.push(draft)).err()).collect();
    (drafts, problems)
}

/// Does one thing after another, up to the first that fails, since what follows it is not to be published before it. Gives what
/// has come of those before it, and its error.
async fn up_to_failure<T, E>(things: impl Iterator<Item = impl Future<Output = Result<T, E>>>) -> (Vec<T>, Option<E>) {
    let mut done = Vec::new();
    for thing in things {
        match thing.await {
            Ok(result) => done.push(result),
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}

/// What each item says, or what is wrong with it. Fails if it is too much for the key, or addressed to too many.
async fn read(
    backend: &Backend,
    items: &[Bytes],
    now: Timestamp,
) -> Result<Vec<Result<Permitted, ItemProblem>>, Problem> {
    let read = |item: &Bytes| {
        // As alone; and the tree of one item takes many times the memory of its text.
        if item.len() > BODY_BYTES_MAX {
            return Err(Problem::item_too_large(BODY_BYTES_MAX));
        }
        let mut object = match request::parse_json(item)? {
            Value::Object(fields) => Object::of(fields),
            _ => return Err(Problem::malformed_json("each item must be a JSON object")),
        };
        let draft = draft(&mut object, None, now);
        backend.permit(object.finish(draft)?)
    };
    let (mut done, mut bytes_read) = (Vec::with_capacity(items.len()), 0);
    for item in items {
        done.push(read(item).map_err(Problem::item));
        bytes_read += item.len();
        if bytes_read > BYTES_PER_TURN {
            bytes_read = 0;
            tokio::task::yield_now().await;
        }
    }
    let right = done.iter().flatten();
    if right.clone().map(Permitted::audience_count).sum::<usize>() > BATCH_AUDIENCES_MAX {
        return Err(Problem::batch_audiences(BATCH_AUDIENCES_MAX));
    }
    backend.take(right.count())?;
    Ok(done)
}

/// The items, cut into what is committed together.
fn pieces(mut items: &[Bytes]) -> impl Iterator<Item = &[Bytes]> {
    std::iter::from_fn(move || {
        let ends = items.iter().take(PIECE_MAX).scan(0, |bytes, item| {
            *bytes += item.len();
            Some(*bytes)
        });
        let fitting = ends.take_while(|bytes| *bytes <= PIECE_BYTES_MAX).count().max(1);
        let (piece, rest) = items.split_at_checked(fitting)?;
        items = rest;
        Some(piece)
    })
}

/// The results of a piece in their order: of what is wrong with an item, or `right` for one with which nothing is.
fn told(problems: &[Option<ItemProblem>], mut right: impl FnMut() -> BatchResult) -> BatchResults {
    let result = |problem: &Option<ItemProblem>| match problem {
        Some(error) => BatchResult::Refused(Refused { error: error.clone() }),
        None => right(),
    };
    BatchResults { data: problems.iter().map(result).collect() }
}

/// The results of a piece whose other items have become these notifications.
fn published_among(problems: &[Option<ItemProblem>], published: &[Notification]) -> BatchResults {
    let mut published = published.iter().map(|notification| BatchResult::Published(Receipt::of(notification)));
    told(problems, || published.next().expect("each draft becomes a notification"))
}

/// The results that an answer of ours has.
fn results_of(answer: &str) -> Vec<Box<RawValue>> {
    serde_json::from_str::<Told>(answer).map(|told| told.data).unwrap_or_default()
}

/// [`BatchResults`] in JSON.
#[derive(serde::Deserialize)]
struct Told {
    data: Vec<Box<RawValue>>,
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
fn items_of_lines(body: &Bytes) -> Result<Vec<Bytes>, Problem> {
    let text = std::str::from_utf8(request::without_mark(body)).map_err(|_| Problem::not_utf8())?;
    let lines = text.lines().filter(|line| !line.trim().is_empty()).take(BATCH_MAX + 1);
    Ok(lines.map(|line| body.slice_ref(line.as_bytes())).collect())
}

fn items_of_array(body: &Bytes) -> Result<Vec<Bytes>, Problem> {
    let Items(items) = serde_json::from_slice(request::without_mark(body)).map_err(|error| {
        let is_other = error.is_data() && request::parse_json(body).is_ok();
        Problem::malformed_json(if is_other { "the body must be a JSON array".to_owned() } else { error.to_string() })
    })?;
    Ok(items.iter().map(|item| body.slice_ref(item.as_bytes())).collect())
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::FutureExt as _;

    use super::*;

    /// Mutant: what follows is tried too.
    #[test]
    fn nothing_is_tried_after_what_fails_also_if_it_would_work() {
        let tried = RefCell::new(Vec::new());
        let publish = |number: usize| {
            let tried = &tried;
            async move {
                tried.borrow_mut().push(number);
                // The second fails, once.
                if number == 2 { Err("full") } else { Ok(number * 10) }
            }
        };
        let done = up_to_failure((1..=4).map(publish)).now_or_never().expect("nothing waits");
        assert_eq!(done, (vec![10], Some("full")));
        assert_eq!(tried.take(), [1, 2]);
        let done = up_to_failure([1, 3].into_iter().map(publish)).now_or_never().expect("nothing waits");
        assert_eq!(done, (vec![10, 30], None));
    }

    #[test]
    fn a_piece_has_few_items_and_bytes_and_at_least_one_item() {
        let sizes = |lengths: &[usize]| {
            let items: Vec<Bytes> = lengths.iter().map(|length| vec![b'x'; *length].into()).collect();
            pieces(&items).map(<[Bytes]>::len).collect::<Vec<_>>()
        };
        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&[10; 70]), [32, 32, 6]);
        assert_eq!(sizes(&[PIECE_BYTES_MAX / 2, PIECE_BYTES_MAX / 2, 1]), [2, 1]);
        assert_eq!(sizes(&[1, PIECE_BYTES_MAX + 1, 1]), [1, 1, 1]);
    }
}
