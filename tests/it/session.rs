//! Browsers: a token in a cookie, and tickets for streams.

use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::server::{Tab, TestServer, tokens, within};

const SECRET: &str = "a secret of at least thirty-two bytes";

async fn server() -> TestServer {
    TestServer::start_with(|config| {
        config.open_user_id = false;
        config.tokens = Some(tokens(SECRET));
    })
    .await
}

async fn token(server: &TestServer, user: &str) -> String {
    let made = server.request(Method::POST, "/v1/tokens").json(&json!({"user_id": user})).send().await.unwrap();
    made.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned()
}

/// Status and code.
async fn outcome(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let problem: Value = response.json().await.unwrap_or_default();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_reads_and_changes_only_from_our_own_pages() {
    let server = server().await;
    let id = server.publish("user:1", "hola").await;
    let request = server.anonymous(Method::POST, "/v1/session").bearer_auth(token(&server, "1").await);
    let begun = request.send().await.unwrap();
    let set = begun.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    assert!(set.starts_with("pregon=ey") && set.contains("; HttpOnly; SameSite=Lax; Path=/; Max-Age=3"), "{set}");
    assert!(!set.contains("Secure"), "the browser is on this machine: {set}");
    assert_eq!(begun.json::<Value>().await.unwrap()["user_id"], "1");
    let cookie = set.split(';').next().unwrap().to_owned();

    let with_cookie = |method: Method, path: &str| server.anonymous(method, path).header(COOKIE, &cookie);
    let inbox: Value = with_cookie(Method::GET, "/v1/inbox").send().await.unwrap().json().await.unwrap();
    assert_eq!(inbox["data"][0]["id"], id);
    let page = with_cookie(Method::GET, "/").send().await.unwrap().text().await.unwrap();
    assert!(page.contains(&id), "the page is hers without her name in the address");
    let mut tab = Tab::of(within(with_cookie(Method::GET, "/v1/stream").send()).await.unwrap());
    tab.expect("hello").await;
    assert_eq!(outcome(with_cookie(Method::GET, "/v1/inbox?user_id=2").send().await.unwrap()).await.0, 403);

    // Every route that changes something of a user's, and every way in which a browser says that it was not our page.
    let item = format!("/v1/inbox/{id}");
    let origin = server.url.clone();
    for (method, path) in [
        (Method::PATCH, item.as_str()),
        (Method::POST, "/v1/inbox/read-all"),
        (Method::POST, "/v1/inbox/seen"),
        (Method::POST, "/v1/inbox/bulk"),
        (Method::PUT, "/v1/inbox/preferences"),
        (Method::POST, "/v1/stream/tickets"),
        (Method::DELETE, "/v1/session"),
        (Method::POST, "/"),
    ] {
        for (name, value) in [
            ("x-nothing", "said"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
        ] {
            let body = json!({"read": true});
            let response = with_cookie(method.clone(), path).header(name, value).json(&body).send().await.unwrap();
            assert_eq!(outcome(response).await, refused(403, "cross_site"), "{method} {path} {name}: {value}");
        }
    }
    for (name, value) in [("sec-fetch-site", "same-origin"), ("origin", origin.as_str())] {
        let body = json!({"read": name != "origin"});
        let response = with_cookie(Method::PATCH, &item).header(name, value).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 200, "{name}: {value}");
    }
    // Only the two last have changed anything.
    assert_eq!(tab.expect("state").await["set"]["read"], true);
    assert_eq!(tab.expect("state").await["set"]["read"], false);
    let end = with_cookie(Method::DELETE, "/v1/session").header("sec-fetch-site", "same-origin");
    let ended = end.send().await.unwrap();
    assert_eq!(ended.status(), 204);
    let set = ended.headers()[SET_COOKIE].to_str().unwrap();
    assert!(set.starts_with("pregon=;") && set.contains("Max-Age=0"), "{set}");
    server.stop().await;
}

/// Where anybody may name a user, a form of a page elsewhere could mark what is hers: a browser sends it without asking.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_the_page_is_taken_from_the_page_alone() {
    let server = TestServer::start().await;
    let id = server.publish("user:1", "x").await;
    let form = |headers: &[(&str, &str)], body: &str| {
        let mut request = server.anonymous(Method::POST, "/?user_id=1&lang=en");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.header("content-type", "application/x-www-form-urlencoded").body(body.to_owned()).send()
    };
    let read = format!("id={id}&read=true");
    for headers in [&[][..], &[("sec-fetch-site", "cross-site")], &[("origin", "https://evil.example")]] {
        let response = form(headers, &read).await.unwrap();
        assert_eq!(outcome(response).await, refused(403, "cross_site"), "{headers:?}");
    }
    let counts = async || {
        let answer = server.anonymous(Method::GET, "/v1/inbox/counts?user_id=1").send().await.unwrap();
        answer.json::<Value>().await.unwrap()["unread"].clone()
    };
    assert_eq!(counts().await, 1);

    let ours = [("sec-fetch-site", "same-origin")];
    for wrong in ["", "id=x&read=true", &format!("id={id}"), &format!("id={id}&seen=true")] {
        let response = form(&ours, wrong).await.unwrap();
        assert_eq!(outcome(response).await, refused(422, "invalid_request"), "{wrong}");
    }
    // The answer leads back to the same view.
    let done = form(&ours, &read).await.unwrap();
    assert_eq!((done.status().as_u16(), done.url().query()), (200, Some("user_id=1&lang=en")));
    assert!(done.text().await.unwrap().contains(&id));
    assert_eq!(counts().await, 0);
    let gone = "id=01a20cb5-116e-716b-aa33-fad3da96c4bc&read=true";
    assert_eq!(form(&ours, gone).await.unwrap().status(), 200, "the view says it well enough");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_elsewhere_is_for_secure_connections_and_holds_users_only() {
    let server = server().await;
    let begin = |credential: String, host: &'static str| {
        server.anonymous(Method::POST, "/v1/session").header("host", host).bearer_auth(credential).send()
    };
    let hers = token(&server, "1").await;
    let response = begin(hers.clone(), "notify.example").await.unwrap();
    let set = response.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    assert!(set.starts_with("__Host-pregon=ey") && set.contains("; Secure"), "{set}");
    let with = |cookie: String| {
        server.anonymous(Method::GET, "/v1/inbox/counts").header("host", "notify.example").header(COOKIE, cookie).send()
    };
    assert_eq!(with(set.split(';').next().unwrap().to_owned()).await.unwrap().status(), 200);
    // What a neighbour in the domain can set is not looked at.
    let tossed = with(format!("pregon={hers}")).await.unwrap();
    assert_eq!(outcome(tossed).await, refused(401, "credential_missing"));
    let broken = with("__Host-pregon=a.b.c".into()).await.unwrap();
    assert_eq!(outcome(broken).await, refused(401, "token_invalid"));
    let key = crate::server::KEY.to_owned();
    assert_eq!(outcome(begin(key.clone(), "notify.example").await.unwrap()).await, refused(403, "forbidden"));
    assert_eq!(outcome(with(format!("__Host-pregon={key}")).await.unwrap()).await, refused(401, "token_invalid"));
    let nobody = server.anonymous(Method::POST, "/v1/session").send().await.unwrap();
    assert_eq!(outcome(nobody).await, refused(401, "credential_missing"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_stream_and_no_more() {
    let server = server().await;
    let hers = token(&server, "1").await;
    let ask = server.anonymous(Method::POST, "/v1/stream/tickets").bearer_auth(&hers).send().await.unwrap();
    assert_eq!(ask.status(), 201);
    let made: Value = ask.json().await.unwrap();
    assert_eq!(made["user_id"], "1");
    let path = format!("/v1/stream?ticket={}", made["ticket"].as_str().unwrap());
    let mut tab = server.tab_at(&path, None).await;
    tab.expect("hello").await;
    server.publish("user:1", "uno").await;
    assert_eq!(tab.message().await, "uno");
    let cursor = tab.cursor.clone().unwrap();
    let again = server.anonymous(Method::GET, &path).send().await.unwrap();
    assert_eq!(outcome(again).await, refused(401, "ticket_invalid"));
    // Whoever comes back has another one, and misses nothing.
    server.publish("user:1", "dos").await;
    let named = server.request(Method::POST, "/v1/stream/tickets?user_id=1").send().await.unwrap();
    let made: Value = named.json().await.unwrap();
    let ticket = made["ticket"].as_str().unwrap();
    let of_another =
        server.anonymous(Method::GET, &format!("/v1/stream?user_id=2&ticket={ticket}")).send().await.unwrap();
    assert_eq!(of_another.status(), 403);
    let named = server.request(Method::POST, "/v1/stream/tickets?user_id=1").send().await.unwrap();
    let made: Value = named.json().await.unwrap();
    let path = format!("/notifications?ticket={}&last_event_id={cursor}", made["ticket"].as_str().unwrap());
    let mut tab = server.tab_at(&path, None).await;
    tab.expect("hello").await;
    assert_eq!(tab.message().await, "dos");
    // It opens nothing but streams.
    let ticket = server.anonymous(Method::POST, "/v1/stream/tickets").bearer_auth(&hers).send().await.unwrap();
    let made: Value = ticket.json().await.unwrap();
    let inbox = format!("/v1/inbox?ticket={}", made["ticket"].as_str().unwrap());
    let inbox = server.anonymous(Method::GET, &inbox).send().await.unwrap();
    assert_eq!(outcome(inbox).await, refused(401, "credential_missing"));
    server.stop().await;
}

/// Mutant: the wait of a poll is not looked at before its ticket is used up.
#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_is_shown_where_no_stream_begins_can_still_be_used() {
    let server = TestServer::start_with(|config| {
        config.open_user_id = false;
        config.tokens = Some(tokens(SECRET));
        config.limits.streams_per_user = 1;
        config.limits.connections_max = Some(32);
    })
    .await;
    let hers = token(&server, "1").await;
    let made = server.anonymous(Method::POST, "/v1/stream/tickets").bearer_auth(&hers).send().await.unwrap();
    let made: Value = made.json().await.unwrap();
    let path = format!("/v1/stream?ticket={}", made["ticket"].as_str().unwrap());
    let show = |rest: &str| within(server.anonymous(Method::GET, &format!("{path}{rest}")).send());
    for (rest, status) in [("&user_id=2", 403), ("&since=never", 400), ("&poll=maybe", 400), ("&poll=1&wait=soon", 400)]
    {
        for _ in 0..2 {
            assert_eq!(show(rest).await.unwrap().status(), status, "{rest}");
        }
    }
    // A user may have one poll at once here, and one stream.
    let poll = server.anonymous(Method::GET, "/v1/stream?poll=1&wait=50s").bearer_auth(&hers);
    let poll = tokio::spawn(poll.send());
    let connections = async || -> usize {
        let there = server.request(Method::GET, "/v1/users/1/connections").send().await.unwrap();
        there.json::<Value>().await.unwrap()["data"].as_array().unwrap().len()
    };
    within(async { while connections().await == 0 {} }).await;
    for _ in 0..2 {
        assert_eq!(outcome(show("&poll=1").await.unwrap()).await, refused(429, "rate_limited"));
        let sent_away = show("").await.unwrap();
        assert_eq!(sent_away.status(), 200);
        assert!(within(sent_away.text()).await.unwrap().starts_with("retry: "));
    }
    server.publish("user:1", "uno").await;
    assert_eq!(within(poll).await.unwrap().unwrap().status(), 200);
    server.tab_at(&path, None).await.expect("hello").await;
    assert_eq!(outcome(show("").await.unwrap()).await, refused(401, "ticket_invalid"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_topics_makes_her_a_member() {
    let server = server().await;
    let body = json!({"user_id": "1", "topics": ["pedidos", "avisos", "pedidos"]});
    let made = server.request(Method::POST, "/v1/tokens").json(&body).send().await.unwrap();
    assert_eq!(made.status(), 201);
    let token = made.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    server.publish("topic:pedidos", "uno").await;
    let mut tab = server.tab_at(&format!("/v1/stream?access_token={token}&since=earliest"), None).await;
    tab.expect("hello").await;
    assert_eq!(tab.message().await, "uno");
    server.publish("topic:avisos", "dos").await;
    assert_eq!(tab.message().await, "dos");
    let left = server.request(Method::DELETE, "/v1/topics/avisos/subscribers/1").send().await.unwrap();
    assert_eq!(left.status(), 204);
    server.publish("topic:avisos", "tres").await;
    server.publish("topic:pedidos", "cuatro").await;
    assert_eq!(tab.message().await, "cuatro", "a membership ends whatever tokens are about");
    server.stop().await;
}
