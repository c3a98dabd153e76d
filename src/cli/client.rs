//! What the client commands share: where the server is, the credential, and how an answer becomes a [`Failure`].
//!
//! **Invariant:** nothing is asked twice. Whoever publishes again gives an `--idempotency-key`; only `listen` goes on by
//! itself, since that loses and doubles nothing.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use url::{Host, Url};

use super::Failure;
use crate::config::values;
use crate::loopback::{self, is_loopback};

/// Where `dev` and `serve` listen unless they are told otherwise.
pub(super) const DEFAULT_SERVER: &str = "http://127.0.0.1:8000";
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// For an answer that has an end; a stream has none.
const ANSWER_TIME_MAX: Duration = Duration::from_mins(1);

/// Which server, and with which key.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(super) struct Client {
    /// The server; without a scheme it is http on this machine, https elsewhere
    #[arg(long, value_name = "URL", env = "PREGON_SERVER", hide_env_values = true)]
    #[arg(default_value = DEFAULT_SERVER, value_parser = server)]
    server: Url,
    /// The server key
    #[arg(long, value_name = "KEY", env = "PREGON_SERVER_KEY", hide_env_values = true, allow_hyphen_values = true)]
    key: Option<String>,
}

/// Which server, and with which credential of those that may read.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(super) struct Reader {
    #[command(flatten)]
    client: Client,
    /// The user's own token, instead of the server key
    #[arg(long, value_name = "TOKEN", env = "PREGON_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Reads the address of a server. Without a scheme it is http on this machine, https elsewhere.
pub(super) fn server(text: &str) -> Result<Url, String> {
    let with = |scheme: &str| Url::parse(&format!("{scheme}://{text}"));
    let url = if text.contains("://") {
        Url::parse(text)
    } else {
        with("http").and_then(|url| if is_of_this_machine(&url) { Ok(url) } else { with("https") })
    };
    let url = url.map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err("must be http:// or https://, a host, and a path if there is one".into());
    }
    Ok(url)
}

fn is_of_this_machine(url: &Url) -> bool {
    url.host().is_some_and(|host| is_loopback(&host))
}

/// A credential as the server reads it from its own options; an empty one is none.
fn credential(given: Option<&String>) -> Option<String> {
    given.map(|text| values::secret(text)).filter(|text| !text.is_empty()).map(str::to_owned)
}

impl Client {
    /// Whom to ask, with the key.
    pub(super) fn connection(&self) -> Result<Connection, Failure> {
        Connection::new(self.server.clone(), credential(self.key.as_ref()))
    }
}

impl Reader {
    /// Whom to ask. The token goes before the key: it says more exactly who is reading.
    pub(super) fn connection(&self) -> Result<Connection, Failure> {
        let credential = credential(self.token.as_ref()).or_else(|| credential(self.client.key.as_ref()));
        Connection::new(self.client.server.clone(), credential)
    }
}

/// A server that is asked, and with what.
pub(super) struct Connection {
    http: reqwest::Client,
    server: Url,
    credential: Option<String>,
}

impl Connection {
    /// Nothing is connected yet.
    pub(super) fn new(server: Url, credential: Option<String>) -> Result<Connection, Failure> {
        let builder = || {
            let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIME_MAX);
            match server.host() {
                // A proxy of the surroundings would look for its own loopback.
                Some(Host::Domain(name)) if is_of_this_machine(&server) => {
                    builder.no_proxy().resolve_to_addrs(name, &loopback::ADDRESSES)
                }
                _ if is_of_this_machine(&server) => builder.no_proxy(),
                _ => builder,
            }
        };
        let built = match builder().build() {
            // A minimal image has no certificates of authorities, and http needs none.
            Err(_) if server.scheme() == "http" => builder().tls_certs_only([]).build(),
            built => built,
        };
        Ok(Connection { http: built.map_err(|error| Failure::Failed(error.into()))?, server, credential })
    }

    /// A request for a path below the server's address, with the credential if there is one.
    pub(super) fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.server.clone();
        url.set_path(&format!("{}{path}", self.server.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        match &self.credential {
            Some(credential) => request.bearer_auth(credential),
            None => request,
        }
    }

    /// The answer to a request if it is a success, or what the server says of it.
    pub(super) async fn open(&self, request: RequestBuilder) -> Result<Response, Failure> {
        success(request.send().await.map_err(|error| self.unanswered(error))?).await
    }

    /// The same for an answer that has an end.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        self.open(request.timeout(ANSWER_TIME_MAX)).await
    }

    /// The same for an answer that is JSON.
    pub(super) async fn ask(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let read = self.send(request).await?.json().await;
        read.context("the answer can't be read").map_err(Failure::Failed)
    }

    fn unanswered(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        if error.is_builder() {
            return Failure::Usage(anyhow::Error::new(error).context("this can't be put into a request"));
        }
        let server = self.server.as_str().trim_end_matches('/');
        // What lies between, "client error (Connect)", says nothing more.
        let cause = anyhow::Error::new(error).root_cause().to_string();
        Failure::Unreachable(anyhow!("no answer from {server}: {cause}"))
    }
}

/// An answer that is a success, or what the server says of it.
async fn success(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let url = response.url().clone();
    let problem: Value = serde_json::from_str(&response.text().await.unwrap_or_default()).unwrap_or_default();
    let says = |name: &str| problem[name].as_str();
    let mut message = match says("detail") {
        Some(detail) => detail.to_owned(),
        None => format!("{} answers {status} to {}; is it pregon that listens there?", url.authority(), url.path()),
    };
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
    if let Some(request_id) = says("request_id").filter(|_| status.is_server_error()) {
        let _ = write!(message, "\n  in the server's log: {request_id}");
    }
    let refused = status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT;
    Err(if refused { Failure::Refused(anyhow!(message)) } else { Failure::Failed(anyhow!(message)) })
}
