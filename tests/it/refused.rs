//! A person whom a browser leads to a page that is not shown to her gets a page that says why.

use pregon::auth::tokens::{TokenAlgorithm, TokenKey, TokenRules};
use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{TestServer, within};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// Mutants: the problem as it stands; a page for whoever does not ask for one.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_a_session_gets_a_page_in_its_language_and_a_program_the_problem() {
    let server = TestServer::start_with(|config| config.open_user_id = false).await;
    let get = |path: &str, accept: &str, language: &str| {
        let request = server.anonymous(Method::GET, path).header("accept", accept);
        within(request.header("accept-language", language).send())
    };
    for (path, language, said) in [
        ("/", "es-ES", "Entra para ver tus notificaciones"),
        ("/?user_id=1", "en", "Sign in to see your notifications"),
        ("/?user_id=1&lang=es", "en", "Entra para ver tus notificaciones"),
        ("/?access_token=a.b.c", "en", "This page cannot be shown"),
        ("/?user_id=1", "fr", "Entra para ver tus notificaciones"),
    ] {
        let answer = get(path, BROWSER, language).await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("content-language", if said.starts_with("Entra") { "es" } else { "en" }),
        ] {
            assert_eq!(answer.headers()[name], value, "{path}");
        }
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
        assert!(answer.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
        assert!(answer.headers()["vary"].to_str().unwrap().contains("Accept,"));
        let html = answer.text().await.unwrap();
        assert!(html.contains(&format!("<h1>{said}</h1>")), "{path}: {html}");
        assert!(!html.contains("name=\"user_id\"") && !html.contains("<script"), "{path}: {html}");
    }
    for accept in ["*/*", "application/json", "text/html;q=0, */*"] {
        let answer = get("/?user_id=1", accept, "en").await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "credential_missing", "{accept}");
    }
    // What is wrong is text wherever it is shown.
    let wrong = get("/?user_id=%3Cb%3E%20x&access_token=x", BROWSER, "en").await.unwrap().text().await.unwrap();
    assert!(!wrong.contains("<b>"), "{wrong}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_with_a_session_that_has_ended_is_told_so() {
    let key = TokenKey::given(TokenAlgorithm::HS256, "a secret of at least thirty-two bytes").unwrap();
    let server = TestServer::start_with(|config| {
        config.open_user_id = false;
        config.tokens = Some(TokenRules::of(key));
    })
    .await;
    let made = server.request(Method::POST, "/v1/tokens").json(&json!({"user_id": "1"})).send();
    let made: Value = within(made).await.unwrap().json().await.unwrap();
    let cookie = format!("pregon={}", made["token"].as_str().unwrap());
    let revoked = server.request(Method::DELETE, "/v1/users/1/tokens").send();
    assert_eq!(within(revoked).await.unwrap().status(), 204);
    for method in [Method::GET, Method::POST] {
        let request = server.anonymous(method, "/?lang=en").header("cookie", &cookie).header("accept", BROWSER);
        let answer = within(request.header("sec-fetch-site", "same-origin").body("id=x").send()).await.unwrap();
        assert_eq!(answer.status(), 401);
        assert!(answer.text().await.unwrap().contains("<h1>Your session has ended</h1>"));
    }
    server.stop().await;
}
