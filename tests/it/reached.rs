//! How a browser has reached the server, as proxies and browsers say it: what its cookie is like then, and what is nobody's affair
//! here.

use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use url::{Position, Url};

use crate::proxies::{Care, Proxy};
use crate::server::{Tab, TestServer, within};

async fn server(public_url: Option<&str>, trusted_proxy: Option<&str>) -> TestServer {
    let public_url = public_url.map(|url| url.parse().unwrap());
    let trusted: Vec<_> = trusted_proxy.into_iter().map(|network| network.parse().unwrap()).collect();
    TestServer::start_with(move |config| {
        config.open_user_id = false;
        config.public_url = public_url;
        config.limits.trusted_proxies = trusted;
    })
    .await
}

async fn token(server: &TestServer) -> String {
    let made = within(server.request(Method::POST, "/v1/tokens").json(&json!({"user_id": "1"})).send()).await.unwrap();
    made.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned()
}

fn with(mut request: RequestBuilder, headers: &[(&str, &str)]) -> RequestBuilder {
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
}

/// Status, code, and the cookie that is set.
async fn outcome(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    let cookie = response.headers().get(SET_COOKIE).map_or("", |value| value.to_str().unwrap()).to_owned();
    let body: Value = response.json().await.unwrap_or_default();
    (status, body["code"].as_str().unwrap_or_default().to_owned(), cookie)
}

const NGINX: (&str, &str) = ("host", "127.0.0.1:8000");
const SHOP: (&str, &str) = ("origin", "https://shop.example");
const LAN: (&str, &str) = ("origin", "http://10.0.0.7:8000");

/// Behind nginx, `Host` is what `proxy_pass` says unless it is told otherwise. Mutants: `Host` decides; `X-Forwarded-Proto` counts
/// whoever sends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_for_secure_connections_as_the_browser_is_connected_whatever_host_says() {
    let (https, http) = (("x-forwarded-proto", "https"), ("x-forwarded-proto", "http"));
    let secure = |cookie: &str| cookie.starts_with("__Host-pregon=ey") && cookie.contains("; Secure; Path=/;");
    let plain = |cookie: &str| cookie.starts_with("pregon=ey") && !cookie.contains("Secure");
    for (public_url, trusted, headers, wanted) in [
        (None, None, &[NGINX, SHOP][..], Some(true)),
        (None, None, &[NGINX, ("origin", "http://localhost:8000")], Some(false)),
        (None, None, &[NGINX], Some(false)),
        (None, None, &[NGINX, https], Some(true)),
        (None, None, &[NGINX, http, SHOP], Some(true)),
        (None, None, &[NGINX, ("x-forwarded-for", "203.0.113.9")], Some(true)),
        (None, None, &[NGINX, LAN], None),
        (None, None, &[("host", "10.0.0.7:8000"), LAN], None),
        (None, Some("127.0.0.0/8"), &[NGINX, https], Some(true)),
        (None, Some("127.0.0.0/8"), &[NGINX, http], None),
        (None, Some("127.0.0.0/8"), &[NGINX, ("x-forwarded-proto", "https, http")], Some(true)),
        (Some("https://shop.example"), None, &[NGINX], Some(true)),
        (Some("https://shop.example"), None, &[NGINX, LAN], Some(true)),
        (Some("http://10.0.0.7:8000"), None, &[("host", "10.0.0.7:8000"), LAN], Some(false)),
        (None, None, &[NGINX, SHOP, ("sec-fetch-site", "cross-site")], None),
        (None, None, &[NGINX, SHOP, ("sec-fetch-site", "same-site")], Some(true)),
    ] {
        let server = server(public_url, trusted).await;
        let token = token(&server).await;
        let begin = with(server.anonymous(Method::POST, "/v1/session").bearer_auth(&token), headers);
        let (status, code, cookie) = outcome(within(begin.send()).await.unwrap()).await;
        let said = format!("{public_url:?} {trusted:?} {headers:?}: {status} {code} {cookie}");
        match wanted {
            Some(true) => assert!(status == 200 && secure(&cookie), "{said}"),
            Some(false) => assert!(status == 200 && plain(&cookie), "{said}"),
            None => assert!(status == 403 && code == "session_impossible" && cookie.is_empty(), "{said}"),
        }
        if wanted.is_some() {
            // The browser then asks for the stream without an `Origin`, through the same proxy.
            let cookie = cookie.split(';').next().unwrap();
            let same: Vec<_> = headers.iter().filter(|(name, _)| *name != "origin").copied().collect();
            let read = with(server.anonymous(Method::GET, "/v1/stream").header(COOKIE, cookie), &same);
            Tab::of(within(read.send()).await.unwrap()).expect("hello").await;
        }
        server.stop().await;
    }
}

