//! `pregon listen`, as someone at a shell meets it: what is published, what becomes of it, and over restarts.

use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::cli::{client, json_of};
use crate::server::{TestServer, within};

/// A listener that is running.
struct Listening {
    child: Child,
    printed: Lines<BufReader<ChildStdout>>,
    said: Lines<BufReader<ChildStderr>>,
}

impl Listening {
    fn start(mut command: Command) -> Listening {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        Listening { child, printed, said }
    }

    async fn line(&mut self) -> String {
        within(self.printed.next_line()).await.unwrap().unwrap()
    }

    async fn talk(&mut self) -> String {
        within(self.said.next_line()).await.unwrap().unwrap()
    }

    /// That it ends well, and prints nothing else.
    async fn end(mut self) {
        assert!(within(self.child.wait()).await.unwrap().success());
        assert_eq!(within(self.printed.next_line()).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_notifications_is_told_too() {
    let server = TestServer::start().await;
    let id = server.publish("user:1", "a").await;
    let mut lines = Listening::start(client(&server, &["listen", "1", "--since", "earliest", "--json"]));
    let mut words = Listening::start(client(&server, &["listen", "1", "--since", "earliest"]));
    assert_eq!(json_of(&lines.line().await)["message"], "a");
    assert!(words.line().await.ends_with("Z  a"));

    let send = async |method: Method, path: &str, body: Value| {
        let sent = within(server.request(method, path).json(&body).send()).await.unwrap();
        assert!(sent.status().is_success(), "{path}: {}", sent.status());
    };
    let path = format!("/v1/notifications/{id}");
    send(Method::PATCH, &path, json!({"message": "b"})).await;
    send(Method::POST, "/v1/inbox/bulk?user_id=1", json!({"ids": [id], "set": {"archived": true}})).await;
    send(Method::DELETE, &path, json!({})).await;
    let wanted = [
        (json!({"event": "updated", "id": id, "message": "b"}), "                  edited  b".to_owned()),
        (json!({"event": "state", "ids": [id]}), format!("                archived  {id}; 0 unread")),
        (json!({"event": "removed", "id": id, "reason": "recalled"}), format!("                recalled  {id}")),
    ];
    for (fields, text) in wanted {
        let line = lines.line().await;
        assert!(line.starts_with(r#"{"event":""#), "{line}");
        let said = json_of(&line);
        for (name, value) in fields.as_object().unwrap() {
            assert_eq!(said[name], *value, "{line}");
        }
        assert_eq!(words.line().await, text);
    }
    send(Method::DELETE, "/v1/users/1", json!({})).await;
    let reset = json_of(&lines.line().await);
    assert_eq!((&reset["event"], &reset["reason"]), (&json!("reset"), &json!("erased")));
    for listening in [&mut lines, &mut words] {
        assert_eq!(listening.talk().await, "all that the user had has been erased");
    }
    server.publish("user:1", "c").await;
    assert_eq!(json_of(&lines.line().await)["message"], "c", "a line without event is a notification");
    assert!(words.line().await.ends_with("Z  c"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_notifications_are_counted() {
    let server = TestServer::start().await;
    let first = server.publish("user:1", "a").await;
    let arguments = ["listen", "1", "--since", "earliest", "--count", "2", "--json"];
    let mut listening = Listening::start(client(&server, &arguments));
    listening.line().await;
    let marked = server.request(Method::POST, "/v1/inbox/read-all?user_id=1").send().await.unwrap();
    assert_eq!(marked.status(), 200);
    let state = json_of(&listening.line().await);
    assert_eq!((&state["event"], state.get("ids"), &state["set"]), (&json!("state"), None, &json!({"read": true})));
    let last = server.publish("user:1", "b").await;
    assert_eq!(json_of(&listening.line().await)["id"], json!(last));
    assert_ne!(first, last);
    listening.end().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_goes_on_over_a_restart() {
    let server = TestServer::start().await;
    let (folder, address) = (server.folder.clone(), server.address().to_owned());
    server.publish("user:1", "a").await;
    let mut listening = Listening::start(client(&server, &["listen", "1", "--since", "earliest", "--count", "2"]));
    assert!(listening.line().await.ends_with("  a"));
    server.stop().await;
    let server = TestServer::start_in(folder, |config| config.listen = address.parse().unwrap()).await;
    server.publish("user:1", "b").await;
    assert!(listening.line().await.ends_with("  b"));
    listening.end().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_waits_while_the_server_is_full() {
    let server = TestServer::start_with(|config| config.streams_max = Some(1)).await;
    server.publish("user:1", "a").await;
    let mut tab = server.tab("2").await;
    tab.expect("hello").await;
    let mut listening = Listening::start(client(&server, &["listen", "1", "--since", "earliest", "--count", "1"]));
    assert!(listening.talk().await.starts_with("connection lost; going on in"));
    drop(tab);
    assert!(listening.line().await.ends_with("Z  a"));
    listening.end().await;
    server.stop().await;
}
