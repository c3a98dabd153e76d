//! `/v1/inbox/preferences`: what a user does not want.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::App;
use super::error::{FieldError, Problem};
use super::identity::Owner;
use super::operations::{AsUser, OfType, Stored, Whose, WithBody};
use super::request::{Object, encoded, json};
use super::shapes::Preferences;
use crate::content;
use crate::inbox::MUTED_MAX;

/// The fields of a request.
pub(super) const FIELDS: [&str; 1] = ["muted"];

/// Says which categories a user has muted.
#[utoipa::path(
    get,
    path = "/v1/inbox/preferences",
    tag = "inbox",
    operation_id = "preferences",
    params(Whose),
    responses((status = 200, description = "What she does not want.", body = Preferences), AsUser),
    security(("user_token" = []), ("session" = []), ("access_token" = []), ("server_key" = []))
)]
pub(super) async fn get(Owner(user): Owner, State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let muted = app.inbox.muted(&user).await?;
    Ok(json(StatusCode::OK, encoded(&Preferences { muted })))
}

/// Mutes categories.
///
/// These and no others, from here on. What she has already stays.
#[utoipa::path(
    put,
    path = "/v1/inbox/preferences",
    tag = "inbox",
    operation_id = "set_preferences",
    params(Whose),
    request_body = Preferences,
    responses(
        (status = 200, description = "It is so from here on.", body = Preferences),
        AsUser,
        WithBody,
        OfType,
        Stored
    ),
    security(("user_token" = []), ("session" = []), ("access_token" = []), ("server_key" = []))
)]
pub(super) async fn put(
    Owner(user): Owner,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut object = Object::read(&headers, body).await?;
    let muted = muted(&mut object);
    object.refuse_rest(&FIELDS);
    let muted = object.finish(muted)?;
    app.inbox.mute(user, muted.clone()).await?;
    Ok(json(StatusCode::OK, encoded(&Preferences { muted })))
}

/// Reads the categories: by name, each once.
fn muted(object: &mut Object) -> Option<Vec<String>> {
    object.must_have("muted", "must say which categories; an empty array for none");
    let category = |name: &str| match content::category(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(problem) => Err((FieldError::code_of(problem), problem.to_string())),
    };
    let mut muted = object.strings("muted", MUTED_MAX, category)?;
    muted.sort_unstable();
    Some(muted)
}
