//! What a user has, and what she does with it: the same on every tab.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::server::TestServer;

async fn body(response: Response) -> Value {
    response.json().await.unwrap()
}

impl TestServer {
    /// What a user's own request is answered.
    async fn inbox(&self, user: &str, rest: &str) -> Value {
        let path = format!("/v1/inbox{rest}{}user_id={user}", if rest.contains('?') { '&' } else { '?' });
        let response = self.anonymous(Method::GET, &path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        body(response).await
    }

    async fn change(&self, method: Method, user: &str, rest: &str, change: Value) -> (u16, Value) {
        let request = self.anonymous(method, &format!("/v1/inbox/{rest}?user_id={user}"));
        let response = request.json(&change).send().await.unwrap();
        (response.status().as_u16(), body(response).await)
    }
}

fn messages(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|item| item["message"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_travels_to_every_tab_in_the_order_of_the_log() {
    let server = TestServer::start().await;
    let first = server.publish("user:1", "a").await;
    server.publish("everyone", "b").await;
    let mut tabs = [server.tab("1").await, server.tab("1").await];
    let mut other = server.tab("2").await;
    for tab in &mut tabs {
        let hello = tab.expect("hello").await;
        assert_eq!((&hello["unread"], &hello["unseen"], &hello["total"]), (&json!(2), &json!(2), &json!(2)));
    }
    other.expect("hello").await;
    let (status, item) = server.change(Method::PATCH, "1", &first, json!({"read": true})).await;
    assert_eq!((status, &item["message"]), (200, &json!("a")));
    assert!(item["read_at"].is_string() && item["seen_at"].is_string() && item["archived_at"].is_null(), "{item}");
    let (status, told) = server.change(Method::POST, "1", "read-all", json!({"up_to": first})).await;
    assert_eq!((status, &told["counts"]["unread"]), (200, &json!(1)), "nothing changes, and nothing is said");
    let (_, told) = server.change(Method::POST, "1", "seen", json!({})).await;
    assert_eq!(told["counts"], json!({"unread": 1, "unseen": 0, "total": 2}));
    server.publish("everyone", "c").await;
    let (_, told) = server.change(Method::POST, "1", "read-all", json!({})).await;
    assert_eq!(told["counts"], json!({"unread": 0, "unseen": 0, "total": 3}));
    for tab in &mut tabs {
        let state = tab.expect("state").await;
        assert_eq!((&state["ids"], &state["set"]), (&json!([first]), &json!({"read": true})));
        assert_eq!(state["counts"], json!({"unread": 1, "unseen": 1, "total": 2}));
        assert_eq!(tab.expect("state").await["set"], json!({"seen": true}));
        assert_eq!(tab.message().await, "c");
        let all = tab.expect("state").await;
        assert!(all.get("ids").is_none() && all.get("up_to").is_none(), "{all}");
        assert_eq!(all["counts"]["unread"], 0);
    }
    assert_eq!(other.message().await, "c", "another user is told nothing of it");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_that_was_away_learns_what_was_marked_meanwhile() {
    let server = TestServer::start().await;
    let id = server.publish("user:1", "a").await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    let cursor = tab.cursor.clone().unwrap();
    drop(tab);
    server.change(Method::PATCH, "1", &id, json!({"archived": true})).await;
    let mut tab = server.tab_after("1", &cursor).await;
    assert_eq!(tab.expect("hello").await["total"], 0);
    assert_eq!(tab.expect("state").await["set"], json!({"archived": true}));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_and_hold_what_was_asked_for() {
    let server = TestServer::start().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(server.publish("user:1", &number.to_string()).await);
    }
    let first = server.inbox("1", "?limit=2").await;
    assert_eq!(messages(&first), ["4", "3"]);
    assert_eq!(first["counts"], json!({"unread": 5, "unseen": 5, "total": 5}));
    let path = format!("/v1/inbox?user_id=1&limit=2&cursor={}", first["next_cursor"].as_str().unwrap());
    let response = server.anonymous(Method::GET, &path).send().await.unwrap();
    let link = response.headers()["link"].to_str().unwrap().to_owned();
    assert_eq!(messages(&body(response).await), ["2", "1"]);
    let next = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    let response = server.anonymous(Method::GET, next).send().await.unwrap();
    assert!(response.headers().get("link").is_none());
    let last = body(response).await;
    assert_eq!((messages(&last), &last["next_cursor"]), (vec!["0"], &Value::Null));
    server.change(Method::POST, "1", "read-all", json!({"up_to": ids[1]})).await;
    server.change(Method::PATCH, "1", &ids[4], json!({"archived": true})).await;
    assert_eq!(messages(&server.inbox("1", "?status=unread").await), ["3", "2"]);
    assert_eq!(messages(&server.inbox("1", "?status=read").await), ["1", "0"]);
    assert_eq!(messages(&server.inbox("1", "?status=archived").await), ["4"]);
    assert_eq!(messages(&server.inbox("1", "").await), ["3", "2", "1", "0"]);
    assert_eq!(server.inbox("1", "/counts").await, json!({"unread": 2, "unseen": 2, "total": 4}));
    let mut tab = server.tab_after("1", first["stream_cursor"].as_str().unwrap()).await;
    tab.expect("hello").await;
    assert_eq!(tab.expect("state").await["up_to"], json!(ids[1]), "a stream goes on where the page ended");
    let by_key = server.request(Method::GET, "/v1/users/1/inbox?status=archived").send().await.unwrap();
    assert_eq!(messages(&body(by_key).await), ["4"]);
    let by_key = server.request(Method::GET, "/v1/users/1/counts").send().await.unwrap();
    assert_eq!(body(by_key).await["unread"], 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_marked_at_once_and_what_she_does_not_have_is_named() {
    let server = TestServer::start().await;
    let hers = server.publish("user:1", "suya").await;
    let other = server.publish("user:2", "ajena").await;
    let (status, told) =
        server.change(Method::POST, "1", "bulk", json!({"ids": [hers, other], "set": {"read": true}})).await;
    assert_eq!((status, &told["missing"]), (200, &json!([other])));
    assert_eq!(told["counts"]["unread"], 0);
    for (method, rest, change) in
        [(Method::PATCH, other.as_str(), json!({"read": true})), (Method::POST, "read-all", json!({"up_to": other}))]
    {
        let (status, problem) = server.change(method, "1", rest, change).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
    }
    let read = server.anonymous(Method::GET, &format!("/v1/inbox/{other}?user_id=1")).send().await.unwrap();
    assert_eq!(read.status(), 404, "whether it exists is not said");
    assert_eq!(server.inbox("2", "/counts").await["unread"], 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_muted_reaches_no_tab_and_no_inbox_until_it_is_wanted_again() {
    let server = TestServer::start().await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    let publish = async |message: &str| {
        let body = json!({"message": message, "category": "ofertas"});
        assert_eq!(server.request(Method::POST, "/v1/broadcast").json(&body).send().await.unwrap().status(), 201);
    };
    assert_eq!(server.inbox("1", "/preferences").await, json!({"muted": []}));
    let (status, told) = server.change(Method::PUT, "1", "preferences", json!({"muted": ["ofertas", "ofertas"]})).await;
    assert_eq!((status, told), (200, json!({"muted": ["ofertas"]})));
    publish("callada").await;
    server.publish("user:1", "otra").await;
    server.change(Method::PUT, "1", "preferences", json!({"muted": []})).await;
    publish("de nuevo").await;
    assert_eq!(tab.expect("preferences").await, json!({"muted": ["ofertas"]}));
    assert_eq!(tab.message().await, "otra");
    assert_eq!(tab.expect("preferences").await, json!({"muted": []}));
    assert_eq!(tab.message().await, "de nuevo");
    assert_eq!(messages(&server.inbox("1", "").await), ["de nuevo", "otra"]);
    assert_eq!(server.inbox("2", "/counts").await["total"], 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_told_in_her_language_everywhere() {
    let server = TestServer::start().await;
    let tab = |header: &'static str, lang: &'static str| {
        let request = server.anonymous(Method::GET, &format!("/notifications?user_id=1{lang}"));
        async move { crate::server::Tab::of(request.header("accept-language", header).send().await.unwrap()) }
    };
    let mut tabs = [tab("en-GB,en;q=0.8", "").await, tab("fr", "").await, tab("en", "&lang=pt-PT").await];
    for tab in &mut tabs {
        tab.expect("hello").await;
    }
    let sent = json!({"to": "user:1", "message": "Salió", "title": "Pedido",
                      "i18n": {"en": {"title": "Order", "message": "Shipped"}, "pt": {"message": "Partiu"}}});
    let published = server.request(Method::POST, "/v1/notifications").json(&sent).send().await.unwrap();
    assert_eq!(published.status(), 201);
    let location = published.headers()["location"].to_str().unwrap().to_owned();
    for (tab, (title, message)) in
        tabs.iter_mut().zip([("Order", "Shipped"), ("Pedido", "Salió"), ("Pedido", "Partiu")])
    {
        let received = tab.expect("message").await;
        assert_eq!((&received["title"], &received["message"]), (&json!(title), &json!(message)));
        assert!(received.get("i18n").is_none());
    }
    assert_eq!(messages(&server.inbox("1", "?lang=en").await), ["Shipped"]);
    assert_eq!(messages(&server.inbox("1", "").await), ["Salió"]);
    let whole = body(server.request(Method::GET, &location).send().await.unwrap()).await;
    assert_eq!(whole["i18n"], sent["i18n"], "its publisher sees all languages");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_is_its_owners() {
    let rules = pregon::auth::tokens::TokenRules::of(pregon::auth::tokens::TokenKey::generate());
    let server = TestServer::start_with(move |config| {
        config.open_user_id = false;
        config.tokens = Some(rules);
    })
    .await;
    let id = server.publish("user:1", "a").await;
    let made = server.request(Method::POST, "/v1/tokens").json(&json!({"user_id": "1", "expires_in": "10m"}));
    let made = made.send().await.unwrap();
    assert_eq!(made.status(), 201);
    let token = body(made).await["token"].as_str().unwrap().to_owned();
    let get = |path: &str| server.anonymous(Method::GET, path);
    let page = get("/v1/inbox").bearer_auth(&token).send().await.unwrap();
    assert_eq!(messages(&body(page).await), ["a"]);
    for (request, status, code) in [
        (get("/v1/inbox"), 401, "credential_missing"),
        (get("/v1/inbox?user_id=1"), 401, "credential_missing"),
        (get("/v1/stream"), 401, "credential_missing"),
        (get("/v1/inbox?user_id=2").bearer_auth(&token), 403, "forbidden"),
        (get("/v1/users/1/inbox").bearer_auth(&token), 403, "forbidden"),
        (get(&format!("/v1/notifications/{id}")).bearer_auth(&token), 403, "forbidden"),
        (server.request(Method::GET, "/v1/inbox"), 400, "invalid_query"),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(body(response).await["code"], code);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_user_starts_anew_on_her_open_tabs_too() {
    let server = TestServer::start().await;
    server.publish("user:1", "a").await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    for _ in 0..2 {
        let erased = server.request(Method::DELETE, "/v1/users/1").send().await.unwrap();
        assert_eq!(erased.status(), 204);
        assert_eq!(tab.expect("reset").await["reason"], "erased");
    }
    assert_eq!(server.inbox("1", "").await["counts"]["total"], 0);
    server.publish("user:1", "b").await;
    assert_eq!(tab.message().await, "b");
    server.stop().await;
}
