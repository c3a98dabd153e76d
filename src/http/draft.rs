//! Reading what is to be published: a JSON object, or plain text with headers, becomes a draft.
//!
//! **Invariant:** plain text and JSON are read by the same code, so a field means the same wherever it stands.

use std::time::Duration;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use quoted_printable::ParseMode;
use serde_json::{Map, Value};

use super::error::{FieldError, Problem};
use super::request::{FORM, Object, escaped, is_meant_as_json, media_type, without_mark};
use crate::content::{self, Action, ActionStyle, Actor, Content, Fields, Severity, Translation};
use crate::notification::Audience;
use crate::publish::{Draft, DraftError, Expiry, Times};

/// The fields of what a notification says.
pub(super) const CONTENT: [&str; 11] = content::NAMES;
/// The other fields of a publish request.
pub(super) const REST: [&str; 5] = ["to", "replaces", "deliver_at", "expires_at", "expires_in"];
/// The fields that may come as headers beside plain text.
pub(super) const HEADERS: [&str; 7] = ["title", "url", "icon", "severity", "category", "deliver-at", "expires-in"];

/// Reads a draft. `to` are the audiences if the path names them; then the request may not.
pub(super) fn draft(object: &mut Object, to: Option<Vec<Audience>>, now: Timestamp) -> Option<Draft> {
    let names_audiences = to.is_none();
    let audiences = to.unwrap_or_else(|| audiences(object));
    let replaces = object.parsed("replaces", "name", |key| key.parse().map_err(|error| format!("{error}")));
    let times = times(object, now);
    let content = content(object);
    let known: Vec<&str> = REST.into_iter().filter(|name| names_audiences || *name != "to").chain(CONTENT).collect();
    object.refuse_rest(&known);
    if audiences.is_empty() {
        return None;
    }
    match Draft::new(audiences, content?) {
        Ok(draft) => Some(draft.replacing(replaces).at(times?)),
        Err(error) => {
            object.wrong("to", draft_code(error), error.to_string());
            None
        }
    }
}

/// Reads what a notification says.
pub(super) fn content(object: &mut Object) -> Option<Content> {
    let fields = Fields {
        message: object.required("message"),
        title: object.string("title"),
        severity: object.one_of("severity", "severity", &Severity::NAMES, Severity::named),
        category: object.string("category"),
        url: object.string("url"),
        icon: object.string("icon"),
        actor: object.object("actor", actor),
        actions: actions(object),
        silent: object.boolean("silent").unwrap_or_default(),
        i18n: object.object("i18n", translations).unwrap_or_default(),
        data: object.take("data"),
    };
    match Content::parse(&fields) {
        Ok(content) => Some(content),
        Err(errors) => {
            for error in errors {
                // A field of a wrong type has been left empty; that it is empty is then no news.
                if !object.is_wrong(&error.field) {
                    object.wrong(&error.field, FieldError::code_of(error.problem), error.problem.to_string());
                }
            }
            None
        }
    }
}

fn actor(object: &mut Object) -> Actor {
    let name = object.required("name");
    let actor = Actor { name, avatar_url: object.string("avatar_url") };
    object.refuse_rest(&["name", "avatar_url"]);
    actor
}

fn actions(object: &mut Object) -> Vec<Action> {
    let items = object.list("actions").unwrap_or_default();
    let mut actions = Vec::new();
    for (number, item) in items.into_iter().enumerate() {
        let place = format!("actions/{number}");
        match item {
            Value::Object(fields) => actions.push(object.within(&place, fields, |object| {
                let action = Action {
                    id: object.required("id"),
                    label: object.required("label"),
                    url: object.string("url"),
                    style: object.one_of("style", "style", &ActionStyle::NAMES, ActionStyle::named),
                };
                object.refuse_rest(&["id", "label", "url", "style"]);
                action
            })),
            other => object.wrong_type(&place, "an object", &other),
        }
    }
    actions
}

fn translations(object: &mut Object) -> std::collections::BTreeMap<String, Translation> {
    let translation = |object: &mut Object| {
        let translation = Translation { title: object.string("title"), message: object.string("message") };
        object.refuse_rest(&["title", "message"]);
        translation
    };
    let mut translations = std::collections::BTreeMap::new();
    for tag in object.names() {
        let shown: String = tag.chars().take(64).collect();
        match object.take(&tag) {
            Some(Value::Object(fields)) => {
                let texts = object.within(&escaped(&shown), fields, translation);
                translations.insert(tag, texts);
            }
            Some(other) => object.wrong_type(&escaped(&shown), "an object", &other),
            None => {}
        }
    }
    translations
}

