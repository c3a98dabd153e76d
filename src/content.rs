//! What a notification says: the checked text and links, and the one JSON form of them.
//!
//! **Invariant:** a [`Content`] is valid. It is made only by [`Content::parse`]; below that border nobody checks a
//! length, a character or a URL again. Its JSON is one line: no control character stands in it unescaped, so it can be
//! stored, logged and put behind `data:` as it is.
//!
//! The JSON is made once, when the notification is published, and from then on it is only copied: the store keeps it
//! and every stream sends it. That is why this type, alone among the nouns, knows JSON, and the schema of it. Its
//! formats (`text`, `line`, `link`, `picture`, `language`) are spelled out where the schema is shown.
//!
//! Deliberately absent: who receives it and when ([`crate::notification`]), and anything that depends on the reader.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Ref, Schema, SchemaFormat, SchemaType, Type};

/// Longest message, in bytes of UTF-8.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Longest title, in bytes of UTF-8.
pub const TITLE_BYTES_MAX: usize = 512;
/// Longest category, in bytes of UTF-8.
pub const CATEGORY_BYTES_MAX: usize = 64;
/// Longest `url` and `icon`, in bytes.
pub const URL_BYTES_MAX: usize = 2048;
/// Largest `data`, in bytes of compact JSON.
pub const DATA_BYTES_MAX: usize = 16 * 1024;
/// Deepest nesting of arrays and objects in `data`.
pub const DATA_DEPTH_MAX: usize = 16;
/// Longest name of an actor, in bytes of UTF-8.
pub const ACTOR_NAME_BYTES_MAX: usize = 128;
/// Most actions.
pub const ACTIONS_MAX: usize = 5;
/// Longest id and label of an action, in bytes of UTF-8.
pub const ACTION_BYTES_MAX: usize = 64;
/// Most languages beside the one of `message` and `title`.
pub const LANGUAGES_MAX: usize = 20;
/// Longest tag of a language, in bytes (RFC 5646, section 4.4.1 recommends room for 35).
pub const LANGUAGE_BYTES_MAX: usize = 35;

/// The names of the fields, in the order in which the JSON has them.
pub const NAMES: [&str; 11] =
    ["message", "title", "severity", "category", "url", "icon", "actor", "actions", "silent", "i18n", "data"];

/// How much a notification matters to whoever reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For information; what most notifications are.
    Info,
    /// Something has succeeded.
    Success,
    /// Something wants attention.
    Warning,
    /// Something has failed.
    Error,
}

impl Severity {
    /// The names on the wire, in the order of the variants.
    pub const NAMES: [&'static str; 4] = ["info", "success", "warning", "error"];

    /// The severity of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Severity> {
        [Self::Info, Self::Success, Self::Warning, Self::Error]
            .into_iter()
            .zip(Self::NAMES)
            .find_map(|(severity, known)| (known == name).then_some(severity))
    }
}

/// Who has caused a notification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// Her name, at most 128 bytes.
    #[schema(format = "line", examples("Ana"))]
    pub name: String,
    /// Her picture: a link as for an icon, at most 2048 bytes.
    #[schema(format = "picture", examples("/people/ana.png"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

/// How much an action stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActionStyle {
    /// What most will choose.
    Primary,
    /// Something else.
    Secondary,
    /// What can't be undone.
    Danger,
}

impl ActionStyle {
    /// The names on the wire, in the order of the variants.
    pub const NAMES: [&'static str; 3] = ["primary", "secondary", "danger"];

    /// The style of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<ActionStyle> {
        let all = [Self::Primary, Self::Secondary, Self::Danger].into_iter().zip(Self::NAMES);
        all.into_iter().find_map(|(style, known)| (known == name).then_some(style))
    }
}

/// What a reader can do about a notification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// What the application knows it by, at most 64 bytes.
    #[schema(format = "line", examples("track"))]
    pub id: String,
    /// What the reader sees, at most 64 bytes.
    #[schema(format = "line", examples("Seguir el envío"))]
    pub label: String,
    /// Where it leads: as for `url`.
    #[schema(format = "link", examples("/orders/1042/track"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How much it stands out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style: Option<ActionStyle>,
}

