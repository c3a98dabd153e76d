//! `/openapi.json`: the API as an OpenAPI 3.1 document, generated from the handlers and from the types that they send;
//! and `/docs`, a page that shows it.
//!
//! **Invariant:** every operation of the router is in the document and nothing else is; a test compares them. Every
//! format of ours is spelled out as a pattern: what does not match it is refused, but for ways to write a duration that
//! nobody takes.
//!
//! Deliberately absent: lengths of texts. JSON Schema counts characters where our limits are bytes, so they stand in the
//! descriptions.

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::error::{FieldError, ProblemBody};
use super::request::json as json_answer;
use super::{
    assets, batch, health, inbox, keys, metrics, notifications, preferences, session, shapes, stream, timeline, tokens,
    topics, users,
};
use crate::content::{Action, Actor, Severity, Translation};

const DESCRIPTION: &str = "\
Real-time notifications: what is published is on the disk when it is answered, and with every open tab of its users \
milliseconds later.

JSON is snake_case, times are RFC 3339 in UTC with milliseconds, durations are texts such as `90s`, `1h` or `30d`. Limits \
of texts are bytes of UTF-8. An unknown field is an error, and `null` counts as absent, as an \
empty parameter does. Every answer has an `X-Request-Id`; \
every one that is not a success is a `Problem` (RFC 9457). A method that a path does not take is answered `405`.

This page as a file: [openapi.json](openapi.json).";

#[derive(OpenApi)]
#[openapi(
    info(title = "Pregón", description = DESCRIPTION, license(name = "MIT OR Apache-2.0")),
    servers((url = "./", description = "This server")),
    tags(
        (name = "publish", description = "Say something, change it, take it back, and see what has become of it."),
        (name = "topics", description = "Who is a member of a topic."),
        (name = "users", description = "What a back end asks about a user."),
        (name = "keys", description = "The keys of back ends."),
        (name = "inbox", description = "What a user has, and what she does with it."),
        (name = "stream", description = "What is new, at once."),
        (name = "health", description = "Whether the server works."),
    ),
    paths(
        notifications::publish,
        batch::publish,
        notifications::publish_to_user,
        notifications::publish_to_topic,
        notifications::broadcast,
        timeline::get,
        notifications::edit,
        notifications::recall,
        topics::subscribers,
        topics::subscribe,
        topics::unsubscribe,
        tokens::make,
        tokens::rotate,
        inbox::list_of,
        inbox::counts_of,
        timeline::connections,
        users::erase,
        users::revoke,
        keys::make,
        keys::list,
        keys::revoke,
        inbox::list,
        inbox::counts,
        inbox::get,
        inbox::mark,
        inbox::read_all,
        inbox::seen,
        inbox::bulk,
        preferences::get,
        preferences::put,
        session::begin,
        session::end,
        session::ticket,
        stream::stream,
        stream::notifications,
        health::healthz,
        health::readyz,
        metrics::metrics,
    ),
    components(schemas(ProblemBody, FieldError, Severity, Actor, Action, Translation, shapes::StreamEvent)),
)]
struct Api;

/// A text of one line: something is in it, and no control character.
const LINE: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";
/// The same with tabs and ends of lines.
const TEXT: &str =
    r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$";
/// A link, or the address of a picture; which schemes each may have stands in the descriptions.
const LINK: &str = r"^([A-Za-z]+:[^\s\\]+|/([^/\s\\][^\s\\]*)?)$";
/// A user or a topic.
const NAME: &str = r"^[^\s\x00-\x1f\x7f-\x9f]+$";
const AUDIENCE: &str = r"^(everyone|(user|topic):[^\s\x00-\x1f\x7f-\x9f]+)$";
const SCOPE: &str = r"^(admin|manage|publish:(everyone|(user|topic):[^\s\x00-\x1f\x7f-\x9f]+))$";
const LANGUAGE: &str = r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$";
const PERIOD: &str = r"^[0-9]+ ?[A-Za-z]+( ?[0-9]+ ?[A-Za-z]+)*$";
const EVENT_ID: &str = r"^[A-Za-z0-9_-]{22}$";
const KEY: &str = r"^[!-~]([ -~]{0,253}[!-~])?$";
const FLAG: &str = r"^(0|1|false|true)$";

/// The formats that are not of JSON Schema, and what they mean.
const FORMATS: [(&str, &str); 12] = [
    ("line", LINE),
    ("text", TEXT),
    ("picture", LINK),
    ("link", LINK),
    ("name", NAME),
    ("audience", AUDIENCE),
    ("scope", SCOPE),
    ("language", LANGUAGE),
    ("period", PERIOD),
    ("event-id", EVENT_ID),
    ("key", KEY),
    ("flag", FLAG),
];

