//! `pregon inbox`, as someone at a shell meets it.

use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::{client, json_of, pregon, run};
use crate::server::{TestServer, within};

/// Runs `pregon inbox` with the key, which must work; what it prints, and what it says.
async fn inbox(server: &TestServer, arguments: &[&str]) -> (String, String) {
    let (code, printed, says) = run(client(server, &[&["inbox"], arguments].concat())).await;
    assert_eq!(code, Some(0), "{arguments:?}: {says}");
    (printed, says)
}

/// The messages in lines of JSON.
fn messages(printed: &str) -> Vec<String> {
    printed.lines().map(|line| json_of(line)["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_for_people_and_lines_for_programs() {
    let server = TestServer::start().await;
    let body = json!({"to": "user:1", "title": "Pedido", "message": "Ha\nsalido", "severity": "warning"});
    let sent = server.request(Method::POST, "/v1/notifications").json(&body).send().await.unwrap();
    let warning = sent.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    let plain = server.publish("everyone", "x".repeat(300).as_str()).await;
    inbox(&server, &["read", "1", &plain]).await;

    let (printed, says) = inbox(&server, &["list", "1"]).await;
    let lines: Vec<&str> = printed.lines().collect();
    let [head, first, second] = lines[..] else { panic!("{printed}") };
    assert_eq!(head, format!("   AGE  SEVERITY  {:36}  TEXT", "ID"));
    let column = head.find("ID").unwrap();
    assert_eq!(first.find(&plain), Some(column), "no mark, and nothing is cut where there is no terminal");
    assert!(first.starts_with("  ") && first.ends_with(&"x".repeat(300)), "{first}");
    let (before, rest) = second.split_once(&warning).unwrap();
    assert_eq!(before.chars().count(), column);
    assert!(before.starts_with('●') && before.ends_with("s  warning   "), "{before}");
    assert_eq!(rest, "  Pedido: Ha salido");
    assert_eq!(says, "1 unread, 2 in all\n");

    let (printed, says) = inbox(&server, &["list", "1", "--json"]).await;
    assert_eq!(messages(&printed), ["x".repeat(300), "Ha\nsalido".into()]);
    assert_eq!(says, "");
    let (printed, says) = inbox(&server, &["list", "3", "--status", "archived"]).await;
    assert_eq!((printed.as_str(), says.as_str()), ("", "1 unread, 1 in all\n"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_as_are_wanted_from_as_many_pages_as_it_takes() {
    let server = TestServer::start().await;
    let items: Vec<Value> = (0..120).map(|n| json!({"to": "user:1", "message": n.to_string()})).collect();
    let batch = server.request(Method::POST, "/v1/notifications/batch").json(&items).send().await.unwrap();
    assert_eq!(batch.status(), 200);
    server.publish("topic:pedidos", "de nadie").await;
    for (flags, count) in [(&[][..], 20), (&["--limit", "3"], 3), (&["--limit", "110"], 110), (&["--all"], 120)] {
        let (printed, _) = inbox(&server, &[&["list", "1", "--json"], flags].concat()).await;
        let messages = messages(&printed);
        assert_eq!(messages.len(), count, "{flags:?}");
        let wanted: Vec<String> = (0..120).rev().take(count).map(|n| n.to_string()).collect();
        assert_eq!(messages, wanted, "newest first, none twice");
    }
    let (_, says) = inbox(&server, &["list", "1"]).await;
    assert_eq!(says, "120 unread, 120 in all; there are more: --all\n");
    let (printed, _) = inbox(&server, &["list", "1", "--all", "--json"]).await;
    let ids: Vec<String> = printed.lines().map(|line| json_of(line)["id"].as_str().unwrap().to_owned()).collect();
    let these: Vec<&str> = ids.iter().map(String::as_str).take(119).collect();
    let (_, says) = inbox(&server, &[&["read", "1"], &these[..]].concat()).await;
    assert_eq!(says, "1 unread, 120 in all\n", "more than one request takes");
    let (printed, _) = inbox(&server, &["list", "1", "--topic", "pedidos"]).await;
    assert_eq!(printed, "");

    let mut listing = client(&server, &["inbox", "list", "1", "--all"]);
    let mut child = listing.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = within(child.wait_with_output()).await.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "that nobody reads on is no failure: {output:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_are_set_and_taken_back() {
    let server = TestServer::start().await;
    let mut ids = Vec::new();
    for message in ["a", "b", "c", "d"] {
        ids.push(server.publish("user:1", message).await);
    }
    let [a, b, c, d] = &ids[..] else { unreachable!() };
    let listed = async |status: &str| messages(&inbox(&server, &["list", "1", "--json", "--status", status]).await.0);
    let (printed, says) = inbox(&server, &["read", "1", a, c]).await;
    assert_eq!((printed.as_str(), says.as_str()), ("", "2 unread, 4 in all\n"));
    assert_eq!(listed("unread").await, ["d", "b"]);
    let (printed, _) = inbox(&server, &["unread", "1", a, "--json"]).await;
    assert_eq!(json_of(&printed)["counts"]["unread"], 3);
    inbox(&server, &["read", "1", "--up-to", b]).await;
    assert_eq!(listed("unread").await, ["d"]);
    inbox(&server, &["archive", "1", c, d]).await;
    assert_eq!(listed("archived").await, ["d", "c"]);
    inbox(&server, &["unarchive", "1", d]).await;
    assert_eq!(listed("all").await, ["d", "b", "a"]);
    let (printed, _) = inbox(&server, &["counts", "1"]).await;
    assert_eq!(printed, "unread  1\nunseen  1\ntotal   3\n");
    inbox(&server, &["read", "1", "--all"]).await;
    let (printed, _) = inbox(&server, &["counts", "1", "--json"]).await;
    assert_eq!(json_of(&printed), json!({"unread": 0, "unseen": 0, "total": 3}));

    let hers = server.publish("user:2", "ajena").await;
    let (code, printed, says) = run(client(&server, &["inbox", "archive", "1", &hers, a])).await;
    assert_eq!((code, printed.as_str()), (Some(4), ""));
    assert_eq!(says, format!("0 unread, 2 in all\nerror: user 1 does not have {hers}\n"), "the others are marked");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_reads_with_her_own_token() {
    let server = TestServer::start_with(|config| {
        config.open_user_id = false;
        config.tokens = Some(crate::server::tokens("a secret of at least thirty-two bytes"));
    })
    .await;
    server.publish("user:1", "a").await;
    let made = server.request(Method::POST, "/v1/tokens").json(&json!({"user_id": "1"})).send().await.unwrap();
    let token = made.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    let with_token = |arguments: &[&str]| {
        let mut command = pregon(arguments);
        command.env("PREGON_SERVER", &server.url).env("PREGON_TOKEN", &token);
        run(command)
    };
    let (code, printed, says) = with_token(&["inbox", "list", "1", "--json"]).await;
    assert_eq!(code, Some(0), "{says}");
    assert_eq!(messages(&printed), ["a"]);
    let (code, printed, _) = with_token(&["listen", "1", "--since", "earliest", "--count", "1"]).await;
    assert_eq!((code, printed.ends_with("Z  a\n")), (Some(0), true));
    let (code, _, says) = with_token(&["inbox", "list", "2"]).await;
    assert_eq!(code, Some(4));
    assert!(says.contains("another user's"), "{says}");
    let (code, _, says) = with_token(&["publish", "user:1", "x"]).await;
    assert_eq!(code, Some(4));
    assert!(says.contains("no credential was given"), "{says}");
    server.stop().await;
}
