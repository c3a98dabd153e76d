//! `kill -9`, again and again, in the midst of publishing, judged by an oracle.
//!
//! Publishers note what was acknowledged and what they do not know. Tabs reconnect as a browser does, with the newest
//! event id they have. At the end, for every tab:
//! * all that was acknowledged for its user has been seen, exactly once;
//! * nothing has been seen that nobody tried to publish, and nothing of another's;
//! * all tabs of a user have seen the same in the same order, and each publisher's own in the order it was published.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Client;
use serde_json::{Value, json};
use sse_stream::SseByteStream;
use tokio::process::Child;
use tokio::sync::watch;

use crate::cli::pregon;
use crate::process::started;
use crate::server::{KEY, within};

const KILLS: u64 = 12;
const PUBLISHERS: usize = 6;
const USERS: usize = 3;
const TABS_PER_USER: usize = 2;
/// Acknowledgements between two kills: each comes at another moment of a commit.
const ACKNOWLEDGED_PER_LIFE: usize = 60;

struct Life {
    child: Child,
    url: String,
}

/// Starts the real program and waits until it is ready.
async fn start(folder: &std::path::Path, listen: &str) -> Life {
    let mut command = pregon(&["serve", "--listen", listen, "--open-user-id", "--server-key", KEY, "--log", "off"]);
    let (child, ready) = started(command.arg("--data-dir").arg(folder)).await;
    Life { child, url: ready["url"].as_str().unwrap().to_owned() }
}

/// What was tried and what is known of it.
#[derive(Default)]
struct Ledger {
    /// Message to audience, of all that was tried.
    attempted: HashMap<String, String>,
    acknowledged: HashSet<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_seen_exactly_once_however_often_the_server_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut life = start(folder.path(), "127.0.0.1:0").await;
    let url = life.url.clone();
    let address = url.trim_start_matches("http://").to_owned();
    let http = Client::builder().timeout(Duration::from_secs(5)).pool_max_idle_per_host(0).build().unwrap();
    let joined = http.put(format!("{url}/v1/topics/t/subscribers/0")).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(joined.status(), 201);

    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (stop, stopped) = watch::channel(false);
    let (count, mut counted) = watch::channel(0_usize);
    let count = Arc::new(count);
    let tabs: Vec<_> = (0..USERS * TABS_PER_USER).map(|tab| tokio::spawn(listen(url.clone(), tab % USERS))).collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let (url, http, ledger) = (url.clone(), http.clone(), Arc::clone(&ledger));
            let (stopped, count) = (stopped.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                let mut number = 0;
                while !*stopped.borrow() {
                    let audience = ["user:0", "user:1", "user:2", "topic:t", "everyone"][(publisher + number) % 5];
                    let message = format!("{publisher}.{number}");
                    number += 1;
                    ledger.lock().unwrap().attempted.insert(message.clone(), audience.to_owned());
                    let body = json!({"to": audience, "message": message});
                    let sent = http.post(format!("{url}/v1/notifications")).bearer_auth(KEY).json(&body).send().await;
                    match sent {
                        Ok(response) => {
                            assert_eq!(response.status(), 201);
                            ledger.lock().unwrap().acknowledged.insert(message);
                            count.send_modify(|count| *count += 1);
                        }
                        // No answer: it may have been published or not. The server is down; others may run.
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            })
        })
        .collect();

    for kill in 1..=KILLS {
        let goal = usize::try_from(kill).unwrap() * ACKNOWLEDGED_PER_LIFE;
        within(counted.wait_for(|count| *count >= goal)).await.unwrap();
        life.child.start_kill().unwrap();
        within(life.child.wait()).await.unwrap();
        life = start(folder.path(), &address).await;
    }
    stop.send_replace(true);
    for publisher in publishers {
        within(publisher).await.unwrap();
    }
    let last = http.post(format!("{url}/v1/broadcast")).bearer_auth(KEY).body("fin").send().await.unwrap();
    assert_eq!(last.status(), 201);

    let ledger = std::mem::take(&mut *ledger.lock().unwrap());
    assert!(ledger.acknowledged.len() >= usize::try_from(KILLS).unwrap() * ACKNOWLEDGED_PER_LIFE);
    let mut seen_by_user: HashMap<usize, Vec<String>> = HashMap::new();
    for (number, tab) in tabs.into_iter().enumerate() {
        let user = number % USERS;
        let seen = within(tab).await.unwrap();
        judge(&ledger, user, &seen);
        let first = seen_by_user.entry(user).or_insert_with(|| seen.clone());
        assert_eq!(*first, seen, "the same order on every tab of user {user}");
    }
}

