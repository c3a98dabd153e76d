//! Several issuers of user tokens, and keys that are fetched: who may sign for whom, and until when.

use std::time::Duration;

use pregon::auth::tokens::{Issuer, LEEWAY_DEFAULT, TokenAlgorithm, TokenKey, TokenRules};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::key_server::{KeyServer, Signer};
use crate::server::{Tab, TestServer, within};

const FIRST: &str = "https://first.example";
const SECOND: &str = "https://second.example";
const REFRESH: Duration = Duration::from_millis(50);

async fn server(issuers: Vec<Issuer>, change: impl FnOnce(&mut pregon::Config)) -> TestServer {
    TestServer::start_with(|config| {
        config.open_user_id = false;
        config.tokens = Some(TokenRules { issuers, leeway: LEEWAY_DEFAULT });
        config.jwks_refresh = REFRESH;
        change(config);
    })
    .await
}

async fn ask(server: &TestServer, path: &str, token: &str) -> Response {
    within(server.anonymous(Method::GET, path).bearer_auth(token).send()).await.unwrap()
}

/// What becomes of a request with a token: its status, and the code of the problem.
async fn says(server: &TestServer, token: &str) -> (u16, String) {
    let response = ask(server, "/v1/inbox", token).await;
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn good() -> (u16, String) {
    (200, String::new())
}

fn invalid() -> (u16, String) {
    (401, "token_invalid".to_owned())
}

fn unavailable() -> (u16, String) {
    (503, "issuer_unavailable".to_owned())
}

async fn without_keys(server: &TestServer) -> Value {
    let ready = server.anonymous(Method::GET, "/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 200, "all others are served");
    ready.json::<Value>().await.unwrap()["issuers_without_keys"].clone()
}

/// How many streams user 1 has.
async fn connections(server: &TestServer) -> usize {
    let answer = server.request(Method::GET, "/v1/users/1/connections").send().await.unwrap();
    answer.json::<Value>().await.unwrap()["data"].as_array().unwrap().len()
}

/// Two issuers whose keys have the same name, and a third whose key is given.
#[tokio::test(flavor = "multi_thread")]
async fn no_issuer_signs_for_another() {
    let [first, second] = [Signer::new("key"), Signer::new("key")];
    let (at_first, at_second) = (KeyServer::start(&[&first]).await, KeyServer::start(&[&second]).await);
    let secret = "a secret of at least thirty-two bytes";
    let given = TokenKey::given(TokenAlgorithm::HS256, secret).unwrap().named("key");
    let third = Issuer { name: None, audience: None, keys: vec![given], jwks_url: None };
    let server = server(vec![at_first.issuer(FIRST), at_second.issuer(SECOND), third], |_| {}).await;
    let user = |issuer: &str| if issuer == FIRST { "1" } else { "2" };
    for issuer in [FIRST, SECOND, "", "https://third.example", &at_first.url] {
        for (signer, its) in [(&first, FIRST), (&second, SECOND)] {
            let wanted = if issuer == its { good() } else { invalid() };
            assert_eq!(says(&server, &signer.token(issuer, user(issuer))).await, wanted, "{its} signs for {issuer}");
        }
    }
    // A token that is made here is of the issuer whose secret is here.
    let wanted = json!({"user_id": "3"});
    let made = server.request(Method::POST, "/v1/tokens").json(&wanted).send().await.unwrap();
    let made: Value = made.json().await.unwrap();
    assert_eq!(says(&server, made["token"].as_str().unwrap()).await, good());
    server.stop().await;
}

/// By every way to open a stream: what a key has opened does not outlive it, and nothing else ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_key_is_gone() {
    let [old, stays, new] = [Signer::new("old"), Signer::new("stays"), Signer::new("new")];
    let mut keys = KeyServer::start(&[&old, &stays]).await;
    let server = server(vec![keys.issuer(FIRST)], |_| {}).await;
    let (old_token, token) = (old.token(FIRST, "1"), stays.token(FIRST, "1"));
    assert_eq!(says(&server, &new.token(FIRST, "1")).await, invalid());
    let ticket = async || {
        let request = server.anonymous(Method::POST, "/v1/stream/tickets").bearer_auth(&old_token).send();
        let ticket: Value = within(request).await.unwrap().json().await.unwrap();
        ticket["ticket"].as_str().unwrap().to_owned()
    };
    let (used, unused) = (ticket().await, ticket().await);
    let mut ending = [
        Tab::of(ask(&server, "/v1/stream", &old_token).await),
        server.tab_at(&format!("/notifications?access_token={old_token}"), None).await,
        server.tab_at(&format!("/v1/stream?ticket={used}"), None).await,
    ];
    let mut staying = Tab::of(ask(&server, "/v1/stream", &token).await);
    for tab in ending.iter_mut().chain([&mut staying]) {
        tab.expect("hello").await;
    }
    keys.taken().await;
    server.publish("user:1", "antes").await;
    for tab in ending.iter_mut().chain([&mut staying]) {
        assert_eq!(tab.message().await, "antes", "keys that are still there end nothing");
    }
    let polling = server.anonymous(Method::GET, "/v1/stream?poll=1&wait=55s").bearer_auth(&old_token);
    let polling = tokio::spawn(polling.send());
    within(async { while connections(&server).await < 5 {} }).await;

    keys.show(&[&stays, &new]);
    for tab in &mut ending {
        assert!(tab.event().await.is_none(), "it ends by itself");
        assert!(!tab.cut, "in good order");
    }
    let polled: Value = within(polling).await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(polled["data"], json!([]), "and so does a poll");
    let refused = ask(&server, "/v1/stream", &old_token).await;
    assert_eq!(refused.status(), 401);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["detail"], "the token is signed with a key (`kid`) that its issuer does not have");
    let unused = within(server.anonymous(Method::GET, &format!("/v1/stream?ticket={unused}")).send()).await.unwrap();
    assert_eq!(unused.status(), 401);
    assert_eq!(says(&server, &new.token(FIRST, "1")).await, good(), "another key has come without a restart");
    server.publish("user:1", "después").await;
    assert_eq!(staying.message().await, "después");

    // Another key of the same name is another key.
    let impostor = Signer::new("stays");
    keys.show(&[&impostor]);
    assert!(staying.event().await.is_none());
    assert_eq!(says(&server, &token).await, invalid());
    assert_eq!(says(&server, &impostor.token(FIRST, "1")).await, good());
    server.stop().await;
}

