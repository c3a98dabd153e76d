//! What the documentation tells people to type works: every `curl` of it is run against a real server.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::server::{KEY, TestServer, within};

const PAGES: [&str; 3] = ["README.md", "README.es.md", "docs/api.md"];

/// The commands of a page that begin with `curl`, each as it stands there, in its order. A blank line ends one.
fn curls(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let commands = blocks.flat_map(|block| block.split("\n\n"));
    commands.filter(|command| command.starts_with("curl ")).map(str::to_owned).collect()
}

#[test]
fn every_curl_of_a_page_is_found() {
    for path in PAGES {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let written = page.lines().filter(|line| line.trim_start().starts_with("curl ")).count();
        assert!(written > 0 && curls(&page).len() == written, "{path}: a curl stands outside of a block, or not alone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_curl_of_the_documentation_works() {
    let server = TestServer::start().await;
    for path in PAGES {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        for written in curls(&page) {
            let command = written
                .replacen("curl ", "exec curl --fail-with-body --silent --show-error ", 1)
                .replace("http://127.0.0.1:8000", &server.url);
            assert!(command.contains(&server.url), "{path}: the address of no server is in {written}");
            let mut shell = Command::new("bash");
            shell.args(["-euc", &command]).env("PREGON_SERVER_KEY", KEY).kill_on_drop(true).stdin(Stdio::null());
            if written.starts_with("curl -N ") {
                // It goes on for ever: that something comes is what it promises.
                let mut child = shell.stdout(Stdio::piped()).spawn().unwrap();
                let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
                let first = within(lines.next_line()).await.unwrap();
                assert!(first.is_some_and(|line| line.contains("hello")), "{path}: {written}");
                within(child.kill()).await.unwrap();
            } else {
                let output = within(shell.output()).await.unwrap();
                let said = [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat();
                assert!(output.status.success(), "{path}: {written}\n{said}");
            }
        }
    }
    server.stop().await;
}
