//! Reading requests: bodies within their limits, JSON objects field by field, names from paths, parameters.
//!
//! **Invariant:** a request is read whole and checked whole before anything is done; all wrong fields are named at
//! once, and an unknown one is an error with the nearest known name.

use std::fmt::Display;
use std::io::ErrorKind;
use std::str::FromStr;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequestParts, Path};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use bytes::BytesMut;
use cookie::Cookie;
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::form_urlencoded::{self, Serializer};

use super::body::Exhausted;
use super::error::{FieldError, FieldErrors, Problem, nearest};

/// The parameters that are credentials.
const CREDENTIALS: [&str; 2] = ["access_token", "ticket"];
/// Largest body of a request, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Time in which a body must have arrived.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// Time without any byte of a body, and the time from which on it must have come at [`BODY_RATE_MIN`].
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// Slowest average pace of a body, in bytes a second: a body keeps a connection's place.
const BODY_RATE_MIN: usize = 1024;

/// Reads a body within its limits.
pub(super) async fn body(given: Body) -> Result<Bytes, Problem> {
    body_of(given, BODY_BYTES_MAX).await
}

/// Reads a body of at most that many bytes.
pub(super) async fn body_of(mut body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let said = body.size_hint().exact().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if said > bytes_max {
        return Err(Problem::body_too_large(bytes_max));
    }
    let begun = Instant::now();
    let mut read = BytesMut::new();
    loop {
        let patience = BODY_PATIENCE.min(BODY_TIME_MAX.saturating_sub(begun.elapsed()));
        let frame = match tokio::time::timeout(patience, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(unreadable(&error)),
            Ok(None) => return Ok(read.freeze()),
            Err(_) => return Err(Problem::body_incomplete()),
        };
        let Ok(bytes) = frame.into_data() else { continue };
        if bytes.len() > bytes_max - read.len() {
            return Err(Problem::body_too_large(bytes_max));
        }
        if read.is_empty() && body.is_end_stream() {
            return Ok(bytes);
        }
        read.reserve(said.saturating_sub(read.len()).max(bytes.len()));
        read.extend_from_slice(&bytes);
        let elapsed = begun.elapsed();
        let due = usize::try_from(elapsed.as_secs()).unwrap_or(usize::MAX).saturating_mul(BODY_RATE_MIN);
        if elapsed >= BODY_PATIENCE && read.len() < due && !body.is_end_stream() {
            return Err(Problem::body_incomplete());
        }
    }
}

/// Why a body can't be read on.
fn unreadable(error: &axum::Error) -> Problem {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<Exhausted>() {
            return Problem::busy("the bodies of all requests together are too large now");
        }
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        // As the decoder of chunks says what is no chunk; that the client is gone is of other kinds.
        if matches!(kind, Some(ErrorKind::InvalidInput | ErrorKind::InvalidData)) {
            return Problem::malformed_body();
        }
        source = error.source();
    }
    Problem::body_incomplete()
}

/// The media type of a request's body, in lower case and without parameters; empty if it is not said.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a request says that its body is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let media_type = media_type(headers);
    media_type == "application/json" || media_type.ends_with("+json")
}

/// What `curl -d` says unless it is told otherwise.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// Whether a body may be JSON by its type: it says so, or nothing, or what `curl -d` says of everything. Pages of other
/// origins are not kept out by the type, but where the credential is read.
fn may_be_json(headers: &HeaderMap) -> bool {
    is_json(headers) || matches!(&*media_type(headers), "" | FORM)
}

/// Whether a body is JSON: it says so, or may be and begins as an object or a list of objects does.
pub(super) fn is_meant_as_json(headers: &HeaderMap, bytes: &[u8]) -> bool {
    let text = without_mark(bytes).trim_ascii_start();
    let inside = |open: u8| text.strip_prefix(&[open]).and_then(|rest| rest.trim_ascii_start().first());
    let looks_so = || matches!(inside(b'{'), Some(b'"' | b'}')) || matches!(inside(b'['), Some(b'{'));
    is_json(headers) || (may_be_json(headers) && looks_so())
}

/// Reads a body of at most that many bytes that must be JSON. What can't be by its type is refused without being read.
pub(super) async fn json_of(headers: &HeaderMap, given: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let refused = || Problem::unsupported_media_type("this path takes JSON");
    if !may_be_json(headers) {
        return Err(refused());
    }
    let bytes = body_of(given, bytes_max).await?;
    if is_meant_as_json(headers, &bytes) { Ok(bytes) } else { Err(refused()) }
}

/// A body without the byte order mark that some editors and shells put before text.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// A JSON object that is being read; notes what is wrong with it.
pub(super) struct Object {
    fields: Map<String, Value>,
    /// JSON pointer to it.
    at: String,
    pub(super) errors: FieldErrors,
}

impl Object {
    /// An object of these fields.
    pub(super) fn of(fields: Map<String, Value>) -> Object {
        Object { fields, at: String::new(), errors: FieldErrors::default() }
    }

