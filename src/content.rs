//! What a notification says: the checked text and links, and the one JSON form of them.
//!
//! **Invariant:** a [`Content`] is valid. It is made only by [`Content::parse`]; below that border nobody checks a
//! length, a character or a URL again. Its JSON is one line: no control character stands in it unescaped, so it can be
//! stored, logged and put behind `data:` as it is.
//!
//! The JSON is made once, when the notification is published, and from then on it is only copied: the store keeps it
//! and every stream sends it. That is why this type, alone among the nouns, knows JSON.
//!
//! Deliberately absent: who receives it and when ([`crate::notification`]), and anything that depends on the reader.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

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

/// How much a notification matters to whoever reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
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

/// What a publisher says, not yet checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Fields {
    /// The text; the only field that must be there.
    pub message: String,
    /// A short headline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How much it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// What it is about, for grouping and muting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Where a click leads: `https:`, `http:`, `mailto:` or a path of the page's own origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A picture: `https:`, `http:` or a path of the page's own origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// Anything the application wants back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
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
        let mut check = |field, result: Result<(), FieldProblem>| {
            if let Err(problem) = result {
                errors.push(FieldError { field, problem });
            }
        };
        check("message", text(&fields.message, MESSAGE_BYTES_MAX, "\t\n\r"));
        if let Some(title) = &fields.title {
            check("title", text(title, TITLE_BYTES_MAX, ""));
        }
        if let Some(category) = &fields.category {
            check("category", text(category, CATEGORY_BYTES_MAX, ""));
        }
        if let Some(url) = &fields.url {
            check("url", link(url, &["https", "http", "mailto"]));
        }
        if let Some(icon) = &fields.icon {
            check("icon", link(icon, &["https", "http"]));
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
}

/// A field that can't be published as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name on the wire.
    pub field: &'static str,
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
    /// It is neither an allowed scheme nor a path of the page's own origin.
    Url,
    /// Its arrays and objects are nested too deeply.
    TooDeep,
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty"),
            Self::TooLong { bytes_max } => write!(f, "must have at most {bytes_max} bytes"),
            Self::Character => f.write_str("must not contain control characters"),
            Self::Url => {
                f.write_str("must be an https:, http: or (as url) mailto: URL, or a path that starts with one /")
            }
            Self::TooDeep => write!(f, "must not be nested deeper than {DATA_DEPTH_MAX}"),
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
    use super::*;

    fn fields(message: &str) -> Fields {
        Fields { message: message.to_owned(), ..Fields::default() }
    }

    fn problem(fields: &Fields) -> Vec<(&'static str, FieldProblem)> {
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

    #[test]
    fn all_wrong_fields_are_named_at_once() {
        let wrong = Fields { title: Some("a\nb".into()), url: Some("javascript:alert(1)".into()), ..fields(" ") };
        assert_eq!(
            problem(&wrong),
            [("message", FieldProblem::Empty), ("title", FieldProblem::Character), ("url", FieldProblem::Url)]
        );
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
