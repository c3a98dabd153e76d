//! What goes over the wire as JSON: the answers as they are encoded, and the schemas of requests.
//!
//! An answer is one of these structs, so its schema is generated from what is really sent. Requests are read field by
//! field ([`super::request`]), since a caller shall learn of all that is wrong at once; their schemas are put together
//! here from the same fields, and a test holds their names against the names that the reader knows.
//!
//! **Invariant:** an object has the fields of its schema and no others. Formats that are not of JSON Schema (`line`,
//! `name`, …) are spelled out by [`super::openapi`].
//!
//! Deliberately absent: problems, which are [`super::error`]'s.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use super::error::ItemProblem;
use crate::content::Fields;
use crate::inbox::{MARKED_MAX, MUTED_MAX};
use crate::notification::{Audience, Notification};
use crate::sse;
use crate::state::{Counts, Set, State};

pub mod access;
pub mod fate;

/// One audience as it was given: alone, or several as a list.
#[derive(Serialize)]
#[serde(untagged)]
pub enum To {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl To {
    /// The audiences as a publisher would write them.
    #[must_use]
    pub fn of(audiences: &[Audience]) -> To {
        let mut to: Vec<String> = audiences.iter().map(Audience::to_string).collect();
        if to.len() == 1 { To::One(to.swap_remove(0)) } else { To::Many(to) }
    }
}

impl PartialSchema for To {
    fn schema() -> RefOr<Schema> {
        let audience = || {
            let format = SchemaFormat::Custom("audience".into());
            ObjectBuilder::new().schema_type(Type::String).format(Some(format)).examples(["user:1"])
        };
        let several =
            ArrayBuilder::new().items(audience()).min_items(Some(1)).examples([vec!["user:1", "topic:orders"]]);
        let description = "To whom: `user:ID`, `topic:NAME`, `everyone`, or an array of them, at most 1000 different \
                           ones. All get it or none does, and nobody twice.";
        OneOfBuilder::new().description(Some(description)).item(audience()).item(several).into()
    }
}

/// What a publisher is told of a notification.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Its id, a UUID of version 7.
    #[schema(format = "uuid", examples("01a20cb5-116e-716b-aa33-fad3da96c4bc"))]
    pub id: String,
    /// When it was accepted, or will be published.
    #[schema(format = "date-time", examples("2026-11-24T09:00:00.000Z"))]
    pub timestamp: String,
    /// To whom.
    #[schema(schema_with = To::schema)]
    pub to: To,
    /// For each topic in `to`, how many members it has now, counted up to 1000: none of them, nobody gets it. Absent without a topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(examples(json!({"orders": 3})))]
    pub members: Option<BTreeMap<String, u16>>,
}

impl Receipt {
    /// The receipt for a notification.
    #[must_use]
    pub fn of(notification: &Notification) -> Receipt {
        Receipt {
            id: notification.id.to_string(),
            timestamp: sse::time(notification.timestamp),
            to: To::of(&notification.audiences),
            // They are added when it is sent.
            members: None,
        }
    }
}

/// What has come of each item of a batch, in their order.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchResults {
    /// As many as there were items.
    pub data: Vec<BatchResult>,
}

/// What has come of an item of a batch.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum BatchResult {
    /// It is published.
    Published(Receipt),
    /// It is wrong.
    Refused(Refused),
}

/// An item of a batch that is wrong.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// How.
    pub error: ItemProblem,
}

/// The fields of a publish request beside those of [`Fields`].
#[derive(ToSchema)]
pub struct Publishing {
    /// A key, named like a topic: the notification that went to the same `to` with the same key before is removed.
    #[schema(format = "name", examples("order-1042"))]
    pub replaces: Option<String>,
    /// From when on anybody has it, at most 366 days ahead. After a downtime it comes late, never twice.
    #[schema(format = "date-time")]
    pub deliver_at: Option<String>,
    /// Until when anybody has it: after `deliver_at`, at most 366 days ahead. Not together with `expires_in`.
    #[schema(format = "date-time")]
    pub expires_at: Option<String>,
    /// How long anybody has it after it is published. Not together with `expires_at`.
    #[schema(format = "period", examples("2h"))]
    pub expires_in: Option<String>,
}

/// What the server adds to what a publisher says.
#[derive(ToSchema)]
pub struct Published {
    /// Its id, a UUID of version 7.
    #[schema(format = "uuid", examples("01a20cb5-116e-716b-aa33-fad3da96c4bc"))]
    pub id: String,
    /// When it was published, to the millisecond.
    #[schema(format = "date-time", examples("2026-11-24T09:00:00.000Z"))]
    pub timestamp: String,
    /// From when on nobody has it.
    #[schema(format = "date-time", required = false, value_type = String, examples("2026-11-24T11:00:00.000Z"))]
    pub expires_at: Option<String>,
}