    /// Parses the object.
    pub(super) fn parse(bytes: &[u8]) -> Result<Object, Problem> {
        match parse_json(bytes)? {
            Value::Object(fields) => Ok(Object::of(fields)),
            _ => Err(Problem::malformed_json("the body must be a JSON object")),
        }
    }

    /// Reads the object of a request that must be JSON.
    pub(super) async fn read(headers: &HeaderMap, given: Body) -> Result<Object, Problem> {
        Object::parse(&json_of(headers, given, BODY_BYTES_MAX).await?)
    }

    /// Reads the object of a request that may come without one.
    pub(super) async fn optional(headers: &HeaderMap, given: Body) -> Result<Object, Problem> {
        let body = body(given).await?;
        if body.is_empty() || body.trim_ascii() == b"null" {
            return Ok(Object::of(Map::new()));
        }
        if !is_meant_as_json(headers, &body) {
            return Err(Problem::unsupported_media_type("this path takes JSON"));
        }
        Object::parse(&body)
    }

    /// Takes a field out; `null` counts as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Takes out a field that must be a string if it is there.
    pub(super) fn string(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong_type(name, "a string", &other);
                None
            }
        }
    }

    /// Notes that a field must be there if it is not; says whether it is.
    pub(super) fn must_have(&mut self, name: &str, detail: &str) -> bool {
        if self.fields.get(name).is_none_or(Value::is_null) {
            self.fields.shift_remove(name);
            self.wrong(name, "missing", detail);
            return false;
        }
        true
    }

    /// Takes out a string that must be there.
    pub(super) fn required(&mut self, name: &str) -> String {
        if self.must_have(name, "must be there") { self.string(name).unwrap_or_default() } else { String::new() }
    }

    /// Takes out a field that must be true or false if it is there.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(value) => Some(value),
            other => {
                self.wrong_type(name, "true or false", &other);
                None
            }
        }
    }

    /// Takes out a field that must be a string of a certain form if it is there.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        code: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.string(name)?;
        parse(&text).map_err(|detail| self.wrong(name, code, detail)).ok()
    }

    /// Takes out a field that must be one of a few names if it is there.
    pub(super) fn one_of<T>(
        &mut self,
        name: &str,
        code: &'static str,
        names: &[&str],
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.string(name)?;
        let value = parse(&text);
        if value.is_none() {
            let pointer = self.pointer(name);
            self.errors.note(|| {
                let error = FieldError::new(pointer, code, format!("must be one of {}", names.join(", ")));
                error.with_hint(nearest(&text, names.iter().copied()))
            });
        }
        value
    }

    /// Takes out a field that must be an object if it is there, and reads it.
    pub(super) fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Object) -> T) -> Option<T> {
        match self.take(name)? {
            Value::Object(fields) => Some(self.within(name, fields, read)),
            other => {
                self.wrong_type(name, "an object", &other);
                None
            }
        }
    }

    /// Takes out a field that must be an array if it is there.
    pub(super) fn list(&mut self, name: &str) -> Option<Vec<Value>> {
        match self.take(name)? {
            Value::Array(items) => Some(items),
            other => {
                self.wrong_type(name, "an array", &other);
                None
            }
        }
    }

    /// Takes out an array of at most so many strings of a certain form if it is there; one given twice counts once. `parse`
    /// gives the code of what is wrong, and the detail.
    pub(super) fn strings<T: PartialEq>(
        &mut self,
        name: &str,
        most: usize,
        parse: impl Fn(&str) -> Result<T, (&'static str, String)>,
    ) -> Option<Vec<T>> {
        let given = self.list(name)?;
        if given.len() > most {
            self.wrong(name, "too_many", format!("must have at most {most} entries"));
            return None;
        }
        let mut strings = Vec::with_capacity(given.len());
        for (number, item) in given.iter().enumerate() {
            let place = format!("{name}/{number}");
            match item {
                Value::String(text) => match parse(text) {
                    Ok(value) if !strings.contains(&value) => strings.push(value),
                    Ok(_) => {}
                    Err((code, detail)) => self.wrong(&place, code, detail),
                },
                other => self.wrong_type(&place, "a string", other),
            }
        }
        Some(strings)
    }

    /// Reads an object that stands within this one.
    pub(super) fn within<T>(
        &mut self,
        name: &str,
        fields: Map<String, Value>,
        read: impl FnOnce(&mut Object) -> T,
    ) -> T {
        let mut inner = Object { fields, at: self.pointer(name), errors: FieldErrors::default() };
        let value = read(&mut inner);
        self.errors.append(inner.errors);
        value
    }

    /// The fields that are left.
    pub(super) fn names(&self) -> Vec<String> {
        self.fields.keys().cloned().collect()
    }

    /// JSON pointer to a field, or to something within it: `name` may be a path.
    pub(super) fn pointer(&self, name: &str) -> String {
        format!("{}/{name}", self.at)
    }

    /// Notes a wrong value.
    pub(super) fn wrong(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        let pointer = self.pointer(name);
        self.errors.note(|| FieldError::new(pointer, code, detail));
    }

    /// Notes that the object as a whole is wrong.
    pub(super) fn wrong_whole(&mut self, code: &'static str, detail: impl Into<String>) {
        self.errors.note(|| FieldError::new(self.at.clone(), code, detail));
    }

    /// Notes a value of a wrong type.
    pub(super) fn wrong_type(&mut self, name: &str, wanted: &str, found: &Value) {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        self.wrong(name, "wrong_type", format!("must be {wanted}, not {found}"));
    }

    /// Whether a field, or something within it, is known to be wrong.
    pub(super) fn is_wrong(&self, name: &str) -> bool {
        let pointer = self.pointer(name);
        self.errors.any_at(|place| place == pointer)
    }

    /// Whether a field, or anything within it, is known to be wrong.
    pub(super) fn is_wrong_within(&self, name: &str) -> bool {
        let pointer = self.pointer(name);
        self.errors.any_at(|place| place.starts_with(&pointer))
    }

    /// Notes every field that has not been taken out. `known` are the names that could have been meant.
    pub(super) fn refuse_rest(&mut self, known: &[&str]) {
        for name in self.fields.keys() {
            self.errors.note(|| {
                let shown: String = name.chars().take(64).collect();
                let pointer = format!("{}/{}", self.at, escaped(&shown));
                let error = FieldError::new(pointer, "unknown_field", "is not a field of this request");
                error.with_hint(nearest(name, known.iter().copied()))
            });
        }
    }

    /// What has been read, unless something is wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.errors.count() == 0 => Ok(value),
            _ => Err(Problem::invalid(self.errors)),
        }
    }
}

