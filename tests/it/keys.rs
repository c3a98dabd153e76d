//! Server keys: made, listed and revoked, and what each may do; at every operation of the API.

use std::sync::Arc;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::cli::{client, json_of, run};
use crate::server::{TestServer, within};

/// Status and body of an answer.
async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = within(request.send()).await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

impl TestServer {
    /// Makes a key with these scopes; gives it, and its id.
    async fn key(&self, scopes: &[&str]) -> (String, String) {
        self.key_of("una", scopes).await
    }

    /// The same of that name.
    async fn key_of(&self, name: &str, scopes: &[&str]) -> (String, String) {
        let wanted = json!({"name": name, "scopes": scopes});
        let (status, made) = answer(self.request(Method::POST, "/v1/keys").json(&wanted)).await;
        assert_eq!(status, 201, "{made}");
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("key"), text("id"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_and_accepted_until_it_is_revoked() {
    let server = TestServer::start().await;
    let wanted = json!({"name": "tienda nº 1", "scopes": ["admin"], "expires_in": "90d"});
    let (status, made) = answer(server.request(Method::POST, "/v1/keys").json(&wanted)).await;
    assert_eq!(status, 201, "{made}");
    let key = made["key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("pregon_sk_") && key.ends_with(made["hint"].as_str().unwrap()), "{made}");
    let (publisher, _) = server.key(&["publish:user:1", "publish:topic:pedidos"]).await;
    let list = |key: &str| answer(server.anonymous(Method::GET, "/v1/keys").bearer_auth(key));
    let (_, listed) = list(&key).await;
    let mut shown = made.clone();
    shown.as_object_mut().unwrap().shift_remove("key");
    assert_eq!(listed["data"][0], shown);
    assert_eq!(listed["data"][1]["scopes"], json!(["publish:user:1", "publish:topic:pedidos"]));
    assert_eq!(listed["data"][1]["expires_at"], Value::Null);
    assert!(!listed.to_string().contains(&key[10..]), "never again: {listed}");

    // A store that has an admin's key needs no other one.
    let folder = Arc::clone(&server.folder);
    let file = std::fs::read(folder.path().join("pregon.db-wal")).unwrap();
    assert!(!file.windows(key.len()).any(|part| part == key.as_bytes()), "not on the disk either");
    server.stop().await;
    let server = TestServer::start_in(folder, |config| config.server_key = None).await;
    let publish = |path: &str| {
        let request = server.anonymous(Method::POST, path).bearer_auth(&publisher);
        answer(request.json(&json!({"message": "hola"})))
    };
    assert_eq!(publish("/v1/users/1/notifications").await.0, 201, "a key is accepted after a restart");
    assert_eq!(answer(server.request(Method::GET, "/v1/keys")).await.0, 401, "this one was never in the store");
    let revoke = |id: &str| answer(server.anonymous(Method::DELETE, &format!("/v1/keys/{id}")).bearer_auth(&key));
    let id = listed["data"][1]["id"].as_str().unwrap();
    assert_eq!(revoke(id).await.0, 204);
    let (status, refused) = publish("/v1/users/1/notifications").await;
    assert_eq!((status, &refused["code"]), (401, &json!("credential_unknown")));
    assert_eq!(revoke(id).await.0, 404);
    // Without it nobody could make another one.
    let (status, refused) = revoke(made["id"].as_str().unwrap()).await;
    assert_eq!((status, &refused["code"]), (409, &json!("last_admin_key")));
    let listed = server.anonymous(Method::GET, "/v1/keys").bearer_auth(&key);
    assert_eq!(answer(listed).await.0, 200, "it is still accepted");
    server.stop().await;
}

/// Mutant: the answer to a request is given to whoever sends the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_key_was_answered_is_not_told_to_another() {
    let server = TestServer::start().await;
    let (one, _) = server.key_of("tienda", &["publish:user:*"]).await;
    let (other, _) = server.key_of("taller", &["publish:topic:*"]).await;
    for path in ["/v1/notifications", "/v1/notifications/batch"] {
        let item = json!({"message": "hola", "to": "user:1"});
        let body = if path.ends_with("batch") { json!([item]) } else { item };
        let publish = |key: &str| {
            let request = server.anonymous(Method::POST, path).bearer_auth(key).header("idempotency-key", path);
            answer(request.json(&body))
        };
        let first = publish(&one).await;
        assert!(matches!(first.0, 200 | 201), "{}", first.1);
        assert_eq!(publish(&one).await.1, first.1, "the same key is told again");
        // To the other back end it is a request like any: judged by what its key gives a right to.
        let (_, refused) = publish(&other).await;
        let refused = if refused["data"].is_null() { &refused } else { &refused["data"][0]["error"] };
        assert_eq!(refused["code"], "scope_missing", "{refused}");
    }
    server.stop().await;
}

/// Mutant: a key that is replaced takes its requests with it.
#[tokio::test(flavor = "multi_thread")]
async fn the_requests_of_a_back_end_are_its_own_and_stay_when_its_key_is_replaced() {
    let mut server = TestServer::start().await;
    let scopes = &["publish:user:*"];
    let (old, id) = server.key_of("tienda", scopes).await;
    let (of_another, _) = server.key_of("taller", scopes).await;
    let publish = async |server: &TestServer, key: &str, message: &str| {
        let request = server.anonymous(Method::POST, "/v1/users/1/notifications").bearer_auth(key);
        answer(request.header("idempotency-key", "pedido-1042").json(&json!({"message": message}))).await
    };
    let (status, first) = publish(&server, &old, "Ha salido").await;
    assert_eq!(status, 201, "{first}");
    let (status, others) = publish(&server, &of_another, "Otra cosa").await;
    assert_eq!(status, 201, "no back end keeps another from a key: {others}");
    assert_ne!(others["id"], first["id"]);

    // Replaced as it is done: the new one is made, then the old one revoked; also over a restart.
    let (new, _) = server.key_of("tienda", scopes).await;
    let revoked = answer(server.request(Method::DELETE, &format!("/v1/keys/{id}"))).await;
    assert_eq!(revoked.0, 204);
    for _ in 0..2 {
        assert_eq!(publish(&server, &new, "Ha salido").await, (201, first.clone()), "the answer of the first time");
        let (status, refused) = publish(&server, &new, "Algo más").await;
        assert_eq!((status, &refused["code"]), (409, &json!("idempotency_key_reused")));
        let folder = Arc::clone(&server.folder);
        server.stop().await;
        server = TestServer::start_in(folder, |_| {}).await;
    }
    let (_, counts) = answer(server.request(Method::GET, "/v1/users/1/counts")).await;
    assert_eq!(counts["total"], 2);

    // The key that the server is started with has no name, and its own requests, also when it is another one.
    let given = async |server: &TestServer, key: &str| publish(server, key, "De casa").await;
    let (status, own) = given(&server, crate::server::KEY).await;
    assert_eq!(status, 201, "{own}");
    let folder = Arc::clone(&server.folder);
    server.stop().await;
    let other_key = pregon::auth::ServerKey::given("another-key-for-the-tests");
    let server = TestServer::start_in(folder, |config| config.server_key = other_key).await;
    assert_eq!(given(&server, "another-key-for-the-tests").await, (201, own));
    server.stop().await;
}

/// What an operation that takes a server key asks of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asks {
    Nothing,
    Publish,
    PublishOrManage,
    Manage,
    Admin,
}

/// Every operation that takes a server key, as the document names it.
const OPERATIONS: [(&str, Asks); 33] = [
    ("post /v1/notifications", Asks::Publish),
    ("post /v1/notifications/batch", Asks::Publish),
    ("post /v1/users/{user}/notifications", Asks::Publish),
    ("post /v1/topics/{topic}/notifications", Asks::Publish),
    ("post /v1/broadcast", Asks::Publish),
    ("get /v1/notifications/{id}", Asks::Manage),
    ("patch /v1/notifications/{id}", Asks::PublishOrManage),
    ("delete /v1/notifications/{id}", Asks::PublishOrManage),
    ("get /v1/topics/{topic}/subscribers", Asks::Manage),
    ("put /v1/topics/{topic}/subscribers/{user}", Asks::Manage),
    ("delete /v1/topics/{topic}/subscribers/{user}", Asks::Manage),
    ("post /v1/keys", Asks::Admin),
    ("get /v1/keys", Asks::Admin),
    ("delete /v1/keys/{id}", Asks::Admin),
    ("post /v1/tokens", Asks::Manage),
    ("post /v1/tokens/rotate", Asks::Admin),
    ("delete /v1/users/{user}", Asks::Manage),
    ("delete /v1/users/{user}/tokens", Asks::Manage),
    ("get /v1/users/{user}/inbox", Asks::Manage),
    ("get /v1/users/{user}/counts", Asks::Manage),
    ("get /v1/users/{user}/connections", Asks::Manage),
    ("get /v1/inbox", Asks::Manage),
    ("get /v1/inbox/counts", Asks::Manage),
    ("get /v1/inbox/{id}", Asks::Manage),
    ("patch /v1/inbox/{id}", Asks::Manage),
    ("post /v1/inbox/read-all", Asks::Manage),
    ("post /v1/inbox/seen", Asks::Manage),
    ("post /v1/inbox/bulk", Asks::Manage),
    ("get /v1/inbox/preferences", Asks::Manage),
    ("put /v1/inbox/preferences", Asks::Manage),
    ("post /v1/stream/tickets", Asks::Manage),
    ("get /v1/stream", Asks::Manage),
    ("get /notifications", Asks::Manage),
];

/// Every operation of the document that takes a server key.
async fn operations(server: &TestServer) -> Vec<String> {
    let (_, document) = answer(server.anonymous(Method::GET, "/openapi.json")).await;
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let security = operation["security"].as_array().cloned().unwrap_or_default();
            if security.iter().any(|credential| credential.get("server_key").is_some()) {
                found.push(format!("{method} {path}"));
            }
        }
    }
    found
}

