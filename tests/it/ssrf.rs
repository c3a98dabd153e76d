//! Nothing that anybody sends makes the server ask anybody (SSRF): addresses in all forms that have ever fooled a parser, in
//! every place that takes text, and nobody comes to the trap that they lead to.

use std::time::Duration;

use futures_util::StreamExt as _;
use jsonwebtoken::{EncodingKey, Header};
use pregon::auth::tokens::{JwksUrl, LEEWAY_DEFAULT, TokenRules};
use reqwest::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::addresses::forms;
use crate::key_server::{KeyServer, Signer};
use crate::server::{TestServer, tokens, within};

const SECRET: &str = "a secret of at least thirty-two bytes";
/// Requests under way at once.
const AT_ONCE: usize = 32;

/// Waits on this machine, for IPv4 and IPv6 on one port, and answers nobody.
struct Trap {
    listeners: Vec<TcpListener>,
    port: u16,
}

impl Trap {
    async fn set() -> Trap {
        loop {
            let ipv4 = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = ipv4.local_addr().unwrap().port();
            match TcpListener::bind(("::1", port)).await {
                Ok(ipv6) => return Trap { listeners: vec![ipv4, ipv6], port },
                // The port is somebody else's there.
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(_) => return Trap { listeners: vec![ipv4], port },
            }
        }
    }

    /// Whoever comes is kept waiting in the order of arrival, so the first to be let in tells whether others came before.
    async fn assert_untouched(self) {
        for listener in &self.listeners {
            let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (_, first) = within(listener.accept()).await.unwrap();
            assert_eq!(first, ours.local_addr().unwrap(), "somebody has come to the trap");
        }
    }
}

/// Headers that somebody somewhere has taken for an address to ask.
const HEADERS: [&str; 25] = [
    "origin",
    "referer",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-original-url",
    "x-rewrite-url",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "x-wap-profile",
    "profile",
    "via",
    "from",
    "link",
    "destination",
    "content-location",
    "last-event-id",
    "idempotency-key",
    "x-request-id",
    "accept-language",
    "cookie",
    "webhook-origin",
];

const PARAMETERS: [&str; 18] = [
    "user_id",
    "access_token",
    "ticket",
    "lang",
    "since",
    "last_event_id",
    "cursor",
    "category",
    "topic",
    "url",
    "uri",
    "next",
    "redirect",
    "return_to",
    "callback",
    "webhook",
    "jwks_url",
    "issuer",
];

fn header(value: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value.as_bytes()).ok()
}

/// Everything that can be published, with an address in each place in turn.
fn publishing(server: &TestServer, form: &str, id: &str) -> Vec<RequestBuilder> {
    let (mut requests, mut items) = (Vec::new(), Vec::new());
    for extra in [
        json!({"url": form}),
        json!({"icon": form}),
        json!({"actor": {"name": "Ana", "avatar_url": form}}),
        json!({"actions": [{"id": "go", "label": "Ir", "url": form}]}),
        json!({"data": {"url": form, "$ref": form, "@context": form}}),
        json!({"title": form, "i18n": {"en": {"message": form}}}),
        json!({"replaces": form, "category": form}),
        json!({"webhook": form, "callback_url": form}),
    ] {
        let mut fields = json!({"to": "user:1", "message": form});
        fields.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        requests.push(server.request(Method::POST, "/v1/notifications").json(&fields));
        items.push(fields);
    }
    requests.push(server.request(Method::POST, "/v1/notifications/batch").json(&items));
    requests.push(server.request(Method::PATCH, &format!("/v1/notifications/{id}")).json(&json!({"url": form})));
    requests.push(server.request(Method::POST, "/v1/notifications").json(&json!({"to": form, "message": "x"})));
    requests.push(server.request(Method::POST, "/v1/broadcast").body(form.to_owned()));
    for name in ["url", "icon", "title"] {
        let request = server.request(Method::POST, "/v1/users/1/notifications").body("hola");
        requests.extend(header(form).map(|value| request.header(name, value)));
    }
    requests
}

