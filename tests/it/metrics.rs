//! `/metrics`: what it counts, and who may see it.

use std::collections::HashMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{TestServer, within};

/// The series and their values.
fn series(text: &str) -> HashMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.into(), value.parse().unwrap()))
        .collect()
}

async fn metrics(server: &TestServer) -> HashMap<String, f64> {
    series(&server.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap())
}

/// Who publishes beside them waits for one piece, not for the sum of them. Mutants: eight take their turn at once; a batch is one
/// piece.
#[tokio::test(flavor = "multi_thread")]
async fn of_large_batches_that_come_at_once_each_piece_is_a_commit_of_its_own() {
    let server = TestServer::start().await;
    let batch = json!(vec![json!({"to": "user:1", "message": "x".repeat(1000)}); 1000]);
    let publish = || server.request(Method::POST, "/v1/notifications/batch").json(&batch).send();
    let answers = futures_util::future::join_all((0..8).map(|_| publish())).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status() == 200));
    let commits = metrics(&server).await["pregon_commit_seconds_count"];
    // Of each batch 32 KiB at a time: 31 items of 1,029 bytes.
    assert!((commits - 8.0 * 33.0).abs() < f64::EPSILON, "{commits} commits");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted() {
    let server = TestServer::start().await;
    let mut tab = server.tab("1").await;
    tab.expect("hello").await;
    server.publish("user:1", "uno").await;
    server.publish("everyone", "dos").await;
    server.publish("user:2", "de otra").await;
    tab.message().await;
    tab.message().await;
    let counted = |found: &HashMap<String, f64>, name: &str| found.get(name).copied().unwrap_or_default();
    let events = async {
        loop {
            let found = metrics(&server).await;
            if counted(&found, "pregon_stream_events_total") >= 3.0 {
                return found;
            }
        }
    };
    // The engine adds what it has counted when it has written it.
    let found = within(events).await;
    for (name, value) in [
        ("pregon_streams", 1.0),
        ("pregon_streams_behind", 0.0),
        ("pregon_streams_opened_total{resumed=\"full\"}", 1.0),
        ("pregon_stream_events_total", 3.0),
        ("pregon_log_entries_total{kind=\"notified\"}", 3.0),
        ("pregon_log_head", 3.0),
        ("pregon_requests_total{route=\"/v1/notifications\",method=\"POST\",status=\"201\"}", 3.0),
        ("pregon_requests_total{route=\"/notifications\",method=\"GET\",status=\"200\"}", 1.0),
        ("pregon_commits_failed_total", 0.0),
    ] {
        assert!((counted(&found, name) - value).abs() < 0.5, "{name} is {}, not {value}", counted(&found, name));
    }
    assert!(counted(&found, "pregon_commit_seconds_count") >= 1.0);
    assert!(counted(&found, "pregon_delivery_seconds_count") >= 1.0);
    assert!(counted(&found, "pregon_store_bytes") > 4096.0);
    assert!(counted(&found, "process_resident_memory_bytes") > 1e6);

    let unknown = server.tab_after("1", &"A".repeat(22)).await;
    drop((tab, unknown));
    let gone = async {
        loop {
            let found = metrics(&server).await;
            if counted(&found, "pregon_streams_closed_total{reason=\"peer\"}") >= 2.0 {
                return found;
            }
        }
    };
    let found = within(gone).await;
    assert!(counted(&found, "pregon_streams") < 0.5);
    assert!(counted(&found, "pregon_streams_opened_total{resumed=\"reset\"}") > 0.5);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_series_is_anybodys_to_make() {
    let server = TestServer::start().await;
    let before = metrics(&server).await.len();
    for number in 0..50 {
        let method = Method::from_bytes(format!("M{number}").as_bytes()).unwrap();
        for path in [format!("/nada/{number}"), format!("/v1/users/{number}/inbox"), "/v1/inbox".into()] {
            server.request(method.clone(), &path).send().await.unwrap();
            server.request(Method::GET, &path).send().await.unwrap();
        }
    }
    let after = metrics(&server).await;
    assert!(after.len() < before + 60, "{} series more", after.len() - before);
    assert!(after.keys().all(|name| !name.contains("nada") && !name.contains("M1")), "nothing of what was asked for");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inside_of_a_network_sees_it_and_nobody_else() {
    let server = TestServer::start_with(|config| config.admin_listen = Some("127.0.0.1:0".parse().unwrap())).await;
    let refused = server.anonymous(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let inside = |path: &str| reqwest::get(format!("http://{}{path}", server.admin.unwrap()));
    let response = inside("/metrics").await.unwrap();
    let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = response.text().await.unwrap();
    assert!(text.starts_with("# HELP ") && text.ends_with("# EOF\n"));
    assert_eq!(inside("/healthz").await.unwrap().text().await.unwrap(), "ok\n");
    assert_eq!(inside("/readyz").await.unwrap().json::<Value>().await.unwrap()["status"], "ready");
    for path in ["/", "/v1/stream?user_id=1", "/v1/inbox?user_id=1", "/openapi.json"] {
        assert_eq!(inside(path).await.unwrap().status(), 404, "{path}");
    }
    server.stop().await;
}