/// Mutant: what takes any key asks for none of its scopes.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_asks_for_its_scope() {
    let server = TestServer::start_with(|config| config.open_user_id = false).await;
    let known = OPERATIONS.into_iter().chain([("get /metrics", Asks::Nothing)]);
    let known: Vec<(&str, Asks)> = known.collect();
    let publishing = ["publish:user:*", "publish:topic:*", "publish:everyone"];
    let keys = [
        (server.key(&["publish:topic:nada"]).await.0, &[][..]),
        (server.key(&publishing).await.0, &[Asks::Publish, Asks::PublishOrManage]),
        (server.key(&["manage"]).await.0, &[Asks::Manage, Asks::PublishOrManage]),
        (server.key(&["admin"]).await.0, &[Asks::Publish, Asks::PublishOrManage, Asks::Manage, Asks::Admin]),
    ];
    let operations = operations(&server).await;
    assert_eq!(operations.len(), known.len(), "{operations:?}");
    for operation in operations {
        let asks = known.iter().find(|(name, _)| *name == operation);
        let asks = asks.unwrap_or_else(|| panic!("{operation} is new: what does it ask of a key?")).1;
        let (method, path) = operation.split_once(' ').unwrap();
        for (number, (key, gives)) in keys.iter().enumerate() {
            let id = server.publish("everyone", "x").await;
            let path = path.replace("{user}", "1").replace("{topic}", "t").replace("{id}", &id);
            let body = match path.as_str() {
                "/v1/notifications" => json!({"to": "user:1", "message": "x"}),
                "/v1/notifications/batch" => json!([{"to": ["user:1", "everyone"], "message": "x"}]),
                _ => json!({"message": "x"}),
            };
            let request = server.anonymous(method.to_uppercase().parse().unwrap(), &format!("{path}?user_id=1"));
            let response = within(request.bearer_auth(key).json(&body).send()).await.unwrap();
            let status = response.status().as_u16();
            // A stream has no end.
            let is_read = status == 200 && method == "get";
            let said: Value = if is_read { Value::Null } else { response.json().await.unwrap_or_default() };
            let said = if path.ends_with("/batch") { &said["data"][0]["error"] } else { &said };
            let refused = said["code"] == "scope_missing" && said["status"] == 403;
            let allowed = asks == Asks::Nothing || gives.contains(&asks);
            assert_eq!(refused, !allowed, "{operation} with key {number}: {status} {said}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_outside_of_a_keys_scope_says_which_scope_is_missing() {
    let server = TestServer::start().await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    let (key, _) = server.key(&["publish:user:1", "publish:user:2*", "publish:topic:pedidos"]).await;
    let send =
        |method: Method, path: &str, body: Value| answer(server.anonymous(method, path).bearer_auth(&key).json(&body));
    let to = |to: Value| json!({"to": to, "message": "no"});
    for (path, body, missing) in [
        ("/v1/notifications", to(json!("user:3")), "publish:user:3"),
        ("/v1/notifications", to(json!("user:11")), "publish:user:11"),
        ("/v1/notifications", to(json!("everyone")), "publish:everyone"),
        ("/v1/notifications", to(json!(["user:1", "topic:otros"])), "publish:topic:otros"),
        ("/v1/users/3/notifications", json!({"message": "no"}), "publish:user:3"),
        ("/v1/topics/1/notifications", json!({"message": "no"}), "publish:topic:1"),
        ("/v1/topics/pedidos2/notifications", json!({"message": "no"}), "publish:topic:pedidos2"),
        ("/v1/broadcast", json!({"message": "no"}), "publish:everyone"),
    ] {
        let (status, problem) = send(Method::POST, path, body).await;
        assert_eq!((status, &problem["code"]), (403, &json!("scope_missing")), "{path}");
        assert_eq!(problem["detail"], format!("this server key does not have the scope `{missing}`"));
    }
    // Each item of a batch for itself.
    let batch = json!([to(json!("user:21")), to(json!("user:3")), to(json!(["user:1", "topic:pedidos"]))]);
    let (status, results) = send(Method::POST, "/v1/notifications/batch", batch).await;
    assert_eq!(status, 200);
    assert_eq!(results["data"][0]["to"], "user:21");
    assert_eq!(results["data"][1]["error"]["code"], "scope_missing");
    assert_eq!(results["data"][2]["to"], json!(["user:1", "topic:pedidos"]));
    assert_eq!(tab.message().await, "no");

    // What went to others it may not change, nor what went to others too.
    for (to, allowed) in [("user:1", true), ("user:3", false), ("everyone", false)] {
        let path = format!("/v1/notifications/{}", server.publish(to, "antes").await);
        let (status, problem) = send(Method::PATCH, &path, json!({"message": "después"})).await;
        assert_eq!(status, if allowed { 200 } else { 403 }, "{to}: {problem}");
        let (status, problem) = send(Method::DELETE, &path, Value::Null).await;
        assert_eq!(status, if allowed { 204 } else { 403 }, "{to}: {problem}");
    }
    for event in ["message", "updated", "removed", "message"] {
        tab.expect(event).await;
    }
    assert_eq!(answer(server.request(Method::GET, "/v1/users/3/counts")).await.1["total"], 2, "it is still there");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_listed_and_revoked_at_a_shell() {
    let server = TestServer::start().await;
    let scopes = ["--scope", "publish:user:*", "--scope", "manage"];
    let create = [&["key", "create", "tienda"][..], &scopes, &["--expires-in", "90d"]].concat();
    let (code, key, says) = run(client(&server, &create)).await;
    assert_eq!(code, Some(0), "{says}");
    let key = key.trim_end();
    assert!(key.starts_with("pregon_sk_") && says.contains("it is not shown again"), "{key} {says}");
    let (_, listed, _) = run(client(&server, &["key", "list", "--json"])).await;
    let listed = json_of(&listed);
    assert_eq!(listed["scopes"], json!(["publish:user:*", "manage"]));
    let id = listed["id"].as_str().unwrap();
    let (_, shown, _) = run(client(&server, &["key", "list"])).await;
    let begins = format!("{id}  …{}  tienda  publish:user:* manage  until 20", &key[key.len() - 4..]);
    assert!(shown.starts_with(&begins), "{shown}");
    let mut publish = client(&server, &["publish", "everyone", "x"]);
    publish.env("PREGON_SERVER_KEY", key);
    let (code, _, says) = run(publish).await;
    assert_eq!(code, Some(4));
    assert!(says.starts_with("error: this server key does not have the scope `publish:everyone`"), "{says}");
    let (code, printed, says) = run(client(&server, &["key", "revoke", id])).await;
    assert_eq!((code, printed.as_str(), says), (Some(0), "", format!("revoked: {id}\n")));
    server.stop().await;
}
