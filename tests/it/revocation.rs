//! Revocation: all that a user has been given is refused from there on, and her streams end.

use std::sync::Arc;

use futures_util::StreamExt as _;
use jsonwebtoken::{EncodingKey, Header};
use pregon::Config;
use reqwest::header::COOKIE;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::server::{Tab, TestServer, tokens, within};

const SECRET: &str = "a secret of at least thirty-two bytes";

fn signed(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn options(config: &mut Config) {
    config.open_user_id = false;
    config.tokens = Some(tokens(SECRET));
}

/// Status and code of an answer.
async fn outcome(request: RequestBuilder) -> (u16, String) {
    let response = within(request.send()).await.unwrap();
    let status = response.status().as_u16();
    // A stream has no end.
    let problem: Value = if status == 200 { Value::Null } else { response.json().await.unwrap_or_default() };
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

impl TestServer {
    async fn made(&self, path: &str, body: Value, field: &str) -> String {
        let made: Value = self.request(Method::POST, path).json(&body).send().await.unwrap().json().await.unwrap();
        made[field].as_str().unwrap().to_owned()
    }

    async fn token(&self, user: &str) -> String {
        self.made("/v1/tokens", json!({"user_id": user}), "token").await
    }

    async fn revoke(&self, user: &str) {
        let request = self.request(Method::DELETE, &format!("/v1/users/{user}/tokens"));
        assert_eq!(within(request.send()).await.unwrap().status(), 204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_was_given_is_refused_and_what_she_is_given_then_is_not() {
    let server = TestServer::start_with(options).await;
    let now = jiff::Timestamp::now().as_second();
    let hers = server.token("1").await;
    // Signed elsewhere, also by who does not say when.
    let others = [json!({"sub": "1", "exp": now + 60}), json!({"sub": "1", "exp": now + 60, "iat": now})];
    let others = others.map(|claims| signed(&claims));
    let of_another = server.token("2").await;
    let ticket = server.made("/v1/stream/tickets?user_id=1", json!({}), "ticket").await;
    let counts = |server: &TestServer, token: &str| {
        outcome(server.anonymous(Method::GET, "/v1/inbox/counts").bearer_auth(token))
    };
    for token in others.iter().chain([&hers, &of_another]) {
        assert_eq!(counts(&server, token).await.0, 200);
    }
    server.revoke("1").await;
    let renewed = server.token("1").await;
    let revoked = (401, "token_revoked".to_owned());
    for token in others.iter().chain([&hers]) {
        assert_eq!(counts(&server, token).await, revoked);
    }
    let by_cookie = server.anonymous(Method::GET, "/v1/inbox").header(COOKIE, format!("pregon={hers}"));
    assert_eq!(outcome(by_cookie).await, revoked);
    let by_address = server.anonymous(Method::GET, &format!("/v1/stream?access_token={hers}"));
    assert_eq!(outcome(by_address).await, revoked);
    let by_ticket = server.anonymous(Method::GET, &format!("/v1/stream?ticket={ticket}"));
    assert_eq!(outcome(by_ticket).await, revoked);
    let begin = server.anonymous(Method::POST, "/v1/session").bearer_auth(&hers);
    assert_eq!(outcome(begin).await, revoked);
    for token in [&renewed, &of_another] {
        assert_eq!(counts(&server, token).await.0, 200, "what is signed after the answer is good");
    }
    let ticket = server.made("/v1/stream/tickets?user_id=1", json!({}), "ticket").await;
    server.tab_at(&format!("/v1/stream?ticket={ticket}"), None).await.expect("hello").await;

    let folder = Arc::clone(&server.folder);
    server.stop().await;
    let server = TestServer::start_in(folder, options).await;
    assert_eq!(counts(&server, &hers).await, revoked, "nor after a restart");
    assert_eq!(counts(&server, &renewed).await.0, 200);
    server.stop().await;
}

/// An issuer whose clock is ahead makes tokens from the future.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_from_the_future_is_refused_after_a_revocation_and_one_signed_after_the_answer_is_not() {
    let server = TestServer::start_with(options).await;
    let ahead = |seconds: i64| {
        let now = jiff::Timestamp::now().as_second();
        signed(&json!({"sub": "1", "exp": now + 600, "iat": now + seconds}))
    };
    let counts = |token: String| {
        let request = server.anonymous(Method::GET, "/v1/inbox/counts").bearer_auth(token);
        async { outcome(request).await }
    };
    let (hers, unseen) = (ahead(2), ahead(28));
    assert_eq!(counts(hers.clone()).await.0, 200);
    assert_eq!(counts(ahead(60)).await, (401, "token_invalid".to_owned()), "further ahead than the leeway");
    server.revoke("1").await;
    for old in [hers, unseen] {
        assert_eq!(counts(old).await, (401, "token_revoked".to_owned()));
    }
    for (clock, new) in [("the one that is ahead", ahead(1)), ("one that is right", ahead(0))] {
        assert_eq!(counts(new).await.0, 200, "signed after the answer, by {clock}");
    }
    server.stop().await;
}

/// Mutant: end none.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_ends_the_streams_of_its_user() {
    let server = TestServer::start_with(options).await;
    let (hers, of_another) = (server.token("1").await, server.token("2").await);
    let mut tab = server.tab_at(&format!("/v1/stream?access_token={hers}"), None).await;
    tab.expect("hello").await;
    let mut other = server.tab_at(&format!("/v1/stream?access_token={of_another}"), None).await;
    other.expect("hello").await;
    // What a server key has opened ends as well: whoever has it may come back.
    let by_key = server.request(Method::GET, "/v1/stream?user_id=1").send();
    let mut by_key = Tab::of(within(by_key).await.unwrap());
    by_key.expect("hello").await;
    let lines = server.anonymous(Method::GET, "/v1/stream").bearer_auth(&hers);
    let lines = within(lines.header("accept", "application/x-ndjson").send()).await.unwrap();
    let mut lines = lines.bytes_stream();
    assert!(within(lines.next()).await.unwrap().unwrap().starts_with(b"{\"event\":\"hello\""));
    // A poll waits from the cursor of a stream; that it waits is seen by its connection.
    let cursor = tab.cursor.clone().unwrap();
    let poll = format!("/v1/stream?access_token={hers}&poll=1&wait=50s&last_event_id={cursor}");
    let poll = tokio::spawn(server.anonymous(Method::GET, &poll).send());
    let connections = || async {
        let request = server.request(Method::GET, "/v1/users/1/connections");
        let there: Value = request.send().await.unwrap().json().await.unwrap();
        there["data"].as_array().unwrap().len()
    };
    within(async { while connections().await < 4 {} }).await;

    server.revoke("1").await;
    for tab in [&mut tab, &mut by_key] {
        assert!(tab.event().await.is_none(), "it ends");
        assert!(!tab.cut, "in good order");
    }
    assert!(within(lines.next()).await.is_none());
    let polled = within(poll).await.unwrap().unwrap();
    assert_eq!(polled.status(), 200);
    let polled: Value = polled.json().await.unwrap();
    assert_eq!((&polled["data"], &polled["retry_ms"]), (&json!([]), &Value::Null), "and says how to go on: {polled}");
    assert_eq!(connections().await, 0);
    server.publish("everyone", "a las demás").await;
    assert_eq!(other.message().await, "a las demás");
    server.stop().await;
}
