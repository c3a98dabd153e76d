//! `pregon show`, `edit`, `recall`: what becomes of a notification once it has been published.

use anyhow::anyhow;
use reqwest::Method;
use serde_json::Value;

use super::Failure;
use super::client::Client;
use super::content::{Content, stdin};
use super::terminal::{BOLD, DIM, headline, print_json, print_styled, printable, severity_style, talk, text};
use crate::notification::NotificationId;

/// Show a notification, and what has become of it
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Which
    #[arg(value_name = "ID")]
    id: NotificationId,
    /// And how this user stands to it; needless if it was for one user alone
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: Client,
}

/// Let a notification say something else from here on
#[derive(Debug, clap::Args)]
pub(super) struct Edit {
    /// Which
    #[arg(value_name = "ID")]
    id: NotificationId,
    /// The new text; - is stdin, and without one the text stays
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// Removes a field; repeatable
    #[arg(long, value_name = "FIELD", value_parser = REMOVABLE)]
    remove: Vec<String>,
    /// Print what it says now as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    content: Content,
    #[command(flatten)]
    client: Client,
}

const REMOVABLE: [&str; 10] =
    ["title", "severity", "category", "url", "icon", "actor", "actions", "silent", "i18n", "data"];

/// Take notifications back, from everybody
#[derive(Debug, clap::Args)]
pub(super) struct Recall {
    /// Which
    #[arg(value_name = "ID", required = true)]
    ids: Vec<NotificationId>,
    #[command(flatten)]
    client: Client,
}

fn path(id: NotificationId) -> String {
    format!("/v1/notifications/{id}")
}

impl Show {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let connection = self.client.connection()?;
        let query: Vec<(&str, &str)> = self.user.iter().map(|user| ("user_id", user.as_str())).collect();
        let found = connection.ask(connection.request(Method::GET, &path(self.id), &query)).await?;
        if self.json {
            print_json(&found.to_string())?;
        } else {
            print_styled(&described(&found).join("\n"))?;
        }
        Ok(())
    }
}

/// What there is to say of a notification, line by line.
fn described(found: &Value) -> Vec<String> {
    let mut lines = vec![format!("{BOLD}{}{BOLD:#}", headline(found))];
    let mut line = |label: &str, value: &str| {
        if !value.is_empty() {
            let style = if label == "severity" { severity_style(value) } else { anstyle::Style::new() };
            lines.push(format!("{DIM}{label:>12}{DIM:#}  {style}{}{style:#}", printable(value)));
        }
    };
    line("id", text(found, "id"));
    line("to", &listed(&found["to"]));
    line("status", text(found, "status"));
    for name in ["severity", "category", "url", "icon"] {
        line(name, text(found, name));
    }
    line("actor", text(&found["actor"], "name"));
    for action in found["actions"].as_array().into_iter().flatten() {
        line("action", [text(action, "label"), text(action, "url")].join("  ").trim_end());
    }
    for event in found["timeline"].as_array().into_iter().flatten() {
        line(text(event, "event"), text(event, "at"));
    }
    line("deliver at", text(found, "deliver_at"));
    line("expires at", text(found, "expires_at"));
    let reader = &found["reader"];
    line("user", text(reader, "user_id"));
    line("", text(reader, "detail"));
    for (label, name) in [("seen", "seen_at"), ("read", "read_at"), ("archived", "archived_at")] {
        line(label, text(reader, name));
    }
    for connection in reader["connections"].as_array().into_iter().flatten() {
        let [delivered, transport, since] =
            ["delivered", "transport", "connected_at"].map(|name| text(connection, name));
        let delivered = match delivered {
            "yes" => "delivered",
            "no" => "not delivered",
            _ => "was there before it",
        };
        line("connection", &format!("{delivered}  {transport} since {since}"));
    }
    lines
}

/// An audience, or several.
fn listed(to: &Value) -> String {
    match to {
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        one => one.as_str().unwrap_or_default().to_owned(),
    }
}

impl Edit {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut fields = self.content.fields();
        match self.text {
            Some(text) if text == "-" => fields.insert("message".into(), stdin()?.into()),
            Some(text) => fields.insert("message".into(), text.into()),
            None => None,
        };
        for name in self.remove {
            fields.insert(name, Value::Null);
        }
        if fields.is_empty() {
            return Err(Failure::Usage(anyhow!("nothing is to change; give a TEXT, or see pregon edit --help")));
        }
        let connection = self.client.connection()?;
        let edited = connection.ask(connection.request(Method::PATCH, &path(self.id), &[]).json(&fields)).await?;
        if self.json {
            print_json(&edited.to_string())?;
        } else {
            talk(&format!("edited: {}", headline(&edited)));
        }
        Ok(())
    }
}

impl Recall {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let connection = self.client.connection()?;
        for id in self.ids {
            let sent = connection.send(connection.request(Method::DELETE, &path(id), &[])).await;
            sent.map_err(|failure| match failure {
                Failure::Refused(error) => Failure::Refused(error.context(id.to_string())),
                other => other,
            })?;
            talk(&format!("recalled: {id}"));
        }
        Ok(())
    }
}
