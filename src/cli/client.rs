//! What the client commands share: where the server is, the key, and how an answer becomes a [`Failure`].

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::anyhow;
use reqwest::{RequestBuilder, Response, StatusCode};

use super::Failure;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// Which server, and with which key.
#[derive(Debug, clap::Args)]
pub(super) struct Client {
    /// The server
    #[arg(long, value_name = "URL", env = "PREGON_SERVER", default_value = "http://127.0.0.1:8000")]
    server: String,
    /// The server key
    #[arg(long, value_name = "KEY", env = "PREGON_SERVER_KEY", hide_env_values = true)]
    key: Option<String>,
}

impl Client {
    /// A client of that server, without a key.
    pub(super) fn of(server: String) -> Client {
        Client { server, key: None }
    }

    /// The address of a path on the server.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.trim_end_matches('/'))
    }

    /// Makes requests with the key.
    pub(super) fn requests(&self) -> Result<Requests, Failure> {
        let built = reqwest::Client::builder().connect_timeout(CONNECT_TIME_MAX).build();
        let client = built.map_err(|error| Failure::Failed(error.into()))?;
        Ok(Requests { client, key: self.key.clone() })
    }

    /// That nobody answers there.
    pub(super) fn unreachable(&self, error: reqwest::Error) -> Failure {
        Failure::Unreachable(anyhow::Error::new(error.without_url()).context(format!("no answer from {}", self.server)))
    }
}

/// Makes requests.
pub(super) struct Requests {
    pub(super) client: reqwest::Client,
    key: Option<String>,
}

impl Requests {
    /// Adds the key, if there is one.
    pub(super) fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }
}

/// An answer that is a success, or what the server says of it.
pub(super) async fn success(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap_or_default();
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let says = |name: &str| problem[name].as_str().map(str::to_owned);
    let mut message = says("detail").unwrap_or_else(|| status.to_string());
    let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    for error in errors {
        let part = |name: &str| error[name].as_str().unwrap_or_default();
        // A single error is the detail already.
        if errors.len() > 1 {
            let _ = write!(message, "\n  {} {}", part("pointer"), part("detail"));
        }
        if !part("hint").is_empty() {
            let _ = write!(message, "; {}", part("hint"));
        }
    }
    if let Some(hint) = says("hint") {
        let _ = write!(message, "\n  {hint}");
    }
    let refused = status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT;
    Err(if refused { Failure::Refused(anyhow!(message)) } else { Failure::Failed(anyhow!(message)) })
}
