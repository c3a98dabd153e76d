//! What the targets share: a server that is asked without a socket, and what holds of each of its answers.
//!
//! **Invariant:** whatever it is asked, the server neither panics nor answers with an error of its own (5xx), and a refusal
//! is a problem (RFC 9457) with a code.

use std::cell::RefCell;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request};
use http_body_util::BodyExt as _;
use pregon::auth::ServerKey;
use pregon::auth::tokens::{TokenAlgorithm, TokenKey, TokenRules};
use pregon::config::Flags;
use pregon::http::address::Peer;
use pregon::{Config, Server};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tower::ServiceExt as _;

/// The key of the back end.
pub const SERVER_KEY: &str = "a-key-for-the-fuzzer";
/// What signs the tokens of users.
pub const SECRET: &str = "a secret of at least thirty-two bytes";

/// Requests until there is a new server with an empty store: else hours of them would fill the disk.
const REQUESTS_PER_SERVER: usize = 20_000;
/// Longest that a request may take which does not ask to wait.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long one that does is listened to.
const POLL: Duration = Duration::from_millis(20);

thread_local! {
    static SERVED: RefCell<Option<Served>> = const { RefCell::new(None) };
}

struct Served {
    runtime: Runtime,
    router: Router,
    requests: usize,
    // Held for what ends with it.
    _server: Server,
    _folder: TempDir,
}

impl Served {
    fn start() -> Served {
        // In memory where that can be had: whether a commit is synced is none of the fuzzer's questions.
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("there is a temporary folder");
        let mut config = Config::load(&Flags::default()).expect("the defaults are right");
        config.listen = "127.0.0.1:0".parse().expect("an address");
        config.data_dir = folder.path().into();
        config.server_key = ServerKey::given(SERVER_KEY);
        config.tokens =
            Some(TokenRules::of(TokenKey::given(TokenAlgorithm::HS256, SECRET).expect("it is long enough")));
        config.open_user_id = true;
        config.cors_origins = vec!["https://app.example".parse().expect("an origin")];
        config.limits.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        let runtime = Runtime::new().expect("a runtime starts");
        let server = runtime.block_on(Server::bind(config)).expect("the server starts");
        Served { router: server.router(), runtime, requests: 0, _server: server, _folder: folder }
    }

    /// Checks the answer, unless the request still waits for something to happen.
    fn ask(&mut self, method: &Method, request: Request<Body>, may_wait: bool) {
        self.requests += 1;
        let asked = format!("{method} {}", request.uri());
        let patience = if may_wait { POLL } else { DEADLINE };
        let answered = self.runtime.block_on(async {
            timeout(patience, async {
                let Ok(answer) = self.router.clone().oneshot(request).await;
                let (head, body) = answer.into_parts();
                (head, body.collect().await.expect("a body is whole").to_bytes())
            })
            .await
        });
        let Ok((head, body)) = answered else {
            assert!(may_wait, "{asked} takes more than {DEADLINE:?}");
            return;
        };
        assert!(!head.status.is_server_error(), "{asked} is answered {}: {body:?}", head.status);
        if head.status.is_client_error() {
            let kind = head.headers.get(CONTENT_TYPE).expect("a problem has a type");
            assert_eq!(kind, "application/problem+json", "{asked}");
            if method != Method::HEAD {
                let problem: Value = serde_json::from_slice(&body).expect("a problem is JSON");
                assert!(problem["code"].is_string(), "{asked} is refused without a code: {problem}");
            }
        }
    }
}

/// Asks the server of this thread, from this machine, and checks the answer.
///
/// # Panics
/// When the answer breaks the invariant.
pub fn ask(mut request: Request<Body>, may_wait: bool) {
    request.extensions_mut().insert(Peer([127, 0, 0, 1].into()));
    let method = request.method().clone();
    SERVED.with_borrow_mut(|served| {
        if served.as_ref().is_some_and(|served| served.requests >= REQUESTS_PER_SERVER) {
            *served = None;
        }
        served.get_or_insert_with(Served::start).ask(&method, request, may_wait);
    });
}
