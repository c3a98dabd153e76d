//! Limits: whoever asks for too much is told how much is allowed and when to come back, and nobody else notices.

use std::num::NonZeroU32;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use pregon::limits::Rate;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::server::{Tab, TestServer, tokens, within};

const SECRET: &str = "a secret of at least thirty-two bytes";

/// So many at once; another one much later than any of these tests takes.
fn few(count: u32) -> Rate {
    let count = NonZeroU32::new(count).unwrap();
    Rate::per_minute(count, count)
}

async fn send(request: RequestBuilder) -> Response {
    within(request.send()).await.unwrap()
}

/// How many streams were refused for a reason.
async fn refused_streams(server: &TestServer, reason: &str) -> String {
    let metrics = send(server.request(Method::GET, "/metrics")).await.text().await.unwrap();
    let name = format!("pregon_streams_refused_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().to_owned()
}

/// Seconds until it may be tried again; the answer must be that there were too many.
async fn refused(response: Response, detail: &str) -> u64 {
    assert_eq!(response.status(), 429);
    let wait = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let problem: Value = response.json().await.unwrap();
    assert_eq!((&problem["code"], &problem["detail"]), (&json!("rate_limited"), &json!(detail)));
    wait
}

/// That a stream says when to come back, and ends.
async fn is_sent_away(response: Response) {
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    let said = within(response.text()).await.unwrap();
    assert!(said.starts_with("retry: ") && said.lines().filter(|line| !line.is_empty()).count() == 1, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_publishes_so_much_and_another_key_as_much() {
    let server = TestServer::start_with(|config| config.limits.publishes = Some(few(3))).await;
    let publish = |count: usize| {
        let batch = vec![json!({"to": "user:1", "message": "x"}); count];
        send(server.request(Method::POST, "/v1/notifications/batch").json(&batch))
    };
    let once = || {
        let request = server.request(Method::POST, "/v1/broadcast").header("idempotency-key", "k");
        send(request.json(&json!({"message": "x"})))
    };
    let allowed = "this server key may publish 3 at once, then 3 a minute";
    assert_eq!(once().await.status(), 201);
    let wait = refused(publish(3).await, allowed).await;
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(publish(2).await.status(), 200);
    let text = json!({"message": "x"});
    for path in ["/v1/users/1/notifications", "/v1/topics/t/notifications", "/v1/broadcast"] {
        refused(send(server.request(Method::POST, path).json(&text)).await, allowed).await;
    }
    assert_eq!(once().await.headers()["idempotent-replayed"], "true", "what is not done again costs nothing");
    let too_many: Value = publish(4).await.json().await.unwrap();
    assert_eq!(
        (&too_many["code"], &too_many["detail"]),
        (&json!("batch_size"), &json!("a batch must have 1 to 3 items"))
    );
    let wanted = json!({"name": "otra", "scopes": ["publish:everyone"]});
    let made: Value = send(server.request(Method::POST, "/v1/keys").json(&wanted)).await.json().await.unwrap();
    let other = server.anonymous(Method::POST, "/v1/broadcast").bearer_auth(made["key"].as_str().unwrap());
    assert_eq!(send(other.json(&text)).await.status(), 201);
    server.stop().await;
}

/// Mutants: count nobody; count a server key as the user for whom it asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_changes_so_much_and_another_user_or_a_server_key_as_much_again() {
    let server = TestServer::start_with(|config| {
        config.tokens = Some(tokens(SECRET));
        config.limits.writes = few(3);
    })
    .await;
    let id = server.publish("user:1", "hola").await;
    let of = async |user: &str| -> String {
        let asked = server.request(Method::POST, "/v1/tokens").json(&json!({"user_id": user}));
        let made: Value = send(asked).await.json().await.unwrap();
        made["token"].as_str().unwrap().to_owned()
    };
    let (one, two) = (of("1").await, of("2").await);
    let read = json!({"read": true});
    let item = format!("/v1/inbox/{id}");
    let changes = [
        (Method::PATCH, item.as_str(), &read),
        (Method::POST, "/v1/inbox/read-all", &json!({})),
        (Method::POST, "/v1/inbox/seen", &json!({})),
        (Method::POST, "/v1/inbox/bulk", &json!({"ids": [id], "set": read})),
        (Method::PUT, "/v1/inbox/preferences", &json!({"muted": []})),
    ];
    let change = |token: &str, number: usize| {
        let (method, path, body) = changes[number % changes.len()].clone();
        server.anonymous(method, path).bearer_auth(token).json(body)
    };
    for number in 0..3 {
        assert_eq!(send(change(&one, number)).await.status(), 200, "{number}");
    }
    let allowed = "a user may change something 3 at once, then 3 a minute";
    for number in 0..changes.len() {
        let wait = refused(send(change(&one, number)).await, allowed).await;
        assert!((1..=20).contains(&wait), "{wait}");
    }
    let form = server.anonymous(Method::POST, &format!("/?access_token={one}")).header("sec-fetch-site", "same-origin");
    let form = form.header("content-type", "application/x-www-form-urlencoded").body(format!("id={id}&read=true"));
    refused(send(form).await, allowed).await;
    let looked = server.anonymous(Method::GET, "/v1/inbox").bearer_auth(&one);
    assert_eq!(send(looked).await.status(), 200, "whoever only looks is not counted");
    let ticket = server.anonymous(Method::POST, "/v1/stream/tickets").bearer_auth(&one);
    assert_eq!(send(ticket).await.status(), 201, "a ticket changes nothing");
    for number in 1..4 {
        assert_eq!(send(change(&two, number)).await.status(), 200, "another user, {number}");
    }
    for number in 0..8 {
        let by_key = server.request(Method::PATCH, &format!("{item}?user_id=1")).json(&read);
        assert_eq!(send(by_key).await.status(), 200, "a server key, {number}");
    }
    server.stop().await;
}

/// Mutant: a token all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_a_member_of_so_many_topics_and_of_a_list_of_all_or_none() {
    let server = TestServer::start_with(|config| {
        config.limits.topics_per_user = 3;
        config.tokens = Some(tokens(SECRET));
    })
    .await;
    let path = |topic: &str| format!("/v1/topics/{topic}/subscribers/1");
    let join = async |topic: &str| send(server.request(Method::PUT, &path(topic))).await;
    let token = async |topics: &[&str]| {
        send(server.request(Method::POST, "/v1/tokens").json(&json!({"user_id": "1", "topics": topics}))).await
    };
    assert_eq!(join("a").await.status(), 201);
    let refused = token(&["b", "c", "d"]).await;
    assert_eq!(refused.status(), 409);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["code"], "too_many_topics");
    assert!(
        refused["token"].is_null() && refused["detail"].as_str().unwrap().contains("3 topics at most"),
        "{refused}"
    );
    let members: Value = send(server.request(Method::GET, "/v1/topics/b/subscribers")).await.json().await.unwrap();
    assert_eq!(members["data"], json!([]), "of none of them");
    assert_eq!(token(&["a", "b", "c"]).await.status(), 201);
    assert_eq!(join("d").await.status(), 409);
    assert_eq!(join("c").await.status(), 204);
    assert_eq!(send(server.request(Method::DELETE, &path("a"))).await.status(), 204);
    assert_eq!(join("d").await.status(), 201);
    server.stop().await;
}

