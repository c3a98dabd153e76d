//! The server's own secret: users can read with tokens of a server that was given no key for them.

use std::process::Stdio;

use reqwest::{Client, Method};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::{client, json_of, pregon, run};
use crate::process::{Running, started};
use crate::server::{KEY, Tab, TestServer, within};

/// A server as `pregon serve` starts it, without any option for user tokens.
async fn server() -> TestServer {
    TestServer::start_with(|config| config.open_user_id = false).await
}

/// Status and body of a request for a path.
async fn asked(http: &Client, method: Method, url: &str, credential: &str, body: &Value) -> (u16, Value) {
    let answer = within(http.request(method, url).bearer_auth(credential).json(body).send()).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

async fn token_of(url: &str) -> String {
    let (status, made) =
        asked(&Client::new(), Method::POST, &format!("{url}/v1/tokens"), KEY, &json!({"user_id": "1"})).await;
    assert_eq!(status, 201, "{made}");
    made["token"].as_str().unwrap().to_owned()
}

async fn inbox(url: &str, token: &str) -> (u16, Value) {
    asked(&Client::new(), Method::GET, &format!("{url}/v1/inbox"), token, &Value::Null).await
}

/// Mutant: the secret is made anew with each start.
#[tokio::test(flavor = "multi_thread")]
async fn the_production_line_of_the_readme_serves_users_and_their_tokens_outlive_a_restart() {
    let folder = TempDir::new().unwrap();
    let mut server = Running::start(&folder, &[], Stdio::null()).await;
    assert_eq!(server.publish("hola").await, 201);
    let token = token_of(&server.url).await;
    for (method, path, wanted) in
        [(Method::GET, "/v1/inbox", 200), (Method::POST, "/v1/stream/tickets", 201), (Method::POST, "/v1/session", 200)]
    {
        let answer = asked(&server.http, method, &format!("{}{path}", server.url), &token, &Value::Null).await;
        assert_eq!(answer.0, wanted, "{path}: {}", answer.1);
    }
    server.signal(Signal::KILL);
    server.ended().await;
    let mut server = Running::start(&folder, &[], Stdio::null()).await;
    let (status, page) = inbox(&server.url, &token).await;
    assert_eq!((status, &page["data"][0]["message"]), (200, &json!("hola")), "{page}");
    server.signal(Signal::TERM);
    server.ended().await;
}

/// Mutants: an old secret is refused at once in any case; is accepted in any case; memory keeps what the store has deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_leaves_old_tokens_good_and_one_that_revokes_ends_them_and_their_streams() {
    let server = server().await;
    let old = token_of(&server.url).await;
    let mut tab = Tab::of(within(server.anonymous(Method::GET, "/v1/stream").bearer_auth(&old).send()).await.unwrap());
    tab.expect("hello").await;
    let (code, _, says) = run(client(&server, &["token", "rotate"])).await;
    assert_eq!(code, Some(0), "{says}");
    assert!(says.contains("good until they end"), "{says}");
    let (code, new, says) = run(client(&server, &["token", "create", "1", "--expires-in", "10m"])).await;
    assert_eq!(code, Some(0), "{says}");
    assert!(says.contains("valid until"), "{says}");
    let new = new.trim();
    for token in [old.as_str(), new] {
        assert_eq!(inbox(&server.url, token).await.0, 200);
    }
    server.publish("user:1", "una").await;
    assert_eq!(tab.message().await, "una", "a stream goes on");

    // Neither erasing the user nor taking something back concerns what tokens are signed with.
    let id = server.publish("user:1", "dos").await;
    for path in [format!("/v1/notifications/{id}"), "/v1/users/2".to_owned()] {
        assert_eq!(within(server.request(Method::DELETE, &path).send()).await.unwrap().status(), 204);
    }
    assert_eq!(inbox(&server.url, new).await.0, 200);

    let (code, _, says) = run(client(&server, &["token", "rotate", "--revoke"])).await;
    assert_eq!(code, Some(0), "{says}");
    while tab.event().await.is_some() {}
    let third = token_of(&server.url).await;
    let folder = std::sync::Arc::clone(&server.folder);
    for (token, status) in [(old.as_str(), 401), (new, 401), (third.as_str(), 200)] {
        assert_eq!(inbox(&server.url, token).await.0, status);
    }
    server.stop().await;
    let server = TestServer::start_in(folder, |config| config.open_user_id = false).await;
    for (token, status) in [(old.as_str(), 401), (new, 401), (third.as_str(), 200)] {
        assert_eq!(inbox(&server.url, token).await.0, status, "after a restart");
    }
    server.stop().await;
}

