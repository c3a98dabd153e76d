//! Where a request ends, and what the next one on its connection may rely on: bodies that are left unread, heads that say
//! two things, and the budget of bytes that the bodies of all requests have.

use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::{KEY, TestServer, within};

fn head(path: &str, headers: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n{headers}\r\n")
}

/// Sends bytes, and gives all that is answered until the server closes.
async fn answered(server: &TestServer, bytes: &[u8]) -> String {
    let mut connection = TcpStream::connect(server.address()).await.unwrap();
    connection.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    within(connection.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// The status, and the code of the problem.
fn problem(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.contains("content-type: application/problem+json"), "{answer}");
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    (head[9..12].parse().unwrap(), problem["code"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_leaves_a_body_unread_says_that_the_connection_ends() {
    let server = TestServer::start().await;
    let (json, part) = ("Content-Type: application/json\r\n", "x".repeat(1000));
    for (path, headers, status) in [
        ("/v1/notifications", json, 413),
        ("/v1/notifications/batch", json, 413),
        ("/v1/notifications/batch", "Content-Type: text/plain\r\n", 415),
        ("/nada", json, 404),
        ("/v1/keys/1", json, 405),
    ] {
        for length in ["Content-Length: 5000000\r\n", "Transfer-Encoding: chunked\r\n"] {
            let is_chunked = length.starts_with('T');
            if is_chunked && status == 413 {
                continue;
            }
            let begun = if is_chunked { "4c4b40\r\n" } else { "" };
            let request = head(path, &format!("{headers}{length}")) + begun + &part;
            let answer = answered(&server, request.as_bytes()).await;
            assert_eq!(problem(&answer).0, status, "{path}");
            assert!(answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{path}: {answer}");
        }
    }
    // What is here already is read, and the connection goes on.
    let refused = head("/v1/notifications", "Content-Length: 4\r\n") + "hola";
    let next = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = answered(&server, format!("{refused}{next}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 415") && answer.contains("HTTP/1.1 200"), "{answer}");
    server.stop().await;
}

/// Mutant: a body that can't be read passes for one that was read to its end.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_malformed_chunk_says_that_the_connection_ends() {
    let server = TestServer::start().await;
    for path in ["/v1/notifications", "/v1/notifications/batch"] {
        for chunk in ["zz\r\n", "-1\r\nx", "\r\n", "1\r\nxyz\r\n", "ffffffffffffffffff\r\nx"] {
            let chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
            let answer = answered(&server, (head(path, chunked) + chunk).as_bytes()).await;
            assert_eq!(problem(&answer), (400, "malformed_body".to_owned()), "{path}, {chunk:?}");
            assert!(answer.contains("\r\nconnection: close\r\n"), "{path}, {chunk:?}: {answer}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_can_not_be_read_is_answered_with_a_problem_too() {
    let server = TestServer::start().await;
    let large = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(20_000));
    for (head, status) in [("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400), (&large, 431)] {
        let answer = answered(&server, head.as_bytes()).await;
        assert_eq!(problem(&answer), (status, "unreadable_head".to_owned()));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    }
    server.stop().await;
}

/// Mutant: an item may be as large as the batch.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_of_a_batch_may_be_as_large_as_a_body_and_is_parsed_alone() {
    let server = TestServer::start().await;
    let good = r#"{"to": "user:1", "message": "hola"}"#;
    let large = format!(r#"{{"to": "user:1", "message": "x", "data": [{}0]}}"#, "0,".repeat(40_000));
    let batch = format!(r#"[{good}, {large}, {{"to": "user:1", "message": "\ud800"}}, 7, {good}]"#);
    let request = server.request(Method::POST, "/v1/notifications/batch").header("content-type", "application/json");
    let answer: Value = request.body(batch).send().await.unwrap().json().await.unwrap();
    let codes: Vec<&str> =
        answer["data"].as_array().unwrap().iter().map(|item| item["error"]["code"].as_str().unwrap_or("")).collect();
    assert_eq!(codes, ["", "body_too_large", "malformed_json", "malformed_json", ""], "{answer}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_says_two_things_is_refused() {
    let server = TestServer::start().await;
    let publish = |headers: &str, body: &str| {
        head("/v1/broadcast", &format!("Content-Type: text/plain\r\nConnection: close\r\n{headers}")) + body
    };
    let chunks = "4\r\nhola\r\n0\r\n\r\n";
    for (request, wanted) in [
        (publish("Host: other.example\r\nContent-Length: 4\r\n", "hola"), (400, "invalid_header")),
        (publish("", "").replace("localhost", "a b"), (400, "invalid_header")),
        (publish("", "").replace("localhost", "user@localhost"), (400, "invalid_header")),
        (publish("Transfer-Encoding: gzip, chunked\r\n", chunks), (501, "transfer_coding")),
        (publish("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", chunks), (501, "transfer_coding")),
        (publish("Transfer-Encoding: chunked\r\n", "zz\r\nhola\r\n0\r\n\r\n"), (400, "malformed_body")),
        (publish("Transfer-Encoding: chunked\r\n", "4\r\nholaX\r\n0\r\n\r\n"), (400, "malformed_body")),
    ] {
        let answer = answered(&server, request.as_bytes()).await;
        let (status, code) = problem(&answer);
        assert_eq!((status, code.as_str()), wanted, "{request}");
    }
    let answer = answered(&server, publish("Transfer-Encoding: Chunked\r\n", chunks).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    server.stop().await;
}

/// RFC 9112, 3.2: a server must refuse it, so that nobody asks for one host and is served by another.
/// Mutant: HTTP/1.1 may leave the header out.
#[tokio::test(flavor = "multi_thread")]
async fn http_1_1_must_name_its_host_once_and_http_1_0_need_not() {
    let server = TestServer::start().await;
    for (head, status) in [
        ("GET /v1/inbox?user_id=1 HTTP/1.1\r\n", 400),
        ("GET http://localhost/v1/inbox?user_id=1 HTTP/1.1\r\n", 400),
        ("GET http://localhost/v1/inbox?user_id=1 HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", 400),
        ("GET http://localhost/v1/inbox?user_id=1 HTTP/1.1\r\nHost: localhost\r\n", 200),
        ("GET /v1/inbox?user_id=1 HTTP/1.1\r\nHost: localhost\r\n", 200),
        ("GET /v1/inbox?user_id=1 HTTP/1.0\r\nHost: localhost\r\n", 200),
        ("GET /v1/inbox?user_id=1 HTTP/1.0\r\nHost: localhost\r\nHost: localhost\r\n", 400),
    ] {
        let answer = answered(&server, format!("{head}Connection: close\r\n\r\n").as_bytes()).await;
        assert_eq!(answer.get(9..12), Some(status.to_string().as_str()), "{head}: {answer}");
        if status == 400 {
            assert_eq!(problem(&answer), (400, "invalid_header".to_owned()));
        }
    }
    server.stop().await;
    let by_any_name = TestServer::start_with(|config| config.open_user_id = false).await;
    let answer = answered(&by_any_name, b"GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    by_any_name.stop().await;
}

/// Mutant: bytes of bodies are not counted.
#[tokio::test(flavor = "multi_thread")]
async fn the_bodies_of_all_requests_share_a_budget_and_give_it_back() {
    let server = TestServer::start_with(|config| config.limits.bodies_bytes_max = 1000).await;
    let publish = |bytes: usize| {
        let headers = format!("Content-Type: text/plain\r\nConnection: close\r\nContent-Length: {bytes}\r\n");
        head("/v1/broadcast", &headers) + &"x".repeat(bytes)
    };
    let refused = answered(&server, publish(1001).as_bytes()).await;
    assert_eq!(problem(&refused), (503, "busy".to_owned()));
    assert!(refused.contains("retry-after: "), "{refused}");
    assert!(answered(&server, publish(1000).as_bytes()).await.starts_with("HTTP/1.1 201"));
    // One that is not whole counts by what has come of it.
    let mut unfinished = TcpStream::connect(server.address()).await.unwrap();
    let begun = head("/v1/broadcast", "Content-Type: text/plain\r\nContent-Length: 602\r\n") + &"x".repeat(601);
    unfinished.write_all(begun.as_bytes()).await.unwrap();
    let held = async {
        loop {
            let metrics = server.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
            if metrics.contains("\npregon_request_body_bytes 601\n") {
                return;
            }
        }
    };
    within(held).await;
    assert_eq!(problem(&answered(&server, publish(400).as_bytes()).await), (503, "busy".to_owned()));
    assert!(answered(&server, publish(399).as_bytes()).await.starts_with("HTTP/1.1 201"));
    unfinished.write_all(b"x").await.unwrap();
    let mut answer = [0; 12];
    within(unfinished.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 201");
    assert!(answered(&server, publish(1000).as_bytes()).await.starts_with("HTTP/1.1 201"));
    server.stop().await;
}
