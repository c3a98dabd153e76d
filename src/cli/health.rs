//! `pregon health`.

use reqwest::Method;
use url::Url;

use super::Failure;
use super::client::{Connection, DEFAULT_SERVER, server};
use super::terminal::print_json;

/// Say whether a server is ready
#[derive(Debug, clap::Args)]
pub(super) struct Health {
    /// The server; without a scheme it is http on this machine, https elsewhere
    #[arg(value_name = "URL", env = "PREGON_SERVER", hide_env_values = true)]
    #[arg(default_value = DEFAULT_SERVER, value_parser = server)]
    server: Url,
}

impl Health {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let connection = Connection::new(self.server, None)?;
        let answer = connection.ask(connection.request(Method::GET, "/readyz", &[])).await?;
        print_json(&answer.to_string())?;
        Ok(())
    }
}