/// Names of users and topics, parameters, and headers.
fn asking(server: &TestServer, form: &str) -> Vec<RequestBuilder> {
    let name: String = url::form_urlencoded::byte_serialize(form.as_bytes()).collect();
    let name = name.replace('+', "%20");
    let mut requests = vec![
        server.request(Method::POST, "/v1/tokens").json(&json!({"user_id": form, "topics": [form]})),
        server.request(Method::PUT, &format!("/v1/topics/{name}/subscribers/{name}")),
        server.request(Method::GET, &format!("/v1/users/{name}/inbox")),
        server.request(Method::PUT, "/v1/inbox/preferences?user_id=2").json(&json!({"muted": [form]})),
        server.anonymous(Method::GET, &format!("/assets/{name}/{name}")),
    ];
    let paths = ["/?user_id=2&", "/v1/inbox?", "/v1/stream?poll=1&wait=0s&", "/v1/inbox?user_id=2&"];
    for (parameter, path) in PARAMETERS.iter().zip(paths.iter().cycle()) {
        requests.push(server.anonymous(Method::GET, &format!("{path}{parameter}={name}")));
    }
    if let Some(value) = header(form) {
        let headers: HeaderMap = HEADERS.iter().map(|name| (HeaderName::from_static(name), value.clone())).collect();
        for path in ["/?user_id=2", "/v1/inbox?user_id=2", "/v1/stream?user_id=2&poll=1&wait=0s", "/docs"] {
            requests.push(server.anonymous(Method::GET, path).headers(headers.clone()));
        }
        requests.push(server.anonymous(Method::GET, "/v1/inbox?user_id=2").header(HOST, value));
    }
    requests
}

/// Tokens that say where a key is, or who has made them, rightly signed and wrongly.
fn signing(server: &TestServer, form: &str, signer: &Signer) -> Vec<RequestBuilder> {
    let soon = jiff::Timestamp::now().as_second() + 600;
    let good = json!({"sub": "2", "exp": soon});
    let fetched = json!({"sub": "2", "exp": soon, "iss": "https://issuer.example"});
    let mut tokens = Vec::new();
    for place in ["jku", "x5u", "kid", "cty", "x5c"] {
        let change = |header: &mut Header| match place {
            "jku" => header.jku = Some(form.to_owned()),
            "x5u" => header.x5u = Some(form.to_owned()),
            "kid" => header.kid = Some(form.to_owned()),
            "cty" => header.cty = Some(form.to_owned()),
            _ => header.x5c = Some(vec![form.to_owned()]),
        };
        let mut header = Header::default();
        change(&mut header);
        for secret in [SECRET, "another secret of at least thirty-two bytes"] {
            tokens.push(jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(secret.as_bytes())).unwrap());
        }
        tokens.push(signer.sign(&fetched, change));
    }
    for claim in ["iss", "aud", "sub", "jti", "azp", "jwks_uri", "jku", "_claim_sources"] {
        let mut claims = fetched.clone();
        claims[claim] = json!(form);
        tokens.push(signer.sign(&claims, |_| {}));
        let secret = EncodingKey::from_secret(SECRET.as_bytes());
        tokens.push(jsonwebtoken::encode(&Header::default(), &claims, &secret).unwrap());
    }
    let ask = |token: &String| server.anonymous(Method::GET, "/v1/inbox/counts").bearer_auth(token);
    tokens.iter().map(ask).collect()
}

