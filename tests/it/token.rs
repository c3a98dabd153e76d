//! User tokens: whose stream it is, and until when.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{Tab, TestServer, tokens, within};

const SECRET: &str = "a secret of at least thirty-two bytes";

fn token(user: &str, seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"sub": user, "exp": now + seconds});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

async fn server() -> TestServer {
    TestServer::start_with(|config| {
        config.open_user_id = false;
        config.tokens = Some(tokens(SECRET));
    })
    .await
}

async fn refusal(server: &TestServer, method: Method, path: &str, token: &str) -> (u16, String) {
    let response = within(server.anonymous(method, path).bearer_auth(token).body("hola").send()).await.unwrap();
    let status = response.status().as_u16();
    let problem: Value = response.json().await.unwrap();
    (status, problem["code"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_stream_of_its_user_and_of_nobody_else() {
    let server = server().await;
    let hers = token("1", 60);
    let by_header = server.anonymous(Method::GET, "/v1/stream").bearer_auth(&hers).send();
    let mut tabs = [
        Tab::of(within(by_header).await.unwrap()),
        server.tab_at(&format!("/notifications?access_token={hers}"), None).await,
        server.tab_at(&format!("/notifications?user_id=1&access_token={hers}"), None).await,
    ];
    for tab in &mut tabs {
        tab.expect("hello").await;
    }
    server.publish("user:2", "de otra").await;
    server.publish("user:1", "hola").await;
    for tab in &mut tabs {
        assert_eq!(tab.message().await, "hola");
    }
    let says = |method, path, token| refusal(&server, method, path, token);
    let forbidden = (403, "forbidden".to_owned());
    assert_eq!(says(Method::GET, "/v1/stream?user_id=2", &hers).await, forbidden);
    assert_eq!(says(Method::POST, "/v1/users/1/notifications", &hers).await, forbidden);
    assert_eq!(says(Method::GET, "/v1/stream", "a.b.c").await, (401, "token_invalid".into()));
    let changed = format!("{}x", &hers[..hers.len() - 1]);
    assert_eq!(says(Method::GET, "/v1/stream", &changed).await, (401, "token_invalid".into()));
    server.stop().await;
}

/// Nobody may go on reading with a right that is over. That the client comes back and is told so is the next request.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_token() {
    let server = server().await;
    let soon = token("1", 3);
    let mut tab = server.tab_at(&format!("/v1/stream?access_token={soon}"), None).await;
    tab.expect("hello").await;
    let expires_at = tab.expect("token_expiring").await["expires_at"].as_str().unwrap().parse::<jiff::Timestamp>();
    let left = expires_at.unwrap().as_second() - jiff::Timestamp::now().as_second();
    assert!((0..=3).contains(&left), "{left}");
    assert!(tab.event().await.is_none(), "it ends by itself");
    assert!(!tab.cut, "in good order");
    let again = async {
        loop {
            let response = server.anonymous(Method::GET, "/v1/stream").bearer_auth(&soon).send().await.unwrap();
            // A token is good for all of its last second.
            if response.status() == 401 {
                return response.json::<Value>().await.unwrap();
            }
        }
    };
    assert_eq!(within(again).await["code"], "token_expired");
    server.stop().await;
}
