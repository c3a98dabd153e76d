//! Publishing beyond the plain case: once, many at once, later, for a while, in place of another.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{TestServer, within};

async fn body(response: Response) -> Value {
    response.json().await.unwrap()
}

async fn publish_with_key(server: &TestServer, key: &str, message: &str) -> Response {
    let request = server.request(Method::POST, "/v1/users/1/notifications").header("idempotency-key", key);
    request.json(&json!({"message": message})).send().await.unwrap()
}

async fn total(server: &TestServer, user: &str) -> Value {
    let counts = server.request(Method::GET, &format!("/v1/users/{user}/counts")).send().await.unwrap();
    body(counts).await["total"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_key_is_done_once_also_after_a_restart() {
    let folder = Arc::new(TempDir::new().unwrap());
    let server = TestServer::start_in(Arc::clone(&folder), |_| {}).await;
    let first = publish_with_key(&server, "k-1", "una").await;
    assert_eq!(first.status(), 201);
    assert!(first.headers().get("idempotent-replayed").is_none());
    let first = body(first).await;
    let at_once = (0..20).map(|_| publish_with_key(&server, "k-2", "dos"));
    let at_once = futures_util::future::join_all(at_once).await;
    let mut ids = Vec::new();
    for response in at_once {
        assert_eq!(response.status(), 201);
        ids.push(body(response).await["id"].clone());
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "all of them are told of the same one");
    assert_eq!(total(&server, "1").await, 2);
    server.stop().await;
    let server = TestServer::start_in(folder, |_| {}).await;
    let again = publish_with_key(&server, "k-1", "una").await;
    assert_eq!((again.status().as_u16(), &again.headers()["idempotent-replayed"]), (201, &"true".parse().unwrap()));
    assert!(again.headers()["location"].to_str().unwrap().ends_with(first["id"].as_str().unwrap()));
    assert_eq!(body(again).await, first);
    let other = publish_with_key(&server, "k-1", "otra").await;
    assert_eq!(other.status(), 409);
    assert_eq!(body(other).await["code"], "idempotency_key_reused");
    let long = "x".repeat(256);
    let refused = publish_with_key(&server, &long, "x").await;
    assert_eq!(refused.status(), 400);
    assert_eq!(body(refused).await["code"], "invalid_header");
    assert_eq!(total(&server, "1").await, 2);
    server.stop().await;
}

/// What was right is answered as it was, also when it would be too late by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_again_is_not_judged_again() {
    let server = TestServer::start().await;
    let until = Timestamp::now() + Duration::from_millis(300);
    let item = json!({"to": "user:1", "message": "breve", "expires_at": until.to_string()});
    let publish = |path: &'static str, body: Value| {
        server.request(Method::POST, path).header("idempotency-key", path).json(&body).send()
    };
    let first = body(publish("/v1/notifications", item.clone()).await.unwrap()).await;
    let batch = body(publish("/v1/notifications/batch", json!([item])).await.unwrap()).await;
    assert!(batch["data"][0]["id"].is_string(), "{batch}");
    while Timestamp::now() <= until {
        assert_eq!(body(publish("/v1/notifications", item.clone()).await.unwrap()).await, first);
    }
    assert_eq!(body(publish("/v1/notifications", item.clone()).await.unwrap()).await, first);
    assert_eq!(body(publish("/v1/notifications/batch", json!([item])).await.unwrap()).await, batch);
    let fresh = server.request(Method::POST, "/v1/notifications").json(&item).send().await.unwrap();
    assert_eq!(fresh.status(), 422, "a new one is too late");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_says_of_each_item_what_has_come_of_it() {
    let server = TestServer::start().await;
    let items = json!([
        {"to": "user:1", "message": "a"},
        {"to": "user:1"},
        7,
        {"to": ["user:1", "user:2"], "message": "b"},
    ]);
    let send = |key: &'static str| {
        let request = server.request(Method::POST, "/v1/notifications/batch").header("idempotency-key", key);
        request.json(&items).send()
    };
    let response = send("lote").await.unwrap();
    assert_eq!(response.status(), 200);
    let told = body(response).await;
    let data = told["data"].as_array().unwrap();
    assert_eq!(data.len(), 4);
    assert_eq!((&data[0]["to"], &data[3]["to"]), (&json!("user:1"), &json!(["user:1", "user:2"])));
    assert_eq!(data[1]["error"]["errors"][0]["pointer"], "/message");
    assert_eq!((&data[1]["error"]["status"], &data[2]["error"]["code"]), (&json!(422), &json!("malformed_json")));
    assert_eq!(body(send("lote").await.unwrap()).await, told, "again: the same answer");
    assert_eq!((total(&server, "1").await, total(&server, "2").await), (json!(2), json!(1)));
    let lines = "{\"to\":\"user:2\",\"message\":\"c\"}\n\n{\n{\"to\":\"user:2\",\"message\":\"d\"}\n";
    let request = server.request(Method::POST, "/v1/notifications/batch");
    let response = request.header("content-type", "application/x-ndjson").body(lines).send().await.unwrap();
    let told = body(response).await;
    assert!(told["data"][0]["id"].is_string() && told["data"][2]["id"].is_string(), "{told}");
    assert_eq!(told["data"][1]["error"]["code"], "malformed_json");
    assert_eq!(total(&server, "2").await, 3);
    for wrong in [json!([]), json!(vec![json!({"to": "user:1", "message": "x"}); 1001])] {
        let response = server.request(Method::POST, "/v1/notifications/batch").json(&wrong).send().await.unwrap();
        assert_eq!(response.status(), 422);
        assert_eq!(body(response).await["code"], "batch_size");
    }
    server.stop().await;
}

