//! Problems: the one place where errors become statuses (RFC 9457, `application/problem+json`).
//!
//! `code` is stable and listed in `docs/api.md`; texts may change. What went wrong inside the server is logged here,
//! once, and not told.

use std::time::Duration;

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::{Failing, StoreError};

mod access;
mod fields;

pub use fields::{FieldError, FieldErrors, nearest};

/// Seconds after which a publisher that met a temporary condition may try again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");
/// Somebody has to free some space.
const RETRY_AFTER_FULL_SECONDS: HeaderValue = HeaderValue::from_static("60");

/// An answer that is not a success.
#[derive(Clone, Debug)]
pub struct Problem(Box<Details>);

/// Boxed, so that a `Result` with a problem is no larger than one without.
#[derive(Clone, Debug)]
struct Details {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    hint: Option<String>,
    errors: FieldErrors,
    header: Option<(HeaderName, HeaderValue)>,
}

/// An answer that is not a success (RFC 9457), as it is sent.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:pregon:problem:` and the code.
    #[schema(examples("urn:pregon:problem:invalid_request"))]
    #[serde(rename = "type")]
    pub urn: String,
    /// What kind of problem it is, for people.
    #[schema(examples("Invalid request"))]
    pub title: &'static str,
    /// The status of the answer.
    #[schema(examples(422), minimum = 400, maximum = 599)]
    pub status: u16,
    /// What kind of problem it is, for programs: it does not change.
    #[schema(examples("invalid_request"))]
    pub code: &'static str,
    /// What is wrong this time, for people.
    #[schema(examples("`/to` must be user:ID, topic:NAME or everyone"))]
    pub detail: String,
    /// What may help.
    #[schema(value_type = String)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Every wrong field, or the first of many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The path that was asked for.
    #[schema(examples("/v1/notifications"))]
    pub instance: String,
    /// The name of the request, as in `X-Request-Id` and in the log.
    #[schema(examples("01a20cb5-1195-77f8-8b27-91b1946c4576"))]
    pub request_id: String,
}

