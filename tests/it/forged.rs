//! Forged tokens: hundreds of ways to break one, at every operation of the API, none accepted.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use futures_util::StreamExt as _;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, COOKIE, HeaderValue};
use serde_json::{Value, json};

use crate::server::{TestServer, tokens, within};

const SECRET: &str = "a secret of at least thirty-two bytes";
/// Requests under way at once.
const AT_ONCE: usize = 64;

fn mac(secret: &[u8], message: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes()))
}

/// A token of these parts as they stand, signed as if it were right.
fn signed(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    format!("{message}.{}", mac(secret, &message))
}

/// Everything that is no token of ours, though it looks like one.
#[expect(clippy::too_many_lines, reason = "it is a list")]
fn forged() -> Vec<String> {
    let soon = jiff::Timestamp::now().as_second() + 600;
    let header = r#"{"typ":"JWT","alg":"HS256"}"#;
    let claims = json!({"sub": "1", "exp": soon}).to_string();
    let good = signed(header, &claims, SECRET.as_bytes());
    let [head, body, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let mut forged = Vec::new();

    // One character changed, one taken out, two in each other's place, anywhere.
    for at in 0..good.len() {
        let (before, after) = (&good[..at], &good[at + 1..]);
        let other = if good.as_bytes()[at] == b'A' { 'z' } else { 'A' };
        forged.extend([format!("{before}{other}{after}"), format!("{before}{after}")]);
        if let Some(next) = after.chars().next().filter(|next| !good[at..].starts_with(*next)) {
            forged.push(format!("{before}{next}{}{}", &good[at..=at], &after[1..]));
        }
    }
    // Another algorithm, with the right secret.
    for algorithm in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!("HS384"),
        json!("HS512"),
        json!("RS256"),
        json!("PS256"),
        json!("ES256"),
        json!("EdDSA"),
        json!("hs256"),
        json!("HS256 "),
        json!(""),
        json!(null),
        json!(256),
        json!(["HS256"]),
        json!({"name": "HS256"}),
        json!(true),
    ] {
        let header = json!({"typ": "JWT", "alg": algorithm}).to_string();
        let token = signed(&header, &claims, SECRET.as_bytes());
        let unsigned = token.rsplit_once('.').unwrap().0.to_owned();
        forged.extend([token, format!("{unsigned}."), unsigned]);
    }
    // Headers that bring a key of their own, or say where it is.
    for extra in [
        json!({"jwk": {"kty": "oct", "k": "c2VjcmV0"}}),
        json!({"jku": "http://127.0.0.1:1/keys"}),
        json!({"x5u": "http://127.0.0.1:1/cert"}),
        json!({"kid": "../../../dev/null"}),
        json!({"kid": "' OR 1=1"}),
        json!({"x5c": ["MII"]}),
    ] {
        let mut header = json!({"typ": "JWT", "alg": "HS256"});
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        for secret in ["", "secret", "c2VjcmV0"] {
            forged.push(signed(&header.to_string(), &claims, secret.as_bytes()));
        }
    }
    // Headers with an extension that must be understood, that say the payload is something else, or that say a thing twice.
    for extra in [
        r#""crit":["x"]"#,
        r#""crit":["x"],"x":1"#,
        r#""crit":["exp"],"exp":1"#,
        r#""crit":["b64"],"b64":true"#,
        r#""crit":["alg"]"#,
        r#""crit":[]"#,
        r#""crit":null"#,
        r#""crit":"b64""#,
        r#""crit":{}"#,
        r#""\u0063rit":["x"]"#,
        r#""b64":false"#,
        r#""b64":false,"crit":["b64"]"#,
        r#""b64":null"#,
        r#""b64":"false""#,
        r#""b64":false,"b64":true"#,
        r#""zip":"DEF""#,
        r#""enc":"A128GCM""#,
        r#""cty":"JWT""#,
        r#""cty":"jwt""#,
        r#""alg":"HS256""#,
        r#""alg":"none""#,
        r#""typ":"JWT""#,
        r#""x":1,"x":2"#,
    ] {
        let header = format!(r#"{{"typ":"JWT","alg":"HS256",{extra}}}"#);
        forged.push(signed(&header, &claims, SECRET.as_bytes()));
    }
    // What is signed stands there as it is, as an extension would have it.
    let unencoded = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#));
    forged.push(format!("{unencoded}.{}", mac(SECRET.as_bytes(), &unencoded)));
    // Claims that are no user's, or give no right, with the right secret.
    for (claim, values) in [
        ("exp", json!([null, "soon", soon.to_string(), soon - 601, 0, -1, 1e300, [soon], {"at": soon}, true, 0.5])),
        ("nbf", json!([soon, soon - 300, 1e300, "soon", [soon], true, {}])),
        ("iat", json!([soon, soon - 300, 1e300, "soon", [soon], true, {}])),
        ("sub", json!([null, 1.0, true, ["1"], {}, "", " ", "a b", "a\u{0}", "a\nb", "x".repeat(129), "\u{85}"])),
        ("aud", json!(["x", ["x", "y"], "pregon", 1, true, {}, [1]])),
    ] {
        for value in values.as_array().unwrap() {
            let mut wrong = json!({"sub": "1", "exp": soon});
            wrong[claim] = value.clone();
            forged.push(signed(header, &wrong.to_string(), SECRET.as_bytes()));
        }
    }
    for claims in [
        "{}".to_owned(),
        "[]".into(),
        "null".into(),
        r#""1""#.into(),
        "1".into(),
        "{".into(),
        String::new(),
        format!(r#"{{"sub":"1","sub":"2","exp":{soon}}}"#),
        format!(r#"{{"sub":"1","exp":{soon},"exp":1}}"#),
        format!(r#"{{"sub":"1","exp":{soon},"exp":{soon}}}"#),
        format!(r#"{{"sub":"1","exp":{soon},"iat":1,"iat":{soon}}}"#),
        format!(r#"{{"sub":"1","exp":{soon},"nbf":1,"nbf":{soon}}}"#),
        format!(r#"{{"sub":"1","exp":{soon},"role":"a","role":"b"}}"#),
        format!(r#"["1",1,1,{soon}]"#),
        format!(r#"{{"sub":"1","exp":{soon}}} "#) + "x",
        format!(r#"{{"Sub":"1","exp":{soon}}}"#),
    ] {
        forged.push(signed(header, &claims, SECRET.as_bytes()));
    }
    // Signed with a secret that somebody may guess, or with nothing.
    for secret in [
        "",
        "secret",
        "password",
        "changeme",
        "!ChangeThisMercureHubJWTSecretKey!",
        "your-256-bit-secret",
        "\0",
        &SECRET[1..],
        &SECRET[..SECRET.len() - 1],
        &SECRET.to_uppercase(),
        &format!("{SECRET}\n"),
        &URL_SAFE_NO_PAD.encode(SECRET),
        &STANDARD.encode(SECRET),
    ] {
        forged.push(signed(header, &claims, secret.as_bytes()));
    }
    // The signature of another token, a part of it, too much of it, or of something else.
    let hers = json!({"sub": "2", "exp": soon}).to_string();
    let other = signed(header, &hers, SECRET.as_bytes());
    for wrong in [
        other.rsplit_once('.').unwrap().1,
        &signature[..21],
        &signature[..42],
        "",
        "=",
        "A",
        &"A".repeat(43),
        &mac(SECRET.as_bytes(), head),
        &mac(SECRET.as_bytes(), body),
        &mac(SECRET.as_bytes(), &format!("{head}{body}")),
        &format!("{signature}{signature}"),
        &format!("{signature}="),
        &format!("{signature}.{signature}"),
    ] {
        forged.push(format!("{head}.{body}.{wrong}"));
    }
    forged.push(format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(&hers)));
    // Other forms of the same bytes.
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let form = |bytes: &str| format!("{}.{}.{}", URL_SAFE.encode(header), bytes, URL_SAFE.encode(&raw));
    forged.extend([
        form(&URL_SAFE.encode(&claims)),
        format!("{good}."),
        format!(".{good}"),
        format!("{head}..{signature}"),
        format!("{head}.{body}"),
        "..".into(),
        format!("{head}.{body}.{signature}.x.y"),
        format!("{head}%2E{body}%2E{signature}"),
        format!("{good},{good}"),
        format!("\"{good}\""),
        format!("{head}. {body}.{signature}"),
        good.replace('.', ":"),
        good.to_uppercase(),
        format!("{body}.{head}.{signature}"),
        URL_SAFE_NO_PAD.encode(&good),
    ]);
    forged.sort();
    forged.dedup();
    // A changed last character may stand for the same bytes: then it is no other token.
    let same = |token: &String| {
        let last = token.rsplit('.').next().unwrap_or_default();
        token.starts_with(&format!("{head}.{body}.")) && URL_SAFE_NO_PAD.decode(last).is_ok_and(|bytes| bytes == raw)
    };
    forged.retain(|token| !token.is_empty() && !same(token));
    forged
}

/// Every operation of the document that wants a credential.
async fn operations(server: &TestServer) -> Vec<(Method, String)> {
    let document: Value = server.anonymous(Method::GET, "/openapi.json").send().await.unwrap().json().await.unwrap();
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let security = operation["security"].as_array().cloned().unwrap_or_default();
            if security.is_empty() || security.contains(&json!({})) {
                continue;
            }
            let path = path
                .replace("{user}", "1")
                .replace("{topic}", "t")
                .replace("{id}", "01a20cb5-116e-716b-aa33-fad3da96c4bc");
            found.push((method.to_uppercase().parse().unwrap(), path));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_forged_token_is_accepted_anywhere() {
    let server = TestServer::start_with(|config| {
        config.open_user_id = false;
        config.tokens = Some(tokens(SECRET));
    })
    .await;
    server.publish("user:1", "secreto").await;
    let operations = operations(&server).await;
    assert!(operations.len() > 25, "{operations:?}");
    let forged = forged();
    assert!(forged.len() >= 500, "only {}", forged.len());
    // What is used as a token here would open the door if it were one.
    let good = signed(
        r#"{"typ":"JWT","alg":"HS256"}"#,
        &json!({"sub": "1", "exp": 4_102_444_800_i64}).to_string(),
        SECRET.as_bytes(),
    );
    let opened = server.anonymous(Method::GET, "/v1/inbox").bearer_auth(&good).send().await.unwrap();
    assert_eq!(opened.status(), 200);

    let ask = &|method: &Method, path: &str, token: &str| {
        let header = HeaderValue::from_bytes(format!("Bearer {token}").as_bytes());
        let request = server.anonymous(method.clone(), path).body("{}").header("content-type", "application/json");
        header.ok().map(|header| request.header(AUTHORIZATION, header))
    };
    let by_header = forged.iter().flat_map(|token| {
        operations.iter().filter_map(move |(method, path)| {
            ask(method, path, token).map(|request| (format!("{method} {path} {token}"), request))
        })
    });
    let by_address = forged.iter().map(|token| {
        let query: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        let request = server.anonymous(Method::GET, &format!("/v1/inbox?access_token={query}"));
        (format!("?access_token={token}"), request)
    });
    let by_cookie = forged.iter().filter_map(|token| {
        let cookie = HeaderValue::from_bytes(format!("pregon={token}").as_bytes()).ok()?;
        Some((format!("cookie {token}"), server.anonymous(Method::GET, "/v1/inbox").header(COOKIE, cookie)))
    });
    let requests: Vec<_> = by_header.chain(by_address).chain(by_cookie).collect();
    let count = requests.len();
    let mut answers = futures_util::stream::iter(requests)
        .map(|(shown, request)| async move { (shown, within(request.send()).await.unwrap().status()) })
        .buffer_unordered(AT_ONCE);
    let mut answered = 0;
    while let Some((shown, status)) = answers.next().await {
        assert_eq!(status, 401, "{shown}");
        answered += 1;
    }
    drop(answers);
    assert_eq!(answered, count);
    let untouched: Value =
        server.request(Method::GET, "/v1/users/1/counts").send().await.unwrap().json().await.unwrap();
    assert_eq!(untouched["unread"], 1, "and nothing was done");
    server.stop().await;
}