/// A name as it stands in a JSON pointer (RFC 6901).
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Parses JSON.
pub(super) fn parse_json(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(without_mark(bytes)).map_err(|error| Problem::malformed_json(error.to_string()))
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

/// The fields of an object that this server has made.
pub(super) fn object_of(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).expect("what this server has made is a JSON object")
}

/// The JSON of an answer.
pub(super) fn encoded(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("plain structs encode")
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let head = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        // What is whose depends on a credential, and on the moment.
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, head, body.into()).into_response()
}

/// The parameters of an address without some of them and without credentials, and with another one. Proxies, histories and
/// pages keep addresses, so the server writes no credential into one.
pub(super) fn query(uri: &Uri, without: &[&str], with: Option<(&str, &str)>) -> String {
    let mut query = Serializer::new(String::new());
    let given = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let kept = |name: &str| !without.contains(&name) && !CREDENTIALS.contains(&name);
    query.extend_pairs(given.filter(|(name, _)| kept(name)));
    query.extend_pairs(with);
    query.finish()
}

/// The first parameter of one of these names that has a value.
pub(super) fn parameter(uri: &Uri, names: &[&str]) -> Option<String> {
    url::form_urlencoded::parse(uri.query()?.as_bytes())
        .find(|(name, value)| names.contains(&name.as_ref()) && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}

/// The cookie of that name.
pub(super) fn cookie(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let sent = headers.get_all(COOKIE).into_iter().filter_map(|header| header.to_str().ok());
    let mut cookies = sent.flat_map(Cookie::split_parse).filter_map(Result::ok);
    cookies.find(|cookie| cookie.name() == wanted).map(|cookie| cookie.value().to_owned())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    fn of_pieces(pieces: usize, bytes: usize, every: Duration) -> Body {
        Body::from_stream(stream::unfold(0, move |piece| async move {
            tokio::time::sleep(every).await;
            (piece < pieces).then(|| (Ok::<_, Infallible>(Bytes::from(vec![b'x'; bytes])), piece + 1))
        }))
    }

    /// Seconds until it is read or given up, by a clock that is moved by hand; and the bytes that were read.
    async fn read(body: Body) -> (u64, Option<usize>) {
        let begun = Instant::now();
        let read = body_of(body, BODY_BYTES_MAX).await;
        (begun.elapsed().as_secs(), read.ok().map(|bytes| bytes.len()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up_and_a_slow_one_is_read() {
        let second = Duration::from_secs(1);
        assert_eq!(read(of_pieces(1000, 1, second)).await, (10, None), "slower than the slowest pace");
        assert_eq!(read(of_pieces(1000, 1, 11 * second)).await, (10, None), "nothing for too long");
        assert_eq!(read(of_pieces(20, 2048, second)).await, (21, Some(20 * 2048)));
        assert_eq!(read(of_pieces(1000, 2048, second)).await, (30, None), "too long in all");
        assert_eq!(read(of_pieces(9, 1, second)).await, (10, Some(9)), "a short one may take its time");
    }
}