/// The texts of a notification in another language.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Translation {
    /// The headline, at most 512 bytes.
    #[schema(format = "line", examples("Order 1042"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The text, at most 16384 bytes.
    #[schema(format = "text", examples("It is on its way"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What a publisher says, not yet checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Fields {
    /// The text, at most 16384 bytes; the only field that must be there.
    #[schema(format = "text", examples("Ha salido"))]
    pub message: String,
    /// A short headline, at most 512 bytes.
    #[schema(format = "line", examples("Pedido 1042"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How much it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// What it is about, for grouping and muting, at most 64 bytes.
    #[schema(format = "line", examples("orders"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Where a click leads, at most 2048 bytes: `https:`, `http:`, `mailto:` or a path of the page's own origin.
    #[schema(format = "link", examples("/orders/1042"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A picture, at most 2048 bytes: `https:`, `http:` or a path of the page's own origin.
    #[schema(format = "picture", examples("/icons/parcel.svg"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// Who has caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// What can be done about it.
    #[schema(value_type = Option<Vec<Action>>, max_items = 5)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    /// It goes into the inbox without asking for attention.
    #[schema(value_type = Option<bool>, examples(false))]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
    /// Its texts in other languages, by tag.
    #[schema(schema_with = translations)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub i18n: BTreeMap<String, Translation>,
    /// Anything the application wants back, at most 16384 bytes of compact JSON in 16 levels.
    #[schema(value_type = Value, examples(json!({"order": 1042})))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

/// The schema of texts by tag. The macro knows no limits of a map and of its keys.
fn translations() -> Schema {
    let tag = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("language".into())));
    let tag = tag.max_length(Some(LANGUAGE_BYTES_MAX)).build();
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .description(Some(
            "Its texts in other languages, by tag such as `en` or `pt-BR`. Each reader is told in the first of her \
             languages that is there.",
        ))
        .property_names(Some(tag))
        .additional_properties(Some(Ref::from_schema_name("Translation")))
        .max_properties(Some(LANGUAGES_MAX))
        .examples([serde_json::json!({"en": {"title": "Order 1042", "message": "It is on its way"}})])
        .into()
}

/// The checked content of a notification, as one line of JSON: `{"message":"…", …}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content(Arc<str>);

impl Content {
    /// Checks every field and makes the JSON.
    ///
    /// # Errors
    /// Every field that is wrong, not only the first.
    pub fn parse(fields: &Fields) -> Result<Content, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut check = |field: &str, result: Result<(), FieldProblem>| {
            if let Err(problem) = result {
                errors.push(FieldError { field: field.to_owned(), problem });
            }
        };
        check("message", text(&fields.message, MESSAGE_BYTES_MAX, "\t\n\r"));
        if let Some(title) = &fields.title {
            check("title", text(title, TITLE_BYTES_MAX, ""));
        }
        if let Some(category) = &fields.category {
            check("category", self::category(category));
        }
        if let Some(url) = &fields.url {
            check("url", link(url, &["https", "http", "mailto"]));
        }
        if let Some(icon) = &fields.icon {
            check("icon", link(icon, &["https", "http"]));
        }
        if let Some(actor) = &fields.actor {
            check("actor/name", text(&actor.name, ACTOR_NAME_BYTES_MAX, ""));
            if let Some(url) = &actor.avatar_url {
                check("actor/avatar_url", link(url, &["https", "http"]));
            }
        }
        check("actions", at_most(fields.actions.len(), ACTIONS_MAX));
        for (number, action) in fields.actions.iter().enumerate().take(ACTIONS_MAX) {
            let at = |name| format!("actions/{number}/{name}");
            check(&at("id"), text(&action.id, ACTION_BYTES_MAX, ""));
            check(&at("label"), text(&action.label, ACTION_BYTES_MAX, ""));
            if let Some(url) = &action.url {
                check(&at("url"), link(url, &["https", "http", "mailto"]));
            }
        }
        check("i18n", at_most(fields.i18n.len(), LANGUAGES_MAX));
        for (tag, translation) in fields.i18n.iter().take(LANGUAGES_MAX) {
            let at = |name: &str| format!("i18n/{}{name}", tag.chars().take(LANGUAGE_BYTES_MAX).collect::<String>());
            check(&at(""), language(tag));
            if let Some(title) = &translation.title {
                check(&at("/title"), text(title, TITLE_BYTES_MAX, ""));
            }
            if let Some(message) = &translation.message {
                check(&at("/message"), text(message, MESSAGE_BYTES_MAX, "\t\n\r"));
            }
        }
        if let Some(data) = &fields.data {
            check("data", json(data));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let json = serde_json::to_string(fields).expect("strings and JSON values always encode");
        Ok(Content(json.into()))
    }