/// Reads `to`: an audience, or a list of them.
fn audiences(object: &mut Object) -> Vec<Audience> {
    object.must_have("to", "must say to whom: user:ID, topic:NAME or everyone");
    let given = match object.take("to") {
        Some(Value::Array(list)) => list,
        Some(one @ Value::String(_)) => vec![one],
        Some(other) => {
            object.wrong_type("to", "an audience or an array of them", &other);
            return Vec::new();
        }
        None => return Vec::new(),
    };
    if given.is_empty() {
        object.wrong("to", draft_code(DraftError::Nobody), DraftError::Nobody.to_string());
    }
    let several = given.len() > 1;
    let mut audiences = Vec::new();
    // The body's own limit bounds them; how many different ones there are is the draft's to judge.
    for (number, audience) in given.iter().enumerate() {
        let place = if several { format!("to/{number}") } else { "to".into() };
        let Value::String(text) = audience else {
            object.wrong_type(&place, "a string", audience);
            continue;
        };
        match text.parse() {
            Ok(audience) => audiences.push(audience),
            Err(error) => {
                let pointer = object.pointer(&place);
                object.errors.note(|| FieldError::audience(pointer, text, error));
            }
        }
    }
    audiences
}

fn times(object: &mut Object, now: Timestamp) -> Option<Times> {
    let time = |text: &str| text.parse::<Timestamp>().map_err(|_| "must be a time: RFC 3339 with an offset".to_owned());
    let due = object.parsed("deliver_at", "time", time);
    let at = object.parsed("expires_at", "time", time).map(Expiry::At);
    let after = object.parsed("expires_in", "duration", duration).map(Expiry::In);
    if at.is_some() && after.is_some() {
        object.wrong("expires_in", "conflict", "must not be there together with expires_at");
    }
    let place = match (&at, &after) {
        (_, Some(_)) => "expires_in",
        _ => "expires_at",
    };
    match Times::new(now, due, after.or(at)) {
        Ok(times) => Some(times),
        Err(error) => {
            let place = if error == DraftError::DueTooLate { "deliver_at" } else { place };
            object.wrong(place, draft_code(error), error.to_string());
            None
        }
    }
}

/// Reads a duration such as `90s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "must be a duration such as 90s, 1h or 30d".to_owned())
}

fn draft_code(error: DraftError) -> &'static str {
    match error {
        DraftError::Nobody => "empty",
        DraftError::TooMany => "too_many",
        DraftError::DueTooLate | DraftError::ExpiresTooLate => "too_late",
        DraftError::ExpiresTooEarly => "too_early",
    }
}

/// Reads the body of a publish request. What looks like JSON is not taken for text, else a misspelled name or a comma too
/// many would be published; but a client that says `text/plain` may mean it, unless there is a `message`.
pub(super) fn read(headers: &HeaderMap, bytes: &[u8], takes_text: bool) -> Result<Object, Problem> {
    let media_type = media_type(headers);
    if is_meant_as_json(headers, bytes) {
        return Object::parse(bytes);
    }
    if media_type == "multipart/form-data" || (media_type == FORM && is_form(bytes)) {
        return Err(Problem::unsupported_media_type("this path takes JSON or plain text, not a form"));
    }
    if without_mark(bytes).trim_ascii_start().starts_with(b"{")
        && let Ok(object) = Object::parse(bytes)
        && object.names().iter().any(|name| name == "message")
    {
        return Ok(object);
    }
    if takes_text { text(headers, bytes) } else { Err(Problem::unsupported_media_type("this path takes JSON")) }
}

/// Whether a body that calls itself a form is one: its first name is one of our fields.
fn is_form(bytes: &[u8]) -> bool {
    let name = bytes.split(|byte| *byte == b'=').next().filter(|name| name.len() < bytes.len());
    name.is_some_and(|name| CONTENT.into_iter().chain(REST).any(|field| field.as_bytes() == name.trim_ascii()))
}

