//! Reading requests: bodies within their limits, JSON objects field by field, names from paths, parameters.
//!
//! **Invariant:** a request is read whole and checked whole before anything is done; all wrong fields are named at
//! once, and an unknown one is an error with the nearest known name.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, Path};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use serde_json::{Map, Value};

use super::error::{FieldError, Problem, nearest};

/// Largest body of a request, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Time in which a body must have arrived.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Reads a body within its limits.
pub(super) async fn body(body: Body) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(BODY_TIME_MAX, to_bytes(body, BODY_BYTES_MAX));
    match read.await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let too_large =
                std::error::Error::source(&error).is_some_and(|source| source.to_string().contains("length limit"));
            Err(if too_large { Problem::body_too_large(BODY_BYTES_MAX) } else { Problem::body_incomplete() })
        }
        Err(_) => Err(Problem::body_incomplete()),
    }
}

/// Whether a request says that its body is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json") || media_type.to_ascii_lowercase().ends_with("+json")
}

/// A JSON object that is being read; notes what is wrong with it.
pub(super) struct Object {
    fields: Map<String, Value>,
    pub(super) errors: Vec<FieldError>,
}

impl Object {
    /// Parses the object.
    pub(super) fn parse(bytes: &[u8]) -> Result<Object, Problem> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Object { fields, errors: Vec::new() }),
            Ok(_) => Err(Problem::malformed_json("the body must be a JSON object")),
            Err(error) => Err(Problem::malformed_json(error.to_string())),
        }
    }

    /// Takes a field out; `null` counts as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    /// Takes out a field that must be a string if it is there.
    pub(super) fn string(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong_type(format!("/{name}"), "a string", &other);
                None
            }
        }
    }

    /// Notes a value of a wrong type.
    pub(super) fn wrong_type(&mut self, pointer: String, wanted: &str, found: &Value) {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        self.errors.push(FieldError::new(pointer, "wrong_type", format!("must be {wanted}, not {found}")));
    }

    /// Notes every field that has not been taken out. `known` are the names that could have been meant.
    pub(super) fn refuse_rest(&mut self, known: &[&str]) {
        for name in self.fields.keys() {
            let shown: String = name.chars().take(64).collect();
            let pointer = format!("/{}", shown.replace('~', "~0").replace('/', "~1"));
            let mut error = FieldError::new(pointer, "unknown_field", "is not a field of this request");
            error.hint = nearest(name, known.iter().copied()).map(|name| format!("did you mean {name}?"));
            self.errors.push(error);
        }
    }
}

/// One name from the path.
pub(super) struct Named<T>(pub(super) T);

impl<T: FromStr<Err: Display>, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(name) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| not_text())?;
        Ok(Named(parse(&name)?))
    }
}

/// Two names from the path.
pub(super) struct NamedPair<A, B>(pub(super) A, pub(super) B);

impl<A: FromStr<Err: Display>, B: FromStr<Err: Display>, S: Send + Sync> FromRequestParts<S> for NamedPair<A, B> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((a, b)) = Path::<(String, String)>::from_request_parts(parts, state).await.map_err(|_| not_text())?;
        Ok(NamedPair(parse(&a)?, parse(&b)?))
    }
}

fn parse<T: FromStr<Err: Display>>(name: &str) -> Result<T, Problem> {
    name.parse().map_err(|error| Problem::path(&name.chars().take(40).collect::<String>(), error))
}

fn not_text() -> Problem {
    Problem::path("%…", "must be percent-encoded UTF-8")
}

/// The first parameter of one of these names that has a value.
pub(super) fn parameter(uri: &Uri, names: &[&str]) -> Option<String> {
    url::form_urlencoded::parse(uri.query()?.as_bytes())
        .find(|(name, value)| names.contains(&name.as_ref()) && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}