/// Publishes with further fields; gives the answer.
async fn publish(server: &TestServer, fields: Value) -> Value {
    let response = server.request(Method::POST, "/v1/users/1/notifications").json(&fields).send().await.unwrap();
    assert_eq!(response.status(), 201);
    body(response).await
}

fn in_milliseconds(milliseconds: u64) -> String {
    Timestamp::now().checked_add(Duration::from_millis(milliseconds)).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_scheduled_comes_by_itself_also_after_a_restart() {
    let folder = Arc::new(TempDir::new().unwrap());
    let server = TestServer::start_in(Arc::clone(&folder), |_| {}).await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    let soon = publish(&server, json!({"message": "pronto", "deliver_at": in_milliseconds(300)})).await;
    let path = format!("/v1/notifications/{}", soon["id"].as_str().unwrap());
    let waiting = body(server.request(Method::GET, &path).send().await.unwrap()).await;
    assert_eq!(waiting["status"], "scheduled");
    assert!(waiting["deliver_at"].is_string() && waiting.get("reader").is_none(), "{waiting}");
    assert_eq!(total(&server, "1").await, 0, "nobody has it yet");
    let received = tab.expect("message").await;
    assert_eq!((&received["id"], &received["message"]), (&soon["id"], &json!("pronto")));
    let late = publish(&server, json!({"message": "tarde", "deliver_at": in_milliseconds(1500)})).await;
    let recalled = publish(&server, json!({"message": "nunca", "deliver_at": in_milliseconds(1500)})).await;
    let path = format!("/v1/notifications/{}", recalled["id"].as_str().unwrap());
    assert_eq!(server.request(Method::DELETE, &path).send().await.unwrap().status(), 204);
    let cursor = tab.cursor.clone().unwrap();
    server.stop().await;
    // Whether its time comes before the server is back or after, it comes, and once.
    let server = TestServer::start_in(folder, |_| {}).await;
    let mut tab = server.tab_after("1", &cursor).await;
    tab.expect("hello").await;
    assert_eq!(tab.expect("message").await["id"], late["id"]);
    server.publish("user:1", "fin").await;
    assert_eq!(tab.message().await, "fin", "nothing comes twice, and what was recalled not at all");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_gone_from_the_inbox_and_from_every_replay() {
    let server = TestServer::start().await;
    let published = publish(&server, json!({"message": "efímera", "expires_in": "400ms"})).await;
    publish(&server, json!({"message": "duradera"})).await;
    let path = format!("/v1/notifications/{}", published["id"].as_str().unwrap());
    let found = body(server.request(Method::GET, &path).send().await.unwrap()).await;
    assert!(found["expires_at"].is_string(), "{found}");
    let gone = async {
        while total(&server, "1").await != json!(1) {
            tokio::task::yield_now().await;
        }
        // Its row goes a little later.
        while server.request(Method::GET, &path).send().await.unwrap().status() != 404 {
            tokio::task::yield_now().await;
        }
    };
    within(gone).await;
    let mut tab = server.tab_at("/notifications?user_id=1&since=earliest", None).await;
    assert_eq!(tab.expect("hello").await["total"], 1);
    assert_eq!(tab.message().await, "duradera");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_is_edited_recalled_and_replaced_on_every_tab() {
    let server = TestServer::start().await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    let first = publish(&server, json!({"message": "50 %", "title": "Copia", "replaces": "copia"})).await;
    let path = format!("/v1/notifications/{}", first["id"].as_str().unwrap());
    let change = |fields: Value| server.request(Method::PATCH, &path).json(&fields).send();
    let edited = change(json!({"message": "60 %", "title": null, "severity": "success"})).await.unwrap();
    assert_eq!(edited.status(), 200);
    let edited = body(edited).await;
    assert_eq!(tab.message().await, "50 %");
    let updated = tab.expect("updated").await;
    assert_eq!(updated, edited);
    assert_eq!((&updated["message"], &updated["severity"]), (&json!("60 %"), &json!("success")));
    assert!(updated.get("title").is_none());
    let refused = change(json!({"to": "user:2", "message": ""})).await.unwrap();
    assert_eq!(refused.status(), 422);
    let refused = body(refused).await;
    let codes: Vec<_> = refused["errors"].as_array().unwrap().iter().map(|e| (&e["pointer"], &e["code"])).collect();
    assert_eq!(codes, [(&json!("/message"), &json!("empty")), (&json!("/to"), &json!("unknown_field"))]);
    let second = publish(&server, json!({"message": "70 %", "replaces": "copia"})).await;
    assert_eq!(tab.expect("removed").await, json!({"id": first["id"], "reason": "replaced"}));
    assert_eq!(tab.message().await, "70 %");
    let path = format!("/v1/notifications/{}", second["id"].as_str().unwrap());
    assert_eq!(server.request(Method::DELETE, &path).send().await.unwrap().status(), 204);
    assert_eq!(tab.expect("removed").await, json!({"id": second["id"], "reason": "recalled"}));
    assert_eq!(server.request(Method::DELETE, &path).send().await.unwrap().status(), 404);
    assert_eq!(total(&server, "1").await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_somebody_did_not_get_it_has_an_answer() {
    let server = TestServer::start().await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    let id = server.publish("topic:obras", "antes").await;
    let joined = server.request(Method::PUT, "/v1/topics/obras/subscribers/1").send().await.unwrap();
    assert_eq!(joined.status(), 201);
    let story = async |id: &str, user: &str| {
        let path = format!("/v1/notifications/{id}?user_id={user}");
        body(server.request(Method::GET, &path).send().await.unwrap()).await["reader"].clone()
    };
    let missed = story(&id, "1").await;
    assert_eq!((&missed["addressed"], &missed["in_inbox"]), (&json!(false), &json!(false)));
    assert!(missed["detail"].as_str().unwrap().contains("not addressed"), "{missed}");
    assert_eq!(missed["connections"][0]["delivered"], "no");
    let id = server.publish("topic:obras", "después").await;
    assert_eq!(tab.message().await, "después");
    let got = story(&id, "1").await;
    assert_eq!((&got["in_inbox"], &got["connections"][0]["delivered"]), (&json!(true), &json!("yes")));
    assert!(got["read_at"].is_null() && got["connections"][0]["connected_at"].is_string(), "{got}");
    let mut later = server.tab("1").await;
    later.expect("hello").await;
    let connections = story(&id, "1").await["connections"].clone();
    let mut delivered: Vec<_> = connections.as_array().unwrap().iter().map(|c| c["delivered"].clone()).collect();
    delivered.sort_by_key(Value::to_string);
    assert_eq!(delivered, ["before", "yes"]);
    let presence = |user: &str| server.request(Method::GET, &format!("/v1/users/{user}/connections")).send();
    let present = body(presence("1").await.unwrap()).await;
    assert_eq!((&present["online"], present["data"].as_array().unwrap().len()), (&json!(true), 2));
    assert_eq!(present["data"][0]["behind"], 0);
    assert_eq!(body(presence("2").await.unwrap()).await, json!({"online": false, "data": []}));
    server.stop().await;
}

/// Mutant: read what the notification says before the commit.
#[tokio::test(flavor = "multi_thread")]
async fn no_edit_is_undone_by_one_of_another_field_at_the_same_time() {
    let server = TestServer::start().await;
    let mut lost = Vec::new();
    for scheduled in [false, true] {
        let due = scheduled.then(|| (Timestamp::now() + Duration::from_hours(1)).to_string());
        let wanted = json!({"to": "user:1", "message": "una", "deliver_at": due});
        let made = body(server.request(Method::POST, "/v1/notifications").json(&wanted).send().await.unwrap()).await;
        let path = format!("/v1/notifications/{}", made["id"].as_str().unwrap());
        for round in 0..50 {
            let text = round.to_string();
            let (title, category) = (json!({"title": text}), json!({"category": text}));
            let (message, data) = (json!({"message": text}), json!({"data": round}));
            let edits = [&title, &category, &message, &data];
            let asked = edits.map(|edit| server.request(Method::PATCH, &path).json(edit).send());
            for (edit, answer) in edits.into_iter().zip(futures_util::future::join_all(asked).await) {
                let answer = answer.unwrap();
                assert_eq!(answer.status(), 200);
                let (name, value) = edit.as_object().unwrap().iter().next().unwrap();
                assert_eq!(&body(answer).await[name], value, "what was asked for is answered");
            }
            let now = body(server.request(Method::GET, &path).send().await.unwrap()).await;
            let says = if now["notification"].is_object() { &now["notification"] } else { &now };
            for (name, value) in edits.iter().flat_map(|edit| edit.as_object().unwrap()) {
                if says[name] != *value {
                    lost.push(format!("{name} of {round}: {says}"));
                }
            }
        }
    }
    assert_eq!(lost, Vec::<String>::new());
    server.stop().await;
}

/// A `201` for what nobody gets would otherwise say nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_publishes_to_a_topic_is_told_how_many_members_it_has() {
    let server = TestServer::start().await;
    let join = |user: &str| server.request(Method::PUT, &format!("/v1/topics/obras/subscribers/{user}")).send();
    let members = async |to: Value| {
        let request = server.request(Method::POST, "/v1/notifications").json(&json!({"to": to, "message": "hola"}));
        let answer = body(request.send().await.unwrap()).await;
        answer.as_object().unwrap().get("members").cloned()
    };
    assert_eq!(members(json!("topic:obras")).await, Some(json!({"obras": 0})));
    for user in ["1", "2"] {
        assert_eq!(join(user).await.unwrap().status(), 201);
    }
    assert_eq!(members(json!("topic:obras")).await, Some(json!({"obras": 2})));
    assert_eq!(members(json!(["user:1", "topic:obras", "topic:nadie"])).await, Some(json!({"obras": 2, "nadie": 0})));
    assert_eq!(members(json!("user:topic")).await, None);
    assert_eq!(members(json!(["user:topic:x", "everyone"])).await, None, "that is no topic");
    let here = server.request(Method::POST, "/v1/topics/obras/notifications").body("hola").send().await.unwrap();
    assert!(here.headers()["location"].to_str().unwrap().starts_with("/v1/notifications/"));
    assert_eq!(body(here).await["members"], json!({"obras": 2}));

    let items = json!([
        {"to": "topic:obras", "message": "a"}, {"to": "topic:a b", "message": "b"},
        {"to": "user:1", "message": "c"}, {"to": ["topic:nadie", "topic:obras"], "message": "d"},
    ]);
    let batch = async || {
        let request = server.request(Method::POST, "/v1/notifications/batch").header("idempotency-key", "lote");
        let answer = body(request.json(&items).send().await.unwrap()).await;
        let results = answer["data"].as_array().unwrap().clone();
        results.iter().map(|result| result["members"].clone()).collect::<Vec<_>>()
    };
    let [one, none, both] = [json!({"obras": 2}), Value::Null, json!({"nadie": 0, "obras": 2})];
    assert_eq!(batch().await, [one, none.clone(), none.clone(), both]);

    // What is repeated is not published again, and counted as it is now.
    let left = server.request(Method::DELETE, "/v1/topics/obras/subscribers/2").send().await.unwrap();
    assert_eq!(left.status(), 204);
    assert_eq!(batch().await, [json!({"obras": 1}), none.clone(), none, json!({"nadie": 0, "obras": 1})]);
    server.stop().await;
}
