//! `pregon key`: the server keys of a server's store.
//!
//! **Invariant:** stdout holds a new key and nothing else, so it can go straight into a secret store.

use anyhow::anyhow;
use reqwest::Method;
use serde_json::{Map, Value};

use super::Failure;
use super::client::Client;
use super::terminal::{BOLD, DIM, print, print_json, print_styled, printable, talk, text};
use crate::auth::keys::{KeyId, Scope};

const EXAMPLES: &str = "\
Examples:
  pregon key create shop --scope 'publish:user:*' --scope publish:topic:orders
  pregon key create admin-2 --scope admin --expires-in 90d
  pregon key list
  pregon key revoke 01a20cb5-1195-77f8-8b27-91b1946c4576

Scopes: admin (everything), manage (topics, users, inboxes, tokens, notifications), publish:user:ID,
publish:topic:NAME, publish:everyone; a * at the end of a name stands for all that begin so";

/// Make, list and revoke server keys
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Key {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key, and print it this once
    Create(Create),
    /// List the keys, without the keys themselves
    #[command(visible_alias = "ls")]
    List(List),
    /// Revoke keys: the next request with one is refused
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// What people call it
    #[arg(value_name = "NAME")]
    name: String,
    /// What it gives a right to; repeatable
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<Scope>,
    /// How long it is accepted: 12h, 90d; for ever without
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<String>,
    /// Print the whole answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: Client,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Print each as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: Client,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    /// Which
    #[arg(value_name = "ID", required = true)]
    ids: Vec<KeyId>,
    #[command(flatten)]
    client: Client,
}

impl Key {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Create(create) => create.run().await,
            Command::List(list) => list.run().await,
            Command::Revoke(revoke) => revoke.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let scopes: Vec<String> = self.scopes.iter().map(Scope::to_string).collect();
        let mut fields =
            Map::from_iter([("name".to_owned(), Value::from(self.name)), ("scopes".into(), scopes.into())]);
        if let Some(expires_in) = self.expires_in {
            fields.insert("expires_in".into(), expires_in.into());
        }
        let connection = self.client.connection()?;
        let made = connection.ask(connection.request(Method::POST, "/v1/keys", &[]).json(&fields)).await?;
        if self.json {
            print_json(&made.to_string())?;
            return Ok(());
        }
        let key = made["key"].as_str().ok_or_else(|| Failure::Failed(anyhow!("the answer has no key")))?;
        print(key)?;
        talk(&format!("made: {}; it is not shown again", text(&made, "id")));
        Ok(())
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let connection = self.client.connection()?;
        let listed = connection.ask(connection.request(Method::GET, "/v1/keys", &[])).await?;
        for key in listed["data"].as_array().into_iter().flatten() {
            let written = if self.json { print_json(&key.to_string())? } else { print_styled(&line(key))? };
            if !written {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// A key on one line.
fn line(key: &Value) -> String {
    let [id, name, hint] = ["id", "name", "hint"].map(|field| printable(text(key, field)));
    let scopes: Vec<&str> = key["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let scopes = printable(&scopes.join(" "));
    let end = key["expires_at"].as_str().map(|at| format!("  until {at}")).unwrap_or_default();
    format!("{DIM}{id}  …{hint}{DIM:#}  {BOLD}{name}{BOLD:#}  {scopes}{DIM}{end}{DIM:#}")
}

impl Revoke {
    async fn run(self) -> Result<(), Failure> {
        let connection = self.client.connection()?;
        for id in self.ids {
            let sent = connection.send(connection.request(Method::DELETE, &format!("/v1/keys/{id}"), &[])).await;
            sent.map_err(|failure| match failure {
                Failure::Refused(error) => Failure::Refused(error.context(id.to_string())),
                other => other,
            })?;
            talk(&format!("revoked: {id}"));
        }
        Ok(())
    }
}