/// Mutant: the own secret signs, or is accepted, also where another one is configured.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_secret_is_configured_it_signs_and_the_own_one_opens_nothing() {
    let server = server().await;
    let own = token_of(&server.url).await;
    let folder = std::sync::Arc::clone(&server.folder);
    server.stop().await;
    let server = TestServer::start_in(folder, |config| {
        config.open_user_id = false;
        config.tokens = Some(crate::server::tokens("a secret of at least thirty-two bytes"));
    })
    .await;
    assert_eq!(inbox(&server.url, &own).await.0, 401);
    assert_eq!(inbox(&server.url, &token_of(&server.url).await).await.0, 200);
    let url = format!("{}/v1/tokens/rotate", server.url);
    let (status, refused) = asked(&Client::new(), Method::POST, &url, KEY, &Value::Null).await;
    assert_eq!((status, &refused["code"]), (409, &json!("secret_configured")));
    server.stop().await;
}

/// A store that was made before there were secrets, and one whose secret is damaged.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_a_secret_that_can_be_read_gets_one_at_the_start() {
    for damage in ["DELETE FROM token_secret", "UPDATE token_secret SET secret = zeroblob(32)"] {
        let server = server().await;
        let token = token_of(&server.url).await;
        let folder = std::sync::Arc::clone(&server.folder);
        server.stop().await;
        let connection = rusqlite::Connection::open(folder.path().join("pregon.db")).unwrap();
        assert_eq!(connection.execute(damage, []).unwrap(), 1, "{damage}");
        drop(connection);
        let server = TestServer::start_in(folder, |config| config.open_user_id = false).await;
        assert_eq!(inbox(&server.url, &token).await.0, 401, "{damage}");
        assert_eq!(inbox(&server.url, &token_of(&server.url).await).await.0, 200, "{damage}");
        server.stop().await;
    }
}

/// Mutant: a key for each run.
#[tokio::test(flavor = "multi_thread")]
async fn dev_has_one_server_key_for_each_folder_of_data() {
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let key_in = async |folder: &TempDir| {
        let mut command = pregon(&["dev", "--listen", "127.0.0.1:0", "--data-dir"]);
        let (mut child, ready) = started(command.arg(folder.path())).await;
        child.kill().await.unwrap();
        ready["server_key"].as_str().unwrap().to_owned()
    };
    let key = key_in(&folder).await;
    assert_eq!(key_in(&folder).await, key);
    assert_ne!(key_in(&other).await, key);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &folder.path().join("dev-server-key").metadata().unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "only its user may read it");
    std::fs::write(folder.path().join("dev-server-key"), "short").unwrap();
    let mut command = pregon(&["dev", "--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(folder.path());
    let (code, _, says) = run(command).await;
    assert_eq!(code, Some(1), "{says}");
    assert!(says.contains("dev-server-key holds no server key; delete it"), "{says}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_printed_alone_or_as_json() {
    let server = server().await;
    let (code, printed, says) = run(client(&server, &["token", "create", "1", "--topic", "t", "--json"])).await;
    assert_eq!(code, Some(0), "{says}");
    let made = json_of(&printed);
    assert_eq!(made["user_id"], "1");
    assert_eq!(inbox(&server.url, made["token"].as_str().unwrap()).await.0, 200);
    server.stop().await;
}
