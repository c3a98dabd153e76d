//! What a browser sends by itself, without a credential, and tokens in addresses: neither is anybody else's to use.

use reqwest::header::{LOCATION, SET_COOKIE};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::openapi::routed;
use crate::server::{TestServer, tokens, within};

/// Whoever may name anybody is not asked for a credential, and neither is a page of the web that her browser shows.
#[tokio::test(flavor = "multi_thread")]
async fn no_page_elsewhere_changes_anything_where_no_credential_is_needed() {
    let server = TestServer::start().await;
    let id = server.publish("user:1", "hola").await;
    let ask = async |method: &str, route: &str, (name, value): (&str, &str)| -> Response {
        let path = route.replace("{user}", "1").replace("{topic}", "t").replace("{id}", &id);
        let path = format!("{}?user_id=1", path.replace(['{', '}', '*'], ""));
        let request = server.anonymous(method.to_uppercase().parse().unwrap(), &path).header(name, value);
        // What each would do, if it were let.
        let body = match route {
            "/v1/inbox/bulk" => json!({"ids": [id], "set": {"read": true}}),
            "/v1/inbox/preferences" => json!({"muted": ["x"]}),
            "/v1/inbox/{id}" => json!({"read": true}),
            _ => json!({"up_to": id}),
        };
        within(request.json(&body).send()).await.unwrap()
    };
    let mut refused = Vec::new();
    for (method, route) in routed().into_iter().filter(|(method, _)| *method != "get") {
        for from in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
            ("origin", "https://evil.example"),
            ("origin", "http://127.0.0.1.evil.example"),
            ("origin", "null"),
        ] {
            let status = ask(method, &route, from).await.status().as_u16();
            // Without a server key the back end's own operations do nothing, whoever asks.
            assert!([401, 403].contains(&status), "{method} {route} {from:?}: {status}");
            if status == 403 {
                refused.push(format!("{method} {route}"));
            }
        }
    }
    refused.dedup();
    assert!(refused.len() >= 8, "{refused:?}");
    let counts = async || -> Value {
        let answer = server.anonymous(Method::GET, "/v1/inbox/counts?user_id=1").send().await.unwrap();
        answer.json().await.unwrap()
    };
    assert_eq!(counts().await["unread"], 1, "nothing has been marked");

    // A client that is no browser says nothing of pages; and the server's own page may do it.
    for from in [("x-nothing", "said"), ("sec-fetch-site", "same-origin"), ("origin", server.url.as_str())] {
        for operation in &refused {
            let (method, route) = operation.split_once(' ').unwrap();
            let answer = ask(method, route, from).await;
            // A form is taken from the page alone, and wants a form.
            let is_form = route == "/";
            assert!(is_form || answer.status().is_success(), "{operation} {from:?}: {}", answer.status());
        }
    }
    assert_eq!(counts().await["unread"], 0);
    server.stop().await;
}

/// A page whose address has a token in it: nothing of what is answered repeats it but the cookie.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_address_of_the_page_is_repeated_nowhere() {
    let mut server = TestServer::start_with(|config| {
        config.open_user_id = false;
        config.tokens = Some(tokens("a secret of at least thirty-two bytes"));
    })
    .await;
    for number in 0..60 {
        server.publish("user:1", &number.to_string()).await;
    }
    server.use_client(reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap());
    let token = async |user: &str| {
        let made = server.request(Method::POST, "/v1/tokens").json(&json!({"user_id": user})).send().await.unwrap();
        made.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned()
    };
    let (hers, of_another) = (token("1").await, token("2").await);
    let get = |path: &str, headers: &[(&str, &str)]| {
        let mut request = server.anonymous(Method::GET, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send()
    };
    let browser = ("sec-fetch-site", "cross-site");
    let address = format!("/?lang=en&access_token={hers}&status=unread");

    // A browser gets the cookie, and goes on where the address has no token.
    let led = get(&address, &[browser]).await.unwrap();
    assert_eq!((led.status().as_u16(), &led.headers()[LOCATION]), (303, &"?lang=en&status=unread".parse().unwrap()));
    let cookie = led.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(cookie, format!("pregon={hers}"));
    // There every link works without a script and without a token.
    let page = get("/?lang=en&status=unread", &[browser, ("cookie", &cookie)]).await.unwrap().text().await.unwrap();
    let links: Vec<&str> = page.split("href=\"?").skip(1).map(|link| link.split('"').next().unwrap()).collect();
    assert!(links.len() >= 5, "{links:?}");
    for link in links {
        let followed =
            get(&format!("/?{}", link.replace("&amp;", "&")), &[browser, ("cookie", &cookie)]).await.unwrap();
        assert_eq!(followed.status(), 200, "{link}");
        assert!(followed.text().await.unwrap().contains("<bdi>1</bdi>"), "{link}");
    }
    // So does a form, which needs the page's own origin.
    let form =
        server.anonymous(Method::POST, "/?lang=en").header("cookie", &cookie).header("sec-fetch-site", "same-origin");
    let done =
        form.body(format!("id={}&read=true", page.split("data-id=\"").nth(1).unwrap().split('"').next().unwrap()));
    assert_eq!(done.send().await.unwrap().headers()[LOCATION], "?lang=en");

    // Where no cookie would be kept, or another user has the session, the page is shown at once, without the token in it.
    let session = format!("pregon={of_another}");
    for headers in [&[][..], &[browser, ("cookie", session.as_str())], &[browser, ("authorization", "Bearer x")]] {
        let shown = get(&address, headers).await.unwrap();
        assert!(shown.headers().get(SET_COOKIE).is_none_or(|set| !set.to_str().unwrap().starts_with("pregon=")));
        let text = format!("{:?}{}", shown.headers().clone(), shown.text().await.unwrap());
        assert!(!text.contains(&hers), "{headers:?}: {text}");
    }
    let form = server.anonymous(Method::POST, &address).header("sec-fetch-site", "same-origin").body("id=x&read=true");
    let wrong = form.send().await.unwrap();
    assert!(!format!("{:?}{}", wrong.headers().clone(), wrong.text().await.unwrap()).contains(&hers));
    server.stop().await;
}
