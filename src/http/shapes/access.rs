//! What is sent as JSON about who may see what: tokens, sessions, tickets, memberships.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::SchemaFormat;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};

use crate::publish::TOPICS_MAX;

/// A request for a user token.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"user_id": "1", "expires_in": "1h"})))]
pub struct TokenWanted {
    /// Whose it is, 1 to 128 bytes.
    #[schema(format = "name")]
    pub user_id: String,
    /// Of which she becomes a member, at most 100.
    #[schema(schema_with = topics)]
    pub topics: Option<Vec<String>>,
    /// How long it is valid, from 1 s to 30 days; 1 hour unless it says otherwise.
    #[schema(format = "period")]
    pub expires_in: Option<String>,
}

/// A user token.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// A JWT.
    #[schema(examples("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.…"))]
    pub token: String,
    /// Until when it is valid.
    #[schema(format = "date-time", examples("2026-11-24T10:00:00.000Z"))]
    pub expires_at: String,
    /// Whose it is.
    #[schema(examples("1"))]
    pub user_id: String,
}

/// A session of a browser.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Whose it is.
    #[schema(examples("1"))]
    pub user_id: String,
    /// When it ends.
    #[schema(format = "date-time", examples("2026-11-24T10:00:00.000Z"))]
    pub expires_at: String,
}

/// What opens one stream.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// For `?ticket=`.
    #[schema(examples("Zr0mZ1rJ3Qd4v7o0kq9JmYw2x5h8bN1T"))]
    pub ticket: String,
    /// Until when it may be used.
    #[schema(format = "date-time", examples("2026-11-24T10:01:00.000Z"))]
    pub expires_at: String,
    /// Whose stream it opens.
    #[schema(examples("1"))]
    pub user_id: String,
}

/// A part of a topic's members.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscribers {
    /// Their ids, at most 1000.
    #[schema(examples(json!(["1", "2"])))]
    pub data: Vec<String>,
    /// Give it back as `?cursor=` to get the next part; `null` in the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

fn topics() -> Schema {
    let name = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("name".into())));
    let topics = ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .items(name)
        .max_items(Some(TOPICS_MAX))
        .examples([vec!["orders"]]);
    topics.description(Some("Topics of which she becomes a member.")).into()
}
