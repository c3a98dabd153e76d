//! `/v1/topics/{topic}/subscribers`: membership, kept by the server.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Serialize;

use super::App;
use super::error::Problem;
use super::identity::Backend;
use super::request::{Named, NamedPair, parameter};
use crate::inbox::MEMBERS_MAX;
use crate::notification::{Topic, UserId};

/// A part of a topic's members.
#[derive(Serialize)]
pub(super) struct Subscribers {
    data: Vec<String>,
    /// Give it back as `?cursor=` to get the next part.
    next_cursor: Option<String>,
}

/// From here on the user sees what is published to the topic. Doing it again changes nothing.
pub(super) async fn subscribe(
    _: Backend,
    State(app): State<Arc<App>>,
    NamedPair(topic, user): NamedPair<Topic, UserId>,
) -> Result<StatusCode, Problem> {
    let joined = app.publisher.join(user, topic).await?;
    Ok(if joined { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

/// From here on she no longer does; what she has stays.
pub(super) async fn unsubscribe(
    _: Backend,
    State(app): State<Arc<App>>,
    NamedPair(topic, user): NamedPair<Topic, UserId>,
) -> Result<StatusCode, Problem> {
    app.publisher.leave(user, topic).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn subscribers(
    _: Backend,
    State(app): State<Arc<App>>,
    Named(topic): Named<Topic>,
    uri: Uri,
) -> Result<Json<Subscribers>, Problem> {
    let after = parameter(&uri, &["cursor"]);
    let after = after.map(|name| name.parse().map_err(|error| Problem::query("cursor", error))).transpose()?;
    let members = app.inbox.members(&topic, after).await?;
    let next_cursor = (members.len() == MEMBERS_MAX).then(|| members.last().map(UserId::to_string)).flatten();
    Ok(Json(Subscribers { data: members.iter().map(UserId::to_string).collect(), next_cursor }))
}