    /// Takes back the JSON that [`Content::json`] gave, as the store keeps it.
    #[must_use]
    pub fn from_stored(json: &str) -> Content {
        Content(json.into())
    }

    /// The JSON object, one line, at least `{"message":""}`.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0
    }

    /// What comes of it with some fields changed; nothing if it is damaged.
    #[must_use]
    pub fn patched(&self, patch: &Patch) -> Option<Content> {
        let mut fields: Map<String, Value> = serde_json::from_str(&self.0).ok()?;
        for (name, value) in &patch.0 {
            fields.shift_remove(name);
            fields.extend(value.clone().map(|value| (name.clone(), value)));
        }
        let ordered = NAMES.iter().filter_map(|name| fields.shift_remove_entry(*name));
        let ordered: Map<String, Value> = ordered.collect();
        Some(Content(serde_json::to_string(&ordered).expect("strings and JSON values always encode").into()))
    }

    /// What it is about, if it says so.
    #[must_use]
    pub fn category(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Named {
            category: Option<String>,
        }
        // Most contents have none, and those are not parsed.
        if !self.0.contains("\"category\":") {
            return None;
        }
        serde_json::from_str::<Named>(&self.0).ok()?.category
    }

    /// What each reader sees: the content with the texts of each language in place of its own, and without `i18n`. The
    /// first is for those whose languages are none of them; nothing if there is only one language.
    #[must_use]
    pub fn languages(&self) -> Option<(Content, Vec<(String, Content)>)> {
        // Nearly no content has the name in it, and those are not parsed.
        if !self.0.contains("\"i18n\":") {
            return None;
        }
        let mut own: Map<String, Value> = serde_json::from_str(&self.0).ok()?;
        let Some(Value::Object(i18n)) = own.shift_remove("i18n") else { return None };
        let encode = |fields: &Map<String, Value>| {
            Content(serde_json::to_string(fields).expect("strings and JSON values always encode").into())
        };
        let translated = i18n.into_iter().map(|(tag, texts)| {
            let mut fields = own.clone();
            for name in ["title", "message"] {
                if let Some(text) = texts.get(name) {
                    fields.insert(name.to_owned(), text.clone());
                }
            }
            (tag, encode(&fields))
        });
        let translated = translated.collect();
        Some((encode(&own), translated))
    }
}

/// What an edit changes of a content: some fields, each with its new value, or with none if it goes.
///
/// **Invariant:** a patch is valid, as a content is. Each field is checked by itself, and the message never goes; so what comes
/// of a content and a patch is a content, whatever other patches came before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch(Vec<(String, Option<Value>)>);

impl Patch {
    /// The patch that gives the fields of these names the values that they have in that content.
    #[must_use]
    pub fn new(names: &[String], content: &Content) -> Patch {
        let mut fields: Map<String, Value> = serde_json::from_str(&content.0).unwrap_or_default();
        Patch(names.iter().map(|name| (name.clone(), fields.shift_remove(name))).collect())
    }
}

/// The first of a reader's languages that is among those given by tag: exactly, or else by the language alone (`pt` for
/// `pt-pt`). `languages` are in lower case, the best first.
#[must_use]
pub fn choose<'a, T>(given: &'a [(String, T)], languages: &[String]) -> Option<&'a T> {
    let found = |wanted: &str| given.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(wanted)).map(|(_, value)| value);
    languages.iter().find_map(|wanted| found(wanted).or_else(|| found(wanted.split('-').next().unwrap_or_default())))
}

/// A field that can't be published as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name on the wire; within another one, its path: `actions/0/url`.
    pub field: String,
    /// What is wrong with it.
    pub problem: FieldProblem,
}