/// What is wrong with an item of a batch.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemProblem {
    /// The status that a request for it alone would get.
    #[schema(examples(422))]
    pub status: u16,
    /// What kind of problem it is, for programs.
    #[schema(examples("invalid_request"))]
    pub code: &'static str,
    /// What is wrong, for people.
    #[schema(examples("`/message` must be there"))]
    pub detail: String,
    /// Every wrong field, or the first of many.
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What kind it is, for programs.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// What is wrong.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What may help.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The header that belongs to it.
    pub fn extra_header(&self) -> Option<&(HeaderName, HeaderValue)> {
        self.0.header.as_ref()
    }

    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Problem {
        let detail = detail.into();
        Problem(Box::new(Details {
            status,
            code,
            title,
            detail,
            hint: None,
            errors: FieldErrors::default(),
            header: None,
        }))
    }

    fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.0.header = Some((name, value));
        self
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Problem {
        self.0.hint = Some(hint.into());
        self
    }

    /// Nothing is here.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    /// The path is right and the method is not. Which methods are right stands in `Allow`.
    pub fn method_not_allowed() -> Problem {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed",
            "this path does not take this method",
        )
    }

    /// Something failed that should not be able to.
    pub fn internal() -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", "the server failed; it is logged")
    }

    /// The path has a part that is not one.
    pub fn path(name: &str, detail: impl std::fmt::Display) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_path", "Invalid path", format!("`{name}` {detail}"))
    }

    /// A query parameter is missing or wrong.
    pub fn query(name: &str, detail: impl std::fmt::Display) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_query", "Invalid query", format!("`{name}` {detail}"))
    }

    /// The body is not JSON.
    pub fn malformed_json(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "malformed_json", "Malformed JSON", detail)
    }

    /// The body has another type than the path takes.
    pub fn unsupported_media_type(detail: &'static str) -> Problem {
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Unsupported media type", detail)
            .with_hint("send Content-Type: application/json")
    }

    /// The body is larger than allowed.
    pub fn body_too_large(bytes_max: usize) -> Problem {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "Body too large",
            format!("the body must have at most {bytes_max} bytes"),
        )
    }

    /// An item of a batch is larger than a request for it alone may be.
    pub fn item_too_large(bytes_max: usize) -> Problem {
        let detail = format!("an item must have at most {bytes_max} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "Body too large", detail)
    }

    /// The body did not come in time, or not whole.
    pub fn body_incomplete() -> Problem {
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_incomplete",
            "Body incomplete",
            "the body did not arrive whole in time",
        )
    }

    /// The body is not in chunks as it says.
    pub fn malformed_body() -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed_body",
            "Malformed body",
            "the body is not in well-formed chunks",
        )
    }

    /// The head of a request is no HTTP, or too large.
    pub fn unreadable_head(status: StatusCode) -> Problem {
        Problem::new(
            status,
            "unreadable_head",
            "Unreadable head",
            "the head of the request is no HTTP/1.1, or too large",
        )
    }

    /// The server has no room for the request now.
    pub fn busy(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail)
            .with_hint("send it again after the time that Retry-After says")
            .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// The body has a coding that is not understood here.
    pub fn unknown_coding() -> Problem {
        Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "transfer_coding",
            "Unknown transfer coding",
            "`Transfer-Encoding` must be `chunked` alone",
        )
    }

    /// The body is text in another encoding.
    pub fn not_utf8() -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "not_utf8", "Not UTF-8", "text must be UTF-8")
    }

    /// The request is well-formed, and fields of it are wrong.
    pub fn invalid(errors: FieldErrors) -> Problem {
        let detail = errors.to_string();
        let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", "Invalid request", detail);
        problem.0.errors = errors;
        problem
    }

    /// Too much was asked for in too short a time.
    pub fn rate_limited(detail: impl Into<String>, wait: Duration) -> Problem {
        // In whole seconds, and not too early.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Rate limited", detail)
            .with_header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Whether it will pass by itself.
    pub fn is_temporary(&self) -> bool {
        matches!(self.0.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
    }

    fn conflict(code: &'static str, title: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, code, title, detail)
    }

    /// The user would be a member of too many topics.
    pub fn too_many_topics(topics_max: usize) -> Problem {
        let detail = format!("a user is a member of {topics_max} topics at most; nothing was changed");
        Problem::conflict("too_many_topics", "Too many topics", detail)
            .with_hint("end some that are not needed: DELETE /v1/topics/{topic}/subscribers/{user}")
    }

    /// The same key came with another request.
    pub fn key_reused() -> Problem {
        let detail = "another request with this Idempotency-Key was sent within the last 24 hours";
        Problem::conflict("idempotency_key_reused", "Idempotency key reused", detail)
            .with_hint("take a new key for each thing that is published, and the same only for sending it again")
    }

    /// A batch of nothing, or of too much.
    pub fn batch_size(items_max: usize) -> Problem {
        let detail = format!("a batch must have 1 to {items_max} items");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "batch_size", "Batch size", detail)
    }

    /// A batch that is addressed to too many.
    pub fn batch_audiences(audiences_max: usize) -> Problem {
        let detail = format!("the items of a batch must name at most {audiences_max} audiences together");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "batch_size", "Batch size", detail)
    }

    /// A header is wrong.
    pub fn header(name: &str, detail: impl std::fmt::Display) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_header", "Invalid header", format!("`{name}` {detail}"))
    }

    /// What is wrong, as an item of a batch says it.
    pub fn item(self) -> ItemProblem {
        let Details { status, code, detail, errors, .. } = *self.0;
        ItemProblem { status: status.as_u16(), code, detail, errors: errors.told() }
    }

    /// The server is about to end.
    pub fn draining() -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "Draining", "the server is about to end")
            .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// What keeps the store in order meets errors of the disk.
    pub fn maintenance_fails(failing: &[Failing]) -> Problem {
        let works: Vec<&str> = failing.iter().map(|failing| failing.work).collect();
        let detail = format!("the store's maintenance fails: {}; requests are still served", works.join(", "));
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "maintenance_failing", "Maintenance failing", detail)
            .with_hint("the log says why; look at the disk")
            .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// The answer on the wire.
    ///
    /// `headers` are those that the answer already has, such as `Allow`.
    pub fn render(mut self, mut headers: HeaderMap, instance: &str, request_id: &str) -> Response {
        let (status, header) = (self.0.status, self.0.header.take());
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(header);
        (status, headers, self.body(instance, request_id)).into_response()
    }

    /// Its JSON.
    pub fn body(self, instance: &str, request_id: &str) -> String {
        let Details { status, code, title, detail, hint, errors, .. } = *self.0;
        let body = ProblemBody {
            urn: format!("urn:pregon:problem:{code}"),
            title,
            status: status.as_u16(),
            code,
            detail,
            hint,
            errors: errors.told(),
            instance: instance.to_owned(),
            request_id: request_id.to_owned(),
        };
        serde_json::to_string(&body).expect("plain structs encode")
    }
}

impl IntoResponse for Problem {
    /// The body is written by the outermost layer, which knows the request's id.
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        let (status, code, detail) = match &error {
            StoreError::Full => {
                let detail = "too little space is left on the store's disk; nothing was stored";
                (StatusCode::INSUFFICIENT_STORAGE, "store_full", detail)
            }
            StoreError::Stopped => {
                let detail = "the store has stopped and needs a restart; nothing was stored";
                (StatusCode::SERVICE_UNAVAILABLE, "store_stopped", detail)
            }
            StoreError::Unknown => (
                StatusCode::SERVICE_UNAVAILABLE,
                "outcome_unknown",
                "a write failed: this may have been stored, or not; the store needs a restart",
            ),
            StoreError::Damaged(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "store_damaged",
                "the store's file is damaged there; the server's log says where",
            ),
            StoreError::Unavailable(_) | StoreError::Trimmed { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "the store did not answer this time")
            }
        };
        tracing::error!(error = &error as &dyn std::error::Error, code, "a request met a failing store");
        let problem = Problem::new(status, code, "Store error", detail);
        match error {
            // Whoever repeats it without a key may do it twice.
            StoreError::Unknown => problem.with_hint(
                "once the server runs again, send it with the same Idempotency-Key; if it had none, look first whether it \
                 is there",
            ),
            StoreError::Full => problem.with_header(RETRY_AFTER, RETRY_AFTER_FULL_SECONDS),
            _ => problem.with_header(RETRY_AFTER, RETRY_AFTER_SECONDS),
        }
    }
}
