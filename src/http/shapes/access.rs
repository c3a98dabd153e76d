//! What is sent as JSON about who may do and see what: server keys, tokens, sessions, tickets, memberships.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::SchemaFormat;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};

use crate::auth::keys::SCOPES_MAX;
use crate::publish::TOPICS_MAX;

/// A request for a server key.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"name": "shop", "scopes": ["publish:user:*"], "expires_in": "90d"})))]
pub struct KeyWanted {
    /// What people call it, 1 to 128 bytes. Keys of one name share their `Idempotency-Key`s: one takes the place of another.
    #[schema(format = "line", examples("shop"))]
    pub name: String,
    /// What it gives a right to.
    #[schema(schema_with = scopes)]
    pub scopes: Vec<String>,
    /// How long it is accepted, from 1 s to 3660 days; for ever unless it says.
    #[schema(format = "period", examples("90d"))]
    pub expires_in: Option<String>,
}

/// A server key, without the key itself.
#[derive(Serialize, ToSchema)]
pub struct Key {
    /// Its id, a UUID of version 7.
    #[schema(format = "uuid", examples("01a20cb5-116e-716b-aa33-fad3da96c4bc"))]
    pub id: String,
    /// What people call it.
    #[schema(examples("shop"))]
    pub name: String,
    /// What it gives a right to.
    #[schema(examples(json!(["publish:user:*"])))]
    pub scopes: Vec<String>,
    /// Its last characters.
    #[schema(examples("x7Qf"))]
    pub hint: String,
    /// When it was made.
    #[schema(format = "date-time", examples("2026-11-24T09:00:00.000Z"))]
    pub created_at: String,
    /// From when on it is refused; `null` if never.
    #[schema(format = "date-time", required, examples("2027-02-22T09:00:00.000Z"))]
    pub expires_at: Option<String>,
}

/// A server key that has just been made.
#[derive(Serialize, ToSchema)]
pub struct KeyMade {
    /// The key itself, which is shown this once.
    #[schema(examples("pregon_sk_…"))]
    pub key: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub of: Key,
}

/// The server keys of the store.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// As they were made.
    pub data: Vec<Key>,
}

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

/// What becomes of the tokens that were made before.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Whether they are refused at once; `false` unless it says otherwise.
    pub revoke: Option<bool>,
}

/// Another secret signs user tokens.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotated {
    /// When the last token that was made before is refused.
    #[schema(format = "date-time", examples("2026-12-24T10:00:00.000Z"))]
    pub old_tokens_until: String,
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

fn scopes() -> Schema {
    let scope = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("scope".into())));
    let scopes = ArrayBuilder::new()
        .items(scope)
        .min_items(Some(1))
        .max_items(Some(SCOPES_MAX))
        .examples([vec!["manage", "publish:user:*"]]);
    let description = "`admin` (everything), `manage` (topics, users, inboxes, tokens, notifications), \
                       `publish:user:ID`, `publish:topic:NAME`, `publish:everyone`; a `*` at the end of a name stands for \
                       all that begin so.";
    scopes.description(Some(description)).into()
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
