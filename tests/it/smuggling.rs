//! Smuggling: a proxy and the server must see the same requests, whatever a client sends. Through nginx and `HAProxy`, with
//! hundreds of ways to end a request in two places.
//!
//! Every request that a handler could see publishes something for a user of its own, so the store says which ones the server
//! saw; the proxies' logs say which ones they passed on.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::proxies::{Care, Proxy, Seen};
use crate::server::{DEADLINE, TestServer, within};
use crate::{smuggling_http1, smuggling_http2};

/// Connections at once: many wait until a proxy has waited long enough for what is missing.
const AT_ONCE: usize = 128;
/// Those of a variant, and one that is sent behind it.
const PARTS: [&str; 4] = ["carrier", "canary", "last", "after"];

/// What is sent to a proxy, for users whose names begin so.
struct Sent {
    name: String,
    about: String,
    socket: PathBuf,
    bytes: Vec<u8>,
}

fn to_be_sent(proxy: &Proxy) -> Vec<Sent> {
    let http1 = smuggling_http1::variants(|number| format!("{}-{number}", proxy.name));
    let http2 = smuggling_http2::variants(|number| format!("{}-h2-{number}", proxy.name));
    let sent = |socket: &Path, (name, about, bytes): (String, String, Vec<u8>)| {
        let about = format!("{}: {about}", proxy.name);
        Sent { name, about, socket: socket.to_owned(), bytes }
    };
    let http1 = http1.into_iter().map(|variant| sent(&proxy.http1, variant));
    http1.chain(http2.into_iter().map(|variant| sent(&proxy.http2, variant))).collect()
}

/// Sends bytes, and reads whatever is answered until the proxy closes.
async fn exchange(socket: &Path, bytes: &[u8], about: &str) -> Vec<u8> {
    let mut connection = UnixStream::connect(socket).await.unwrap();
    let mut answer = Vec::new();
    // A proxy that has seen enough may close before it has read all.
    if connection.write_all(bytes).await.is_ok() {
        let ended = timeout(DEADLINE, connection.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{about}: nobody closes after {:?}", String::from_utf8_lossy(&answer));
    }
    answer
}

/// What is published for each user, by the server.
async fn counted(server: &TestServer, users: &[String]) -> HashMap<String, u64> {
    let counts = futures_util::stream::iter(users).map(|user| async move {
        let request = server.request(Method::GET, &format!("/v1/users/{user}/counts"));
        let counts: Value = within(request.send()).await.unwrap().json().await.unwrap();
        (user.clone(), counts["total"].as_u64().unwrap())
    });
    counts.buffer_unordered(32).collect().await
}

/// The same by the proxies: requests that went to such a user and were answered so.
fn passed_on(seen: &[Seen]) -> HashMap<String, u64> {
    let mut passed_on = HashMap::new();
    for request in seen.iter().filter(|request| request.status == 201) {
        let user = request.target.split("/v1/users/").nth(1).and_then(|rest| rest.split('/').next());
        *passed_on.entry(user.unwrap_or_default().to_owned()).or_default() += 1;
    }
    passed_on
}

/// Users for whom the server and the proxies have counted differently.
fn disagreements(stored: &HashMap<String, u64>, passed_on: &HashMap<String, u64>) -> Vec<String> {
    let mut users: Vec<&String> = stored.keys().chain(passed_on.keys()).collect();
    users.sort();
    users.dedup();
    users.retain(|user| stored.get(*user).unwrap_or(&0) != passed_on.get(*user).unwrap_or(&0));
    users.into_iter().cloned().collect()
}

/// Requests that handlers have answered, by the server's own count.
async fn answered(server: &TestServer) -> usize {
    let metrics = server.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let counts = metrics.lines().filter(|line| line.starts_with("pregon_requests_total{"));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_and_the_server_agree_on_where_a_request_ends() {
    // As behind a proxy: it answers to whatever name.
    let server = TestServer::start_with(|config| config.open_user_id = false).await;
    let address = server.address().parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let proxies = [
        Proxy::nginx("nginx", Care::Usual, folder.path(), address).await,
        Proxy::nginx("careless", Care::Least, folder.path(), address).await,
        Proxy::haproxy(folder.path(), address).await,
    ];
    let all: Vec<Sent> = proxies.iter().flat_map(to_be_sent).collect();
    assert!(all.len() >= 80 * proxies.len(), "only {}", all.len());
    let afters = proxies.iter().map(|proxy| (proxy.name, proxy.http1.clone())).collect::<HashMap<_, _>>();
    let sent = futures_util::stream::iter(&all).map(|sent| {
        let proxy = sent.name.split('-').next().unwrap_or_default();
        let after = &afters[proxy];
        async move {
            exchange(&sent.socket, &sent.bytes, &sent.about).await;
            // Whoever comes next on the proxy's connections gets an answer to her own request.
            let request = smuggling_http1::whole(&format!("{}-after", sent.name), "Connection: close\r\n");
            let answer = exchange(after, request.as_bytes(), "after").await;
            (&sent.about, answer.starts_with(b"HTTP/1.1 201"))
        }
    });
    let sent: Vec<(&String, bool)> = sent.buffer_unordered(AT_ONCE).collect().await;
    let disturbed: Vec<&String> = sent.iter().filter(|(_, well)| !well).map(|(about, _)| *about).collect();
    assert_eq!(disturbed, Vec::<&String>::new(), "whoever came after these was not served");

    let mut seen = Vec::new();
    for proxy in proxies {
        seen.append(&mut proxy.end().await);
    }
    let by_server = answered(&server).await;
    let (at_least, at_most) = (
        seen.iter().filter(|request| request.answered).count(),
        seen.iter().filter(|request| request.passed_on).count(),
    );
    assert!((at_least..=at_most).contains(&by_server), "{by_server} requests of {at_least} to {at_most}");
    let users: Vec<String> = all.iter().flat_map(|sent| PARTS.map(|part| format!("{}-{part}", sent.name))).collect();
    let (stored, passed_on) = (counted(&server, &users).await, passed_on(&seen));
    let about: HashMap<&str, &str> = all.iter().map(|sent| (sent.name.as_str(), sent.about.as_str())).collect();
    let disagreements = disagreements(&stored, &passed_on);
    let disagreements: Vec<_> =
        disagreements.iter().map(|user| (user, about.get(user.rsplit_once('-').unwrap_or_default().0))).collect();
    assert!(disagreements.is_empty(), "{disagreements:#?}");
    // The measure itself: nearly all carriers that both take are there, and a request that no proxy saw stands out.
    let carriers = users.iter().filter(|user| user.ends_with("-carrier") && stored[*user] == 1).count();
    assert!(carriers > all.len() / 10, "{carriers} of {} were taken", all.len());
    let unseen = smuggling_http1::whole("nginx-0-canary", "Connection: close\r\n");
    let mut direct = TcpStream::connect(server.address()).await.unwrap();
    direct.write_all(unseen.as_bytes()).await.unwrap();
    within(direct.read_to_end(&mut Vec::new())).await.unwrap();
    let stored = counted(&server, &["nginx-0-canary".to_owned()]).await;
    assert!(stored["nginx-0-canary"] > passed_on.get("nginx-0-canary").copied().unwrap_or(0));
    server.stop().await;
}
