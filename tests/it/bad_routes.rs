//! Bad input on every route: the exact problem, and nothing done.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::server::{TestServer, tokens};

/// A route that takes an object, with one that is right.
struct Route {
    method: Method,
    path: String,
    good: Value,
    required: &'static [&'static str],
    /// It takes plain text too, or nothing at all.
    lenient: bool,
}

fn routes(id: &str) -> Vec<Route> {
    let route =
        |method, path: &str, good, required, lenient| Route { method, path: path.into(), good, required, lenient };
    let whole = json!({
        "to": "user:1", "message": "x", "title": "x", "severity": "info", "category": "x", "url": "/x", "icon": "/x",
        "actor": {"name": "x"}, "actions": [{"id": "x", "label": "x"}], "silent": true, "i18n": {"en": {"message": "x"}},
        "replaces": "x", "deliver_at": "2026-01-01T00:00:00Z", "expires_in": "1h",
    });
    let without = |name: &str| {
        let mut fields = whole.clone();
        fields.as_object_mut().unwrap().remove(name);
        fields
    };
    let marked = json!({"read": true, "seen": true, "archived": false});
    let content = {
        let mut content = without("to");
        content
            .as_object_mut()
            .unwrap()
            .retain(|name, _| !["replaces", "deliver_at", "expires_in"].contains(&name.as_str()));
        content
    };
    vec![
        route(Method::POST, "/v1/notifications", whole.clone(), &["to", "message"], false),
        route(Method::POST, "/v1/users/1/notifications", without("to"), &["message"], true),
        route(Method::POST, "/v1/topics/t/notifications", without("to"), &["message"], true),
        route(Method::POST, "/v1/broadcast", without("to"), &["message"], true),
        route(Method::PATCH, &format!("/v1/notifications/{id}"), content, &[], false),
        route(
            Method::POST,
            "/v1/tokens",
            json!({"user_id": "1", "topics": ["t"], "expires_in": "1h"}),
            &["user_id"],
            false,
        ),
        route(
            Method::POST,
            "/v1/keys",
            json!({"name": "x", "scopes": ["manage"], "expires_in": "1h"}),
            &["name", "scopes"],
            false,
        ),
        route(Method::PATCH, &format!("/v1/inbox/{id}?user_id=1"), marked.clone(), &[], false),
        route(Method::POST, "/v1/inbox/read-all?user_id=1", json!({"up_to": id}), &[], false),
        route(Method::POST, "/v1/inbox/seen?user_id=1", json!({"up_to": id}), &[], false),
        route(Method::PUT, "/v1/inbox/preferences?user_id=1", json!({"muted": ["x"]}), &["muted"], false),
        route(Method::POST, "/v1/inbox/bulk?user_id=1", json!({"ids": [id], "set": marked}), &["ids", "set"], false),
    ]
}

/// What a request is answered: status, code, and the pointers and codes of the wrong fields.
async fn answer(request: RequestBuilder) -> (u16, String, Vec<(String, String)>) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let problem: Value = response.json().await.unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    let errors = errors.iter().map(|error| (text(&error["pointer"]), text(&error["code"]))).collect();
    (status, text(&problem["code"]), errors)
}

fn one(pointer: &str, code: &str) -> (u16, String, Vec<(String, String)>) {
    (422, "invalid_request".into(), vec![(pointer.into(), code.into())])
}

fn plain(status: u16, code: &str) -> (u16, String, Vec<(String, String)>) {
    (status, code.into(), vec![])
}