/// As a proxy would be asked: with the whole address in the first line, or for a tunnel.
async fn ask_as_a_proxy(server: &TestServer, form: &str, port: u16) {
    let tunnel = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    for line in [
        format!("GET {form} HTTP/1.1\r\nHost: {form}\r\nConnection: close\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Forwarded-Host: {form}\r\nConnection: close\r\n\r\n"),
        tunnel,
    ] {
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        connection.write_all(line.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Answered or cut off: in any case it ends.
        let _ = within(connection.read_to_end(&mut answer)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_sent_makes_the_server_ask_anybody() {
    let (trap, signer) = (Trap::set().await, Signer::new("key"));
    let keys = KeyServer::start(&[&signer]).await;
    let mut issuers = tokens(SECRET).issuers;
    issuers.push(keys.issuer("https://issuer.example"));
    let server = TestServer::start_with(|config| {
        config.tokens = Some(TokenRules { issuers, leeway: LEEWAY_DEFAULT });
        config.cors_origins = vec![format!("http://127.0.0.1:{}", trap.port).parse().unwrap()];
    })
    .await;
    let id = server.publish("user:1", "hola").await;
    let forms = forms(trap.port);
    assert!(forms.len() >= 100);
    let requests = forms.iter().flat_map(|form| {
        let mut requests = publishing(&server, form, &id);
        requests.append(&mut asking(&server, form));
        requests.append(&mut signing(&server, form, &signer));
        requests
    });
    let requests: Vec<RequestBuilder> = requests.collect();
    let count = requests.len();
    // One that can't even be built is not sent; nearly all can be.
    let answers = futures_util::stream::iter(requests).map(|request| async move {
        match within(request.send()).await {
            Ok(answer) => Some(answer.status().as_u16()),
            Err(error) => {
                assert!(error.is_builder(), "{error:?}");
                None
            }
        }
    });
    let answers: Vec<Option<u16>> = answers.buffer_unordered(AT_ONCE).collect().await;
    let answered = |status: fn(u16) -> bool| answers.iter().filter(|answer| answer.is_some_and(status)).count();
    assert_eq!(answered(|status| status >= 500), 0);
    assert!(answered(|_| true) * 100 > count * 95, "{} of {count} were answered", answered(|_| true));
    assert!(answered(|status| status < 300) > forms.len() * 10, "many are harmless, and done");
    for form in &forms {
        ask_as_a_proxy(&server, form, trap.port).await;
    }
    // And what was stored is shown in every way there is.
    for path in ["/?user_id=1", "/v1/inbox?user_id=1&limit=100", "/v1/stream?user_id=1&since=earliest&poll=1&wait=0s"] {
        assert_eq!(server.anonymous(Method::GET, path).send().await.unwrap().status(), 200, "{path}");
    }
    server.stop().await;
    assert_eq!(keys.asked(), 1, "the keys at the start, and never since");
    trap.assert_untouched().await;
}

/// A key server that has fallen into other hands leads nowhere either.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_server_leads_nowhere() {
    let (trap, signer) = (Trap::set().await, Signer::new("key"));
    let mut keys = KeyServer::start(&[&signer]).await;
    let server = TestServer::start_with(|config| {
        config.tokens =
            Some(TokenRules { issuers: vec![keys.issuer("https://issuer.example")], leeway: LEEWAY_DEFAULT });
        config.jwks_refresh = Duration::from_millis(2);
    })
    .await;
    for (number, form) in forms(trap.port).iter().enumerate() {
        let Some(location) = header(form) else { continue };
        keys.redirect([301, 302, 303, 307, 308][number % 5], location);
        keys.taken().await;
        let jwk = json!({"kty": "RSA", "kid": "key", "x5u": form, "jku": form, "n": form, "e": form, "crv": form});
        keys.say(200, json!({"keys": [signer.jwk, jwk], "jwks_uri": form, "next": form}).to_string());
        keys.taken().await;
    }
    let token = signer.token("https://issuer.example", "1");
    let inbox = server.anonymous(Method::GET, "/v1/inbox").bearer_auth(token).send().await.unwrap();
    assert_eq!(inbox.status(), 200, "all the time its own key was good");
    server.stop().await;
    trap.assert_untouched().await;
}

/// What the operator says is asked for: so the trap works. But not where somebody on the way could say what is answered.
#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_alone_says_who_is_asked() {
    let trap = Trap::set().await;
    for form in forms(trap.port) {
        let Ok(url) = form.parse::<JwksUrl>() else { continue };
        assert!(url.url().scheme() == "https" || url.is_loopback(), "{form}");
        assert!(url.url().username().is_empty() && url.url().password().is_none(), "{form}");
    }
    for host in
        ["169.254.169.254", "2852039166", "0xA9FEA9FE", "[::ffff:a9fe:a9fe]", "metadata.google.internal", "10.0.0.1"]
    {
        assert!(format!("http://{host}/").parse::<JwksUrl>().is_err(), "{host}");
    }
    let issuer = KeyServer::start(&[]).await.issuer("https://issuer.example");
    let jwks_url = Some(format!("http://127.1:{}/keys", trap.port).parse().unwrap());
    let issuers = vec![pregon::auth::tokens::Issuer { jwks_url, ..issuer }];
    let rules = TokenRules { issuers, leeway: LEEWAY_DEFAULT };
    let starting = tokio::spawn(TestServer::start_with(|config| config.tokens = Some(rules)));
    let (connection, _) = within(trap.listeners[0].accept()).await.unwrap();
    drop(connection);
    let server = within(starting).await.unwrap();
    let ready: Value = server.anonymous(Method::GET, "/readyz").send().await.unwrap().json().await.unwrap();
    assert_eq!(ready["issuers_without_keys"], json!(["https://issuer.example"]));
    assert_eq!(server.request(Method::GET, "/v1/users/1/counts").send().await.unwrap().status(), 200);
    server.stop().await;
}