/// What can be wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldProblem {
    /// Nothing stands in it, or only white space.
    Empty,
    /// It has more bytes than allowed.
    TooLong {
        /// Most bytes allowed.
        bytes_max: usize,
    },
    /// A control character stands in it.
    Character,
    /// It is a name, and a character stands in it that is not seen.
    Invisible,
    /// It is neither an allowed scheme nor a path of the page's own origin.
    Url,
    /// Its arrays and objects are nested too deeply.
    TooDeep,
    /// It has too many entries.
    TooMany {
        /// Most entries allowed.
        entries_max: usize,
    },
    /// It is no tag of a language.
    Language,
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty"),
            Self::TooLong { bytes_max } => write!(f, "must have at most {bytes_max} bytes"),
            Self::Character => f.write_str("must not contain control characters"),
            Self::Invisible => f.write_str("must not contain invisible characters"),
            Self::Url => {
                f.write_str("must be an https:, http: or (as url) mailto: URL, or a path that starts with one /")
            }
            Self::TooDeep => write!(f, "must not be nested deeper than {DATA_DEPTH_MAX}"),
            Self::TooMany { entries_max } => write!(f, "must have at most {entries_max} entries"),
            Self::Language => f.write_str("must be a tag such as en or es-MX"),
        }
    }
}

fn text(value: &str, bytes_max: usize, controls_allowed: &str) -> Result<(), FieldProblem> {
    if value.trim().is_empty() {
        return Err(FieldProblem::Empty);
    }
    if value.len() > bytes_max {
        return Err(FieldProblem::TooLong { bytes_max });
    }
    if value.chars().any(|c| c.is_control() && !controls_allowed.contains(c)) {
        return Err(FieldProblem::Character);
    }
    Ok(())
}

/// Checks the name of a category.
///
/// # Errors
/// What is wrong with it.
pub fn category(name: &str) -> Result<(), FieldProblem> {
    text(name, CATEGORY_BYTES_MAX, "")?;
    if name.chars().any(is_invisible) { Err(FieldProblem::Invisible) } else { Ok(()) }
}

/// Whether a reader sees nothing of a character, or it reorders its neighbours (Unicode: `Cc`, `Cf`,
/// `Default_Ignorable_Code_Point`). With such characters two different names look the same.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    let general = CodePointMapData::<GeneralCategory>::new().get(c);
    matches!(general, GeneralCategory::Control | GeneralCategory::Format)
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

fn at_most(count: usize, entries_max: usize) -> Result<(), FieldProblem> {
    if count > entries_max { Err(FieldProblem::TooMany { entries_max }) } else { Ok(()) }
}

/// The form of a tag (RFC 5646): parts of letters and digits with hyphens between them, letters first.
fn language(tag: &str) -> Result<(), FieldProblem> {
    if tag.len() > LANGUAGE_BYTES_MAX {
        return Err(FieldProblem::TooLong { bytes_max: LANGUAGE_BYTES_MAX });
    }
    let part = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let primary = tag.split('-').next().unwrap_or_default();
    let fits = primary.len() >= 2 && primary.bytes().all(|b| b.is_ascii_alphabetic()) && tag.split('-').all(part);
    if fits { Ok(()) } else { Err(FieldProblem::Language) }
}

/// Browsers drop tabs and line ends inside a URL and spaces round it, and read `\` as `/`: all three have turned a
/// refused `javascript:` or foreign host into an accepted one elsewhere. None of them is let in here.
fn link(value: &str, schemes: &[&str]) -> Result<(), FieldProblem> {
    text(value, URL_BYTES_MAX, "")?;
    if value.chars().any(|c| c.is_whitespace() || c == '\\') {
        return Err(FieldProblem::Url);
    }
    if value.starts_with('/') {
        return if value.starts_with("//") { Err(FieldProblem::Url) } else { Ok(()) };
    }
    let parsed = url::Url::parse(value).map_err(|_| FieldProblem::Url)?;
    let scheme = parsed.scheme();
    // The parser mends `https:host`; a reader of the text would not expect it to.
    let hierarchical = value.get(scheme.len()..).is_some_and(|rest| rest.starts_with("://"));
    if !schemes.contains(&scheme) || (scheme != "mailto" && !hierarchical) {
        return Err(FieldProblem::Url);
    }
    Ok(())
}