/// What a user has done with a notification.
#[derive(Serialize, ToSchema)]
pub struct Marked {
    /// When it was first shown to her.
    #[schema(format = "date-time", required, examples("2026-11-24T09:00:01.000Z"))]
    pub seen_at: Option<String>,
    /// When she read it.
    #[schema(format = "date-time", required, examples("2026-11-24T09:05:00.000Z"))]
    pub read_at: Option<String>,
    /// When she put it away.
    #[schema(format = "date-time", required)]
    pub archived_at: Option<String>,
}

impl From<State> for Marked {
    fn from(state: State) -> Marked {
        let time = |at: Option<jiff::Timestamp>| at.map(sse::time);
        Marked { seen_at: time(state.seen_at), read_at: time(state.read_at), archived_at: time(state.archived_at) }
    }
}

/// The properties of several schemas as one object that has no others.
fn together(description: &str, parts: impl IntoIterator<Item = RefOr<Schema>>) -> Object {
    let mut whole = ObjectBuilder::new().schema_type(Type::Object).description(Some(description)).build();
    for part in parts {
        let RefOr::T(Schema::Object(part)) = part else { unreachable!("a struct is an object") };
        whole.properties.extend(part.properties);
        whole.required.extend(part.required);
    }
    whole.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    whole
}

/// Defines types that stand for schemas put together from others; their doc is the description.
macro_rules! together {
    ($($(#[doc = $doc:literal])+ $type:ident as $name:literal: [$($part:ty),+], $change:expr;)+) => {$(
        $(#[doc = $doc])+
        pub struct $type;

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let change: fn(&mut Object) = $change;
                let mut object = together(concat!($($doc),+).trim(), [$(<$part>::schema()),+]);
                change(&mut object);
                object.into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                $name.into()
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $(<$part>::schemas(schemas);)+
            }
        }
    )+};
}

together! {
    /// A notification to publish, and to whom.
    Publish as "Publish": [Addressed, Fields, Publishing], |object| {
        let to = ["user:1", "topic:orders"];
        object.examples =
            vec![json!({"to": to, "title": "Pedido 1042", "message": "Ha salido", "severity": "success"})];
    };
    /// A notification to publish to whom the path names.
    PublishHere as "PublishHere": [Fields, Publishing], |object| {
        object.examples = vec![json!({"message": "Ha salido", "url": "/orders/1042", "expires_in": "2h"})];
    };
    /// What a notification says from here on: what is given replaces what was, `null` removes it.
    Edit as "Edit": [Fields], |object| {
        object.required.clear();
        object.examples = vec![json!({"message": "Llega mañana", "title": null})];
    };
    /// A notification.
    NotificationShape as "Notification": [Published, Fields], |_| {};
    /// A notification as a user has it.
    InboxItem as "InboxItem": [Published, Fields, Marked], |_| {};
    /// A notification, and what has become of it.
    NotificationFate as "NotificationFate": [Published, Fields, fate::Fate], |_| {};
}

/// A message alone, as plain text.
pub struct Text;

impl PartialSchema for Text {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("text".into()))).into()
    }
}

impl ToSchema for Text {}

/// Notifications to publish.
pub struct Batch;

impl PartialSchema for Batch {
    fn schema() -> RefOr<Schema> {
        let item = Ref::from_schema_name(Publish::name());
        ArrayBuilder::new().items(item).min_items(Some(1)).max_items(Some(1000)).into()
    }
}

impl ToSchema for Batch {}

/// Notifications to publish, one a line.
pub struct Lines;

impl PartialSchema for Lines {
    fn schema() -> RefOr<Schema> {
        let example = "{\"to\": \"user:1\", \"message\": \"Uno\"}\n{\"to\": \"user:2\", \"message\": \"Dos\"}";
        let lines = ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"\S")).examples([example]);
        lines.description(Some("A `Publish` a line.")).into()
    }
}

impl ToSchema for Lines {}

/// To whom a request publishes.
#[derive(ToSchema)]
pub struct Addressed {
    /// To whom.
    #[schema(schema_with = To::schema)]
    pub to: To,
}

/// An item of an inbox as it is sent.
#[derive(Serialize)]
pub struct Item {
    /// What was published, in the reader's language.
    #[serde(flatten)]
    pub notification: Map<String, Value>,
    /// What she has done with it.
    #[serde(flatten)]
    pub marked: Marked,
}

