//! Publishing and membership: what is acknowledged is what arrives.

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{KEY, TestServer};

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_publish_reaches_whom_it_should() {
    let server = TestServer::start().await;
    let joined = server.request(Method::PUT, "/v1/topics/obras/subscribers/1").send().await.unwrap();
    assert_eq!(joined.status(), 201);
    let mut one = server.tab("1").await;
    let mut two = server.tab("2").await;
    one.expect("hello").await;
    two.expect("hello").await;

    let post = |path, body| {
        let request = server.request(Method::POST, path);
        async move { request.json(&body).send().await.unwrap() }
    };
    let response = post("/v1/notifications", json!({"to": "user:1", "message": "a"})).await;
    assert_eq!(response.status(), 201);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let published: Value = response.json().await.unwrap();
    assert_eq!(location, format!("/v1/notifications/{}", published["id"].as_str().unwrap()));
    assert_eq!(published["to"], "user:1");
    let received = one.expect("message").await;
    assert_eq!((&received["id"], &received["timestamp"]), (&published["id"], &published["timestamp"]));
    let found: Value = server.request(Method::GET, &location).send().await.unwrap().json().await.unwrap();
    for (name, value) in received.as_object().unwrap() {
        assert_eq!(found[name], *value);
    }
    assert_eq!((&found["to"], &found["status"]), (&published["to"], &json!("published")));

    let to_both = json!({"to": ["user:1", "user:2", "user:1"], "message": "b"});
    let published: Value = post("/v1/notifications", to_both).await.json().await.unwrap();
    assert_eq!(published["to"], json!(["user:1", "user:2"]));
    let merged_lists = [vec!["user:3"; 1500], vec!["user:4"]].concat();
    let published: Value =
        post("/v1/notifications", json!({"to": merged_lists, "message": "x"})).await.json().await.unwrap();
    assert_eq!(published["to"], json!(["user:3", "user:4"]), "repeats hide nobody");
    assert_eq!(post("/v1/users/1/notifications", json!({"message": "c"})).await.status(), 201);
    assert_eq!(post("/v1/topics/obras/notifications", json!({"message": "d"})).await.status(), 201);
    assert_eq!(post("/v1/broadcast", json!({"message": "e"})).await.status(), 201);
    for message in ["b", "c", "d", "e"] {
        assert_eq!(one.message().await, message);
    }
    for message in ["b", "e"] {
        assert_eq!(two.message().await, message);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_and_headers_make_a_notification() {
    let server = TestServer::start().await;
    let mut tab = server.tab("ñandú").await;
    tab.expect("hello").await;
    let response = server
        .request(Method::POST, "/v1/users/%C3%B1and%C3%BA/notifications")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("title", "Pedido".as_bytes())
        .header("url", "/pedidos/7")
        .header("severity", "success")
        .body("Tu pedido ha salido 🚚\ncon dos líneas")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201, "curl -d says that it sends a form");
    let mut received = tab.expect("message").await;
    let fields = received.as_object_mut().unwrap();
    fields.retain(|name, _| name != "id" && name != "timestamp");
    assert_eq!(
        received,
        json!({"message": "Tu pedido ha salido 🚚\ncon dos líneas", "title": "Pedido", "severity": "success", "url": "/pedidos/7"})
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_comes_back_as_it_was() {
    let server = TestServer::start().await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    let sent = json!({
        "message": "línea\r\ndata: otra\n\nid: x\u{2028}\u{feff} \"'<script>",
        "title": "título",
        "severity": "warning",
        "category": "facturas",
        "url": "https://a.example/x?y=1#z",
        "icon": "/icono.png",
        "actor": {"name": "Ana \u{1f469}", "avatar_url": "https://a.example/ana.png"},
        "actions": [{"id": "ver", "label": "Ver «todo»", "url": "/pedidos", "style": "primary"}],
        "silent": true,
        "data": {"z": 1, "a": [1.5, null, true, {"\n": "\r"}], "grande": 9_007_199_254_740_993_u64}
    });
    let response = server.request(Method::POST, "/v1/users/1/notifications").json(&sent).send().await.unwrap();
    assert_eq!(response.status(), 201);
    let mut received = tab.expect("message").await;
    received.as_object_mut().unwrap().retain(|name, _| name != "id" && name != "timestamp");
    assert_eq!(received, sent);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn membership_holds_from_joining_to_leaving_also_on_an_open_stream() {
    let server = TestServer::start().await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    let member = |method| server.request(method, "/v1/topics/obras/subscribers/1").send();
    server.publish("topic:obras", "antes").await;
    assert_eq!(member(Method::PUT).await.unwrap().status(), 201);
    assert_eq!(member(Method::PUT).await.unwrap().status(), 204, "again: nothing changes");
    server.publish("topic:obras", "dentro").await;
    let list: Value =
        server.request(Method::GET, "/v1/topics/obras/subscribers").send().await.unwrap().json().await.unwrap();
    assert_eq!(list, json!({"data": ["1"], "next_cursor": null}));
    assert_eq!(member(Method::DELETE).await.unwrap().status(), 204);
    assert_eq!(member(Method::DELETE).await.unwrap().status(), 204, "again: nothing changes");
    server.publish("topic:obras", "fuera").await;
    server.publish("user:1", "fin").await;
    assert_eq!(tab.message().await, "dentro");
    assert_eq!(tab.message().await, "fin");
    let mut later = server.tab_at("/notifications?user_id=1&since=earliest", None).await;
    later.expect("hello").await;
    assert_eq!(later.message().await, "dentro");
    assert_eq!(later.message().await, "fin");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_known_key_nothing_is_published_and_the_answer_says_why() {
    let server = TestServer::start_with(|config| config.open_user_id = false).await;
    let attempts = [
        (None, "credential_missing", "Bearer"),
        (Some("Basic dTpw".to_owned()), "credential_malformed", "Bearer error=\"invalid_request\""),
        (Some(format!("Bearer {KEY}x")), "credential_unknown", "Bearer error=\"invalid_token\""),
    ];
    let paths = [
        (Method::POST, "/v1/notifications"),
        (Method::POST, "/v1/users/1/notifications"),
        (Method::POST, "/v1/topics/t/notifications"),
        (Method::POST, "/v1/broadcast"),
        (Method::GET, "/v1/notifications/01a20cb5-116e-716b-aa33-fad3da96c4bc"),
        (Method::PUT, "/v1/topics/t/subscribers/1"),
        (Method::DELETE, "/v1/topics/t/subscribers/1"),
        (Method::GET, "/v1/topics/t/subscribers"),
        (Method::GET, "/notifications?user_id=1"),
        (Method::GET, "/v1/stream?user_id=1"),
        (Method::GET, "/?user_id=1"),
    ];
    for (method, path) in paths {
        for (header, code, challenge) in &attempts {
            let mut request = server.anonymous(method.clone(), path).body(r#"{"to":"everyone","message":"x"}"#);
            if let Some(header) = header {
                request = request.header("authorization", header);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 401, "{method} {path}");
            assert_eq!(response.headers()["www-authenticate"], challenge);
            let problem: Value = response.json().await.unwrap();
            assert_eq!((problem["code"].as_str(), problem["status"].as_u64()), (Some(*code), Some(401)));
            assert!(!problem.to_string().contains(KEY));
        }
    }
    let page = server.request(Method::GET, "/?user_id=1").send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Notificaciones en Tiempo Real"), "the key reads as any user");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_what_is_unsafe() {
    let server = TestServer::start().await;
    let ready = server.anonymous(Method::GET, "/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 200);
    let ready: Value = ready.json().await.unwrap();
    assert_eq!(ready, json!({"status": "ready", "unsafe": ["open-user-id"]}));
    assert_eq!(server.anonymous(Method::GET, "/healthz").send().await.unwrap().status(), 200);
    server.stop().await;
}
