//! `/v1/notifications`, and the paths that publish to one audience.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use serde_json::{Map, Value};

use super::App;
use super::draft::{self, content, draft};
use super::error::Problem;
use super::identity::{Backend, Permitted};
use super::members;
use super::operations::{self, AsServer, Conflicting, Found, OfType, Once, Stored, WithBody};
use super::request::{self, Named, Object, encoded, json};
use super::shapes::{Edit, NotificationShape, Publish, PublishHere, Receipt, Text};
use crate::content::Patch;
use crate::notification::{Audience, Notification, NotificationId, Topic, UserId};
use crate::publish::{Published, Request};
use crate::sse;
use crate::store::RequestKey;

/// Longest key of a request that may come again, in characters.
pub(super) const KEY_LENGTH_MAX: usize = 255;

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(super) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What identifies a request to publish.
pub(super) struct Asked {
    method: Method,
    uri: Uri,
    pub(super) headers: HeaderMap,
}

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, Problem> {
        Ok(Asked { method: parts.method.clone(), uri: parts.uri.clone(), headers: parts.headers.clone() })
    }
}

impl Asked {
    /// The request as it is known if it comes again; nothing if it has no key. From another owner of keys it is another request:
    /// what the first one was answered may be none of its business. With another key of the same back end it is the same.
    pub(super) fn request(&self, owner: &str, body: &[u8]) -> Result<Option<Request>, Problem> {
        let Some(key) = self.headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
        let printable = |key: &&str| key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let key = key.to_str().ok().filter(|key| (1..=KEY_LENGTH_MAX).contains(&key.len())).filter(printable);
        let wanted = format!("must have 1 to {KEY_LENGTH_MAX} printable ASCII characters");
        let key = key.ok_or_else(|| Problem::header("Idempotency-Key", wanted))?;
        let mut digest = Context::new(&SHA256);
        let mut add = |part: &[u8]| {
            digest.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            digest.update(part);
        };
        add(self.method.as_str().as_bytes());
        add(self.uri.path().as_bytes());
        add(body);
        for name in [CONTENT_TYPE.as_str()].into_iter().chain(draft::HEADERS) {
            add(self.headers.get(name).map_or(&[][..], HeaderValue::as_bytes));
        }
        let fingerprint = digest.finish().as_ref().try_into().expect("a SHA-256 digest has 32 bytes");
        let key = RequestKey { owner: owner.to_owned(), key: key.to_owned() };
        Ok(Some(Request { key, fingerprint }))
    }
}

/// Publishes a notification.
///
/// `201` means that it is on the disk.
#[utoipa::path(
    post,
    path = "/v1/notifications",
    tag = "publish",
    operation_id = "publish",
    params(Once),
    request_body(content = Publish, description = "At most 64 KiB."),
    responses(
        (
            status = 201,
            description = "It is on the disk.",
            body = Receipt,
            headers(
                ("Location" = String, description = "Where to ask what has become of it."),
                ("Idempotent-Replayed" = String, description = "`true` if this is the answer to an earlier request with the same key.")
            )
        ),
        AsServer,
        WithBody,
        Conflicting,
        Stored,
        OfType
    ),
    security(("server_key" = []))
)]
pub(super) async fn publish(
    backend: Backend,
    State(app): State<Arc<App>>,
    asked: Asked,
    body: Body,
) -> Result<Response, Problem> {
    let body = request::body(body).await?;
    let object = draft::read(&asked.headers, &body, false)?;
    respond(&app, &backend, &asked, &body, object, None).await
}

/// Publishes to one user.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/notifications",
    tag = "publish",
    operation_id = "publish_to_user",
    params(
        ("user" = String, Path, format = "name", description = "The user's id, 1 to 128 bytes.", example = json!("1")),
        Once
    ),
    request_body(
        description = "JSON, or a text: then the body is the message, and `Title`, `Url`, `Icon`, `Severity`, `Category`, \
                       `Deliver-At` and `Expires-In` may be headers. At most 64 KiB.",
        content((PublishHere = "application/json"), (Text = "text/plain", example = json!("Tu pedido ha salido")))
    ),
    responses(
        (
            status = 201,
            description = "It is on the disk.",
            body = Receipt,
            headers(
                ("Location" = String, description = "Where to ask what has become of it."),
                ("Idempotent-Replayed" = String, description = "`true` if this is the answer to an earlier request with the same key.")
            )
        ),
        AsServer,
        WithBody,
        Conflicting,
        Stored
    ),
    security(("server_key" = []))
)]
pub(super) async fn publish_to_user(
    backend: Backend,
    State(app): State<Arc<App>>,
    Named(user): Named<UserId>,
    asked: Asked,
    body: Body,
) -> Result<Response, Problem> {
    publish_to(&app, &backend, Audience::User(user), &asked, body).await
}