/// Mutant: only `Host` is the server's own origin.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_at_the_public_address_is_of_the_same_origin_whatever_host_says() {
    for (public_url, status) in [(None, 403), (Some("http://10.0.0.7:8000"), 200)] {
        let server = server(public_url, None).await;
        let token = token(&server).await;
        let cookie = format!("pregon={token}; __Host-pregon={token}");
        let mark = server.anonymous(Method::POST, "/v1/inbox/read-all").header(COOKIE, cookie).json(&json!({}));
        assert_eq!(within(with(mark, &[NGINX, LAN]).send()).await.unwrap().status(), status, "{public_url:?}");
        server.stop().await;
    }
}

/// A staging server asks for a password first, and its proxy passes on what the browser has sent. Mutant: any `Authorization` is
/// taken for ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_for_the_proxy_in_front_is_nothing_to_the_server() {
    const BASIC: (&str, &str) = ("authorization", "Basic c3RhZ2luZzpzZWNyZXQ=");
    let server = server(None, None).await;
    let token = token(&server).await;
    let cookie = format!("pregon={token}");
    for (path, cookie) in [
        ("/", cookie.as_str()),
        ("/v1/inbox", &cookie),
        (&format!("/v1/inbox?access_token={token}"), ""),
        (&format!("/v1/stream?poll=1&wait=0s&access_token={token}"), ""),
    ] {
        let request = with(server.anonymous(Method::GET, path).header(COOKIE, cookie), &[BASIC]);
        assert_eq!(within(request.send()).await.unwrap().status(), 200, "{path}");
    }
    let both = with(server.anonymous(Method::GET, "/v1/inbox"), &[BASIC]).bearer_auth(&token);
    assert_eq!(within(both.send()).await.unwrap().status(), 200, "the one that is ours is found");
    // Whoever sends nothing else is told what is wanted.
    for path in ["/v1/inbox?user_id=1", "/v1/keys"] {
        let answer = within(with(server.anonymous(Method::GET, path), &[BASIC]).send()).await.unwrap();
        let (status, code, _) = outcome(answer).await;
        assert_eq!((status, code.as_str()), (401, "credential_malformed"), "{path}");
    }
    server.stop().await;
    let open = TestServer::start().await;
    let page = with(open.anonymous(Method::GET, "/v1/inbox?user_id=1"), &[BASIC]);
    assert_eq!(within(page.send()).await.unwrap().status(), 200, "where nothing is wanted");
    open.stop().await;
}