/// Keys that nobody can be asked for: the token may be good. A browser must not give up its stream for that.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_can_not_be_had_are_a_temporary_condition() {
    let [first, second] = [Signer::new("1"), Signer::new("2")];
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (mut late, there) = (KeyServer::start(&[]).await, KeyServer::start(&[&second]).await);
    late.say(500, "");
    let unreachable = Issuer { jwks_url: Some(format!("http://{nobody}/").parse().unwrap()), ..late.issuer("nobody") };
    let server = server(vec![unreachable, late.issuer(FIRST), there.issuer(SECOND)], |_| {}).await;
    assert_eq!(without_keys(&server).await, json!(["nobody", FIRST]));
    let metrics = server.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\npregon_issuers_without_keys 2\n"), "{metrics}");
    assert_eq!(says(&server, &second.token(SECOND, "1")).await, good());
    let token = first.token(FIRST, "1");
    for token in [&token, &first.token("nobody", "1")] {
        let refused = ask(&server, "/v1/inbox", token).await;
        assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
        let refused: Value = refused.json().await.unwrap();
        assert_eq!(refused["code"], "issuer_unavailable");
        assert_eq!(refused["detail"], "the token can't be checked now: the keys of its issuer could not be fetched");
        for path in ["/v1/stream", "/notifications"] {
            let stream = ask(&server, path, token).await;
            assert_eq!(
                (stream.status().as_u16(), &stream.headers()["content-type"]),
                (200, &"text/event-stream".parse().unwrap())
            );
            let all = within(stream.text()).await.unwrap();
            assert!(all.starts_with("retry: ") && all.lines().filter(|line| !line.is_empty()).count() == 1, "{all}");
        }
        let polled: Value = ask(&server, "/v1/stream?poll=1", token).await.json().await.unwrap();
        assert!(polled["retry_ms"].as_u64().is_some() && polled["data"] == json!([]), "{polled}");
    }
    late.show(&[&first]);
    late.taken().await;
    assert_eq!(without_keys(&server).await, json!(["nobody"]));
    assert_eq!(says(&server, &token).await, good());
    server.stop().await;
}

