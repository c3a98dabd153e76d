//! Bad input: a clear answer to whoever sends it, and nothing to anybody else.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::{KEY, TestServer, within};

/// A body, and the status, the code and the errors that answer it.
type Case = (String, u16, &'static str, Vec<(&'static str, &'static str)>);

/// Sends a body to a path, and gives the problem with the pointers and codes of its errors.
async fn problem(
    server: &TestServer,
    path: &str,
    body: impl Into<reqwest::Body>,
) -> (u16, String, Vec<(String, String)>) {
    let request = server.request(Method::POST, path).header("content-type", "application/json").body(body);
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
    let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["request_id"], request_id.as_str());
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = errors.iter().map(|error| (text(&error["pointer"]), text(&error["code"]))).collect();
    (status, text(&problem["code"]), errors)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_is_named_with_its_code_and_nothing_is_published() {
    let server = TestServer::start().await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let to = r#""to":"user:1","#;
    let long = "x".repeat(16 * 1024 + 1);
    let cases: Vec<Case> = vec![
        (String::new(), 400, "malformed_json", vec![]),
        ("{".into(), 400, "malformed_json", vec![]),
        ("[]".into(), 400, "malformed_json", vec![]),
        ("\"x\"".into(), 400, "malformed_json", vec![]),
        (r#"{"to":"user:1","message":"\ud800"}"#.into(), 400, "malformed_json", vec![]),
        (format!(r#"{{{to}"message":"x","data":{}}}"#, deep(100_000 / 4)), 400, "malformed_json", vec![]),
        (format!(r#"{{{to}"message":"x","data":{}}}"#, deep(17)), 422, "invalid_request", vec![("/data", "too_deep")]),
        ("{}".into(), 422, "invalid_request", vec![("/to", "missing"), ("/message", "missing")]),
        (r#"{"to":[],"message":"x"}"#.into(), 422, "invalid_request", vec![("/to", "empty")]),
        (r#"{"to":7,"message":"x"}"#.into(), 422, "invalid_request", vec![("/to", "wrong_type")]),
        (r#"{"to":["user:1",7],"message":"x"}"#.into(), 422, "invalid_request", vec![("/to/1", "wrong_type")]),
        (r#"{"to":"usr:1","message":"x"}"#.into(), 422, "invalid_request", vec![("/to", "audience")]),
        (r#"{"to":"user:","message":"x"}"#.into(), 422, "invalid_request", vec![("/to", "empty")]),
        (r#"{"to":"user:a b","message":"x"}"#.into(), 422, "invalid_request", vec![("/to", "character")]),
        (r#"{"to":"user:a\u0000","message":"x"}"#.into(), 422, "invalid_request", vec![("/to", "character")]),
        (
            json!({"to": format!("topic:{}", "x".repeat(129)), "message": "x"}).to_string(),
            422,
            "invalid_request",
            vec![("/to", "too_long")],
        ),
        (
            json!({"to": vec!["everyone"; 1001], "message": ""}).to_string(),
            422,
            "invalid_request",
            vec![("/message", "empty")],
        ),
        (
            json!({"to": (0..1001).map(|n| format!("user:{n}")).collect::<Vec<_>>(), "message": "x"}).to_string(),
            422,
            "invalid_request",
            vec![("/to", "too_many")],
        ),
        (format!(r#"{{{to}"message":" \t\n"}}"#), 422, "invalid_request", vec![("/message", "empty")]),
        (format!(r#"{{{to}"message":null}}"#), 422, "invalid_request", vec![("/message", "missing")]),
        (format!(r#"{{{to}"message":["x"]}}"#), 422, "invalid_request", vec![("/message", "wrong_type")]),
        (format!(r#"{{{to}"message":"a\u0000b"}}"#), 422, "invalid_request", vec![("/message", "character")]),
        (format!(r#"{{{to}"message":"a\u001bb"}}"#), 422, "invalid_request", vec![("/message", "character")]),
        (format!(r#"{{{to}"message":"{long}"}}"#), 422, "invalid_request", vec![("/message", "too_long")]),
        (
            format!(
                r#"{{{to}"message":"x","title":"a\nb","severity":"fatal","category":"","url":"javascript:x","icon":"data:x"}}"#
            ),
            422,
            "invalid_request",
            vec![
                ("/severity", "severity"),
                ("/title", "character"),
                ("/category", "empty"),
                ("/url", "url"),
                ("/icon", "url"),
            ],
        ),
        (format!(r#"{{{to}"message":"x","title":1}}"#), 422, "invalid_request", vec![("/title", "wrong_type")]),
        (
            format!(r#"{{{to}"mesage":"x"}}"#),
            422,
            "invalid_request",
            vec![("/message", "missing"), ("/mesage", "unknown_field")],
        ),
        (format!(r#"{{{to}"message":"x","a/b~":1}}"#), 422, "invalid_request", vec![("/a~1b~0", "unknown_field")]),
        (format!(r#"{{{to}"message":"x","data":"{long}"}}"#), 422, "invalid_request", vec![("/data", "too_long")]),
    ];
    for (body, status, code, errors) in cases {
        let shown: String = body.chars().take(120).collect();
        let (found_status, found_code, found_errors) = problem(&server, "/v1/notifications", body).await;
        let found_errors: Vec<(&str, &str)> = found_errors.iter().map(|(p, c)| (p.as_str(), c.as_str())).collect();
        assert_eq!((found_status, found_code.as_str(), found_errors), (status, code, errors), "{shown}");
    }
    let (status, code, _) = problem(&server, "/v1/users/1/notifications", r#"{"to":"user:2","message":"x"}"#).await;
    assert_eq!((status, code.as_str()), (422, "invalid_request"), "the path already says to whom");
    server.publish("user:1", "la única").await;
    assert_eq!(tab.message().await, "la única");
    server.stop().await;
}

/// As many fields as fit, none of them known: each error takes ten times the bytes of what it is about.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_about_many_wrong_fields_is_shorter_than_the_request() {
    let server = TestServer::start().await;
    let item: serde_json::Map<_, _> = (0..6000).map(|number| (format!("{number:x}"), json!(1))).collect();
    let batch = json!([&item, &item]);
    for (path, body) in [("/v1/notifications", json!(item)), ("/v1/notifications/batch", batch)] {
        let body = body.to_string();
        let request = server.request(Method::POST, path).header("content-type", "application/json");
        let answer = request.body(body.clone()).send().await.unwrap().text().await.unwrap();
        assert!(answer.contains("6002 fields are wrong; these are the first 32"), "{path}: {answer:.300}");
        assert!(answer.len() < body.len() / 4, "{path}: {} bytes answer {}", answer.len(), body.len());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_types_methods_and_paths_outside_the_contract_are_told_so() {
    let server = TestServer::start().await;
    let (status, code, _) = problem(&server, "/v1/notifications", vec![b' '; 10 * 1024 * 1024]).await;
    assert_eq!((status, code.as_str()), (413, "body_too_large"));
    let post = |path: &str, content_type: &str, body: Vec<u8>| {
        server.request(Method::POST, path).header("content-type", content_type).body(body).send()
    };
    let cases = [
        (post("/v1/notifications", "text/plain", b"x".into()).await, 415, "unsupported_media_type"),
        (post("/v1/broadcast", "text/plain", vec![0xff, 0xfe]).await, 400, "not_utf8"),
        (post("/v1/broadcast", "text/plain", vec![]).await, 422, "invalid_request"),
        (post("/v1/broadcast", "text/plain", b"a\0b".into()).await, 422, "invalid_request"),
        (post("/v1/users/%ff/notifications", "text/plain", b"x".into()).await, 400, "invalid_path"),
        (post("/v1/users/%0a/notifications", "text/plain", b"x".into()).await, 400, "invalid_path"),
        (
            server.request(Method::POST, "/v1/broadcast").header("idempotency-key", "a\tb").body("x").send().await,
            400,
            "invalid_header",
        ),
        (server.request(Method::GET, "/v1/notifications/nope").send().await, 400, "invalid_path"),
        (
            server.request(Method::GET, "/v1/notifications/01a20cb5-116e-716b-aa33-fad3da96c4bc").send().await,
            404,
            "not_found",
        ),
        (server.request(Method::GET, "/nada").send().await, 404, "not_found"),
        (server.request(Method::GET, "/v1/notifications/%ff").send().await, 400, "invalid_path"),
        (server.request(Method::GET, "/assets/%ff/x").send().await, 404, "not_found"),
        (server.request(Method::PATCH, "/v1/broadcast").send().await, 405, "method_not_allowed"),
        (server.request(Method::GET, "/notifications").send().await, 400, "invalid_query"),
        (server.request(Method::GET, "/notifications?user_id=a%20b").send().await, 400, "invalid_query"),
        (server.request(Method::GET, "/notifications?user_id=1&since=ayer").send().await, 400, "invalid_query"),
        (server.request(Method::GET, "/notifications?user_id=1&poll=ja").send().await, 400, "invalid_query"),
        (server.request(Method::GET, "/?user_id=%00").send().await, 400, "invalid_query"),
    ];
    for (number, (response, status, code)) in cases.into_iter().enumerate() {
        let response = response.unwrap();
        assert_eq!(response.status(), status, "case {number}");
        if status == 405 {
            assert_eq!(response.headers()["allow"], "POST");
        }
        assert_eq!(response.json::<Value>().await.unwrap()["code"], code, "case {number}");
    }
    server.stop().await;
}

/// Bytes that are no HTTP, or too much of it, while others listen.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_one_connection_sends_disturbs_no_other_stream() {
    let server = TestServer::start().await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    let long_id = format!(
        "GET /notifications?user_id=1 HTTP/1.1\r\nhost: localhost\r\nlast-event-id: {}\r\n\r\n",
        "a".repeat(300_000)
    );
    let long_path = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(100_000));
    let smuggled = "POST /v1/broadcast HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let attacks: Vec<Vec<u8>> = vec![
        long_id.into(),
        long_path.into(),
        smuggled.into(),
        b"\0\0\0\0\r\n\r\n".into(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
        b"GET / HTTP/1.1\r\nhost: localhost\r\n folded: y\r\n\r\n".into(),
        vec![b'\n'; 100_000],
    ];
    for (number, attack) in attacks.into_iter().enumerate() {
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        // The server may close before it has read all: that is an answer too.
        let _ = connection.write_all(&attack).await;
        let _ = connection.shutdown().await;
        let mut answer = Vec::new();
        let _ = within(connection.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "attack {number}: {answer}");
        let message = format!("tras el ataque {number}");
        server.publish("user:1", &message).await;
        assert_eq!(tab.message().await, message);
    }
    server.stop().await;
}

/// Whatever the cursor, the stream opens, and says that it can't go on from there.
#[tokio::test(flavor = "multi_thread")]
async fn any_last_event_id_that_fits_is_answered_with_a_stream() {
    let server = TestServer::start().await;
    let ids: Vec<Vec<u8>> = vec![
        b"garbage".into(),
        b"0".into(),
        b"-1".into(),
        b"18446744073709551616".into(),
        vec![b'A'; 22],
        vec![b'A'; 8 * 1024],
        "ñ\u{1f4a5}".into(),
        vec![0x80, 0xff],
        b"' or 1=1 --".into(),
        b"../../etc/passwd".into(),
    ];
    for id in ids {
        let header = reqwest::header::HeaderValue::from_bytes(&id).unwrap();
        let request = server.anonymous(Method::GET, "/notifications?user_id=1").header("last-event-id", header);
        let mut tab = crate::server::Tab::of(request.send().await.unwrap());
        assert_eq!(tab.expect("hello").await["resumed"], "reset");
        assert_eq!(tab.expect("reset").await["reason"], "unknown");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_two_lengths_is_refused_before_anything_is_published() {
    let server = TestServer::start().await;
    let mut connection = TcpStream::connect(server.address()).await.unwrap();
    let request = format!(
        "POST /v1/users/1/notifications HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n\
         content-length: 4\r\ncontent-length: 6\r\nconnection: close\r\n\r\nHolaHo"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(connection.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let page = server.request(Method::GET, "/?user_id=1").send().await.unwrap().text().await.unwrap();
    assert!(!page.contains("Hola"));
    server.stop().await;
}
