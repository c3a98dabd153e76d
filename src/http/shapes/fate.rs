//! What is sent as JSON about what has become of a notification, and about who is there.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{PartialSchema as _, ToSchema};

use super::{Marked, To};

/// Where a notification stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Its time has not come.
    Scheduled,
    /// Whoever it is for has it.
    Published,
    /// Its time is over.
    Expired,
}

/// What has become of a notification.
#[derive(Serialize, ToSchema)]
pub struct Fate {
    /// To whom it went.
    #[schema(schema_with = To::schema)]
    pub to: To,
    /// From when on anybody has it, if that is still to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", value_type = String)]
    pub deliver_at: Option<String>,
    /// Where it stands.
    pub status: Standing,
    /// What has happened to it, in order.
    pub timeline: Vec<Step>,
    /// How the user stands to it whom `?user_id=` names, or to whom alone it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = ReaderFate)]
    pub reader: Option<ReaderFate>,
}

/// The answer about a notification as it is sent.
#[derive(Serialize)]
pub struct Told {
    /// What was published.
    #[serde(flatten)]
    pub notification: Map<String, Value>,
    /// What has become of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// Something that has happened to a notification.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What: `accepted`, `stored`.
    #[schema(examples("stored"))]
    pub event: &'static str,
    /// When; `null` if its id does not say so.
    #[schema(format = "date-time", required, examples("2026-11-24T09:00:00.000Z"))]
    pub at: Option<String>,
}

/// How a user stands to a notification.
#[derive(Serialize, ToSchema)]
pub struct ReaderFate {
    /// The user.
    #[schema(examples("1"))]
    pub user_id: String,
    /// Whether it was for her.
    pub addressed: bool,
    /// Whether it is in her inbox.
    pub in_inbox: bool,
    /// Why, or why not, in words that may change.
    #[schema(examples("it is in her inbox"))]
    pub detail: &'static str,
    /// What she has done with it.
    #[serde(flatten)]
    pub marked: Marked,
    /// Her open connections.
    pub connections: Vec<Delivery>,
}

/// An open connection of a user.
#[derive(Serialize, ToSchema)]
pub struct Connection {
    /// Its name while it lasts.
    #[schema(examples("0-7-2"))]
    pub id: String,
    /// Since when it is there.
    #[schema(format = "date-time", examples("2026-11-24T08:59:00.000Z"))]
    pub connected_at: String,
    /// What it is written to: `http1`, `tls` (HTTP/1.1 too), or the `body` of an answer (HTTP/2, long poll).
    #[schema(examples("http1"))]
    pub transport: &'static str,
}

/// An open connection, and whether it has a notification.
#[derive(Serialize, ToSchema)]
pub struct Delivery {
    /// The connection.
    #[serde(flatten)]
    pub connection: Connection,
    /// `yes` (taken by the kernel), `no`, or `before` (it was there before the connection began).
    #[schema(examples("yes"))]
    pub delivered: &'static str,
}

/// An open connection, and how much it has not taken yet.
#[derive(Serialize, ToSchema)]
pub struct Presence {
    /// The connection.
    #[serde(flatten)]
    pub connection: Connection,
    /// How much it has not taken yet, counted up to 100.
    #[schema(examples(0), maximum = 100)]
    pub behind: usize,
}

/// Who of a user is there.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Connections {
    /// Whether there is a connection.
    pub online: bool,
    /// Her open connections.
    pub data: Vec<Presence>,
}