/// Nobody says any more that the key is still good.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_used_for_a_stated_time_and_then_no_longer() {
    let signer = Signer::new("key");
    let mut keys = KeyServer::start(&[&signer]).await;
    let server = server(vec![keys.issuer(FIRST)], |config| config.jwks_stale_max = Duration::from_secs(2)).await;
    let token = signer.token(FIRST, "1");
    let mut tab = Tab::of(ask(&server, "/v1/stream", &token).await);
    tab.expect("hello").await;
    keys.say(500, "");
    keys.taken().await;
    assert_eq!(says(&server, &token).await, good(), "a short failure ends nothing");
    assert!(tab.event().await.is_none());
    assert_eq!(says(&server, &token).await, unavailable());
    assert_eq!(without_keys(&server).await, json!([FIRST]));
    keys.show(&[&signer]);
    keys.taken().await;
    assert_eq!(says(&server, &token).await, good());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_set_changes_nothing_and_leads_nowhere() {
    let [signer, forger] = [Signer::new("key"), Signer::new("key")];
    let (mut keys, elsewhere) = (KeyServer::start(&[&signer]).await, KeyServer::start(&[&forger]).await);
    let server = server(vec![keys.issuer(FIRST)], |_| {}).await;
    let token = signer.token(FIRST, "1");
    let imitated = forger.token(FIRST, "1");
    let unchanged = async |keys: &mut KeyServer, what: &str| {
        keys.taken().await;
        assert_eq!(says(&server, &token).await, good(), "{what}");
        assert_eq!(says(&server, &imitated).await, invalid(), "{what}");
    };
    for status in [301, 302, 303, 307, 308] {
        keys.redirect(status, elsewhere.url.parse().unwrap());
        unchanged(&mut keys, &format!("a redirect, {status}")).await;
    }
    let document = json!({"keys": [forger.jwk]}).to_string();
    for status in [201, 203, 206, 304, 400, 401, 404, 500, 503] {
        keys.say(status, document.as_str());
        unchanged(&mut keys, &format!("status {status}")).await;
    }
    let long = format!("{document}{}", " ".repeat(256 * 1024));
    let many = json!({"keys": vec![&forger.jwk; 33]}).to_string();
    for body in ["", "<html>", "{}", "[]", "{\"keys\": 1}", &document[..document.len() - 1], &long, &many] {
        keys.say(200, body);
        unchanged(&mut keys, &format!("{body:.40}")).await;
    }
    // This is one, and says that there is no key any more.
    let secret = json!({"keys": [{"kty": "oct", "kid": "key", "k": "c2VjcmV0"}]});
    for (document, why) in [(json!({"keys": []}), "none"), (secret, "a secret")] {
        keys.show(&[&signer]);
        keys.taken().await;
        assert_eq!(says(&server, &token).await, good());
        keys.say(200, document.to_string());
        keys.taken().await;
        assert_eq!(says(&server, &token).await, invalid(), "{why}");
        assert_eq!(without_keys(&server).await, Value::Null, "it is not that they can't be had");
    }
    server.stop().await;
    assert_eq!(elsewhere.asked(), 0);
}

/// Neither a key that nobody knows, nor an issuer's own name, nor the number of such tokens makes the server ask.
#[tokio::test(flavor = "multi_thread")]
async fn no_token_makes_the_server_ask() {
    let [signer, forger] = [Signer::new("key"), Signer::new("unknown")];
    let keys = KeyServer::start(&[&signer]).await;
    let server = server(vec![keys.issuer(FIRST)], |config| config.jwks_refresh = Duration::from_hours(1)).await;
    let origin = keys.url.trim_end_matches("/keys");
    for issuer in [FIRST, &keys.url, origin, &format!("{origin}/.well-known/openid-configuration")] {
        for number in 0..50 {
            let claims = json!({"iss": issuer, "sub": "1", "exp": 4_102_444_800_i64, "jku": keys.url});
            let token = forger.sign(&claims, |header| {
                header.kid = Some(format!("{}?{number}", keys.url));
                header.jku = Some(keys.url.clone());
                header.x5u = Some(keys.url.clone());
            });
            assert_eq!(says(&server, &token).await, invalid());
        }
    }
    assert_eq!(says(&server, &signer.token(FIRST, "1")).await, good());
    server.stop().await;
    assert_eq!(keys.asked(), 1, "at the start, and never since");
}
