//! `pregon publish`.

use std::io::Read as _;

use anyhow::{Context as _, anyhow};
use serde_json::{Map, Value};

use super::Failure;
use super::client::{Client, success};

/// Publish a notification
#[derive(Debug, clap::Args)]
pub(super) struct Publish {
    /// To whom: user:ID, topic:NAME or everyone
    #[arg(value_name = "TO")]
    to: String,
    /// The text; from stdin if it is absent or -
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<String>,
    /// A headline
    #[arg(long)]
    title: Option<String>,
    /// info, success, warning or error
    #[arg(long)]
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
    /// Anything else, as JSON
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// Print the whole answer instead of the id
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: Client,
}

impl Publish {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut body = Map::new();
        let message = match self.text {
            Some(text) if text != "-" => text,
            _ => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("stdin").map_err(Failure::Failed)?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
        };
        body.insert("to".into(), self.to.into());
        body.insert("message".into(), message.into());
        let options = [
            ("title", self.title),
            ("severity", self.severity),
            ("category", self.category),
            ("url", self.url),
            ("icon", self.icon),
        ];
        for (name, value) in options {
            if let Some(value) = value {
                body.insert(name.into(), value.into());
            }
        }
        if let Some(data) = self.data {
            let data: Value = serde_json::from_str(&data).context("--data is not JSON").map_err(Failure::Failed)?;
            body.insert("data".into(), data);
        }
        let requests = self.client.requests()?;
        let request = requests.client.post(self.client.url("/v1/notifications")).json(&body);
        let sent = requests.authorized(request).send().await;
        let response = success(sent.map_err(|error| self.client.unreachable(error))?).await?;
        let answer: Value = response.json().await.map_err(|error| Failure::Failed(error.into()))?;
        let line = if self.json {
            answer.to_string()
        } else {
            let id = answer["id"].as_str().ok_or_else(|| Failure::Failed(anyhow!("the answer has no id")))?;
            id.to_owned()
        };
        anstream::println!("{line}");
        Ok(())
    }
}