/// Publishes to whoever is a member of a topic.
#[utoipa::path(
    post,
    path = "/v1/topics/{topic}/notifications",
    tag = "publish",
    operation_id = "publish_to_topic",
    params(
        ("topic" = String, Path, format = "name", description = "The topic's name, 1 to 128 bytes.", example = json!("orders")),
        Once
    ),
    request_body(
        description = "JSON, or a text: then the body is the message, and `Title`, `Url`, `Icon`, `Severity`, `Category`, \
                       `Deliver-At` and `Expires-In` may be headers. At most 64 KiB.",
        content((PublishHere = "application/json"), (Text = "text/plain", example = json!("Tu pedido ha salido")))
    ),
    responses(
        (
            status = 201,
            description = "It is on the disk.",
            body = Receipt,
            headers(
                ("Location" = String, description = "Where to ask what has become of it."),
                ("Idempotent-Replayed" = String, description = "`true` if this is the answer to an earlier request with the same key.")
            )
        ),
        AsServer,
        WithBody,
        Conflicting,
        Stored
    ),
    security(("server_key" = []))
)]
pub(super) async fn publish_to_topic(
    backend: Backend,
    State(app): State<Arc<App>>,
    Named(topic): Named<Topic>,
    asked: Asked,
    body: Body,
) -> Result<Response, Problem> {
    publish_to(&app, &backend, Audience::Topic(topic), &asked, body).await
}

/// Publishes to everyone, also to users who come later.
#[utoipa::path(
    post,
    path = "/v1/broadcast",
    tag = "publish",
    operation_id = "broadcast",
    params(Once),
    request_body(
        description = "JSON, or a text: then the body is the message, and `Title`, `Url`, `Icon`, `Severity`, `Category`, \
                       `Deliver-At` and `Expires-In` may be headers. At most 64 KiB.",
        content((PublishHere = "application/json"), (Text = "text/plain", example = json!("Tu pedido ha salido")))
    ),
    responses(
        (
            status = 201,
            description = "It is on the disk.",
            body = Receipt,
            headers(
                ("Location" = String, description = "Where to ask what has become of it."),
                ("Idempotent-Replayed" = String, description = "`true` if this is the answer to an earlier request with the same key.")
            )
        ),
        AsServer,
        WithBody,
        Conflicting,
        Stored
    ),
    security(("server_key" = []))
)]
pub(super) async fn broadcast(
    backend: Backend,
    State(app): State<Arc<App>>,
    asked: Asked,
    body: Body,
) -> Result<Response, Problem> {
    publish_to(&app, &backend, Audience::Everyone, &asked, body).await
}

/// Publishes JSON without `to`, or, if the request does not say that it is JSON, plain text.
async fn publish_to(
    app: &App,
    backend: &Backend,
    audience: Audience,
    asked: &Asked,
    body: Body,
) -> Result<Response, Problem> {
    let body = request::body(body).await?;
    let object = draft::read(&asked.headers, &body, true)?;
    respond(app, backend, asked, &body, object, Some(vec![audience])).await
}

async fn respond(
    app: &App,
    backend: &Backend,
    asked: &Asked,
    body: &[u8],
    mut object: Object,
    to: Option<Vec<Audience>>,
) -> Result<Response, Problem> {
    let request = asked.request(backend.owner(), body)?;
    let (answer, replayed) = if let Some(answer) = answered(app, request.as_ref()).await? {
        (answer, true)
    } else {
        let draft = draft(&mut object, to, app.publisher.now());
        let draft = backend.permit(object.finish(draft)?)?;
        backend.take(1)?;
        send(app, vec![draft], request, |published| encoded(&Receipt::of(&published[0]))).await?
    };
    let answer = members::count(app, vec![answer]).await.remove(0);
    let id = serde_json::from_str::<Value>(&answer).ok().and_then(|answer| Some(answer["id"].as_str()?.to_owned()));
    let mut response = json(StatusCode::CREATED, answer);
    let location = format!("{}/v1/notifications/{}", app.options.path(), id.unwrap_or_default());
    response.headers_mut().insert(LOCATION, HeaderValue::try_from(location).expect("a UUID is ASCII"));
    mark_replayed(&mut response, replayed);
    Ok(response)
}

