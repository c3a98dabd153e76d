//! `pregon health`.

use super::Failure;
use super::client::{Client, success};

/// Say whether a server is ready
#[derive(Debug, clap::Args)]
pub(super) struct Health {
    /// The server
    #[arg(value_name = "URL", env = "PREGON_SERVER", default_value = "http://127.0.0.1:8000")]
    server: String,
}

impl Health {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = Client::of(self.server);
        let sent = client.requests()?.client.get(client.url("/readyz")).send().await;
        let response = success(sent.map_err(|error| client.unreachable(error))?).await?;
        let text = response.text().await.map_err(|error| Failure::Failed(error.into()))?;
        anstream::println!("{text}");
        Ok(())
    }
}
