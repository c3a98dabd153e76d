//! `pregon token`: user tokens that the server makes, and the secret that signs them.
//!
//! **Invariant:** stdout holds a new token and nothing else.

use anyhow::anyhow;
use reqwest::Method;
use serde_json::{Map, Value};

use super::Failure;
use super::client::Client;
use super::terminal::{print, print_json, talk, text};

const EXAMPLES: &str = "\
Examples:
  pregon token create 42 --expires-in 15m
  pregon token create 42 --topic orders --json
  pregon token rotate               another secret signs; tokens made before stay good until they end
  pregon token rotate --revoke      ... are refused at once: a secret, or a backup with it, has been stolen";

/// Make user tokens, and change the secret that signs them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a token of a user, and print it
    Create(Create),
    /// Sign tokens with a new secret from now on
    Rotate(Rotate),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The user whose notifications it gives access to
    #[arg(value_name = "USER")]
    user: String,
    /// Topic that the user joins; repeatable
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// How long it is valid: 15m, 12h; 30d at most [default: 1h]
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<String>,
    /// Print the whole answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: Client,
}

#[derive(Debug, clap::Args)]
struct Rotate {
    /// Refuse all tokens made before, and end the streams opened with them
    #[arg(long)]
    revoke: bool,
    #[command(flatten)]
    client: Client,
}

impl Token {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Create(create) => create.run().await,
            Command::Rotate(rotate) => rotate.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let mut fields = Map::from_iter([("user_id".to_owned(), Value::from(self.user))]);
        if !self.topics.is_empty() {
            fields.insert("topics".into(), self.topics.into());
        }
        if let Some(expires_in) = self.expires_in {
            fields.insert("expires_in".into(), expires_in.into());
        }
        let connection = self.client.connection()?;
        let made = connection.ask(connection.request(Method::POST, "/v1/tokens", &[]).json(&fields)).await?;
        if self.json {
            print_json(&made.to_string())?;
            return Ok(());
        }
        let token = made["token"].as_str().ok_or_else(|| Failure::Failed(anyhow!("the answer has no token")))?;
        print(token)?;
        talk(&format!("valid until {}", text(&made, "expires_at")));
        Ok(())
    }
}

impl Rotate {
    async fn run(self) -> Result<(), Failure> {
        let connection = self.client.connection()?;
        let fields = Map::from_iter([("revoke".to_owned(), Value::from(self.revoke))]);
        let request = connection.request(Method::POST, "/v1/tokens/rotate", &[]).json(&fields);
        let rotated = connection.ask(request).await?;
        if self.revoke {
            talk("rotated: all tokens made before are refused");
        } else {
            let until = text(&rotated, "old_tokens_until");
            talk(&format!("rotated: tokens made before are good until they end, {until} at the latest"));
        }
        Ok(())
    }
}
