//! What a notification says, from flags: shared by the commands that say it first and that say it anew.
//!
//! **Invariant:** a flag that is not given is not sent. What is sent is judged by the server, so its limits stand in one
//! place; here is refused only what can't be made into a field.

use std::io::Read as _;

use anyhow::{Context as _, anyhow};
use serde_json::{Map, Value, json};

use super::Failure;
use super::terminal::talk;
use crate::content::Severity;

/// Most that is read from stdin: far more than a message may have, and an end.
const STDIN_BYTES_MAX: u64 = 1024 * 1024;

const ACTION_FIELDS: [&str; 4] = ["id", "label", "url", "style"];

/// What a notification says, beside its text.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What it says")]
pub(super) struct Content {
    /// A headline
    #[arg(long)]
    title: Option<String>,
    /// How much it matters
    #[arg(long, value_parser = Severity::NAMES)]
    severity: Option<String>,
    /// What it is about
    #[arg(long)]
    category: Option<String>,
    /// Where a click leads
    #[arg(long)]
    url: Option<String>,
    /// A picture
    #[arg(long, value_name = "URL")]
    icon: Option<String>,
    /// Who has caused it
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Her picture
    #[arg(long, value_name = "URL", requires = "actor")]
    actor_avatar: Option<String>,
    /// A button: id=…,label=…,url=…,style=… (primary, secondary, danger), or a JSON object; repeatable
    #[arg(long = "action", value_name = "ACTION", value_parser = action)]
    actions: Vec<Value>,
    /// Into the inbox, without asking for attention
    #[arg(long)]
    silent: bool,
    /// The text in another language, such as en='On its way', or all of them as JSON or @FILE; repeatable
    #[arg(long, value_name = "LANG=TEXT", value_parser = translated_text)]
    i18n: Vec<Map<String, Value>>,
    /// The headline in another language; repeatable
    #[arg(long, value_name = "LANG=TITLE", value_parser = translated_title)]
    i18n_title: Vec<Map<String, Value>>,
    /// Anything else, as JSON or @FILE
    #[arg(long, value_name = "JSON", value_parser = json_or_file)]
    data: Option<Value>,
}

impl Content {
    /// The fields of a request.
    pub(super) fn fields(self) -> Map<String, Value> {
        let mut fields = Map::new();
        let texts = [
            ("title", self.title),
            ("severity", self.severity),
            ("category", self.category),
            ("url", self.url),
            ("icon", self.icon),
        ];
        for (name, text) in texts {
            put(&mut fields, name, text.map(Value::from));
        }
        let actor = self.actor.map(|name| match self.actor_avatar {
            Some(avatar_url) => json!({"name": name, "avatar_url": avatar_url}),
            None => json!({"name": name}),
        });
        put(&mut fields, "actor", actor);
        put(&mut fields, "actions", (!self.actions.is_empty()).then(|| self.actions.into()));
        put(&mut fields, "silent", self.silent.then_some(true.into()));
        let mut languages = Map::new();
        for (language, texts) in self.i18n.into_iter().chain(self.i18n_title).flatten() {
            match (languages.get_mut(&language), texts) {
                (Some(Value::Object(known)), Value::Object(texts)) => known.extend(texts),
                (_, texts) => put(&mut languages, &language, Some(texts)),
            }
        }
        put(&mut fields, "i18n", (!languages.is_empty()).then(|| languages.into()));
        put(&mut fields, "data", self.data);
        fields
    }
}

/// Puts a field that is there.
pub(super) fn put(fields: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), value);
    }
}

/// All of stdin, without the end of its last line.
pub(super) fn stdin() -> Result<String, Failure> {
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        talk("the text, then Ctrl-D:");
    }
    let mut text = String::new();
    let read = std::io::stdin().take(STDIN_BYTES_MAX + 1).read_to_string(&mut text);
    if read.context("stdin").map_err(Failure::Failed)? as u64 > STDIN_BYTES_MAX {
        return Err(Failure::Usage(anyhow!("stdin has more than {STDIN_BYTES_MAX} bytes")));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads JSON that stands there or, behind an @, in a file.
fn json_or_file(text: &str) -> Result<Value, String> {
    let file = match text.strip_prefix('@') {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| format!("can't read {path}: {error}"))?),
        None => None,
    };
    serde_json::from_str(file.as_deref().unwrap_or(text)).map_err(|error| format!("not JSON: {error}"))
}

