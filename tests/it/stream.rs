//! The stream: resumable, in order, once; and what it says when it can't be.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::{TestServer, within};

#[tokio::test(flavor = "multi_thread")]
async fn the_head_and_the_first_event_are_as_the_contract_says() {
    let server = TestServer::start().await;
    server.publish("user:1", "antes").await;
    let mut tab = server.tab("1").await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(tab.head[name], value);
    }
    assert!(tab.head.get("content-length").is_none());
    let event = tab.event().await.unwrap();
    assert_eq!(event.event.as_deref(), Some("hello"));
    assert_eq!(event.id.unwrap().len(), 22);
    assert!((1000..=3000).contains(&event.retry.unwrap()));
    let hello: Value = serde_json::from_str(&event.data.unwrap()).unwrap();
    assert_eq!(
        (&hello["resumed"], &hello["unread"], &hello["heartbeat_ms"]),
        (&json!("full"), &json!(1), &json!(15_000))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_is_answered_without_a_stream() {
    let server = TestServer::start().await;
    let response = within(server.anonymous(Method::HEAD, "/notifications?user_id=1").send()).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_gets_what_was_missed_once_and_in_order() {
    let server = TestServer::start().await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    server.publish("user:1", "0").await;
    assert_eq!(tab.message().await, "0");
    let cursor = tab.cursor.clone().unwrap();
    drop(tab);
    for number in 1..=300 {
        let to = ["user:1", "user:2", "everyone"][number % 3];
        server.publish(to, &number.to_string()).await;
    }
    let wanted: Vec<String> = (1..=300).filter(|number| number % 3 != 1).map(|number| number.to_string()).collect();
    for (round, path) in ["/notifications?user_id=1", "/v1/stream?user_id=1"].into_iter().enumerate() {
        let mut tab = server.tab_at(path, Some(&cursor)).await;
        assert_eq!(tab.expect("hello").await["resumed"], "full");
        for message in &wanted {
            let received = tab.expect("message").await;
            assert_eq!((received["message"].as_str().unwrap(), &received["replay"]), (message.as_str(), &json!(true)));
        }
        for _ in 0..round {
            assert_eq!(tab.expect("message").await["replay"], true, "news of the round before");
        }
        server.publish("user:1", "ahora").await;
        assert_eq!(tab.expect("message").await.get("replay"), None, "what comes after the hello is news");
    }
    for name in ["last_event_id", "lastEventId", "lastEventID", "since"] {
        let mut tab = server.tab_at(&format!("/notifications?user_id=1&{name}={cursor}"), None).await;
        assert_eq!(tab.expect("hello").await["resumed"], "full");
        assert_eq!(tab.message().await, wanted[0], "{name}");
    }
    let newest = server.tab_after("1", &cursor).await.expect("hello").await;
    assert_eq!(newest["unread"], 203);
    let mut header_wins = server.tab_at(&format!("/notifications?user_id=1&last_event_id={cursor}"), Some("x")).await;
    assert_eq!(header_wins.expect("hello").await["resumed"], "reset");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_only_the_hello_resumes_without_a_gap() {
    let server = TestServer::start().await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    let cursor = tab.cursor.clone().unwrap();
    drop(tab);
    server.publish("user:1", "entre dos").await;
    let mut tab = server.tab_after("1", &cursor).await;
    tab.expect("hello").await;
    // The connection breaks again before the replay has come.
    let cursor = tab.cursor.clone().unwrap();
    drop(tab);
    let mut tab = server.tab_after("1", &cursor).await;
    tab.expect("hello").await;
    assert_eq!(tab.message().await, "entre dos");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_can_be_asked_for() {
    let server = TestServer::start().await;
    server.publish("user:1", "a").await;
    server.publish("user:1", "b").await;
    let hour_ago = "2020-01-01T00:00:00Z";
    let mut tab = server.tab_at(&format!("/notifications?user_id=1&since={}", "A".repeat(22)), None).await;
    assert_eq!(tab.expect("hello").await["resumed"], "reset", "an id of another log is no error");
    for since in ["earliest", "1h", hour_ago] {
        let mut tab = server.tab_at(&format!("/notifications?user_id=1&since={since}"), None).await;
        tab.expect("hello").await;
        assert_eq!((tab.message().await, tab.message().await), ("a".into(), "b".into()), "{since}");
    }
    let mut tab = server.tab_at("/notifications?user_id=1&since=2099-01-01T00:00:00Z", None).await;
    tab.expect("hello").await;
    server.publish("user:1", "c").await;
    assert_eq!(tab.message().await, "c");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_nothing_and_another_store_is_recognised() {
    let server = TestServer::start().await;
    let folder = Arc::clone(&server.folder);
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    server.publish("user:1", "a").await;
    assert_eq!(tab.message().await, "a");
    let cursor = tab.cursor.clone().unwrap();
    server.publish("user:1", "b").await;
    assert_eq!(tab.message().await, "b");
    let stopping = server.stop();
    let (event, ()) = tokio::join!(tab.event(), stopping);
    assert!(event.is_none() && !tab.cut, "the stream ends without an error");

    let server = TestServer::start_in(folder, |_| {}).await;
    let mut tab = server.tab_after("1", &cursor).await;
    assert_eq!(tab.expect("hello").await["resumed"], "full");
    assert_eq!(tab.message().await, "b");
    server.stop().await;

    let other = TestServer::start().await;
    let mut tab = other.tab_after("1", &cursor).await;
    assert_eq!(tab.expect("hello").await["resumed"], "reset");
    let reset = tab.expect("reset").await;
    assert_eq!(reset["reason"], "unknown");
    other.publish("user:1", "c").await;
    assert_eq!(tab.message().await, "c");
    let mut tab =
        other.tab_at(&format!("/notifications?user_id=1&since={}", reset["oldest"].as_str().unwrap()), None).await;
    tab.expect("hello").await;
    assert_eq!(tab.message().await, "c", "`oldest` is a cursor from which all is there");
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_has_removed_is_said_to_be_missing() {
    let server = TestServer::start().await;
    let folder = Arc::clone(&server.folder);
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    let cursor = tab.cursor.clone().unwrap();
    for message in ["a", "b", "c"] {
        server.publish("user:1", message).await;
    }
    drop(tab);
    server.stop().await;
    let server = TestServer::start_in(folder, |config| config.retention = Duration::from_nanos(1)).await;
    // Retention begins with the server; its first turn is over when the store no longer has what is old.
    let expired = async {
        loop {
            let mut tab = server.tab_after("1", &cursor).await;
            if tab.expect("hello").await["resumed"] == "reset" {
                break tab.expect("reset").await;
            }
        }
    };
    assert_eq!(within(expired).await["reason"], "expired");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_beats_and_the_named_beat_is_a_cursor() {
    let server = TestServer::start_with(|config| config.heartbeat = Duration::from_secs(1)).await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    server.publish("user:2", "ajena").await;
    let beat = tab.expect("heartbeat").await;
    assert!(beat["server_time"].as_str().unwrap().ends_with('Z'));
    let cursor = tab.cursor.clone().unwrap();
    server.publish("user:1", "mía").await;
    let mut tab = server.tab_after("1", &cursor).await;
    assert_eq!(tab.expect("hello").await["resumed"], "full");
    assert_eq!(tab.message().await, "mía");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_or_ending_server_asks_to_come_back_and_never_sends_an_error() {
    const TABS: usize = 20;
    let mut server = TestServer::start_with(|config| {
        config.streams_max = Some(TABS);
        config.drain = Duration::from_secs(5);
    })
    .await;
    // The drain lasts as long as the last of them: with so many there is time for what follows.
    let mut tabs = Vec::new();
    for _ in 0..TABS {
        let mut tab = server.tab("1").await;
        tab.expect("hello").await;
        tabs.push(tab);
    }
    let refused = async || {
        let response = within(server.anonymous(Method::GET, "/notifications?user_id=1").send()).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        let body = within(response.text()).await.unwrap();
        let retry: u64 = body.strip_prefix("retry: ").unwrap().trim_end().parse().unwrap();
        assert!((1000..=3000).contains(&retry));
    };
    refused().await;
    let metrics = within(server.request(Method::GET, "/metrics").send()).await.unwrap();
    let metrics = within(metrics.text()).await.unwrap();
    assert!(metrics.contains("pregon_streams_refused_total{reason=\"full\"} 1\n"), "{metrics}");
    server.publish("user:1", "quien está sigue").await;
    for tab in &mut tabs {
        assert_eq!(tab.message().await, "quien está sigue");
    }

    let url = server.url.clone();
    server.begin_to_stop();
    let draining = async {
        while within(reqwest::get(format!("{url}/readyz"))).await.unwrap().status() != 503 {}
        let response = within(reqwest::get(format!("{url}/notifications?user_id=1"))).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(within(response.text()).await.unwrap().starts_with("retry: "));
        let publish = reqwest::Client::new()
            .post(format!("{url}/v1/users/2/notifications"))
            .bearer_auth(crate::server::KEY)
            .body("x");
        let response = within(publish.send()).await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["connection"]), (201, &"close".parse().unwrap()));
        for tab in &mut tabs {
            assert!(tab.event().await.is_none() && !tab.cut);
        }
    };
    draining.await;
    server.ended().await;
}

/// The connection is taken from hyper with whatever it still had to write: that must be nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_behind_pipelined_requests_begins_after_their_whole_answers() {
    const REQUESTS_BEFORE: usize = 1000;
    let server = TestServer::start().await;
    let mut connection = connect_with_small_buffer(&server);
    let mut requests =
        "POST /v1/broadcast HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}".repeat(REQUESTS_BEFORE);
    requests += "GET /notifications?user_id=1 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    connection.write_all(requests.as_bytes()).await.unwrap();
    // Nothing is read yet, so the answers fill every buffer, while the server has time to come to the last request.
    for number in 0..20 {
        server.publish("user:2", &number.to_string()).await;
    }
    let received = read_until(&mut connection, b"event: hello\n").await;
    let received = String::from_utf8(received).unwrap();
    let answers: Vec<&str> = received.split("HTTP/1.1 ").skip(1).collect();
    assert_eq!(answers.len(), REQUESTS_BEFORE + 1);
    let whole = |answer: &&&str| answer.starts_with("401 Unauthorized\r\n") && answer.ends_with("\"}");
    assert_eq!(answers[..REQUESTS_BEFORE].iter().filter(whole).count(), REQUESTS_BEFORE);
    assert!(answers[REQUESTS_BEFORE].contains("content-type: text/event-stream"));
    server.stop().await;
}

/// A connection whose peer takes little at a time.
pub(crate) fn connect_with_small_buffer(server: &TestServer) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&server.address().parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    TcpStream::from_std(socket.into()).unwrap()
}

/// Reads until the last of it has these bytes.
async fn read_until(connection: &mut TcpStream, wanted: &[u8]) -> Vec<u8> {
    let mut received = Vec::new();
    let mut part = vec![0; 64 * 1024];
    loop {
        let read = within(connection.read(&mut part)).await.unwrap();
        assert_ne!(read, 0, "closed after {} bytes", received.len());
        let from = received.len().saturating_sub(wanted.len());
        received.extend_from_slice(&part[..read]);
        if received[from..].windows(wanted.len()).any(|window| window == wanted) {
            return received;
        }
    }
}

/// A reader that does not read is owed everything, costs nobody time, and gets all of it once it reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_disturbs_nobody_and_loses_nothing() {
    const BATCH: usize = 50;
    let server = TestServer::start().await;
    let mut slow = connect_with_small_buffer(&server);
    slow.write_all(b"GET /notifications?user_id=1 HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut received = read_until(&mut slow, b"event: hello").await;
    let mut fast = server.tab("1").await;
    fast.expect("hello").await;
    let filler = "x".repeat(4000);
    let mut published = 0;
    // Until it has taken nothing of two batches: of the first one not even while the other was sent all of it.
    let stands_still = async {
        while !server.behind("1").await.contains(&(2 * BATCH as u64)) {
            let numbers = published..published + BATCH;
            let messages: Vec<String> = numbers.clone().map(|number| format!("<{number}>{filler}")).collect();
            server.publish_batch("user:1", &messages).await;
            for number in numbers {
                assert!(fast.message().await.starts_with(&format!("<{number}>")));
            }
            published += BATCH;
        }
    };
    within(stands_still).await;
    received.extend(read_until(&mut slow, format!("<{}>", published - 1).as_bytes()).await);
    let text = String::from_utf8_lossy(&received);
    let numbers: Vec<&str> = text.split('<').skip(1).map(|part| part.split('>').next().unwrap()).collect();
    assert_eq!(numbers, (0..published).map(|number| number.to_string()).collect::<Vec<_>>());
    server.stop().await;
}

/// A client that takes its replay slowly must not keep the server from ending.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_does_not_hold_up_the_end() {
    let mut server = TestServer::start().await;
    let mut slow = connect_with_small_buffer(&server);
    let filler = "x".repeat(16_000);
    for _ in 0..40 {
        server.publish("user:1", &filler).await;
    }
    slow.write_all(b"GET /notifications?user_id=1&since=earliest HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    read_until(&mut slow, b"event: hello").await;
    server.begin_to_stop();
    server.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_what_is_anothers() {
    let server = TestServer::start().await;
    let mut tabs = Vec::new();
    for user in 0..20 {
        let mut tab = server.tab(&user.to_string()).await;
        tab.expect("hello").await;
        tabs.push(tab);
    }
    for round in 0..5 {
        for user in 0..20 {
            server.publish(&format!("user:{user}"), &format!("{user}.{round}")).await;
        }
    }
    server.publish("everyone", "fin").await;
    for (user, tab) in tabs.iter_mut().enumerate() {
        for round in 0..5 {
            assert_eq!(tab.message().await, format!("{user}.{round}"));
        }
        assert_eq!(tab.message().await, "fin");
    }
    server.stop().await;
}