/// The client has no answer, and can't know how much was done. Mutant: the pieces are not remembered.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_a_kill_broke_off_is_published_once_when_it_is_repeated() {
    const ITEMS: usize = 900;
    let folder = tempfile::tempdir().unwrap();
    let mut life = start(folder.path(), "127.0.0.1:0").await;
    let (url, http) = (life.url.clone(), Client::new());
    let item = |number: usize| json!({"to": "user:0", "message": number.to_string(), "data": "x".repeat(3500)});
    let items: Vec<Value> = (0..ITEMS).map(item).collect();
    let send = || {
        let request = http.post(format!("{url}/v1/notifications/batch")).bearer_auth(KEY);
        request.header("idempotency-key", "lote").json(&items).send()
    };
    let stream = http.get(format!("{url}/notifications?user_id=0")).send().await.unwrap();
    let mut events = SseByteStream::new(stream.bytes_stream());
    let sending = tokio::spawn(send());
    // The first of them has come, and the last is far away.
    while within(events.next()).await.unwrap().unwrap().event.is_some() {}
    life.child.start_kill().unwrap();
    within(life.child.wait()).await.unwrap();
    assert!(within(sending).await.unwrap().is_err(), "it was broken off");
    let _life = start(folder.path(), url.trim_start_matches("http://")).await;
    let counts = http.get(format!("{url}/v1/inbox/counts?user_id=0")).send().await.unwrap();
    let kept = counts.json::<Value>().await.unwrap()["total"].as_u64().unwrap();
    assert!((1..900).contains(&kept), "{kept} were committed");

    let again = within(send()).await.unwrap();
    assert_eq!((again.status().as_u16(), again.headers().get("idempotent-replayed")), (200, None));
    let told = again.text().await.unwrap();
    let once_more = within(send()).await.unwrap();
    assert_eq!(once_more.headers()["idempotent-replayed"], "true");
    assert_eq!(once_more.text().await.unwrap(), told);
    let results = serde_json::from_str::<Value>(&told).unwrap();
    let ids: HashSet<&str> =
        results["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), ITEMS);
    let last = http.post(format!("{url}/v1/broadcast")).bearer_auth(KEY).body("fin").send().await.unwrap();
    assert_eq!(last.status(), 201);
    let seen = within(listen(url.clone(), 0)).await;
    assert_eq!(seen, (0..ITEMS).map(|number| number.to_string()).collect::<Vec<_>>(), "all, once, in their order");
}

/// Judges what one tab of a user has seen.
fn judge(ledger: &Ledger, user: usize, seen: &[String]) {
    let entitled = |audience: &str| {
        audience == "everyone" || audience == format!("user:{user}") || (audience == "topic:t" && user == 0)
    };
    let once: HashSet<&String> = seen.iter().collect();
    assert_eq!(once.len(), seen.len(), "user {user} has seen something twice");
    for message in seen {
        let audience = ledger.attempted.get(message).expect("nothing is seen that nobody published");
        assert!(entitled(audience), "user {user} has seen what was for {audience}");
    }
    for message in &ledger.acknowledged {
        if entitled(&ledger.attempted[message]) {
            assert!(once.contains(message), "user {user} has not seen {message}, which was acknowledged");
        }
    }
    let mut newest: HashMap<&str, u64> = HashMap::new();
    for message in seen {
        let (publisher, number) = message.split_once('.').unwrap();
        let number: u64 = number.parse().unwrap();
        let before = newest.insert(publisher, number);
        assert!(before.is_none_or(|before| before < number), "publisher {publisher} out of order for user {user}");
    }
}

/// A tab that reconnects until it has seen the end; gives all messages in the order they came.
async fn listen(url: String, user: usize) -> Vec<String> {
    let http = Client::new();
    let mut seen = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let since = if cursor.is_none() { "&since=earliest" } else { "" };
        let mut request = http.get(format!("{url}/notifications?user_id={user}{since}"));
        if let Some(cursor) = &cursor {
            request = request.header("last-event-id", cursor);
        }
        let Ok(response) = request.send().await else {
            tokio::task::yield_now().await;
            continue;
        };
        assert_eq!(response.status(), 200);
        let mut events = SseByteStream::new(response.bytes_stream());
        while let Some(Ok(event)) = events.next().await {
            assert_ne!(event.event.as_deref(), Some("reset"), "nothing was lost");
            if event.event.is_none() {
                let data: Value = serde_json::from_str(event.data.as_deref().unwrap()).unwrap();
                let message = data["message"].as_str().unwrap();
                if message == "fin" {
                    return seen;
                }
                seen.push(message.to_owned());
            }
            cursor = event.id.or(cursor);
        }
    }
}
