//! A server in a process of its own, as an operator runs it.

use std::process::Stdio;

use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::cli::{json_of, pregon};
use crate::server::{KEY, within};

/// Runs a command that serves; gives its process, and the line of JSON that says that it is ready.
pub(crate) async fn started(command: &mut Command) -> (Child, Value) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    within(BufReader::new(child.stdout.take().unwrap()).read_line(&mut line)).await.unwrap();
    (child, json_of(&line))
}

pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) http: Client,
}

impl Running {
    /// A server on a free port, with data of its own in a folder.
    pub(crate) async fn start(folder: &TempDir, arguments: &[&str], stderr: Stdio) -> Running {
        let mut command = pregon(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(arguments).env("PREGON_DRAIN", "0s").stderr(stderr);
        Running::of(command, folder).await
    }

    /// Runs a command that serves, and waits until it is ready.
    pub(crate) async fn of(mut command: Command, folder: &TempDir) -> Running {
        command.env("PREGON_DATA_DIR", folder.path()).env("PREGON_SERVER_KEY", KEY);
        // So that each server has at least one line to log at its start.
        command.env("PREGON_UNKNOWN", "1");
        Running::ready(&mut command).await
    }

    /// The same with nothing added to the command.
    pub(crate) async fn ready(command: &mut Command) -> Running {
        let (child, ready) = started(command).await;
        Running { child, url: ready["url"].as_str().unwrap().to_owned(), http: Client::new() }
    }

    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub(crate) async fn publish(&self, message: &str) -> u16 {
        let body = json!({"to": "everyone", "message": message});
        let request = self.http.post(format!("{}/v1/notifications", self.url)).bearer_auth(KEY).json(&body);
        within(request.send()).await.unwrap().status().as_u16()
    }

    /// The value of a metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let request = self.http.get(format!("{}/metrics", self.url)).bearer_auth(KEY);
        let text = within(within(request.send()).await.unwrap().text()).await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }

    /// Whether it takes requests, and is not about to end.
    pub(crate) async fn is_ready(&self) -> bool {
        within(self.http.get(format!("{}/readyz", self.url)).send()).await.is_ok_and(|answer| answer.status() == 200)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// How it ended.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        within(self.child.wait()).await.unwrap().code()
    }
}