fn json(value: &serde_json::Value) -> Result<(), FieldProblem> {
    // Depth first: encoding a value recurses, so it must be known to be shallow.
    if depth(value, DATA_DEPTH_MAX).is_none() {
        return Err(FieldProblem::TooDeep);
    }
    if value.to_string().len() > DATA_BYTES_MAX {
        return Err(FieldProblem::TooLong { bytes_max: DATA_BYTES_MAX });
    }
    Ok(())
}

/// The depth that is left below `value`, or nothing when there is none.
fn depth(value: &serde_json::Value, left: usize) -> Option<usize> {
    match value {
        serde_json::Value::Array(items) => {
            let left = left.checked_sub(1)?;
            items.iter().try_for_each(|item| depth(item, left).map(|_| ()))?;
        }
        serde_json::Value::Object(items) => {
            let left = left.checked_sub(1)?;
            items.values().try_for_each(|item| depth(item, left).map(|_| ()))?;
        }
        _ => {}
    }
    Some(left)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(message: &str) -> Fields {
        Fields { message: message.to_owned(), ..Fields::default() }
    }

    fn problem(fields: &Fields) -> Vec<(String, FieldProblem)> {
        Content::parse(fields).expect_err("refused").into_iter().map(|e| (e.field, e.problem)).collect()
    }

    #[test]
    fn only_what_is_said_stands_in_the_json() {
        assert_eq!(Content::parse(&fields("Hola")).expect("valid").json(), r#"{"message":"Hola"}"#);
    }

    #[test]
    fn the_json_is_one_line_whatever_the_message() {
        let content = Content::parse(&fields("a\nb\r\nc\td \u{2028}")).expect("valid");
        assert!(!content.json().contains(['\n', '\r', '\t']), "{}", content.json());
    }

    proptest! {
        #[test]
        fn a_number_comes_back_as_it_was(number in proptest::num::f64::NORMAL) {
            let data = serde_json::from_str(&format!("{number:e}")).expect("a number");
            let content = Content::parse(&Fields { data: Some(data), ..fields("x") }).expect("valid");
            let shown: Value = serde_json::from_str(content.json()).expect("JSON");
            let shown = shown["data"].to_string().parse::<f64>().expect("a number");
            prop_assert_eq!(shown.to_bits(), number.to_bits());
        }
    }

    #[test]
    fn a_category_has_no_characters_that_nobody_sees() {
        assert_eq!(category("ofertas y más"), Ok(()));
        for name in ["ofertas\u{200b}", "\u{202e}satrefo", "ofertas\u{fe0f}"] {
            assert_eq!(category(name), Err(FieldProblem::Invisible), "{name:?}");
        }
    }

    #[test]
    fn all_wrong_fields_are_named_at_once() {
        let wrong = Fields { title: Some("a\nb".into()), url: Some("javascript:alert(1)".into()), ..fields(" ") };
        assert_eq!(
            problem(&wrong),
            [("message", FieldProblem::Empty), ("title", FieldProblem::Character), ("url", FieldProblem::Url)]
                .map(|(field, problem)| (field.to_owned(), problem))
        );
    }

    #[test]
    fn what_stands_within_a_field_is_named_by_its_path() {
        let action = |label: &str, url: &str| Action {
            id: "go".into(),
            label: label.into(),
            url: Some(url.into()),
            style: Some(ActionStyle::Primary),
        };
        let good = Fields {
            actor: Some(Actor { name: "Ana".into(), avatar_url: Some("/ana.png".into()) }),
            actions: vec![action("Ir", "/a")],
            i18n: [("en".to_owned(), Translation { title: None, message: Some("Hello".into()) })].into(),
            silent: true,
            ..fields("Hola")
        };
        assert_eq!(
            Content::parse(&good).expect("valid").json(),
            r#"{"message":"Hola","actor":{"name":"Ana","avatar_url":"/ana.png"},"actions":[{"id":"go","label":"Ir","url":"/a","style":"primary"}],"silent":true,"i18n":{"en":{"message":"Hello"}}}"#
        );
        let wrong = Fields {
            actor: Some(Actor { name: String::new(), avatar_url: Some("data:x".into()) }),
            actions: vec![action("", "/a"), action("Ir", "javascript:x")],
            i18n: [("e n".to_owned(), Translation { title: Some("a\nb".into()), message: None })].into(),
            ..fields("Hola")
        };
        let places: Vec<String> = problem(&wrong).into_iter().map(|(field, _)| field).collect();
        assert_eq!(
            places,
            ["actor/name", "actor/avatar_url", "actions/0/label", "actions/1/url", "i18n/e n", "i18n/e n/title"]
        );
        let many = Fields { actions: vec![action("Ir", "/a"); ACTIONS_MAX + 1], ..fields("Hola") };
        assert_eq!(problem(&many), [("actions".to_owned(), FieldProblem::TooMany { entries_max: ACTIONS_MAX })]);
    }

    #[test]
    fn a_language_is_named_by_a_tag() {
        for good in ["es", "es-419", "zh-Hant-TW", "sr-Latn"] {
            assert_eq!(language(good), Ok(()), "{good}");
        }
        for bad in ["", "e", "e n", "en-", "-en", "1a", "en_US", "en--us", "abcdefghi"] {
            assert_eq!(language(bad), Err(FieldProblem::Language), "{bad}");
        }
    }

    #[test]
    fn links_lead_to_the_web_to_mail_or_to_the_own_origin_only() {
        for good in ["https://a.example/x?y#z", "HTTP://a.example", "mailto:a@b.example", "/", "/inbox?x=1"] {
            assert_eq!(link(good, &["https", "http", "mailto"]), Ok(()), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "//evil.example",
            "/\\evil",
            "\\\\evil",
            "https:evil",
            "http:///",
            "x",
            "file:///etc/passwd",
            "ht tps://a.example",
            "https://",
            ":",
            "blob:x",
        ] {
            assert_eq!(link(bad, &["https", "http", "mailto"]), Err(FieldProblem::Url), "{bad}");
        }
        assert_eq!(link("java\tscript:alert(1)", &["https"]), Err(FieldProblem::Character));
    }

    #[test]
    fn each_language_has_its_texts_in_place_of_the_others() {
        let translation = |title: Option<&str>, message: &str| Translation {
            title: title.map(str::to_owned),
            message: Some(message.into()),
        };
        let i18n = [("en", translation(Some("Order"), "Sent")), ("fr", translation(None, "Parti"))];
        let i18n: BTreeMap<String, Translation> =
            i18n.into_iter().map(|(tag, texts)| (tag.to_owned(), texts)).collect();
        let content = Content::parse(&Fields { title: Some("Pedido".into()), i18n, ..fields("Salió") }).expect("valid");
        let (own, translated) = content.languages().expect("several");
        assert_eq!(own.json(), r#"{"message":"Salió","title":"Pedido"}"#);
        let translated: Vec<(&str, &str)> = translated.iter().map(|(tag, content)| (&**tag, content.json())).collect();
        let (en, fr) = (r#"{"message":"Sent","title":"Order"}"#, r#"{"message":"Parti","title":"Pedido"}"#);
        assert_eq!(translated, [("en", en), ("fr", fr)]);
        let quoted = Fields { data: Some(serde_json::json!({"i18n": {}})), ..fields("x") };
        assert_eq!(Content::parse(&quoted).expect("valid").languages(), None);
    }

    #[test]
    fn data_is_bounded_in_depth_and_size() {
        let mut deep = serde_json::Value::Null;
        for _ in 0..DATA_DEPTH_MAX {
            deep = serde_json::Value::Array(vec![deep]);
        }
        assert_eq!(json(&deep), Ok(()));
        assert_eq!(json(&serde_json::Value::Array(vec![deep])), Err(FieldProblem::TooDeep));
        let large = serde_json::Value::String("x".repeat(DATA_BYTES_MAX));
        assert_eq!(json(&large), Err(FieldProblem::TooLong { bytes_max: DATA_BYTES_MAX }));
    }

    #[test]
    fn every_severity_has_its_name() {
        for name in Severity::NAMES {
            let severity = Severity::named(name).expect("known");
            assert_eq!(serde_json::to_string(&severity).expect("encodes"), format!("\"{name}\""));
        }
        assert_eq!(Severity::named("fatal"), None);
    }
}