/// The answer to a request that was done before. It is looked for before anything is judged: what was right then may be
/// too late now, and its answer stays what it was.
pub(super) async fn answered(app: &App, request: Option<&Request>) -> Result<Option<String>, Problem> {
    let Some(request) = request else { return Ok(None) };
    match app.publisher.answered(request).await? {
        Some(Published::Now(answer) | Published::Before(answer)) => Ok(Some(answer)),
        Some(Published::KeyReused) => Err(Problem::key_reused()),
        None => Ok(None),
    }
}

/// Publishes drafts; gives the answer, and whether it is one of before.
pub(super) async fn send(
    app: &App,
    drafts: Vec<Permitted>,
    request: Option<Request>,
    answer: impl FnOnce(&[Notification]) -> String,
) -> Result<(String, bool), Problem> {
    let drafts = drafts.into_iter().map(Permitted::into_draft).collect();
    match app.publisher.publish_all(drafts, request, answer).await? {
        Published::Now(answer) => Ok((answer, false)),
        Published::Before(answer) => Ok((answer, true)),
        Published::KeyReused => Err(Problem::key_reused()),
    }
}

pub(super) fn mark_replayed(response: &mut Response, replayed: bool) {
    if replayed {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
}

/// Lets a notification say something else.
///
/// The fields that are given replace those that were; `null` removes one. A key without `manage` changes what went to
/// audiences to which it may publish.
#[utoipa::path(
    patch,
    path = "/v1/notifications/{id}",
    tag = "publish",
    operation_id = "edit",
    params(("id" = String, Path, format = "uuid", description = "The notification's id.")),
    request_body(content = Edit, description = "At most 64 KiB."),
    responses(
        (status = 200, description = "It says so now; open streams have `updated`.", body = NotificationShape),
        AsServer,
        WithBody,
        OfType,
        Found,
        Stored
    ),
    security(("server_key" = []))
)]
pub(super) async fn edit(
    backend: Backend,
    State(app): State<Arc<App>>,
    Named(id): Named<NotificationId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = request::json_of(&headers, body, request::BODY_BYTES_MAX).await?;
    let Value::Object(patch) = request::parse_json(&body)? else {
        return Err(Problem::malformed_json("the body must be a JSON object"));
    };
    // Until the commit its audiences can only become fewer, when a user is erased: whoever may change it now, may then.
    let found = app.inbox.find(id).await?.ok_or_else(no_such_notification)?;
    backend.may_change(&found.notification.audiences)?;
    let patch = patch_of(patch)?;
    let edited = app.publisher.edit(id, patch).await?.ok_or_else(no_such_notification)?;
    Ok(json(StatusCode::OK, sse::notification_json(&edited)))
}

/// Checks what an edit changes: each field by itself, as when a notification is published.
fn patch_of(mut patch: Map<String, Value>) -> Result<Patch, Problem> {
    let names: Vec<String> = patch.keys().cloned().collect();
    patch.retain(|name, value| !(value.is_null() && draft::CONTENT.contains(&name.as_str())));
    if !names.iter().any(|name| name == "message") {
        // The notification has one already.
        patch.insert("message".into(), "unchanged".into());
    }
    let mut object = Object::of(patch);
    let content = content(&mut object);
    object.refuse_rest(&draft::CONTENT);
    Ok(Patch::new(&names, &object.finish(content)?))
}

/// Takes a notification back, from everybody.
///
/// A key without `manage` takes back what went to audiences to which it may publish.
#[utoipa::path(
    delete,
    path = "/v1/notifications/{id}",
    tag = "publish",
    operation_id = "recall",
    params(("id" = String, Path, format = "uuid", description = "The notification's id.")),
    responses(
        (status = 204, description = "Nobody has it any more; open streams have `removed`."),
        AsServer,
        operations::Named,
        Found,
        Stored
    ),
    security(("server_key" = []))
)]
pub(super) async fn recall(
    backend: Backend,
    State(app): State<Arc<App>>,
    Named(id): Named<NotificationId>,
) -> Result<StatusCode, Problem> {
    let found = app.inbox.find(id).await?.ok_or_else(no_such_notification)?;
    backend.may_change(&found.notification.audiences)?;
    if app.publisher.recall(id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(no_such_notification()) }
}

pub(super) fn no_such_notification() -> Problem {
    Problem::not_found("no notification has this id")
}