/// Mutants: the path is not taken away; the cookie, `Location` or `Link` leave it.
#[tokio::test(flavor = "multi_thread")]
async fn under_a_path_all_addresses_stay_below_it_whether_the_proxy_takes_it_away_or_not() {
    let server = server(Some("https://shop.example/notify"), None).await;
    let token = token(&server).await;
    let (mut last, ids) = (String::new(), 2);
    for _ in 0..ids {
        let published = server.request(Method::POST, "/notify/v1/users/1/notifications").body("hola").send();
        let published = within(published).await.unwrap();
        assert_eq!(published.status(), 201);
        last = published.headers()["location"].to_str().unwrap().to_owned();
        assert!(last.starts_with("/notify/v1/notifications/"), "{last}");
        assert_eq!(within(server.request(Method::GET, &last).send()).await.unwrap().status(), 200);
    }
    let page = server.anonymous(Method::GET, "/v1/inbox?limit=1").bearer_auth(&token).send();
    let link = within(page).await.unwrap().headers()["link"].to_str().unwrap().to_owned();
    assert!(link.starts_with("</notify/v1/inbox?limit=1&cursor="), "{link}");
    let begun = server.anonymous(Method::POST, "/notify/v1/session").bearer_auth(&token).send();
    let (status, _, cookie) = outcome(within(begun).await.unwrap()).await;
    assert_eq!(status, 200);
    assert!(cookie.starts_with("__Secure-pregon=ey") && cookie.contains("; Secure; Path=/notify;"), "{cookie}");
    let read = server.anonymous(Method::GET, "/notify?lang=en").header(COOKIE, cookie.split(';').next().unwrap());
    let html = within(within(read.send()).await.unwrap().text()).await.unwrap();
    assert!(html.contains(last.rsplit('/').next().unwrap()), "the page is hers");
    // Whatever the proxy takes away, a browser resolves these below the path.
    for html in
        [html, within(within(server.anonymous(Method::GET, "/docs").send()).await.unwrap().text()).await.unwrap()]
    {
        let attributes = ["href=\"", "src=\"", "action=\"", "server=\"", "spec-url=\""];
        for address in attributes.iter().flat_map(|name| html.split(name).skip(1)) {
            assert!(!address.starts_with('/') && !address.starts_with("&#x2f;"), "{}", &address[..80]);
        }
    }
    let moved = server.anonymous(Method::GET, "/notify/assets/00000000/widget/panel.js").send();
    let moved = within(moved).await.unwrap();
    assert_eq!(moved.status(), 200, "an open bell finds this version's files");
    assert!(moved.url().path().starts_with("/notify/assets/"), "{}", moved.url());
    server.stop().await;
}

/// What a browser loads for a page or a module, resolved as it does.
fn loaded(base: &Url, text: &str) -> Vec<Url> {
    let text = text.replace("&#x2f;", "/");
    let named = ["href=\"", "src=\"", "spec-url=\"", "import \"", " from \""];
    let named = named.iter().flat_map(|name| text.split(name).skip(1)).filter_map(|rest| rest.split('"').next());
    named.filter(|address| !address.starts_with('#')).map(|address| base.join(address).unwrap()).collect()
}

/// Mutant: the address of a file begins at the root.
#[tokio::test(flavor = "multi_thread")]
async fn under_a_path_of_nginx_everything_is_found_that_page_bell_and_docs_load() {
    let mut server = TestServer::start_with(|config| config.public_url = Some("http://pregon".parse().unwrap())).await;
    server.publish("user:1", "hola").await;
    let folder = tempfile::TempDir::new().unwrap();
    let nginx = Proxy::nginx("nginx", Care::Usual, folder.path(), server.address().parse().unwrap()).await;
    server.use_client(reqwest::Client::builder().unix_socket(nginx.http1.clone()).build().unwrap());
    let root = Url::parse(&format!("{}/notify/", server.url)).unwrap();
    let get = |url: &Url| within(server.anonymous(Method::GET, &url[Position::BeforePath..]).send());
    let mut wanted =
        vec![root.join("?user_id=1").unwrap(), root.join("docs").unwrap(), root.join("pregon.js").unwrap()];
    let mut next = 0;
    while let Some(url) = wanted.get(next).cloned() {
        assert!(url.path().starts_with("/notify/"), "{url} is not below the path");
        let answer = get(&url).await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
        let text = within(answer.text()).await.unwrap_or_default();
        if url.path().rsplit('.').next() == Some("js") || next < 3 {
            for found in loaded(&url, &text) {
                if found.origin() == root.origin() && !wanted.contains(&found) && found.query().is_none() {
                    wanted.push(found);
                }
            }
        }
        next += 1;
    }
    assert!(wanted.len() > 30, "{wanted:?}");
    let old = root.join("assets/00000000/widget/panel.js").unwrap();
    let moved = get(&old).await.unwrap();
    assert_eq!(moved.status(), 200, "an open bell finds the files of a later version");
    assert!(moved.url().path().starts_with("/notify/assets/"), "{}", moved.url());
    let mut tab = Tab::of(get(&root.join("notifications?user_id=1").unwrap()).await.unwrap());
    tab.expect("hello").await;
    drop(tab);
    nginx.end().await;
    server.stop().await;
}