/// Adds to each format what it means.
fn spell_out(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let format = fields.get("format").and_then(Value::as_str);
            if let Some((_, pattern)) = FORMATS.iter().find(|(name, _)| format == Some(name)) {
                fields.insert("pattern".into(), json!(pattern));
            }
            fields.values_mut().for_each(spell_out);
        }
        Value::Array(items) => items.iter_mut().for_each(spell_out),
        _ => {}
    }
}

/// The document.
fn document() -> Value {
    let mut api = Api::openapi();
    let bearer = |description: &str| {
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build())
    };
    let components = api.components.get_or_insert_default();
    components.add_security_scheme("server_key", bearer(
            "**A server key**, with which a back end publishes and manages: the one that the server was started with, or \
             one of `POST /v1/keys`, which does what its scopes say.",
        ));
    components.add_security_scheme(
        "user_token",
        bearer(
            "**A user token**: a JWT signed with what `--jwt-key` and `--jwt-algorithm` say; `sub` is the user, `exp` is \
             required.",
        ),
    );
    let parameter = ApiKeyValue::with_description(
        "access_token",
        "**A user token** in the address, since an `EventSource` sends no headers.",
    );
    components.add_security_scheme("access_token", SecurityScheme::ApiKey(ApiKey::Query(parameter)));
    let cookie = ApiKeyValue::with_description(
        "__Host-pregon",
        "**A user token** in a cookie, set by `POST /v1/session`; it is called `pregon` on this machine.",
    );
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    let ticket = ApiKeyValue::with_description("ticket", "**A ticket** of `POST /v1/stream/tickets`, for one stream.");
    components.add_security_scheme("ticket", SecurityScheme::ApiKey(ApiKey::Query(ticket)));
    let mut document = serde_json::to_value(api).expect("a document is JSON");
    spell_out(&mut document);
    for parameter in parameters(&mut document) {
        let in_query = parameter["in"] == "query";
        // An empty one counts as absent.
        let schema = parameter.get_mut("schema").and_then(Value::as_object_mut).filter(|_| in_query);
        for (keyword, value) in schema.into_iter().flatten() {
            match (keyword.as_str(), value) {
                ("pattern", Value::String(pattern)) => pattern.insert_str(0, "^$|"),
                ("enum", Value::Array(names)) => names.push(json!("")),
                _ => {}
            }
        }
    }
    // The macro has no place for it.
    if let Some(info) = document.pointer_mut("/info/license").and_then(Value::as_object_mut) {
        *info = Map::from_iter([
            ("name".to_owned(), json!("MIT OR Apache-2.0")),
            ("identifier".to_owned(), json!("MIT OR Apache-2.0")),
        ]);
    }
    document
}

/// Every parameter of every operation.
fn parameters(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut);
    let operations = paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    operations.filter_map(|operation| operation.get_mut("parameters")?.as_array_mut()).flatten()
}

/// The document, encoded once.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

