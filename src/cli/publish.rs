//! `pregon publish`.

use anyhow::anyhow;
use reqwest::Method;
use serde_json::Value;

use super::Failure;
use super::client::Client;
use super::content::{Content, put, stdin};
use super::terminal::{print, print_json, talk};

const EXAMPLES: &str = "\
Examples:
  pregon publish user:1 'Tu pedido ha salido' --severity success --url /pedidos/1042
  pregon publish user:1 'Ana te espera' --also-to topic:ventas --actor Ana --silent
  pregon publish user:1 '¿Confirmas?' --action id=si,label=Sí,url=/si --action id=no,label=No
  pregon publish user:1 'Ha salido' --title Pedido --i18n en='On its way' --i18n-title en=Order
  df -h | pregon publish topic:ops - --title Discos --replaces discos --expires-in 1h";

/// Publish a notification
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Publish {
    /// To whom: user:ID, topic:NAME or everyone
    #[arg(value_name = "TO")]
    to: String,
    /// The text; from stdin if it is absent or -
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// Also to these, and to nobody twice; repeatable
    #[arg(long, value_name = "TO")]
    also_to: Vec<String>,
    /// Print the whole answer instead of the id
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    content: Content,
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    client: Client,
}

/// When it comes and goes, and how often.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "When, and once")]
struct Times {
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    deliver_at: Option<String>,
    /// Gone so long after it is published: 90s, 1h, 30d
    #[arg(long, value_name = "DURATION", conflicts_with = "expires_at")]
    expires_in: Option<String>,
    /// Gone from this time on (RFC 3339)
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// Removes what went to the same TO with the same key before
    #[arg(long, value_name = "KEY")]
    replaces: Option<String>,
    /// Done once within 24 hours, however often it is sent with this key
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl Publish {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let message = match self.text {
            Some(text) if text != "-" => text,
            _ => stdin()?,
        };
        let mut to = self.also_to;
        to.insert(0, self.to);
        let mut fields = self.content.fields();
        fields.insert("to".into(), to.into());
        fields.insert("message".into(), message.into());
        let times = [
            ("deliver_at", self.times.deliver_at),
            ("expires_in", self.times.expires_in),
            ("expires_at", self.times.expires_at),
            ("replaces", self.times.replaces),
        ];
        for (name, value) in times {
            put(&mut fields, name, value.map(Value::from));
        }
        let connection = self.client.connection()?;
        let mut request = connection.request(Method::POST, "/v1/notifications", &[]).json(&fields);
        if let Some(key) = self.times.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let answer = connection.ask(request).await?;
        for (topic, _) in answer["members"].as_object().into_iter().flatten().filter(|(_, members)| **members == 0) {
            talk(&format!("warning: the topic {topic} has no members, so nobody gets it there"));
        }
        if self.json {
            print_json(&answer.to_string())?;
        } else {
            print(answer["id"].as_str().ok_or_else(|| Failure::Failed(anyhow!("the answer has no id")))?)?;
        }
        Ok(())
    }
}