fn object_or_file(text: &str) -> Result<Map<String, Value>, String> {
    match json_or_file(text)? {
        Value::Object(object) => Ok(object),
        _ => Err("must be a JSON object".into()),
    }
}

/// Reads an action. A comma begins another field only before a name and `=`; any text can be given as JSON.
fn action(text: &str) -> Result<Value, String> {
    if text.starts_with(['{', '@']) {
        return object_or_file(text).map(Value::Object);
    }
    let mut fields: Vec<(&str, String)> = Vec::new();
    for part in text.split(',') {
        let named = part.split_once('=').map(|(name, value)| (name.trim(), value));
        let named = named.filter(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()));
        match (named, fields.last_mut()) {
            (Some((name, value)), _) if ACTION_FIELDS.contains(&name) => fields.push((name, value.to_owned())),
            (Some((name, _)), _) => {
                return Err(format!("{name} is not a field of an action, which are {}", ACTION_FIELDS.join(", ")));
            }
            (None, Some((_, value))) => {
                value.push(',');
                value.push_str(part);
            }
            (None, None) => return Err("must be id=…,label=…,url=…,style=…, or a JSON object".into()),
        }
    }
    Ok(Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()))
}

fn translated_text(text: &str) -> Result<Map<String, Value>, String> {
    if text.starts_with(['{', '@']) { object_or_file(text) } else { translated("message", text) }
}

fn translated_title(text: &str) -> Result<Map<String, Value>, String> {
    translated("title", text)
}

fn translated(field: &str, text: &str) -> Result<Map<String, Value>, String> {
    let (language, text) = text.split_once('=').ok_or("must be a language, = and the text: en='On its way'")?;
    Ok(Map::from_iter([(language.trim().to_owned(), json!({field: text}))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_read_as_it_was_meant() {
        for (text, fields) in [
            ("id=pay,label=Pagar", json!({"id": "pay", "label": "Pagar"})),
            ("id=pay, label=Sí, ahora,style=primary", json!({"id": "pay", "label": "Sí, ahora", "style": "primary"})),
            ("id=a,url=/a?b=1,2", json!({"id": "a", "url": "/a?b=1,2"})),
            ("id=a,label=2+2=4", json!({"id": "a", "label": "2+2=4"})),
            (r#"{"id": "a", "label": "b,url=c"}"#, json!({"id": "a", "label": "b,url=c"})),
        ] {
            assert_eq!(action(text), Ok(fields), "{text}");
        }
        for (text, says) in [
            ("Pagar", "must be id=…"),
            ("id=pay,lable=Pagar", "lable is not a field of an action"),
            ("{id}", "not JSON"),
            ("@/there/is/none", "can't read /there/is/none"),
        ] {
            assert!(action(text).expect_err(text).contains(says), "{text}");
        }
    }

    #[test]
    fn translations_from_everywhere_become_one() {
        let content = Content {
            title: None,
            severity: None,
            category: None,
            url: None,
            icon: None,
            actor: None,
            actor_avatar: None,
            actions: Vec::new(),
            silent: false,
            i18n: ["en=a=b", r#"{"pt": {"message": "c"}}"#].map(|text| translated_text(text).expect("valid")).into(),
            i18n_title: ["en=d", "fr=e"].map(|text| translated_title(text).expect("valid")).into(),
            data: None,
        };
        let wanted =
            json!({"i18n": {"en": {"message": "a=b", "title": "d"}, "pt": {"message": "c"}, "fr": {"title": "e"}}});
        assert_eq!(Value::Object(content.fields()), wanted);
    }
}
