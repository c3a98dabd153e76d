//! `GET /v1/notifications/{id}`: what has become of a notification, so that "why did she not get it?" has an answer; and
//! `/v1/users/{user}/connections`: who is there.
//!
//! Nothing is recorded for it. To which connections a notification was delivered follows from their cursors: everything
//! for them up to there has been taken by the kernel.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use jiff::Timestamp;

use super::App;
use super::error::Problem;
use super::identity::Manager;
use super::notifications::no_such_notification;
use super::operations::{self, AsServer};
use super::request::{self, Named, encoded, json, parameter};
use super::shapes::fate::{
    Connection, Connections, Delivery, Fate, Presence as PresenceShape, ReaderFate, Standing, Step, Told,
};
use super::shapes::{Marked, NotificationFate, To};
use crate::delivery::Presence;
use crate::notification::{Audience, NotificationId, Position, UserId};
use crate::sse;
use crate::store::Found;

/// Up to where it is counted how far a connection is behind.
const BEHIND_MAX: usize = 100;

/// Says what a notification is, and what has become of it.
#[utoipa::path(
    get,
    path = "/v1/notifications/{id}",
    tag = "publish",
    operation_id = "fate",
    params(
        ("id" = String, Path, format = "uuid", description = "The notification's id."),
        ("user_id" = Option<String>, Query, format = "name", description = "The user of whom `reader` tells.")
    ),
    responses(
        (status = 200, description = "What is known of it.", body = NotificationFate),
        AsServer,
        operations::Named,
        operations::Found
    ),
    security(("server_key" = []))
)]
pub(super) async fn get(
    _: Manager,
    State(app): State<Arc<App>>,
    Named(id): Named<NotificationId>,
    uri: Uri,
) -> Result<Response, Problem> {
    let user = parameter(&uri, &["user_id"]);
    let user = user.map(|name| name.parse().map_err(|error| Problem::query("user_id", error))).transpose()?;
    let found = app.inbox.find(id).await?.ok_or_else(no_such_notification)?;
    let at = Some(sse::time(found.notification.timestamp));
    let mut timeline = vec![Step { event: "accepted", at: accepted_at(id).map(sse::time) }];
    let expired = found.notification.expires_at.is_some_and(|at| at <= app.publisher.now());
    let status = match (found.due, expired) {
        (Some(_), _) => Standing::Scheduled,
        (None, true) => Standing::Expired,
        (None, false) => Standing::Published,
    };
    if found.due.is_none() {
        timeline.push(Step { event: "stored", at });
    }
    // A notification for one user alone needs no question.
    let user = user.or_else(|| match found.notification.audiences.as_slice() {
        [Audience::User(user)] => Some(user.clone()),
        _ => None,
    });
    let reader = match user.zip(found.position) {
        Some((user, position)) => Some(reader(&app, &user, &found, position, expired).await?),
        None => None,
    };
    let to = To::of(&found.notification.audiences);
    let fate = Fate { to, deliver_at: found.due.map(sse::time), status, timeline, reader };
    let notification = request::object_of(&sse::notification_json(&found.notification));
    Ok(json(StatusCode::OK, encoded(&Told { notification, fate })))
}

/// When a notification was accepted: its id says so (RFC 9562, section 5.7).
fn accepted_at(id: NotificationId) -> Option<Timestamp> {
    let (seconds, nanoseconds) = id.0.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
}

/// How one user stands to a notification.
async fn reader(
    app: &App,
    user: &UserId,
    found: &Found,
    position: Position,
    expired: bool,
) -> Result<ReaderFate, Problem> {
    let interest = app.inbox.interest(user).await?;
    let addressed = found.notification.audiences.iter().any(|audience| interest.includes(audience, position));
    let item = app.inbox.item(user, found.notification.id).await?;
    let muted = found.notification.content.category().is_some_and(|category| interest.mutes(&category, position));
    let why = match (&item, addressed, expired) {
        (Some(_), ..) => "it is in her inbox",
        (None, false, _) => "it was not addressed to her, nor to a topic of which she was a member then",
        (None, true, true) => "it has expired",
        (None, true, false) if muted => "she has muted its category",
        (None, true, false) => "she has so many newer ones that it is no longer in her inbox",
    };
    let state = item.as_ref().map(|item| item.state).unwrap_or_default();
    let connections = app.delivery.presence(user).await;
    let delivered = |connection: &Presence| {
        let delivered = if !addressed || connection.cursor < position {
            "no"
        } else if connection.began < position {
            "yes"
        } else {
            // It was there before this connection began, which did not ask for it.
            "before"
        };
        Delivery { connection: connected(connection), delivered }
    };
    Ok(ReaderFate {
        user_id: user.to_string(),
        addressed,
        in_inbox: item.is_some(),
        detail: why,
        marked: Marked::from(state),
        connections: connections.iter().map(delivered).collect(),
    })
}

fn connected(presence: &Presence) -> Connection {
    let Presence { id, connected_at, transport, .. } = presence;
    Connection { id: id.clone(), connected_at: sse::time(*connected_at), transport }
}

/// Says who of a user is there, since when, and how much each has not taken yet.
#[utoipa::path(
    get,
    path = "/v1/users/{user}/connections",
    tag = "users",
    operation_id = "connections",
    params(
        ("user" = String, Path, format = "name", description = "The user's id, 1 to 128 bytes.", example = json!("1"))
    ),
    responses(
        (status = 200, description = "Her open connections.", body = Connections),
        AsServer,
        operations::Named
    ),
    security(("server_key" = []))
)]
pub(super) async fn connections(
    _: Manager,
    State(app): State<Arc<App>>,
    Named(user): Named<UserId>,
) -> Result<Response, Problem> {
    let interest = app.inbox.interest(&user).await?;
    let mut data = Vec::new();
    for presence in app.delivery.presence(&user).await {
        let behind = app.inbox.said_after(&interest, presence.cursor, BEHIND_MAX).await?;
        data.push(PresenceShape { connection: connected(&presence), behind });
    }
    let connections = Connections { online: !data.is_empty(), data };
    Ok(json(StatusCode::OK, encoded(&connections)))
}
