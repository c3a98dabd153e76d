//! Secrets: keys, tokens, tickets, keys of requests and private messages stand in no log, however much is logged, in no
//! problem, in no number that is counted, and in no address that the server writes; neither those that are right nor those
//! that are not.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use futures_util::StreamExt as _;
use jsonwebtoken::{EncodingKey, Header};
use reqwest::header::{CONTENT_TYPE, SET_COOKIE};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Child;

use crate::cli::pregon;
use crate::openapi::routed;
use crate::process::started;
use crate::server::within;

const KEY: &str = "pregon_sk_GeheimerSchluessel0123456789";
const WRONG_KEY: &str = "pregon_sk_FalscherSchluessel0123456789";
const TOKEN_KEY: &str = "GeheimnisDerUnterschrift0123456789abcdef";
const MESSAGE: &str = "GeheimeNachricht";
const REQUEST_KEY: &str = "GeheimerVorgang-1";
/// Of nothing.
const ID: &str = "01a20cb5-116e-716b-aa33-fad3da96c4bc";
/// Requests under way at once.
const AT_ONCE: usize = 16;

/// A running program that logs all that it can.
struct Running {
    child: Child,
    http: Client,
    url: String,
}

impl Running {
    async fn start(folder: &Path, log: &Path, format: &str, tls: bool) -> Running {
        let data_dir = folder.join("data");
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--log", "trace", "--log-format", format];
        arguments.extend(["--data-dir", data_dir.to_str().unwrap()]);
        let mut http = Client::builder();
        if tls {
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
            fs::write(&cert, made.cert.pem()).unwrap();
            fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            arguments.extend(["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]);
            let certificate = Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
            http = http.tls_certs_only([certificate]).http2_prior_knowledge();
        }
        let mut command = pregon(&arguments);
        command.env("PREGON_SERVER_KEY", KEY).env("PREGON_JWT_KEY", TOKEN_KEY);
        let (child, ready) = started(command.stderr(fs::File::create(log).unwrap())).await;
        assert!(!ready.to_string().contains(KEY), "{ready}");
        Running { child, http: http.build().unwrap(), url: ready["url"].as_str().unwrap().to_owned() }
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.http.request(Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(), format!("{}{path}", self.url))
    }

    async fn json(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = self.request(method, path).bearer_auth(KEY).json(body);
        within(request.send()).await.unwrap().json().await.unwrap()
    }

    async fn stop(mut self) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        assert!(within(self.child.wait()).await.unwrap().success());
    }
}

fn token(key: &str, expires_in: i64) -> String {
    let claims = json!({"sub": "ana", "exp": jiff::Timestamp::now().as_second() + expires_in});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(key.as_bytes())).unwrap()
}

/// What of a text gives it away: it as it stands, encoded, or as a list of bytes.
fn traces(secret: &str) -> Vec<String> {
    let bytes: Vec<String> = secret.bytes().take(8).map(|byte| byte.to_string()).collect();
    // Base64 of what begins elsewhere in a longer text.
    let encoded = |skipped: usize| STANDARD_NO_PAD.encode(&secret.as_bytes()[skipped..skipped + 9]);
    let mut traces: Vec<String> = (0..3).map(encoded).collect();
    traces.extend([secret.to_owned(), bytes.join(", ")]);
    traces
}

/// What may be seen of an answer by others than whom it is for: its head without cookies; all of it if it is a problem, or
/// the same for everybody.
async fn seen(path: &str, response: Response) -> String {
    let (status, mut headers) = (response.status(), response.headers().clone());
    headers.remove(SET_COOKIE);
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_public = ["/metrics", "/readyz", "/healthz", "/openapi.json", "/docs"].contains(&path);
    let is_stream = ["text/event-stream", "application/x-ndjson"].contains(&media_type);
    let body = if (status.as_u16() >= 400 || is_public) && !is_stream {
        response.text().await.unwrap()
    } else {
        String::new()
    };
    format!("{status} {headers:?} {body}")
}

