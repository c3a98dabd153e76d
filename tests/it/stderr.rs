//! The process log where it can't be written: requests are answered, the server ends in good order, and the lines that are
//! missing are counted.

use std::fs::File;
use std::io::{BufRead as _, PipeWriter, Read as _, Write as _, pipe};
use std::process::Stdio;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::ChildStderr;

use crate::cli::{json_of, pregon};
use crate::process::Running;
use crate::server::{KEY, within};

/// A server, and the folder of its data.
async fn start(arguments: &[&str], stderr: Stdio) -> (Running, TempDir) {
    let folder = TempDir::new().unwrap();
    (Running::start(&folder, arguments, stderr).await, folder)
}

/// Uses a server, ends it, and says how it ended.
async fn serves_and_ends((mut server, _folder): (Running, TempDir)) -> Option<i32> {
    for _ in 0..50 {
        assert_eq!(server.publish("Hola").await, 201);
    }
    let ready = within(server.http.get(format!("{}/readyz", server.url)).send()).await.unwrap();
    assert_eq!(ready.status(), 200);
    server.signal(Signal::TERM);
    server.ended().await
}

/// Reads a log of lines of JSON until one of them has that at that place.
async fn line_with(log: &mut Lines<BufReader<ChildStderr>>, pointer: &str, value: &str) -> Value {
    loop {
        let line = json_of(&within(log.next_line()).await.unwrap().expect("the server lives"));
        if line.pointer(pointer).is_some_and(|found| found == value) {
            return line;
        }
    }
}

/// Fills a pipe to its last byte; gives the number of bytes that it has taken.
fn fill(writer: &mut PipeWriter) -> usize {
    rustix::io::ioctl_fionbio(&*writer, true).unwrap();
    let mut filled = 0;
    for size in [4096, 1] {
        while let Ok(count) = writer.write(&vec![b'x'; size]) {
            filled += count;
        }
    }
    filled
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reader_of_its_log_a_server_goes_on_and_drains() {
    for level in ["info", "trace"] {
        let (reader, writer) = pipe().unwrap();
        let server = start(&["--log", level], writer.into()).await;
        drop(reader);
        assert_eq!(serves_and_ends(server).await, Some(0), "{level}");
    }
}

/// As on a full disk: both answer ENOSPC.
#[tokio::test(flavor = "multi_thread")]
async fn with_its_log_on_a_full_device_a_server_goes_on_and_counts_what_is_missing() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let server = start(&["--log", "trace"], full.into()).await;
    let counted = async { while server.0.metric("pregon_stderr_lines_lost_total").await == 0 {} };
    within(counted).await;
    assert_eq!(serves_and_ends(server).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_the_reader_of_a_full_pipe() {
    for is_nonblocking in [false, true] {
        let (_reader, mut writer) = pipe().unwrap();
        fill(&mut writer);
        rustix::io::ioctl_fionbio(&writer, is_nonblocking).unwrap();
        let server = start(&["--log", "trace"], writer.into()).await;
        assert_eq!(serves_and_ends(server).await, Some(0), "{is_nonblocking}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_gets_whole_lines() {
    for is_nonblocking in [false, true] {
        let (reader, mut writer) = pipe().unwrap();
        let filled = fill(&mut writer);
        rustix::io::ioctl_fionbio(&writer, is_nonblocking).unwrap();
        let server = start(&["--log-format", "json"], writer.into()).await;
        assert_eq!(server.0.publish("Hola").await, 201);
        let reading = pregon::blocking::run(move || {
            let mut log = std::io::BufReader::new(reader);
            log.read_exact(&mut vec![0; filled]).unwrap();
            let mut line = String::new();
            log.read_line(&mut line).unwrap();
            (log, line)
        });
        let (_log, line) = within(reading).await.unwrap();
        assert!(json_of(&line)["fields"]["message"].as_str().unwrap().contains("PREGON_UNKNOWN"), "{line}");
        assert_eq!(serves_and_ends(server).await, Some(0), "{is_nonblocking}");
    }
}

/// Its banner has nowhere to go either.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_with_nobody_to_read_why_ends_with_its_exit_code() {
    let folder = TempDir::new().unwrap();
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut command = pregon(&["serve", "--data-dir", folder.path().to_str().unwrap()]);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    assert_eq!(within(command.status()).await.unwrap().code(), Some(3));
}

/// A terminal that closes sends it to all that run in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_does_not_end_a_server_without_tls() {
    let mut server = start(&["--log-format", "json"], Stdio::piped()).await;
    let mut log = BufReader::new(server.0.child.stderr.take().unwrap()).lines();
    server.0.signal(Signal::HUP);
    let text = "SIGHUP: nothing to reload, since this server has no TLS certificate";
    line_with(&mut log, "/fields/message", text).await;
    assert_eq!(serves_and_ends(server).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_leads_to_the_line_of_its_request() {
    let arguments = ["--log", "pregon=debug", "--log-format", "json", "--open-user-id"];
    let mut server = start(&arguments, Stdio::piped()).await;
    let mut log = BufReader::new(server.0.child.stderr.take().unwrap()).lines();
    let ask = |method: Method, path: &str| server.0.http.request(method, format!("{}{path}", server.0.url));
    let made: Value = {
        let named = json!({"name": "orders", "scopes": ["publish:everyone"]});
        within(ask(Method::POST, "/v1/keys").bearer_auth(KEY).json(&named).send()).await.unwrap().json().await.unwrap()
    };
    let key = made["key"].as_str().unwrap();
    let message = json!({"message": "Canary"});
    for (request, wanted) in [
        (
            ask(Method::POST, "/v1/users/1/notifications?x=Canary").bearer_auth(key).json(&message),
            ("INFO", "POST", "/v1/users/{user}/notifications", 403, Some("orders"), None),
        ),
        (
            ask(Method::POST, "/v1/broadcast").bearer_auth(key).json(&message),
            ("DEBUG", "POST", "/v1/broadcast", 201, Some("orders"), None),
        ),
        (
            ask(Method::POST, "/v1/broadcast").bearer_auth("Canary").json(&message),
            ("DEBUG", "POST", "/v1/broadcast", 401, None, None),
        ),
        (ask(Method::GET, "/v1/inbox?user_id=ana"), ("DEBUG", "GET", "/v1/inbox", 200, None, Some("ana"))),
        (ask(Method::GET, "/Canary"), ("DEBUG", "GET", "", 404, None, None)),
    ] {
        let response = within(request.send()).await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap();
        let line = line_with(&mut log, "/fields/request_id", id).await;
        let text = |pointer: &str| line.pointer(pointer).and_then(Value::as_str);
        let (level, method, route) = (text("/level"), text("/fields/method"), text("/fields/route"));
        let status = line["fields"]["status"].as_u64().unwrap();
        let found =
            (level.unwrap(), method.unwrap(), route.unwrap(), status, text("/fields/key"), text("/fields/user"));
        assert_eq!(found, wanted);
        assert!(!line.to_string().contains("Canary"), "{line}");
    }
    drop(log);
    assert_eq!(serves_and_ends(server).await, Some(0), "with the reader gone");
}