pub(super) async fn openapi() -> Response {
    let mut response = json_answer(StatusCode::OK, DOCUMENT.as_str());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Nothing runs, and nothing is loaded, that does not come from this server. The viewer writes styles of its own into
/// its elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

pub(super) async fn docs() -> Response {
    let html = include_str!("../../web/docs.html")
        .replace("{{viewer}}", &assets::url("rapidoc-min.js"))
        .replace("{{script}}", &assets::url("docs.js"))
        .replace("{{style}}", &assets::url("docs.css"))
        .replace("{{favicon}}", &assets::url("favicon.svg"));
    let head: [(HeaderName, HeaderValue); 3] = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (head, html).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{draft, keys, tokens};
    use super::*;
    use crate::auth::keys as limits_of_keys;
    use crate::{content, inbox as limits, notification, publish};

    fn properties<'a>(document: &'a Value, schema: &str) -> &'a Map<String, Value> {
        let found = document["components"]["schemas"][schema]["properties"].as_object();
        found.unwrap_or_else(|| panic!("{schema} has no properties"))
    }

    #[test]
    fn a_request_has_the_fields_that_its_reader_knows() {
        let document = document();
        let content: Vec<&str> = draft::CONTENT.to_vec();
        let publish: Vec<&str> = [draft::CONTENT.as_slice(), &draft::REST].concat();
        let here: Vec<&str> = publish.iter().copied().filter(|name| *name != "to").collect();
        for (schema, known) in [
            ("Publish", publish),
            ("PublishHere", here),
            ("Edit", content),
            ("Mark", inbox::SET.to_vec()),
            ("MarkAll", inbox::ALL.to_vec()),
            ("MarkSome", inbox::SOME.to_vec()),
            ("Preferences", preferences::FIELDS.to_vec()),
            ("TokenWanted", tokens::FIELDS.to_vec()),
            ("Rotation", tokens::ROTATION.to_vec()),
            ("KeyWanted", keys::FIELDS.to_vec()),
            ("Actor", vec!["name", "avatar_url"]),
            ("Action", vec!["id", "label", "url", "style"]),
            ("Translation", vec!["title", "message"]),
        ] {
            let documented: BTreeSet<&str> = properties(&document, schema).keys().map(String::as_str).collect();
            assert_eq!(documented, BTreeSet::from_iter(known), "{schema}");
            assert_eq!(document["components"]["schemas"][schema]["additionalProperties"], false, "{schema}");
        }
    }

    #[test]
    fn a_limit_in_a_description_is_the_one_in_force() {
        let document = document();
        let days_ahead = usize::try_from(publish::AHEAD_MAX.as_secs() / 86_400).expect("a few");
        for (schema, name, limit) in [
            ("TokenWanted", "user_id", notification::NAME_BYTES_MAX),
            ("KeyWanted", "name", limits_of_keys::KEY_NAME_BYTES_MAX),
            ("Publish", "message", content::MESSAGE_BYTES_MAX),
            ("Publish", "title", content::TITLE_BYTES_MAX),
            ("Publish", "category", content::CATEGORY_BYTES_MAX),
            ("Publish", "url", content::URL_BYTES_MAX),
            ("Publish", "icon", content::URL_BYTES_MAX),
            ("Publish", "data", content::DATA_BYTES_MAX),
            ("Publish", "data", content::DATA_DEPTH_MAX),
            ("Publish", "to", notification::AUDIENCES_MAX),
            ("Publish", "deliver_at", days_ahead),
            ("Publish", "expires_at", days_ahead),
            ("Actor", "name", content::ACTOR_NAME_BYTES_MAX),
            ("Action", "label", content::ACTION_BYTES_MAX),
            ("Translation", "message", content::MESSAGE_BYTES_MAX),
            ("Subscribers", "data", limits::MEMBERS_MAX),
        ] {
            let description = properties(&document, schema)[name]["description"].as_str().unwrap_or_default();
            let numbers = description.split(|c: char| !c.is_ascii_digit());
            assert!(numbers.into_iter().any(|number| number == limit.to_string()), "{schema}.{name}: {description}");
        }
        let publish = properties(&document, "Publish");
        assert_eq!(publish["actions"]["maxItems"], content::ACTIONS_MAX);
        assert_eq!(publish["i18n"]["maxProperties"], content::LANGUAGES_MAX);
        assert_eq!(properties(&document, "Preferences")["muted"]["maxItems"], limits::MUTED_MAX);
        assert_eq!(document["components"]["schemas"]["Batch"]["maxItems"], batch::BATCH_MAX);
        assert_eq!(properties(&document, "TokenWanted")["topics"]["maxItems"], publish::TOPICS_MAX);
        assert_eq!(properties(&document, "KeyWanted")["scopes"]["maxItems"], limits_of_keys::SCOPES_MAX);
        assert_eq!(properties(&document, "MarkSome")["ids"]["maxItems"], limits::MARKED_MAX);
    }

    #[test]
    fn what_is_sent_has_the_fields_of_its_schema() {
        let text = || Some("x".to_owned());
        let fields = content::Fields {
            message: "x".into(),
            title: text(),
            severity: Some(Severity::Info),
            category: text(),
            url: Some("/".into()),
            icon: Some("/".into()),
            actor: Some(Actor { name: "x".into(), avatar_url: None }),
            actions: vec![Action { id: "x".into(), label: "x".into(), url: None, style: None }],
            silent: true,
            i18n: [("en".to_owned(), Translation { title: text(), message: text() })].into(),
            data: Some(json!(1)),
        };
        let notification = notification::Notification {
            id: "01a20cb5-116e-716b-aa33-fad3da96c4bc".parse().expect("an id"),
            timestamp: jiff::Timestamp::UNIX_EPOCH,
            audiences: vec!["everyone".parse().expect("an audience")],
            content: content::Content::parse(&fields).expect("valid"),
            replaces: None,
            expires_at: Some(jiff::Timestamp::UNIX_EPOCH),
        };
        let sent: Map<String, Value> = super::super::request::object_of(&crate::sse::notification_json(&notification));
        let document = document();
        let documented: BTreeSet<&String> = properties(&document, "Notification").keys().collect();
        assert_eq!(documented, sent.keys().collect());
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_format_is_known() {
        fn walk(value: &Value, document: &Value) {
            match value {
                Value::Object(fields) => {
                    if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
                    }
                    if let Some(format) = fields.get("format").and_then(Value::as_str) {
                        let known = FORMATS.iter().any(|(name, _)| *name == format);
                        assert!(known || ["uuid", "date-time", "int32", "int64"].contains(&format), "{format}");
                    }
                    fields.values().for_each(|value| walk(value, document));
                }
                Value::Array(items) => items.iter().for_each(|value| walk(value, document)),
                _ => {}
            }
        }
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        walk(&document, &document);
    }
}
