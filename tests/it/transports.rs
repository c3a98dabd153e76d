//! The same stream in other clothes: lines of JSON, and a long poll.

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{TestServer, within};

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_json_say_what_events_say_and_resume_alike() {
    let server = TestServer::start().await;
    server.publish("user:1", "antes").await;
    let request = server.anonymous(Method::GET, "/v1/stream?user_id=1&since=earliest");
    let response = request.header("accept", "application/x-ndjson").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let mut parts = response.bytes_stream();
    let mut held = Vec::new();
    let mut line = async || -> Value {
        loop {
            if let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = held.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            held.extend_from_slice(&within(parts.next()).await.unwrap().unwrap());
        }
    };
    let hello = line().await;
    assert_eq!((&hello["event"], &hello["data"]["unread"]), (&json!("hello"), &json!(1)));
    assert!(hello["retry_ms"].is_number());
    let replayed = line().await;
    assert_eq!((&replayed["event"], &replayed["data"]["replay"]), (&json!("notification"), &json!(true)));
    let id = server.publish("user:1", "ahora").await;
    let news = line().await;
    assert_eq!((&news["data"]["id"], &news["data"]["message"]), (&json!(id), &json!("ahora")));
    assert!(news["data"].get("replay").is_none());
    server.request(Method::DELETE, &format!("/v1/notifications/{id}")).send().await.unwrap();
    assert_eq!(line().await["event"], "removed");
    let mut tab = server.tab_after("1", replayed["id"].as_str().unwrap()).await;
    tab.expect("hello").await;
    assert_eq!(tab.expect("removed").await["id"], json!(id), "an event stream goes on from a line's id");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_one_after_the_other_lose_and_double_nothing() {
    let server = TestServer::start().await;
    let poll = async |cursor: &str, wait: &str| -> Value {
        let path = format!("/v1/stream?user_id=1&poll=1&wait={wait}&last_event_id={cursor}");
        within(server.anonymous(Method::GET, &path).send()).await.unwrap().json().await.unwrap()
    };
    let first = poll("", "0s").await;
    assert_eq!(first["data"], json!([]));
    let mut cursor = first["cursor"].as_str().unwrap().to_owned();
    let waiting = poll(&cursor, "20s");
    let (polled, ()) = tokio::join!(waiting, async {
        server.publish("user:1", "0").await;
    });
    assert_eq!(polled["data"][0]["data"]["message"], "0", "it answers as soon as there is something");
    cursor = polled["cursor"].as_str().unwrap().to_owned();
    for number in 1..=250 {
        server.publish("user:1", &number.to_string()).await;
    }
    let mut got = Vec::new();
    while got.len() < 250 {
        let polled = poll(&cursor, "20s").await;
        let events = polled["data"].as_array().unwrap();
        assert!(!events.is_empty() && events.len() <= 100);
        got.extend(events.iter().map(|event| event["data"]["message"].as_str().unwrap().to_owned()));
        cursor = polled["cursor"].as_str().unwrap().to_owned();
    }
    let wanted: Vec<String> = (1..=250).map(|number: u32| number.to_string()).collect();
    assert_eq!(got, wanted);
    assert_eq!(poll(&cursor, "10ms").await["data"], json!([]));
    let unknown = poll("garbage", "20s").await;
    assert_eq!(unknown["data"][0]["event"], "reset");
    server.stop().await;
}

/// As a program reads that is started every few minutes.
///
/// Mutant: the wait is over though the store has not answered yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_does_not_wait_has_what_is_there() {
    let server = TestServer::start().await;
    let poll = async |user: &str, rest: &str| -> Value {
        let path = format!("/v1/stream?user_id={user}&poll=1&{rest}");
        within(server.anonymous(Method::GET, &path).send()).await.unwrap().json().await.unwrap()
    };
    for number in 0..3 {
        server.publish("user:1", &number.to_string()).await;
    }
    // Again and again: the store may happen to be so fast that nobody has to wait for it.
    for wait in ["0s", "1ms"].repeat(20) {
        let (mut rest, mut got) = (format!("since=earliest&wait={wait}"), Vec::new());
        loop {
            let polled = poll("1", &rest).await;
            let events = polled["data"].as_array().unwrap();
            if events.is_empty() {
                break;
            }
            got.extend(events.iter().map(|event| event["data"]["message"].as_str().unwrap().to_owned()));
            rest = format!("last_event_id={}&wait={wait}", polled["cursor"].as_str().unwrap());
        }
        assert_eq!(got, ["0", "1", "2"], "{wait}");
    }
    server.stop().await;
}

/// Mutant: as many bytes as a hundred events have.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_large_comes_in_several_answers_to_a_poll() {
    let server = TestServer::start().await;
    let message = "x".repeat(4000);
    for _ in 0..150 {
        server.publish("user:1", &message).await;
    }
    let (mut rest, mut got) = ("since=earliest".to_owned(), 0);
    while got < 150 {
        let path = format!("/v1/stream?user_id=1&poll=1&wait=0s&{rest}");
        let answer = within(server.anonymous(Method::GET, &path).send()).await.unwrap().text().await.unwrap();
        assert!(answer.len() < 300 * 1024, "{} bytes", answer.len());
        let polled: Value = serde_json::from_str(&answer).unwrap();
        let events = polled["data"].as_array().unwrap().len();
        assert!(events > 0, "{got} of them");
        got += events;
        rest = format!("last_event_id={}", polled["cursor"].as_str().unwrap());
    }
    assert_eq!(got, 150);
    server.stop().await;
}

/// Else a client to whom nothing is published would be told `expired` once the log has forgotten what was for others.
///
/// Mutant: it stays where it was.
#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_of_a_poll_moves_over_what_is_for_others() {
    let server = TestServer::start().await;
    let poll = async |rest: String| -> Value {
        let path = format!("/v1/stream?user_id=1&poll=1&wait=0s&{rest}");
        within(server.anonymous(Method::GET, &path).send()).await.unwrap().json().await.unwrap()
    };
    let first = poll("since=earliest".to_owned()).await;
    let id = server.publish("user:2", "de otra").await;
    let second = poll(format!("last_event_id={}", first["cursor"].as_str().unwrap())).await;
    assert_eq!(second["data"], json!([]));
    let mut tab = server.tab_after("2", second["cursor"].as_str().unwrap()).await;
    tab.expect("hello").await;
    server.publish("user:2", "después").await;
    assert_eq!(tab.message().await, "después", "not {id}, which the cursor has passed over");
    server.stop().await;
}