/// Mutant: as many as come.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_so_many_streams_and_the_next_is_asked_to_come_back() {
    let server = TestServer::start_with(|config| config.limits.streams_per_user = 2).await;
    let mut tabs = [server.tab("1").await, server.tab("1").await];
    for tab in &mut tabs {
        tab.expect("hello").await;
    }
    is_sent_away(send(server.anonymous(Method::GET, "/v1/stream?user_id=1")).await).await;
    let polled = send(server.anonymous(Method::GET, "/v1/stream?user_id=1&poll=1")).await;
    let polled: Value = polled.json().await.unwrap();
    assert!(polled["data"] == json!([]) && polled["retry_ms"].is_u64(), "{polled}");
    assert_eq!(refused_streams(&server, "user").await, "2");
    server.tab("2").await.expect("hello").await;
    let [gone, mut stays] = tabs;
    drop(gone);
    let again = async {
        loop {
            let mut tab = server.tab("1").await;
            // That the other is gone may come a moment later.
            if tab.event().await.is_some_and(|event| event.event.as_deref() == Some("hello")) {
                return tab;
            }
        }
    };
    let mut again = within(again).await;
    server.publish("user:1", "hola").await;
    assert_eq!((again.message().await, stays.message().await), ("hola".into(), "hola".into()));
    server.stop().await;
}

