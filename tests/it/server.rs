//! What the tests share: a server in this process, and a tab that listens to it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use pregon::auth::tokens::{TokenAlgorithm, TokenKey, TokenRules};
use pregon::config::Flags;
use pregon::{Config, Server};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sse_stream::{Sse, SseByteStream};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const KEY: &str = "a-key-for-the-tests";
/// How long anything may take before the test has failed. Nothing waits for it to pass.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A server on a free port of this machine.
pub(crate) struct TestServer {
    pub(crate) url: String,
    /// Where it tells how it is, if it does.
    pub(crate) admin: Option<std::net::SocketAddr>,
    pub(crate) folder: Arc<TempDir>,
    http: reqwest::Client,
    shutdown: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

impl TestServer {
    /// A server as `dev` would start it, but without the demo.
    pub(crate) async fn start() -> TestServer {
        TestServer::start_with(|_| {}).await
    }

    /// The same with other options.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> TestServer {
        TestServer::start_in(Arc::new(TempDir::new().unwrap()), change).await
    }

    /// The same with data that is there already.
    pub(crate) async fn start_in(folder: Arc<TempDir>, change: impl FnOnce(&mut Config)) -> TestServer {
        let mut config = Config::load(&Flags::default()).unwrap();
        config.listen = "127.0.0.1:0".parse().unwrap();
        config.data_dir = folder.path().into();
        config.server_key = pregon::auth::ServerKey::given(KEY);
        config.open_user_id = true;
        config.drain = Duration::ZERO;
        change(&mut config);
        let server = Server::bind(config).await.unwrap();
        let (url, admin) = (server.url(), server.admin_addr());
        let (shutdown, told) = oneshot::channel();
        let running = tokio::spawn(server.run(async {
            let _ = told.await;
        }));
        TestServer {
            url,
            admin,
            folder,
            http: reqwest::Client::new(),
            shutdown: Some(shutdown),
            running: Some(running),
        }
    }

    /// Ends the server as SIGTERM would.
    pub(crate) async fn stop(mut self) {
        self.begin_to_stop();
        self.ended().await;
    }

    pub(crate) fn begin_to_stop(&mut self) {
        let _ = self.shutdown.take().unwrap().send(());
    }

    pub(crate) async fn ended(&mut self) {
        within(self.running.take().unwrap()).await.unwrap();
    }

    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Makes requests with another client.
    pub(crate) fn use_client(&mut self, http: reqwest::Client) {
        self.http = http;
    }

    /// A request without a key.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// A request with the server key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(KEY)
    }

    /// Publishes, and gives the id.
    pub(crate) async fn publish(&self, to: &str, message: &str) -> String {
        let body = json!({"to": to, "message": message});
        let response = self.request(Method::POST, "/v1/notifications").json(&body).send().await.unwrap();
        assert_eq!(response.status(), 201);
        response.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// Publishes all of them in one commit.
    pub(crate) async fn publish_batch(&self, to: &str, messages: &[String]) {
        let items: Vec<Value> = messages.iter().map(|message| json!({"to": to, "message": message})).collect();
        let response = within(self.request(Method::POST, "/v1/notifications/batch").json(&items).send()).await.unwrap();
        assert_eq!(response.status(), 200);
        let results: Value = within(response.json()).await.unwrap();
        assert!(results["data"].as_array().unwrap().iter().all(|result| result["id"].is_string()), "{results}");
    }

    /// Opens a stream for a user, from now on.
    pub(crate) async fn tab(&self, user: &str) -> Tab {
        self.tab_at(&format!("/notifications?user_id={user}"), None).await
    }

    /// Opens a stream for a user after an event id.
    pub(crate) async fn tab_after(&self, user: &str, id: &str) -> Tab {
        self.tab_at(&format!("/notifications?user_id={user}"), Some(id)).await
    }

    /// How many notifications each connection of a user has not taken yet, up to 100.
    pub(crate) async fn behind(&self, user: &str) -> Vec<u64> {
        let asked = self.request(Method::GET, &format!("/v1/users/{user}/connections")).send();
        let there: Value = within(within(asked).await.unwrap().json()).await.unwrap();
        there["data"].as_array().unwrap().iter().map(|connection| connection["behind"].as_u64().unwrap()).collect()
    }

    /// Opens a stream at a path, with a `Last-Event-ID`.
    pub(crate) async fn tab_at(&self, path: &str, last_event_id: Option<&str>) -> Tab {
        let mut request = self.anonymous(Method::GET, path);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        Tab::of(within(request.send()).await.unwrap())
    }
}

/// An open stream, as a browser tab would hold it.
pub(crate) struct Tab {
    pub(crate) head: reqwest::header::HeaderMap,
    events: BoxStream<'static, Result<Sse, sse_stream::Error>>,
    /// The stream was cut, not ended.
    pub(crate) cut: bool,
    /// The newest event id, which a browser would send to go on.
    pub(crate) cursor: Option<String>,
}

impl Tab {
    pub(crate) fn of(response: Response) -> Tab {
        assert_eq!(response.status(), 200);
        let head = response.headers().clone();
        Tab { head, events: SseByteStream::new(response.bytes_stream()).boxed(), cut: false, cursor: None }
    }

    /// The next event, or nothing at the end of the stream.
    pub(crate) async fn event(&mut self) -> Option<Sse> {
        let event = within(self.events.next()).await?;
        self.cut = event.is_err();
        let event = event.ok()?;
        if event.id.is_some() {
            self.cursor.clone_from(&event.id);
        }
        Some(event)
    }

    /// The next event that must have this name; its data.
    pub(crate) async fn expect(&mut self, name: &str) -> Value {
        let event = self.event().await.unwrap();
        assert_eq!(event.event.as_deref().unwrap_or("message"), name, "{event:?}");
        serde_json::from_str(&event.data.unwrap()).unwrap()
    }

    /// The next event that must be a notification; its message.
    pub(crate) async fn message(&mut self) -> String {
        self.expect("message").await["message"].as_str().unwrap().to_owned()
    }
}

/// Accepts user tokens that are signed with that secret.
pub(crate) fn tokens(secret: &str) -> TokenRules {
    TokenRules::of(TokenKey::given(TokenAlgorithm::HS256, secret).unwrap())
}

/// Waits for something that must happen.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it did not happen in time")
}