/// Plain text as the object that it means: the body is the message, some fields may be headers.
fn text(headers: &HeaderMap, bytes: &[u8]) -> Result<Object, Problem> {
    let mut fields = Map::new();
    let message = std::str::from_utf8(without_mark(bytes)).map_err(|_| Problem::not_utf8())?;
    fields.insert("message".into(), message.into());
    for name in HEADERS {
        if let Some(value) = headers.get(name) {
            fields.insert(name.replace('-', "_"), header_text(name, value.as_bytes())?.into());
        }
    }
    Ok(Object::of(fields))
}

/// The text of a header: UTF-8, or ASCII with encoded words (RFC 2047), which libraries make of other letters.
fn header_text(name: &str, bytes: &[u8]) -> Result<String, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        Problem::header(name, "must be UTF-8, or ASCII with encoded words (RFC 2047); or send the field as JSON")
    })?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    // White space between two encoded words is there for the length of lines alone.
    let decoded: Option<String> = words.into_iter().map(encoded_word).collect();
    Ok(decoded.unwrap_or_else(|| text.to_owned()))
}

/// The text of an encoded word in UTF-8, `=?utf-8?q?…?=` or `=?utf-8?b?…?=`.
fn encoded_word(word: &str) -> Option<String> {
    let mut parts = word.strip_prefix("=?")?.strip_suffix("?=")?.split('?');
    let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let bytes = match encoding {
        "q" | "Q" => quoted_printable::decode(text.replace('_', "=20"), ParseMode::Strict).ok()?,
        "b" | "B" => STANDARD.decode(text).ok()?,
        _ => return None,
    };
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    fn message(content_type: Option<&'static str>, body: &str) -> Result<String, u16> {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert("content-type", content_type.parse().expect("valid"));
        }
        let mut object =
            read(&headers, body.as_bytes(), true).map_err(|problem| problem.into_response().status().as_u16())?;
        Ok(object.required("message"))
    }

    /// Mutant: JSON with a mistake in it is text.
    #[test]
    fn json_is_json_whatever_it_calls_itself_and_text_is_text() {
        for content_type in [None, Some(FORM), Some("text/plain"), Some("application/json")] {
            assert_eq!(message(content_type, "\u{feff} {\"message\": \"x\"}"), Ok("x".into()), "{content_type:?}");
        }
        for text in ["hola", "{not json", "a=b", "=", "{", "[1]", "[x] hola", "\"hola\""] {
            for content_type in [None, Some(FORM), Some("text/plain; charset=utf-8")] {
                assert_eq!(message(content_type, text), Ok(text.to_owned()), "{content_type:?}");
            }
        }
        // With a mistake in it, it is still no text, unless its sender says so.
        for (text, refused) in [
            ("{\"mesage\": \"x\"}", None),
            (" { \"other\": 1}", None),
            ("{}", None),
            ("{\"message\": \"x\",}", Some(400)),
            ("{\"message\": \"x\"", Some(400)),
            ("[{\"message\": \"x\"}]", Some(400)),
        ] {
            for content_type in [None, Some(FORM), Some("application/json")] {
                let read = message(content_type, text);
                assert_eq!(read, refused.map_or(Ok(String::new()), Err), "{content_type:?} {text}");
            }
            assert_eq!(message(Some("text/plain"), text), Ok(text.to_owned()));
        }
        assert_eq!(message(None, "\u{feff}hola"), Ok("hola".into()));
        assert_eq!(message(Some(FORM), "message=hola&title=x"), Err(415));
        assert_eq!(message(Some("multipart/form-data; boundary=x"), "--x"), Err(415));
    }

    #[test]
    fn the_text_of_a_header_is_utf_8_or_encoded_words() {
        for (given, expected) in [
            (&b"Pedido"[..], "Pedido"),
            ("Envío".as_bytes(), "Envío"),
            (b"=?utf-8?q?Env=C3=ADo?=", "Envío"),
            (b"=?UTF-8?B?RW52w61v?=", "Envío"),
            (b"=?utf-8?q?Env?= =?utf-8?q?=C3=ADo_7?=", "Envío 7"),
            (b"a =? b", "a =? b"),
            (b"=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ] {
            assert_eq!(header_text("title", given).ok().as_deref(), Some(expected));
        }
        assert!(header_text("title", b"Env\xedo").is_err());
    }
}
