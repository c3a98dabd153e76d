//! Requests that mean something clear, though they are written in another way than the documents do.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{TestServer, tokens, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_slash_too_many_leads_to_the_same_place() {
    let server = TestServer::start().await;
    for path in ["/v1/inbox?user_id=1", "//v1/inbox?user_id=1", "/v1/inbox/?user_id=1", "//v1/inbox//?user_id=1"] {
        let answer = within(server.anonymous(Method::GET, path).send()).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    for path in ["/v1/users/1/counts", "/v1/users/1/inbox/counts"] {
        assert_eq!(within(server.request(Method::GET, path).send()).await.unwrap().status(), 200, "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_at_every_form_of_since() {
    let server = TestServer::start().await;
    server.publish("user:1", "Una").await;
    for since in ["PT1H", "P1D", "1h", "2020-01-01", "2020-01-01T00:00:00+01:00", "earliest"] {
        let mut tab = server.tab_at(&format!("/notifications?user_id=1&since={since}"), None).await;
        tab.expect("hello").await;
        assert_eq!(tab.expect("message").await["message"], "Una", "{since}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_uses_up_no_ticket_and_waits_for_nothing() {
    let server = TestServer::start_with(|config| {
        config.open_user_id = false;
        config.tokens = Some(tokens("a secret of at least thirty-two bytes"));
    })
    .await;
    let made = server.request(Method::POST, "/v1/tokens").json(&json!({"user_id": "1"})).send().await.unwrap();
    let token = made.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    let made = server.anonymous(Method::POST, "/v1/stream/tickets").bearer_auth(&token).send().await.unwrap();
    let ticket = made.json::<Value>().await.unwrap()["ticket"].as_str().unwrap().to_owned();
    let path = format!("/v1/stream?ticket={ticket}");
    for _ in 0..2 {
        let head = within(server.anonymous(Method::HEAD, &path).send()).await.unwrap();
        assert_eq!(
            (head.status().as_u16(), &head.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
    }
    let head = within(server.anonymous(Method::HEAD, &format!("{path}&poll=1")).send()).await.unwrap();
    assert_eq!((head.status().as_u16(), &head.headers()["content-type"]), (200, &"application/json".parse().unwrap()));
    server.tab_at(&path, None).await.expect("hello").await;
    assert_eq!(within(server.anonymous(Method::HEAD, &path).send()).await.unwrap().status(), 401, "it is used up");
    server.stop().await;
}

async fn send_as(server: &TestServer, method: Method, path: &str, content_type: &str, body: &str) -> u16 {
    let request = server.request(method, path).header("content-type", content_type).body(body.to_owned());
    within(request.send()).await.unwrap().status().as_u16()
}

/// `curl -d` calls JSON a form, and people forget the content type altogether.
#[tokio::test(flavor = "multi_thread")]
async fn json_is_published_as_json_on_every_path_and_what_is_neither_is_refused() {
    let server =
        TestServer::start_with(|config| config.tokens = Some(tokens("a secret of at least thirty-two bytes"))).await;
    let form = "application/x-www-form-urlencoded";
    let send = async |path: &str, content_type: &str, body: &str| {
        send_as(&server, Method::POST, path, content_type, body).await
    };
    for path in ["/v1/users/1/notifications", "/v1/topics/t/notifications", "/v1/broadcast"] {
        assert_eq!(send(path, form, r#"{"message": "Una", "title": "T"}"#).await, 201, "{path}");
        assert_eq!(send(path, form, "message=Una&title=T").await, 415, "{path}");
        assert_eq!(send(path, "multipart/form-data; boundary=x", "--x").await, 415, "{path}");
        assert_eq!(
            send(path, form, r#"{"mesage": "a misspelled name is not published as text"}"#).await,
            422,
            "{path}"
        );
        assert_eq!(send(path, form, r#"{"message": "neither is a comma too many",}"#).await, 400, "{path}");
    }
    assert_eq!(send("/v1/notifications", form, r#"{"to": "user:1", "message": "Dos"}"#).await, 201);
    assert_eq!(send("/v1/notifications", form, "Dos").await, 415);
    let lines = "\u{feff}{\"to\": \"user:1\", \"message\": \"Tres\"}\n{\"to\": \"user:1\", \"message\": \"Cuatro\"}\n";
    assert_eq!(send("/v1/notifications/batch", "application/x-ndjson", lines).await, 200);
    // What `curl -d` sends to the other paths.
    for (method, path, body) in [
        (Method::POST, "/v1/tokens", r#"{"user_id": "1"}"#),
        (Method::POST, "/v1/keys", r#"{"name": "una", "scopes": ["manage"]}"#),
        (Method::PUT, "/v1/inbox/preferences?user_id=1", r#"{"muted": ["ofertas"]}"#),
        (Method::POST, "/v1/inbox/read-all?user_id=2", " { }"),
        (Method::POST, "/v1/notifications/batch", r#"[{"to": "user:2", "message": "x"}]"#),
        (Method::POST, "/v1/notifications/batch", "{\"to\": \"user:2\", \"message\": \"x\"}\n"),
    ] {
        for content_type in [Some(form), None] {
            let request = server.request(method.clone(), path).body(body.to_owned());
            let request = if let Some(it) = content_type { request.header("content-type", it) } else { request };
            let answer = within(request.send()).await.unwrap();
            assert!(answer.status().is_success(), "{path} {content_type:?}: {}", answer.status());
        }
        assert_eq!(send_as(&server, method.clone(), path, "text/plain", body).await, 415, "{path}");
        assert_eq!(send_as(&server, method, path, form, "user_id=1").await, 415, "{path}");
    }
    let packed = server.request(Method::POST, "/v1/broadcast").header("content-encoding", "gzip").body("x");
    assert_eq!(within(packed.send()).await.unwrap().status(), 415);
    let inbox = within(server.anonymous(Method::GET, "/v1/inbox?user_id=1").send()).await.unwrap();
    let inbox: Value = inbox.json().await.unwrap();
    let messages: Vec<&str> =
        inbox["data"].as_array().unwrap().iter().map(|item| item["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["Cuatro", "Tres", "Dos", "Una", "Una"]);
    server.stop().await;
}
