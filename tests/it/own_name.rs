//! Names: where whoever is on this machine needs no credential, the server answers to the names of this machine only.

use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::openapi::routed;
use crate::server::{TestServer, within};

async fn server(open_user_id: bool) -> TestServer {
    let server = TestServer::start_with(|config| {
        config.open_user_id = open_user_id;
        config.public_url = Some("https://notify.example:8443".parse().unwrap());
    })
    .await;
    server.publish("user:1", "secreto").await;
    server
}

/// A page of evil.example lets that name lead to this machine, and asks for what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_made_to_lead_here_opens_nothing() {
    let server = server(true).await;
    for (method, path) in routed() {
        let path = path.replace("{user}", "1").replace("{topic}", "t").replace(['{', '}', '*'], "");
        let method: Method = method.to_uppercase().parse().unwrap();
        for host in ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"] {
            let request = server.anonymous(method.clone(), &format!("{path}?user_id=1")).header("host", host);
            let response = within(request.send()).await.unwrap();
            assert_eq!(response.status(), 421, "{method} {path} {host}");
            let problem: Value = response.json().await.unwrap();
            assert_eq!(problem["code"], "misdirected");
            assert!(!problem.to_string().contains("secreto"));
        }
    }
    let at = |host: &str| server.anonymous(Method::GET, "/v1/inbox?user_id=1").header("host", host).send();
    for host in ["localhost", "LOCALHOST:9000", "127.0.0.1", "[::1]:8000", "notify.example", "notify.example:8443"] {
        assert_eq!(at(host).await.unwrap().status(), 200, "{host}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_what_the_first_line_says_or_else_the_host() {
    let server = server(true).await;
    for (head, status) in [
        ("GET http://evil.example/notifications?user_id=1 HTTP/1.1\r\nhost: localhost\r\n", "421"),
        ("GET http://localhost/v1/inbox?user_id=1 HTTP/1.1\r\nhost: evil.example\r\n", "200"),
        ("GET /notifications?user_id=1 HTTP/1.0\r\n", "421"),
    ] {
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        connection.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(connection.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{head}: {answer}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_credential_is_wanted_the_name_does_not_matter() {
    let server = server(false).await;
    let asked = |request: reqwest::RequestBuilder| request.header("host", "whatever.example").send();
    let with_key = asked(server.request(Method::GET, "/v1/inbox?user_id=1")).await.unwrap();
    assert_eq!(with_key.status(), 200);
    let without = asked(server.anonymous(Method::GET, "/v1/inbox?user_id=1")).await.unwrap();
    assert_eq!(without.status(), 401);
    server.stop().await;
}
