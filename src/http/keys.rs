//! `/v1/keys`: the server keys of the store.
//!
//! **Invariant:** a key is shown once, in the answer that makes it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::App;
use super::draft::duration;
use super::error::Problem;
use super::identity::Admin;
use super::operations::{self, AsServer, Conflicting, Found, OfType, Stored, WithBody};
use super::request::{Named, Object, encoded, json};
use super::shapes::access::{Key, KeyMade, KeyWanted, Keys};
use crate::access::{Forgotten, Made};
use crate::auth::keys::{KEY_NAME_BYTES_MAX, KEYS_MAX, KeptKey, KeyId, SCOPES_MAX, Scope};
use crate::content::is_invisible;
use crate::sse;

/// The fields of a request.
pub(super) const FIELDS: [&str; 3] = ["name", "scopes", "expires_in"];
/// Longest life of a key that has an end.
const VALID_MAX: Duration = Duration::from_hours(3660 * 24);

/// Makes a server key, which is shown this once.
///
/// It is accepted at once. What is kept of it is a digest.
#[utoipa::path(
    post,
    path = "/v1/keys",
    tag = "keys",
    operation_id = "make_key",
    request_body = KeyWanted,
    responses(
        (status = 201, description = "The key. Nobody can ask for it again.", body = KeyMade),
        AsServer,
        WithBody,
        OfType,
        Conflicting,
        Stored
    ),
    security(("server_key" = []))
)]
pub(super) async fn make(
    _: Admin,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut object = Object::read(&headers, body).await?;
    object.must_have("name", "must say what the key is called");
    let name = object.parsed("name", "name", name);
    object.must_have("scopes", "must say what the key gives a right to");
    let scopes = object
        .strings("scopes", SCOPES_MAX, |text| text.parse::<Scope>().map_err(|error| ("scope", error.to_string())));
    if scopes.as_ref().is_some_and(Vec::is_empty) && !object.is_wrong_within("scopes") {
        object.wrong("scopes", "empty", "must name at least one");
    }
    let valid = object.parsed("expires_in", "duration", |text| {
        let valid = duration(text)?;
        let fits = valid >= Duration::from_secs(1) && valid <= VALID_MAX;
        if fits { Ok(valid) } else { Err("must be from 1s to 3660d".to_owned()) }
    });
    object.refuse_rest(&FIELDS);
    let (name, scopes) = object.finish(name.zip(scopes))?;
    let now = app.publisher.now();
    let expires_at = valid.map(|valid| now.checked_add(valid).map_err(|_| Problem::internal())).transpose()?;
    let made = app.access.make_key(name, scopes, expires_at).await?;
    let Made { key, kept } = made.ok_or_else(|| Problem::too_many_keys(KEYS_MAX))?;
    let made = KeyMade { key: key.reveal().to_owned(), of: shown(&kept) };
    Ok(json(StatusCode::CREATED, encoded(&made)))
}

fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.len() > KEY_NAME_BYTES_MAX || text.chars().any(is_invisible) {
        return Err(format!("must have 1 to {KEY_NAME_BYTES_MAX} bytes, and no control or invisible characters"));
    }
    Ok(text.to_owned())
}

fn shown(key: &KeptKey) -> Key {
    Key {
        id: key.id.to_string(),
        name: key.name.clone(),
        scopes: key.scopes.iter().map(Scope::to_string).collect(),
        hint: key.hint.clone(),
        created_at: sse::time(key.created_at),
        expires_at: key.expires_at.map(sse::time),
    }
}

/// Lists the server keys, as they were made.
///
/// The one that the server was started with is not among them.
#[utoipa::path(
    get,
    path = "/v1/keys",
    tag = "keys",
    operation_id = "keys",
    responses((status = 200, description = "All of them, without the keys themselves.", body = Keys), AsServer),
    security(("server_key" = []))
)]
pub(super) async fn list(_: Admin, State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let keys = Keys { data: app.access.keys().await?.iter().map(shown).collect() };
    Ok(json(StatusCode::OK, encoded(&keys)))
}

/// Revokes a server key.
///
/// The next request with it is refused. A server that was started without a key keeps the last one that has `admin`.
#[utoipa::path(
    delete,
    path = "/v1/keys/{id}",
    tag = "keys",
    operation_id = "revoke_key",
    params(("id" = String, Path, format = "uuid", description = "The key's id.")),
    responses(
        (status = 204, description = "It is accepted no longer."),
        AsServer,
        operations::Named,
        Found,
        Conflicting,
        Stored
    ),
    security(("server_key" = []))
)]
pub(super) async fn revoke(
    _: Admin,
    State(app): State<Arc<App>>,
    Named(id): Named<KeyId>,
) -> Result<StatusCode, Problem> {
    match app.access.forget_key(id).await? {
        Forgotten::Done => Ok(StatusCode::NO_CONTENT),
        Forgotten::Missing => Err(Problem::not_found("no key has this id")),
        Forgotten::LastAdmin => Err(Problem::last_admin_key()),
    }
}