async fn no_secret_is_seen(format: &str, tls: bool) {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let server = Running::start(folder.path(), &log, format, tls).await;
    let good =
        server.json("post", "/v1/tokens", &json!({"user_id": "ana"})).await["token"].as_str().unwrap().to_owned();
    let mut ticket = String::new();
    for _ in 0..2 {
        let made = server.json("post", "/v1/stream/tickets?user_id=ana", &Value::Null).await;
        ticket = made["ticket"].as_str().unwrap().to_owned();
        server.json("post", "/v1/users/ana/notifications", &json!({"message": MESSAGE})).await;
    }
    // Nor is a text logged because it is changed, taken back or erased.
    let published = server.json("post", "/v1/users/zoe/notifications", &json!({"message": MESSAGE})).await;
    let path = format!("/v1/notifications/{}", published["id"].as_str().unwrap());
    let edited = server.json("patch", &path, &json!({"message": format!("{MESSAGE} otra")})).await;
    assert_eq!(edited["message"], format!("{MESSAGE} otra"));
    for path in [&path, "/v1/users/zoe"] {
        let request = server.request("delete", path).bearer_auth(KEY);
        assert_eq!(within(request.send()).await.unwrap().status(), 204, "{path}");
    }
    let credentials = [
        KEY.to_owned(),
        WRONG_KEY.into(),
        good.clone(),
        token(TOKEN_KEY, -60),
        token("another secret of at least thirty-two bytes", 60),
        format!("{good}x"),
        ticket,
        URL_SAFE_NO_PAD.encode("ana:GeheimesKennwort"),
    ];
    let body = json!({"to": "user:ana", "user_id": "ana", "message": MESSAGE, "data": {"text": MESSAGE}});
    let mut requests = Vec::new();
    for (number, (method, path)) in routed().into_iter().enumerate() {
        let path = path.replace("{user}", "ana").replace("{topic}", "t").replace("{id}", ID);
        let path = path.replace("{hash}", "0").replace("{*file}", "page.js");
        // Each credential at each operation, in one way after the other.
        for (credential, way) in credentials.iter().zip(number..) {
            let asked = |query: &str| {
                let request = server.request(method, &format!("{path}{query}")).header("idempotency-key", REQUEST_KEY);
                if method == "get" { request } else { request.json(&body) }
            };
            let request = match way % 5 {
                0 => asked("").bearer_auth(credential),
                1 => asked("").header("authorization", format!("Basic {credential}")),
                2 => asked("").header("cookie", format!("pregon={credential}")),
                3 => asked(&format!("?access_token={credential}")),
                _ => asked(&format!("?ticket={credential}&user_id=ana&since=never")),
            };
            requests.push((path.clone(), request));
        }
    }
    let answered = futures_util::stream::iter(requests)
        .map(|(path, request)| async move { seen(&path, within(request.send()).await.unwrap()).await })
        .buffer_unordered(AT_ONCE);
    let mut seen_by_others: Vec<String> = answered.collect().await;
    // Addresses that the server writes, and bodies that break off within a secret.
    for request in [
        server.request("get", &format!("/v1/inbox?limit=1&access_token={good}")),
        server
            .request("post", "/v1/broadcast")
            .bearer_auth(KEY)
            .header("content-type", "application/json")
            .body(format!("{{\"message\":\"{MESSAGE}")),
        server.request("post", "/v1/broadcast").bearer_auth(KEY).header("title", "\t").body(MESSAGE),
        server
            .request("post", "/v1/broadcast")
            .bearer_auth(KEY)
            .header("idempotency-key", format!("{REQUEST_KEY}{}", "x".repeat(300)))
            .body(MESSAGE),
    ] {
        seen_by_others.push(seen("", within(request.send()).await.unwrap()).await);
    }
    assert!(
        seen_by_others.iter().any(|answer| answer.contains("rel=\\\"next\\\"")),
        "there is an address of a next page"
    );
    server.stop().await;

    let log = fs::read_to_string(log).unwrap();
    assert!(
        log.contains("request_id") && log.contains("draining") && (!tls || log.contains("decoding frame")),
        "all is logged that can be"
    );
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let secrets = credentials.iter().map(|credential| signature(credential));
    for secret in secrets.chain([TOKEN_KEY, MESSAGE, REQUEST_KEY, "GeheimesKennwort"].map(str::to_owned)) {
        for trace in traces(&secret) {
            assert!(!log.contains(&trace), "{trace} of {secret} in the log");
            for answer in &seen_by_others {
                assert!(!answer.contains(&trace), "{trace} of {secret} in {answer}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_text_that_is_logged_or_in_what_others_see() {
    no_secret_is_seen("text", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_in_json_or_over_http2() {
    no_secret_is_seen("json", true).await;
}

#[test]
fn a_secret_is_known_in_each_of_its_forms() {
    let secret = "GeheimeNachricht";
    for text in [
        secret.to_owned(),
        STANDARD_NO_PAD.encode(format!("a{secret}")),
        STANDARD_NO_PAD.encode(format!("ab{secret}")),
        URL_SAFE_NO_PAD.encode(format!("{secret}abc")),
        format!("{:?}", secret.as_bytes()),
    ] {
        assert!(traces(secret).iter().any(|trace| text.contains(trace)), "{text}");
    }
}
