//! `/v1/notifications`, and the paths that publish to one audience.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::Value;

use super::App;
use super::error::{FieldError, Problem};
use super::identity::Backend;
use super::request::{self, Named, Object};
use crate::content::{Content, Fields, Severity};
use crate::notification::{Audience, NotificationId, Topic, UserId};
use crate::publish::Draft;
use crate::sse;

/// The fields of a publish request.
const FIELDS: [&str; 8] = ["to", "message", "title", "severity", "category", "url", "icon", "data"];

/// The answer to a publish request.
#[derive(Serialize)]
struct Published {
    id: String,
    timestamp: String,
    to: To,
}

/// One audience as it was given: alone, or several as a list.
#[derive(Serialize)]
#[serde(untagged)]
enum To {
    One(String),
    Many(Vec<String>),
}

pub(super) async fn publish(
    _: Backend,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if !request::is_json(&headers) {
        return Err(Problem::unsupported_media_type());
    }
    let mut object = Object::parse(&request::body(body).await?)?;
    let audiences = audiences(&mut object);
    let content = content(&mut object);
    object.refuse_rest(&FIELDS);
    respond(&app, object.errors, audiences, content).await
}

pub(super) async fn publish_to_user(
    _: Backend,
    State(app): State<Arc<App>>,
    Named(user): Named<UserId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    publish_to(&app, Audience::User(user), &headers, body).await
}

pub(super) async fn publish_to_topic(
    _: Backend,
    State(app): State<Arc<App>>,
    Named(topic): Named<Topic>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    publish_to(&app, Audience::Topic(topic), &headers, body).await
}

pub(super) async fn broadcast(
    _: Backend,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    publish_to(&app, Audience::Everyone, &headers, body).await
}

pub(super) async fn get(
    _: Backend,
    State(app): State<Arc<App>>,
    Named(id): Named<NotificationId>,
) -> Result<Response, Problem> {
    let Some(notification) = app.inbox.find(id).await? else {
        return Err(Problem::not_found("no notification has this id"));
    };
    Ok(json(StatusCode::OK, sse::notification_json(&notification)))
}

/// Publishes JSON without `to`, or, if the request does not say that it is JSON, plain text.
async fn publish_to(app: &App, audience: Audience, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
    let bytes = request::body(body).await?;
    let (errors, fields) = if request::is_json(headers) {
        let mut object = Object::parse(&bytes)?;
        let content = content(&mut object);
        object.refuse_rest(&FIELDS[1..]);
        (object.errors, content)
    } else {
        text(headers, &bytes)?
    };
    respond(app, errors, vec![audience], fields).await
}

async fn respond(
    app: &App,
    mut errors: Vec<FieldError>,
    audiences: Vec<Audience>,
    fields: Fields,
) -> Result<Response, Problem> {
    if app.is_draining() {
        return Err(Problem::draining());
    }
    let content = Content::parse(&fields);
    let refused = |field: &str| errors.iter().any(|known| known.pointer == format!("/{field}"));
    // A field of a wrong type has been left empty; that it is empty is then no news.
    let wrong = content.as_ref().err().into_iter().flatten().filter(|error| !refused(error.field)).collect::<Vec<_>>();
    let wrong: Vec<FieldError> = wrong.into_iter().map(FieldError::content).collect();
    errors.extend(wrong);
    let (Ok(content), true) = (content, errors.is_empty()) else { return Err(Problem::invalid(errors)) };
    let draft = Draft::new(audiences, content).map_err(|error| Problem::invalid(vec![FieldError::audiences(error)]))?;
    let notification = app.publisher.publish(draft).await?;
    let to: Vec<String> = notification.audiences.iter().map(Audience::to_string).collect();
    let published = Published {
        id: notification.id.to_string(),
        timestamp: sse::time(notification.timestamp),
        to: if let [one] = to.as_slice() { To::One(one.clone()) } else { To::Many(to) },
    };
    let location = HeaderValue::try_from(format!("/v1/notifications/{}", published.id)).expect("a UUID is ASCII");
    let mut response = json(StatusCode::CREATED, serde_json::to_string(&published).expect("plain structs encode"));
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

/// Reads `to`: an audience, or a list of them.
fn audiences(object: &mut Object) -> Vec<Audience> {
    let given = match object.take("to") {
        Some(Value::Array(list)) => list,
        Some(one @ Value::String(_)) => vec![one],
        Some(other) => {
            object.wrong_type("/to".into(), "an audience or an array of them", &other);
            return Vec::new();
        }
        None => {
            let missing = "must say to whom: user:ID, topic:NAME or everyone";
            object.errors.push(FieldError::new("/to", "missing", missing));
            return Vec::new();
        }
    };
    if given.is_empty() {
        object.errors.push(FieldError::audiences(crate::publish::DraftError::Nobody));
    }
    let several = given.len() > 1;
    let mut audiences = Vec::new();
    // The body's own limit bounds them; how many different ones there are is the draft's to judge.
    for (number, audience) in given.iter().enumerate() {
        let pointer = if several { format!("/to/{number}") } else { "/to".into() };
        let Value::String(text) = audience else {
            object.wrong_type(pointer, "a string", audience);
            continue;
        };
        match text.parse() {
            Ok(audience) => audiences.push(audience),
            Err(error) => object.errors.push(FieldError::audience(pointer, text, error)),
        }
    }
    audiences
}

/// Reads what a notification says from a JSON object.
fn content(object: &mut Object) -> Fields {
    let message = match object.take("message") {
        Some(Value::String(message)) => message,
        Some(other) => {
            object.wrong_type("/message".into(), "a string", &other);
            String::new()
        }
        None => {
            object.errors.push(FieldError::new("/message", "missing", "must be there"));
            String::new()
        }
    };
    let severity = object.string("severity");
    let severity = severity.and_then(|name| {
        let severity = severity_named(&name);
        severity.map_err(|error| object.errors.push(error)).ok()
    });
    Fields {
        message,
        title: object.string("title"),
        severity,
        category: object.string("category"),
        url: object.string("url"),
        icon: object.string("icon"),
        data: object.take("data"),
    }
}

/// Reads a notification from a plain text body and the headers `Title`, `Url`, `Severity`, `Category`.
fn text(headers: &HeaderMap, bytes: &[u8]) -> Result<(Vec<FieldError>, Fields), Problem> {
    let header = |name: &str| {
        let value = headers.get(name).map(|value| std::str::from_utf8(value.as_bytes()).map(str::to_owned));
        value.transpose().map_err(|_| Problem::not_utf8())
    };
    let message = std::str::from_utf8(bytes).map_err(|_| Problem::not_utf8())?.to_owned();
    let mut errors = Vec::new();
    let severity = header("severity")?.and_then(|name| severity_named(&name).map_err(|e| errors.push(e)).ok());
    let fields = Fields {
        message,
        title: header("title")?,
        severity,
        category: header("category")?,
        url: header("url")?,
        ..Fields::default()
    };
    Ok((errors, fields))
}

fn severity_named(name: &str) -> Result<Severity, FieldError> {
    Severity::named(name).ok_or_else(|| {
        let detail = format!("must be one of {}", Severity::NAMES.join(", "));
        let mut error = FieldError::new("/severity", "severity", detail);
        error.hint = super::error::nearest(name, Severity::NAMES).map(|name| format!("did you mean {name}?"));
        error
    })
}