/// A page of what a user has, newest first.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InboxPage {
    /// The notifications.
    #[schema(value_type = Vec<InboxItem>)]
    pub data: Vec<Item>,
    /// Give it back as `?cursor=` for the next page; `null` on the last one. `Link` with `rel="next"` says the same.
    #[schema(required, examples("q0bN2nJv7cO1m9kX3fHsVQ"))]
    pub next_cursor: Option<String>,
    /// Of all that she has, whatever is asked for here.
    pub counts: Counts,
    /// A stream from here (`?last_event_id=`) misses nothing and doubles nothing.
    #[schema(examples("q0bN2nJv7cO1m9kX3fHsVQ"))]
    pub stream_cursor: String,
}

/// What came of marking all.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkedAll {
    /// How many she has after it.
    pub counts: Counts,
}

/// What came of marking some.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkedSome {
    /// How many she has after it.
    pub counts: Counts,
    /// Those that she does not have.
    #[schema(examples(json!([])))]
    pub missing: Vec<String>,
}

/// Which notifications are marked: all up to one, or all.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({})))]
pub struct MarkAll {
    /// The newest that is marked; what arrives meanwhile stays as it is. All, if it is absent.
    #[schema(format = "uuid")]
    pub up_to: Option<String>,
}

/// Which notifications are marked, and how.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"ids": ["01a20cb5-116e-716b-aa33-fad3da96c4bc"], "set": {"archived": true}})))]
pub struct MarkSome {
    /// Which.
    #[schema(schema_with = ids)]
    pub ids: Vec<String>,
    /// How.
    #[schema(value_type = Mark)]
    pub set: Set,
}

fn ids() -> Schema {
    let id = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("uuid".into())));
    ArrayBuilder::new()
        .description(Some("Which, by their ids."))
        .items(id)
        .min_items(Some(1))
        .max_items(Some(MARKED_MAX))
        .into()
}

/// A change of state, as a request asks for it.
pub struct Mark;

impl PartialSchema for Mark {
    fn schema() -> RefOr<Schema> {
        let RefOr::T(Schema::Object(mut object)) = Set::schema() else { unreachable!("a struct is an object") };
        let description =
            "What is given changes, at least one of them; `false` takes it back. What is read has been seen.";
        object.description = Some(description.to_owned());
        object.min_properties = Some(1);
        object.into()
    }
}

impl ToSchema for Mark {}

/// What a user does not want.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Preferences {
    /// Categories that she gets nothing of from here on, each once.
    #[schema(schema_with = muted)]
    pub muted: Vec<String>,
}

fn muted() -> Schema {
    let category = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("line".into())));
    let muted = ArrayBuilder::new().items(category).max_items(Some(MUTED_MAX)).examples([vec!["offers"]]);
    muted.description(Some("Categories that she gets nothing of from here on, each at most 64 bytes.")).into()
}

/// What `/readyz` says when all is well.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// Always `ready`.
    #[schema(examples("ready"))]
    pub status: &'static str,
    /// Options in force that are unsafe where strangers reach the server: with `open-user-id` anybody reads what any user has.
    /// Empty if there are none.
    #[serde(rename = "unsafe")]
    #[schema(examples(json!(["open-user-id"])))]
    pub weakened: Vec<&'static str>,
    /// Issuers whose keys can't be had at the moment, so that their tokens are refused.
    #[schema(examples(json!(["https://login.example"])))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuers_without_keys: Vec<String>,
    /// Work that keeps the store in order and that fails for want of space, or for a lock of another process.
    #[schema(value_type = Vec<String>, examples(json!(["checkpoint"])))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub maintenance_failing: Vec<&'static str>,
}

/// The answer to a poll.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Polled {
    /// What has happened, at most 100.
    #[schema(value_type = Vec<StreamEvent>)]
    pub data: Vec<Box<RawValue>>,
    /// Give it back as `?last_event_id=`.
    #[schema(required, examples("q0bN2nJv7cO1m9kX3fHsVQ"))]
    pub cursor: Option<String>,
    /// After how many milliseconds to come back, if the server could not take the request now.
    #[schema(required)]
    pub retry_ms: Option<u64>,
}

/// An event of the stream as a line of JSON.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamEvent {
    /// `hello`, `notification`, `updated`, `removed`, `state`, `preferences`, `reset`, `token_expiring` or `heartbeat`.
    #[schema(examples("notification"))]
    pub event: String,
    /// The cursor after it: give it back as `?last_event_id=`.
    #[schema(examples("q0bN2nJv7cO1m9kX3fHsVQ"))]
    pub id: String,
    /// A notification, or what the event says instead.
    #[schema(value_type = Object, examples(json!({"id": "01a20cb5-116e-716b-aa33-fad3da96c4bc", "message": "Ha salido"})))]
    pub data: Map<String, Value>,
}