/// Mutants: no shares; a share for all together; more than a share is an empty answer.
#[tokio::test(flavor = "multi_thread")]
async fn who_polls_more_than_a_share_is_told_so_and_nobody_else_notices() {
    let server = behind_a_proxy(|limits| limits.connections_max = Some(32)).await;
    let poll = |user: &str, wait: &str| {
        server.anonymous(Method::GET, &format!("/v1/stream?user_id={user}&poll=1&wait={wait}"))
    };
    let by_key = |user: &str, wait: &str| poll(user, wait).bearer_auth(crate::server::KEY);
    let from = |address: &str, user: &str, wait: &str| poll(user, wait).header("x-forwarded-for", address);
    let mut waiting = Vec::new();
    for user in ["1", "2"] {
        // Without a credential, and without an address: who is named is counted.
        waiting.push(tokio::spawn(send(poll(user, "50s"))));
    }
    for _ in 0..4 {
        waiting.push(tokio::spawn(send(by_key("3", "50s"))));
        waiting.push(tokio::spawn(send(from("203.0.113.7", "4", "50s"))));
    }
    for (user, polls) in [("1", 1), ("2", 1), ("3", 4), ("4", 4)] {
        let path = format!("/v1/users/{user}/connections");
        let connections = async || -> usize {
            let there: Value = send(server.request(Method::GET, &path)).await.json().await.unwrap();
            there["data"].as_array().unwrap().len()
        };
        within(async { while connections().await < polls {} }).await;
    }
    for (over, whose) in [
        (poll("1", "50s"), "a user may have 1 polls at once"),
        (by_key("5", "0s"), "a server key may have 4 polls at once"),
        (from("203.0.113.7", "5", "0s"), "an address may have 4 polls at once"),
    ] {
        assert_eq!(refused(send(over).await, whose).await, 5);
    }
    for others in [poll("5", "0s"), from("203.0.113.8", "4", "0s")] {
        let polled: Value = send(others).await.json().await.unwrap();
        assert!(polled["cursor"].is_string() && polled["retry_ms"].is_null(), "{polled}");
    }
    server.publish("everyone", "hola").await;
    for poll in waiting {
        let polled: Value = within(poll).await.unwrap().json().await.unwrap();
        assert_eq!(polled["data"][0]["data"]["message"], "hola", "{polled}");
    }
    for again in [poll("1", "0s"), by_key("5", "0s"), from("203.0.113.7", "5", "0s")] {
        assert_eq!(send(again).await.status(), 200, "there is room again");
    }
    server.stop().await;
}

