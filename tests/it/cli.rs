//! The commands, as someone at a shell meets them.

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::server::{KEY, TestServer, within};

fn pregon(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pregon"));
    command.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn client(server: &TestServer, arguments: &[&str]) -> Command {
    let mut command = pregon(arguments);
    command.env("PREGON_SERVER", &server.url).env("PREGON_SERVER_KEY", KEY);
    command
}

async fn run(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = within(command.output()).await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_listened_to() {
    let server = TestServer::start().await;
    let (code, id, _) = run(client(&server, &["publish", "user:1", "Hola", "--title", "Saludo"])).await;
    assert_eq!((code, id.trim_end().len()), (Some(0), 36));
    let mut piped = client(&server, &["publish", "everyone", "-", "--json"]);
    let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all("de stdin\u{1b}[2J\n".replace('\u{1b}', "\t").as_bytes()).await.unwrap();
    let output = within(child.wait_with_output()).await.unwrap();
    let published: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(published["to"], "everyone");

    let (code, printed, _) = run(client(&server, &["listen", "1", "--since", "earliest", "--count", "2"])).await;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!((code, lines.len()), (Some(0), 2));
    assert!(lines[0].ends_with("Z  Saludo: Hola") && lines[1].ends_with("Z  de stdin [2J"), "{printed}");
    let (_, printed, _) = run(client(&server, &["listen", "1", "--since", "1h", "--count", "1", "--json"])).await;
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap()["id"], id.trim_end());
    let (code, ready, _) = run(pregon(&["health", &server.url])).await;
    assert_eq!((code, ready.contains("\"ready\"")), (Some(0), true));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_goes_on_over_a_restart() {
    let server = TestServer::start().await;
    let (folder, address) = (server.folder.clone(), server.address().to_owned());
    server.publish("user:1", "a").await;
    let mut listening = client(&server, &["listen", "1", "--since", "earliest", "--count", "2"]);
    let mut child = listening.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(within(lines.next_line()).await.unwrap().unwrap().ends_with("  a"));
    server.stop().await;
    let server = TestServer::start_in(folder, |config| config.listen = address.parse().unwrap()).await;
    server.publish("user:1", "b").await;
    assert!(within(lines.next_line()).await.unwrap().unwrap().ends_with("  b"));
    assert!(within(child.wait()).await.unwrap().success());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_waits_while_the_server_is_full() {
    let server = TestServer::start_with(|config| config.streams_max = Some(1)).await;
    server.publish("user:1", "a").await;
    let mut tab = server.tab("2").await;
    tab.expect("hello").await;
    let mut listening = client(&server, &["listen", "1", "--since", "earliest", "--count", "1"]);
    let mut child = listening.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(within(talk.next_line()).await.unwrap().unwrap().starts_with("connection lost; going on in"));
    drop(tab);
    let output = within(child.wait_with_output()).await.unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("Z  a\n"), "and nothing else");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_has_its_exit_code_and_says_what_to_do() {
    let server = TestServer::start_with(|config| config.open_user_id = false).await;
    let nobody = "http://127.0.0.1:9";
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    let mut wrong_key = client(&server, &["publish", "user:1", "x"]);
    wrong_key.env("PREGON_SERVER_KEY", "another-key-entirely");
    let cases = [
        (pregon(&["publish"]), 2, "required arguments"),
        (pregon(&["serve"]), 3, "export PREGON_SERVER_KEY=pregon_sk_"),
        (pregon(&["serve", "--heartbeat", "soon", "--listen", "x"]), 3, "the configuration has 2 errors"),
        (pregon(&["dev", "--listen", "0.0.0.0:0"]), 3, "on this machine only"),
        (
            pregon(&["serve", "--server-key", KEY, "--data-dir", data_dir, "--listen", server.address()]),
            1,
            "is in use; try --listen",
        ),
        (client(&server, &["publish", "usr:1", "x"]), 4, "did you mean user:1?"),
        (wrong_key, 4, "the server key is not known here"),
        (pregon(&["listen", "1", "--server", &server.url]), 4, "no credential was given"),
        (pregon(&["listen", "1", "--server", nobody]), 5, "no answer from http://127.0.0.1:9"),
        (pregon(&["health", nobody]), 5, "no answer from"),
    ];
    for (command, code, says) in cases {
        let shown = format!("{command:?}");
        let (found, stdout, stderr) = run(command).await;
        assert_eq!(found, Some(code), "{shown}: {stderr}");
        assert!(stderr.contains(says), "{shown}: {stderr}");
        assert_eq!(stdout, "", "{shown}: what went wrong is talk, not data");
    }
    server.stop().await;
}
