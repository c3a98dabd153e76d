//! A disk that fails or is full, under the real program.
//!
//! Writes beyond a size of a file are refused by the kernel (`RLIMIT_FSIZE`), which SQLite takes for an error of the disk.

use std::path::Path;
use std::process::Stdio;

use reqwest::{Client, StatusCode};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::server::{KEY, within};

/// The program on a folder, in a shell that keeps the signal of too large files from ending it.
struct Program {
    child: Child,
    url: String,
    http: Client,
}

impl Program {
    async fn start(folder: &Path, log: &Path) -> Program {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_pregon"), "serve"])
            .args(["--listen", "127.0.0.1:0", "--open-user-id", "--server-key", KEY, "--data-dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        within(BufReader::new(child.stdout.take().unwrap()).read_line(&mut line)).await.unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Program { child, url: ready["url"].as_str().unwrap().to_owned(), http: Client::new() }
    }

    /// Lets its files be so large, at the most.
    fn limit_files(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(self.child.id().unwrap().cast_signed());
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = within(self.http.get(format!("{}{path}", self.url)).bearer_auth(KEY).send()).await.unwrap();
        (answer.status(), within(answer.text()).await.unwrap())
    }

    /// Publishes some 1.6 MB in one commit.
    async fn publish_much(&self) -> StatusCode {
        let items = vec![json!({"to": "everyone", "message": "x".repeat(16_000)}); 100];
        let request = self.http.post(format!("{}/v1/notifications/batch", self.url)).bearer_auth(KEY);
        within(request.json(&json!(items)).send()).await.unwrap().status()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_that_the_disk_fails_are_said_until_one_works() {
    let (folder, log) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let log = log.path().join("log");
    let program = Program::start(folder.path(), &log).await;
    let bytes_max = 12 << 20;
    // The `-wal` stays below it, the file can't.
    program.limit_files(Some(bytes_max));
    let failing = async {
        loop {
            assert!(program.publish_much().await.is_success(), "publishing goes on");
            let (status, ready) = program.get("/readyz").await;
            if status != 200 {
                return (status, ready);
            }
        }
    };
    let (status, ready) = within(failing).await;
    assert_eq!(status, 503);
    assert!(ready.contains("maintenance_failing") && ready.contains("checkpoint"), "{ready}");
    assert!(std::fs::metadata(folder.path().join("pregon.db")).unwrap().len() <= bytes_max);
    let (_, metrics) = program.get("/metrics").await;
    assert!(metrics.contains("pregon_maintenance_failed_total{work=\"checkpoint\"} "), "{metrics}");
    let logged = std::fs::read_to_string(&log).unwrap();
    assert!(logged.contains("maintenance failed") && logged.contains("checkpoint"), "{logged}");

    program.limit_files(None);
    let works = async {
        while program.get("/readyz").await.0 != 200 {
            assert!(program.publish_much().await.is_success());
        }
    };
    within(works).await;
    assert!(std::fs::metadata(folder.path().join("pregon.db")).unwrap().len() > bytes_max);
}