/// A server behind a proxy on this machine.
async fn behind_a_proxy(change: impl FnOnce(&mut pregon::config::Limits)) -> TestServer {
    TestServer::start_with(|config| {
        config.limits.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        change(&mut config.limits);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn from_an_address_come_so_many_streams() {
    let server = behind_a_proxy(|limits| limits.streams_per_address = Some(2)).await;
    let stream = |user: u32, forwarded_for: &str| {
        let request = server.anonymous(Method::GET, &format!("/v1/stream?user_id={user}"));
        send(request.header("x-forwarded-for", forwarded_for))
    };
    let mut tabs = Vec::new();
    for user in 0..2 {
        tabs.push(Tab::of(stream(user, "203.0.113.7").await));
    }
    is_sent_away(stream(2, "203.0.113.7").await).await;
    is_sent_away(stream(2, "198.51.100.1, 203.0.113.7").await).await;
    assert_eq!(refused_streams(&server, "address").await, "2");
    tabs.push(Tab::of(stream(2, "203.0.113.8").await));
    // Those of this machine are not counted.
    for user in 0..3 {
        tabs.push(server.tab(&user.to_string()).await);
    }
    for tab in &mut tabs {
        tab.expect("hello").await;
    }
    drop(tabs.swap_remove(0));
    let again = async {
        loop {
            let mut tab = Tab::of(stream(2, "203.0.113.7").await);
            if tab.event().await.is_some_and(|event| event.event.as_deref() == Some("hello")) {
                return;
            }
        }
    };
    within(again).await;
    server.stop().await;
}

/// Mutant: whatever is refused is a guess.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_for_what_it_says_is_no_guess() {
    let server = TestServer::start_with(|config| {
        config.limits.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.limits.failed_logins = few(1);
        config.tokens = Some(tokens(SECRET));
    })
    .await;
    let ask = |token: String| {
        let request = server.anonymous(Method::GET, "/v1/inbox").bearer_auth(token);
        send(request.header("x-forwarded-for", "203.0.113.7"))
    };
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signed = |algorithm: Algorithm, claims: &Value| encode(&Header::new(algorithm), claims, &key).unwrap();
    let soon = jiff::Timestamp::now().as_second() + 60;
    for wrong in [
        json!({"sub": "1", "exp": "soon"}),
        json!({"sub": "1", "exp": [soon]}),
        json!({"sub": "1", "exp": 1.5}),
        json!({"sub": "1", "exp": 1e300}),
        json!({"sub": 1.5, "exp": soon}),
        json!({"sub": "1", "exp": soon, "iss": ["x"]}),
        json!({"sub": "1", "exp": soon, "iat": {"at": soon}}),
        json!({"exp": soon}),
        json!({}),
    ] {
        assert_eq!(ask(signed(Algorithm::HS256, &wrong)).await.status(), 401, "{wrong}");
    }
    let good = json!({"sub": "1", "exp": soon});
    assert_eq!(ask(signed(Algorithm::HS384, &good)).await.status(), 401, "another algorithm");
    assert_eq!(ask("not.a.token".into()).await.status(), 401, "not a token at all");
    let with_fractions = json!({"sub": "1", "exp": 4_102_444_800.5, "nbf": 1.5, "iat": 1.5});
    assert_eq!(ask(signed(Algorithm::HS256, &with_fractions)).await.status(), 200);
    let forged = encode(&Header::default(), &good, &EncodingKey::from_secret(b"another secret")).unwrap();
    assert_eq!(ask(forged).await.status(), 401);
    let allowed = "too many credentials from this address were wrong: 1 at once, then 1 a minute";
    refused(ask(signed(Algorithm::HS256, &good)).await, allowed).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_so_many_wrong_credentials_from_an_address_none_is_looked_at() {
    let server = behind_a_proxy(|limits| limits.failed_logins = few(3)).await;
    let ask = |path: &str, credential: &str, forwarded_for: &str| {
        let request = server.anonymous(Method::GET, path).bearer_auth(credential);
        send(request.header("x-forwarded-for", forwarded_for))
    };
    let (guess, key, hers) = ("pregon_sk_is_it_this_one", crate::server::KEY, "203.0.113.7");
    for _ in 0..3 {
        assert_eq!(ask("/v1/keys", key, hers).await.status(), 200, "what is right costs nothing");
        assert_eq!(ask("/v1/keys", guess, hers).await.status(), 401);
    }
    let allowed = "too many credentials from this address were wrong: 3 at once, then 3 a minute";
    let wait = refused(ask("/v1/keys", key, hers).await, allowed).await;
    assert!((1..=20).contains(&wait), "{wait}");
    for path in ["/v1/inbox?user_id=1", "/metrics"] {
        refused(ask(path, key, hers).await, allowed).await;
    }
    // On a stream it is no error: a browser would give up for good.
    is_sent_away(ask("/v1/stream?user_id=1", key, hers).await).await;
    let polled: Value = ask("/v1/stream?user_id=1&poll=1", key, hers).await.json().await.unwrap();
    assert!(polled["retry_ms"].is_u64(), "{polled}");
    // Nobody else notices, nor who needs no credential.
    assert_eq!(ask("/v1/keys", key, "203.0.113.8").await.status(), 200);
    assert_eq!(send(server.request(Method::GET, "/v1/keys")).await.status(), 200);
    let open = server.anonymous(Method::GET, "/v1/inbox?user_id=1").header("x-forwarded-for", hers);
    assert_eq!(send(open).await.status(), 200);
    server.stop().await;
}