async fn server() -> TestServer {
    TestServer::start_with(|config| config.tokens = Some(tokens("a secret of at least thirty-two bytes"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_is_checked_field_by_field() {
    let server = server().await;
    let id = server.publish("user:1", "a").await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    for Route { method, path, good, required, lenient } in routes(&id) {
        let send = |body: String, content_type: &str| {
            let request = server.request(method.clone(), &path).header("content-type", content_type);
            answer(request.body(body))
        };
        let object = |fields: &Value| send(fields.to_string(), "application/json");
        let shown = format!("{method} {path}");
        assert_eq!(object(&json!([])).await, plain(400, "malformed_json"), "{shown}");
        assert_eq!(send("{".into(), "application/json").await, plain(400, "malformed_json"), "{shown}");
        if !lenient {
            assert_eq!(send("{}".into(), "text/plain").await, plain(415, "unsupported_media_type"), "{shown}");
        }
        let large = " ".repeat(64 * 1024 + 1);
        assert_eq!(send(large, "application/json").await, plain(413, "body_too_large"), "{shown}");
        for name in good.as_object().unwrap().keys() {
            let mut wrong = good.clone();
            wrong[name] = json!({"": [[]]});
            let (status, code, errors) = object(&wrong).await;
            assert_eq!((status, code.as_str()), (422, "invalid_request"), "{shown} {name}");
            assert!(errors.iter().all(|(pointer, _)| pointer.starts_with(&format!("/{name}"))), "{shown}: {errors:?}");
            let mut missing = good.clone();
            missing.as_object_mut().unwrap().remove(name);
            if required.contains(&name.as_str()) {
                assert_eq!(object(&missing).await, one(&format!("/{name}"), "missing"), "{shown}");
            }
        }
        let mut unknown = good.clone();
        unknown["nada"] = json!(1);
        assert_eq!(object(&unknown).await, one("/nada", "unknown_field"), "{shown}");
    }
    server.publish("user:1", "la única").await;
    assert_eq!(tab.message().await, "la única", "nothing has been published, edited or marked");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_within_a_field_is_told_with_its_place() {
    let server = server().await;
    let id = server.publish("user:1", "a").await;
    let other = server.publish("user:2", "b").await;
    let publish = |fields: Value| {
        let mut whole = json!({"message": "x"});
        whole.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        answer(server.request(Method::POST, "/v1/broadcast").json(&whole))
    };
    let long = "x".repeat(129);
    let action = |fields: Value| json!({"actions": [{"id": "a", "label": "a"}, fields]});
    for (fields, pointer, code) in [
        (json!({"actor": {}}), "/actor/name", "missing"),
        (json!({"actor": {"name": long}}), "/actor/name", "too_long"),
        (json!({"actor": {"name": "x", "age": 1}}), "/actor/age", "unknown_field"),
        (json!({"actor": {"name": "x", "avatar_url": "//x"}}), "/actor/avatar_url", "url"),
        (json!({"actions": [7]}), "/actions/0", "wrong_type"),
        (action(json!({"id": "b"})), "/actions/1/label", "missing"),
        (action(json!({"id": "b", "label": "b", "url": "javascript:x"})), "/actions/1/url", "url"),
        (action(json!({"id": "b", "label": "b", "style": "loud"})), "/actions/1/style", "style"),
        (json!({"actions": vec![json!({"id": "a", "label": "a"}); 6]}), "/actions", "too_many"),
        (json!({"i18n": {"english!": {"message": "x"}}}), "/i18n/english!", "language"),
        (json!({"i18n": {"en": "x"}}), "/i18n/en", "wrong_type"),
        (json!({"i18n": {"en": {"message": ""}}}), "/i18n/en/message", "empty"),
        (json!({"i18n": {"en": {"body": "x"}}}), "/i18n/en/body", "unknown_field"),
        (json!({"replaces": "a b"}), "/replaces", "name"),
        (json!({"deliver_at": "mañana"}), "/deliver_at", "time"),
        (json!({"deliver_at": "2099-01-01T00:00:00Z"}), "/deliver_at", "too_late"),
        (json!({"expires_at": "2020-01-01T00:00:00Z"}), "/expires_at", "too_early"),
        (json!({"expires_in": "soon"}), "/expires_in", "duration"),
        (json!({"expires_in": "0s"}), "/expires_in", "too_early"),
        (json!({"expires_in": "400d"}), "/expires_in", "too_late"),
        (json!({"expires_in": "1h", "expires_at": "2099-01-01T00:00:00Z"}), "/expires_in", "conflict"),
        (json!({"silent": "yes"}), "/silent", "wrong_type"),
    ] {
        assert_eq!(publish(fields.clone()).await, one(pointer, code), "{fields}");
    }
    let user = |method: Method, path: &str, body: Value| {
        answer(server.anonymous(method, &format!("/v1/inbox/{path}?user_id=1")).json(&body))
    };
    for (method, path, body, wanted) in [
        (Method::PATCH, id.as_str(), json!({}), one("", "missing")),
        (Method::PATCH, other.as_str(), json!({"read": true}), plain(404, "not_found")),
        (Method::PATCH, "nope", json!({"read": true}), plain(400, "invalid_path")),
        (Method::POST, "read-all", json!({"up_to": "nope"}), one("/up_to", "id")),
        (Method::POST, "read-all", json!({"up_to": other}), plain(404, "not_found")),
        (Method::PUT, "preferences", json!({"muted": ["", 7]}), one("/muted/0", "empty")),
        (Method::PUT, "preferences", json!({"muted": vec!["x"; 101]}), one("/muted", "too_many")),
        (Method::POST, "bulk", json!({"ids": [], "set": {"read": true}}), one("/ids", "empty")),
        (Method::POST, "bulk", json!({"ids": vec!["x"; 101], "set": {"read": true}}), one("/ids", "too_many")),
        (Method::POST, "bulk", json!({"ids": [7], "set": {"read": true}}), one("/ids/0", "wrong_type")),
        (Method::POST, "bulk", json!({"ids": [id], "set": {}}), one("/set", "missing")),
        (
            Method::POST,
            "bulk",
            json!({"ids": [id], "set": {"read": true, "starred": true}}),
            one("/set/starred", "unknown_field"),
        ),
    ] {
        let shown = format!("{path} {body}");
        let mut found = user(method, path, body).await;
        if wanted.2.len() == 1 {
            found.2.truncate(1);
        }
        assert_eq!(found, wanted, "{shown}");
    }
    for (query, code) in [
        ("status=unraed", "invalid_query"),
        ("limit=0", "invalid_query"),
        ("limit=101", "invalid_query"),
        ("limit=x", "invalid_query"),
        ("cursor=x", "invalid_query"),
        ("topic=a%20b", "invalid_query"),
    ] {
        let request = server.anonymous(Method::GET, &format!("/v1/inbox?user_id=1&{query}"));
        assert_eq!(answer(request).await, plain(400, code), "{query}");
    }
    let tokens = |body: Value| answer(server.request(Method::POST, "/v1/tokens").json(&body));
    assert_eq!(tokens(json!({"user_id": "a b"})).await, one("/user_id", "name"));
    assert_eq!(tokens(json!({"user_id": "1", "expires_in": "31d"})).await, one("/expires_in", "duration"));
    assert_eq!(tokens(json!({"user_id": "1", "topics": ["t", "a b"]})).await, one("/topics/1", "name"));
    assert_eq!(tokens(json!({"user_id": "1", "topics": [7]})).await, one("/topics/0", "wrong_type"));
    assert_eq!(tokens(json!({"user_id": "1", "topics": vec!["t"; 101]})).await, one("/topics", "too_many"));
    let keys = |body: Value| answer(server.request(Method::POST, "/v1/keys").json(&body));
    assert_eq!(keys(json!({"name": " ", "scopes": ["admin"]})).await, one("/name", "name"));
    assert_eq!(keys(json!({"name": "x".repeat(129), "scopes": ["admin"]})).await, one("/name", "name"));
    assert_eq!(keys(json!({"name": "x", "scopes": []})).await, one("/scopes", "empty"));
    assert_eq!(keys(json!({"name": "x", "scopes": ["admin", "root"]})).await, one("/scopes/1", "scope"));
    assert_eq!(keys(json!({"name": "x", "scopes": ["publish:usr:1"]})).await, one("/scopes/0", "scope"));
    assert_eq!(keys(json!({"name": "x", "scopes": vec!["admin"; 101]})).await, one("/scopes", "too_many"));
    assert_eq!(
        keys(json!({"name": "x", "scopes": ["admin"], "expires_in": "0s"})).await,
        one("/expires_in", "duration")
    );
    let poll = server.anonymous(Method::GET, "/v1/stream?user_id=1&poll=1&wait=soon");
    assert_eq!(answer(poll).await, plain(400, "invalid_query"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_wants_its_credential_and_its_method() {
    let server = TestServer::start_with(|config| config.open_user_id = false).await;
    let id = server.publish("user:1", "a").await;
    let notification = format!("/v1/notifications/{id}");
    let item = format!("/v1/inbox/{id}");
    let key = format!("/v1/keys/{id}");
    for (methods, path) in [
        (&["POST"][..], "/v1/notifications"),
        (&["POST"], "/v1/notifications/batch"),
        (&["GET", "PATCH", "DELETE"], &notification),
        (&["POST"], "/v1/users/1/notifications"),
        (&["POST"], "/v1/topics/t/notifications"),
        (&["POST"], "/v1/broadcast"),
        (&["GET"], "/v1/topics/t/subscribers"),
        (&["PUT", "DELETE"], "/v1/topics/t/subscribers/1"),
        (&["POST"], "/v1/tokens"),
        (&["GET", "POST"], "/v1/keys"),
        (&["DELETE"], &key),
        (&["POST"], "/v1/stream/tickets"),
        (&["GET"], "/metrics"),
        (&["DELETE"], "/v1/users/1"),
        (&["DELETE"], "/v1/users/1/tokens"),
        (&["GET"], "/v1/users/1/inbox"),
        (&["GET"], "/v1/users/1/counts"),
        (&["GET"], "/v1/users/1/connections"),
        (&["GET"], "/v1/inbox"),
        (&["GET"], "/v1/inbox/counts"),
        (&["POST"], "/v1/inbox/read-all"),
        (&["POST"], "/v1/inbox/seen"),
        (&["POST"], "/v1/inbox/bulk"),
        (&["GET", "PUT"], "/v1/inbox/preferences"),
        (&["GET", "PATCH"], &item),
    ] {
        for method in methods {
            let method: Method = method.parse().unwrap();
            let request = server.anonymous(method.clone(), path).json(&json!({}));
            assert_eq!(answer(request).await, plain(401, "credential_missing"), "{method} {path}");
            let request = server.anonymous(method.clone(), path).bearer_auth("pregon_sk_wrong").json(&json!({}));
            assert_eq!(answer(request).await, plain(401, "credential_unknown"), "{method} {path}");
        }
        let response = server.request(Method::OPTIONS, path).send().await.unwrap();
        assert_eq!(response.status(), 405, "{path}");
        let allowed = response.headers()["allow"].to_str().unwrap().to_owned();
        for method in methods {
            assert!(allowed.contains(method), "{path}: {allowed}");
        }
    }
    server.stop().await;
}
