//! A log that has lost commits, in the real program: whoever had seen them is told `reset`, and the server's log says so.

use std::path::Path;
use std::process::Stdio;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::server::{KEY, Tab, within};

struct Life {
    child: Child,
    url: String,
}

impl Life {
    async fn start(folder: &Path) -> Life {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pregon"))
            .args(["serve", "--listen", "127.0.0.1:0", "--open-user-id", "--server-key", KEY, "--log", "error"])
            .arg("--data-dir")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        within(BufReader::new(child.stdout.take().unwrap()).read_line(&mut line)).await.unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Life { child, url: ready["url"].as_str().unwrap().to_owned() }
    }

    async fn publish(&self, messages: usize) {
        for number in 0..messages {
            let body = json!({"to": "user:1", "message": format!("{number}")});
            let sent = Client::new().post(format!("{}/v1/notifications", self.url)).bearer_auth(KEY).json(&body);
            assert_eq!(within(sent.send()).await.unwrap().status(), 201);
        }
    }

    /// Opens a stream after a cursor; says how it was resumed, and the cursor that it begins with.
    async fn resumed(&self, cursor: Option<&str>) -> (String, String) {
        let mut request = Client::new().get(format!("{}/notifications?user_id=1", self.url));
        if let Some(cursor) = cursor {
            request = request.header("last-event-id", cursor);
        }
        let hello = Tab::of(within(request.send()).await.unwrap()).event().await.unwrap();
        let data: Value = serde_json::from_str(&hello.data.unwrap()).unwrap();
        (data["resumed"].as_str().unwrap().to_owned(), hello.id.unwrap())
    }

    /// Kills the program; gives what it had written into its log.
    async fn kill(mut self) -> String {
        self.child.start_kill().unwrap();
        within(self.child.wait()).await.unwrap();
        let mut log = String::new();
        within(self.child.stderr.take().unwrap().read_to_string(&mut log)).await.unwrap();
        log
    }
}

/// A log with some entries in `pregon.db` and some in its `-wal`, of a program that runs; and a cursor at their end.
async fn running(folder: &Path) -> (Life, String) {
    drop(Life::start(folder).await.kill().await);
    let life = Life::start(folder).await;
    life.publish(20).await;
    let (_, cursor) = life.resumed(None).await;
    (life, cursor)
}

#[tokio::test]
async fn a_copy_without_its_wal_has_a_new_epoch_and_says_so() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (life, cursor) = running(folder.path()).await;
    std::fs::copy(folder.path().join("pregon.db"), copy.path().join("pregon.db")).unwrap();
    assert_eq!(life.resumed(Some(&cursor)).await.0, "full");
    life.kill().await;
    let life = Life::start(copy.path()).await;
    life.publish(25).await;
    assert_eq!(life.resumed(Some(&cursor)).await.0, "reset", "20 of another log were seen, and 5 of this one were not");
    let log = life.kill().await;
    assert!(log.contains("ERROR") && log.contains("pregon.head"), "{log}");
}

#[tokio::test]
async fn all_that_is_damaged_is_named_in_the_log_and_nothing_of_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let (life, cursor) = running(folder.path()).await;
    life.kill().await;
    let connection = rusqlite::Connection::open(folder.path().join("pregon.db")).unwrap();
    let sql = "UPDATE log SET content = '{\"message\":\"canario\"}' WHERE position IN (3, 7, 11, 12, 20)";
    assert_eq!(connection.execute(sql, []).unwrap(), 5);
    drop(connection);
    let life = Life::start(folder.path()).await;
    assert_eq!(life.resumed(Some(&cursor)).await.0, "full", "20 have been seen");
    let log = life.kill().await;
    for position in [3, 7, 11, 12, 20] {
        assert!(log.contains(&format!("row {position} of table log")), "{position} in {log}");
    }
    assert!(!log.contains("canario"), "{log}");
}

#[tokio::test]
async fn commits_that_a_flipped_bit_has_cut_off_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    let (life, cursor) = running(folder.path()).await;
    assert_eq!(life.kill().await, "");
    let path = folder.path().join("pregon.db-wal");
    let mut wal = std::fs::read(&path).unwrap();
    let middle = wal.len() / 2;
    wal[middle] ^= 1;
    std::fs::write(&path, wal).unwrap();
    let life = Life::start(folder.path()).await;
    life.publish(25).await;
    assert_eq!(life.resumed(Some(&cursor)).await.0, "reset");
    let (_, cursor) = life.resumed(None).await;
    let log = life.kill().await;
    assert!(log.contains("ERROR") && log.contains("pregon.head") && log.contains("position 20"), "{log}");
    let life = Life::start(folder.path()).await;
    assert_eq!(life.resumed(Some(&cursor)).await.0, "full", "the new epoch stays");
    assert_eq!(life.kill().await, "");
}
