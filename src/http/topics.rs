//! `/v1/topics/{topic}/subscribers`: membership, kept by the server.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};

use super::App;
use super::error::Problem;
use super::identity::Manager;
use super::operations::{self, AsServer, Conflicting, Stored};
use super::request::{Named, NamedPair, parameter};
use super::shapes::access::Subscribers;
use crate::inbox::MEMBERS_MAX;
use crate::notification::{Topic, UserId};

/// Makes a user a member of a topic.
///
/// From here on she gets what is published to it. Doing it again changes nothing.
#[utoipa::path(
    put,
    path = "/v1/topics/{topic}/subscribers/{user}",
    tag = "topics",
    operation_id = "subscribe",
    params(
        ("topic" = String, Path, format = "name", description = "The topic's name, 1 to 128 bytes.", example = json!("orders")),
        ("user" = String, Path, format = "name", description = "The user's id, 1 to 128 bytes.", example = json!("1"))
    ),
    responses(
        (status = 201, description = "She is a member from here on."),
        (status = 204, description = "She was one already."),
        AsServer,
        operations::Named,
        Conflicting,
        Stored
    ),
    security(("server_key" = []))
)]
pub(super) async fn subscribe(
    _: Manager,
    State(app): State<Arc<App>>,
    NamedPair(topic, user): NamedPair<Topic, UserId>,
) -> Result<StatusCode, Problem> {
    let joined = app.publisher.join(user, vec![topic]).await?;
    let joined = joined.ok_or_else(|| Problem::too_many_topics(app.options.topics_per_user_max))?;
    Ok(if joined { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

/// Ends a user's membership of a topic.
///
/// From here on she gets nothing that is published to it; what she has stays. Doing it again changes nothing.
#[utoipa::path(
    delete,
    path = "/v1/topics/{topic}/subscribers/{user}",
    tag = "topics",
    operation_id = "unsubscribe",
    params(
        ("topic" = String, Path, format = "name", description = "The topic's name, 1 to 128 bytes.", example = json!("orders")),
        ("user" = String, Path, format = "name", description = "The user's id, 1 to 128 bytes.", example = json!("1"))
    ),
    responses(
        (status = 204, description = "She is no member."),
        AsServer,
        operations::Named,
        Stored
    ),
    security(("server_key" = []))
)]
pub(super) async fn unsubscribe(
    _: Manager,
    State(app): State<Arc<App>>,
    NamedPair(topic, user): NamedPair<Topic, UserId>,
) -> Result<StatusCode, Problem> {
    app.publisher.leave(user, topic).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the members of a topic, by name.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/subscribers",
    tag = "topics",
    operation_id = "subscribers",
    params(
        ("topic" = String, Path, format = "name", description = "The topic's name, 1 to 128 bytes.", example = json!("orders")),
        ("cursor" = Option<String>, Query, format = "name", description = "`next_cursor` of the part before.")
    ),
    responses(
        (status = 200, description = "At most 1000 of them.", body = Subscribers),
        AsServer,
        operations::Named
    ),
    security(("server_key" = []))
)]
pub(super) async fn subscribers(
    _: Manager,
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
