//! Pages of other origins: those that are named may use the server from a browser, and no others.

use reqwest::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, COOKIE, ORIGIN, SET_COOKIE, VARY,
};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::server::{Tab, TestServer, tokens, within};

const APP: &str = "https://app.example";

async fn server() -> TestServer {
    TestServer::start_with(|config| {
        config.open_user_id = false;
        config.tokens = Some(tokens("a secret of at least thirty-two bytes"));
        config.cors_origins = vec![APP.parse().unwrap(), "https://b.example".parse().unwrap()];
    })
    .await
}

async fn asked(request: RequestBuilder, origin: &str) -> Response {
    within(request.header(ORIGIN, origin).send()).await.unwrap()
}

fn header<'a>(response: &'a Response, name: &reqwest::header::HeaderName) -> &'a str {
    response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_so_to_those_who_are_named_and_to_nobody_else() {
    let server = server().await;
    for (method, path, status) in [
        (Method::GET, "/v1/stream", 401),
        (Method::GET, "/v1/stream?since=nope&user_id=1", 401),
        (Method::GET, "/v1/inbox", 401),
        (Method::POST, "/v1/notifications", 401),
        (Method::GET, "/nada", 404),
        (Method::PUT, "/v1/inbox", 405),
        (Method::GET, "/healthz", 200),
        (Method::GET, "/?user_id=1", 401),
    ] {
        let response = asked(server.anonymous(method.clone(), path), APP).await;
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(header(&response, &ACCESS_CONTROL_ALLOW_ORIGIN), APP, "{method} {path}");
        assert_eq!(header(&response, &ACCESS_CONTROL_ALLOW_CREDENTIALS), "true");
        assert!(
            response.headers().get_all(VARY).iter().any(|vary| vary.to_str().unwrap().contains("origin")),
            "{path}"
        );
        for origin in ["https://evil.example", "null", "https://app.example.evil.example", "http://app.example"] {
            let response = asked(server.anonymous(method.clone(), path), origin).await;
            assert_eq!(header(&response, &ACCESS_CONTROL_ALLOW_ORIGIN), "", "{origin}: {method} {path}");
        }
    }
    let preflight = server
        .anonymous(Method::OPTIONS, "/v1/inbox/read-all")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type");
    let allowed = asked(preflight, APP).await;
    assert_eq!(allowed.status(), 200);
    assert!(header(&allowed, &ACCESS_CONTROL_ALLOW_METHODS).contains("PATCH"));
    assert_eq!(header(&allowed, &ACCESS_CONTROL_ALLOW_HEADERS), "authorization,content-type");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_origin_streams_and_is_trusted_with_a_cookie() {
    let server = server().await;
    let made = server.request(Method::POST, "/v1/tokens").json(&json!({"user_id": "1"})).send().await.unwrap();
    let token = made.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    let response = asked(server.anonymous(Method::GET, "/v1/stream").bearer_auth(&token), APP).await;
    assert_eq!(header(&response, &ACCESS_CONTROL_ALLOW_ORIGIN), APP, "on a stream, which HTTP does not answer itself");
    let mut tab = Tab::of(response);
    tab.expect("hello").await;
    let begun = asked(server.anonymous(Method::POST, "/v1/session").bearer_auth(&token), APP).await;
    let cookie = header(&begun, &SET_COOKIE).split(';').next().unwrap().to_owned();
    let mark = || {
        let request = server.anonymous(Method::POST, "/v1/inbox/read-all").header("sec-fetch-site", "same-site");
        request.header(COOKIE, &cookie).json(&json!({}))
    };
    assert_eq!(asked(mark(), APP).await.status(), 200);
    assert_eq!(asked(mark(), "https://neighbour.example").await.status(), 403);
    server.stop().await;
}

/// An application under development runs beside the server, at another port, and its bell must work.
#[tokio::test(flavor = "multi_thread")]
async fn where_everybody_on_this_machine_may_read_so_may_their_pages_and_no_others() {
    let server = TestServer::start().await;
    let mark = || server.anonymous(Method::POST, "/v1/inbox/read-all?user_id=1").json(&json!({}));
    for (origin, allowed) in
        [("http://localhost:3000", true), ("http://127.0.0.1:8080", true), (APP, false), ("http://10.0.0.7", false)]
    {
        let read = asked(server.anonymous(Method::GET, "/v1/inbox?user_id=1"), origin).await;
        assert_eq!(header(&read, &ACCESS_CONTROL_ALLOW_ORIGIN), if allowed { origin } else { "" });
        assert_eq!(asked(mark(), origin).await.status(), if allowed { 200 } else { 403 }, "{origin}");
    }
    server.stop().await;
}

/// Libraries for tracing add headers to every request of a page.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_let_in_may_send_any_header() {
    let server = server().await;
    let headers = "authorization,traceparent,tracestate,baggage,sentry-trace,x-datadog-trace-id,cache-control";
    let preflight = server
        .anonymous(Method::OPTIONS, "/v1/inbox")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", headers);
    assert_eq!(header(&asked(preflight, APP).await, &ACCESS_CONTROL_ALLOW_HEADERS), headers);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_nothing_is_said() {
    let server = TestServer::start_with(|config| config.open_user_id = false).await;
    let response = asked(server.anonymous(Method::GET, "/v1/inbox?user_id=1"), APP).await;
    assert_eq!((response.status().as_u16(), header(&response, &ACCESS_CONTROL_ALLOW_ORIGIN)), (401, ""));
    let preflight = server.anonymous(Method::OPTIONS, "/v1/inbox").header("access-control-request-method", "GET");
    assert_eq!(asked(preflight, APP).await.status(), 405);
    server.stop().await;
}
