//! The command line, as someone at a shell meets it; `cli_publish`, `cli_inbox` and `cli_listen` have one command each.

use std::process::{Output, Stdio};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::process::Running;
use crate::server::{KEY, TestServer, within};

pub(crate) fn pregon(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pregon"));
    command.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) fn client(server: &TestServer, arguments: &[&str]) -> Command {
    let mut command = pregon(arguments);
    command.env("PREGON_SERVER", &server.url).env("PREGON_SERVER_KEY", KEY);
    command
}

pub(crate) async fn run(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = within(command.output()).await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// One line of JSON.
pub(crate) fn json_of(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// A key that the server takes with a line end around it is the same key when a command sends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_read_by_commands_as_the_server_reads_it() {
    let server = TestServer::start().await;
    for key in [format!("\u{feff} {KEY}\n"), format!("{KEY}\r\n")] {
        let mut publishing = client(&server, &["publish", "user:1", "hola"]);
        publishing.env("PREGON_SERVER_KEY", &key);
        let (code, _, error) = run(publishing).await;
        assert_eq!(code, Some(0), "{key:?}: {error}");
        let mut counting = client(&server, &["inbox", "counts", "1"]);
        counting.env("PREGON_SERVER_KEY", &key).env("PREGON_TOKEN", "");
        let (code, _, error) = run(counting).await;
        assert_eq!(code, Some(0), "an empty token is none: {error}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_may_begin_with_a_dash_and_stand_in_any_place_that_takes_one() {
    let folder = TempDir::new().unwrap();
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----";
    let file = folder.path().join("pregon.toml");
    let issuer = "[[issuers]]\nissuer = \"shop\"\nkeys = [{ algorithm = \"HS256\", key_env = \"SHOP_SECRET\" }]\n";
    std::fs::write(&file, issuer).unwrap();
    let secret = "a secret of at least thirty-two bytes";
    let mut serving =
        pregon(&["serve", "--listen", "127.0.0.1:0", "--drain", "0s", "--config", file.to_str().unwrap()]);
    serving.args(["--server-key", "-key-of-enough-length-1", "--jwt-algorithm", "EdDSA", "--jwt-key", public]);
    serving.env("SHOP_SECRET", format!("\u{feff} {secret}\n")).env("PREGON_DATA_DIR", folder.path());
    let server = Running::ready(&mut serving).await;
    let mut publishing =
        pregon(&["publish", "--server", &server.url, "--key", "-key-of-enough-length-1", "user:1", "hola"]);
    publishing.stdin(Stdio::null());
    let (code, _, error) = run(publishing).await;
    assert_eq!(code, Some(0), "{error}");
    let claims = json!({"sub": "1", "iss": "shop", "exp": 4_102_444_800_i64});
    let token =
        jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap();
    let mut counting = pregon(&["inbox", "counts", "1", "--server", &server.url, "--token", &token]);
    counting.stdin(Stdio::null());
    let (code, printed, error) = run(counting).await;
    assert_eq!(code, Some(0), "{printed}{error}");
}

/// The proxy and the certificates of its surroundings are nothing to a request over http on this machine.
#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_certificates_over_http_and_an_address_no_scheme_on_this_machine() {
    let server = TestServer::start().await;
    // A resolver need not know names below `localhost`.
    let named = server.address().replace("127.0.0.1", "shop.localhost");
    for (address, certificates) in [
        (server.url.as_str(), "/nonexistent"),
        (server.address(), "/nonexistent"),
        (server.address(), ""),
        (&named, ""),
    ] {
        let mut health = pregon(&["health", address]);
        health
            .env("SSL_CERT_FILE", certificates)
            .env("SSL_CERT_DIR", certificates)
            .env("http_proxy", "http://127.0.0.1:9");
        let (code, printed, error) = run(health).await;
        assert_eq!(code, Some(0), "{address}: {error}");
        assert!(printed.contains("ready"), "{printed}");
    }
    server.stop().await;
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

/// A server that is not pregon, and knows nothing but one answer.
async fn something_else() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            connection.read_buf(&mut request).await.unwrap();
        }
        connection.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\nOops").await.unwrap();
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_has_its_exit_code_and_says_what_to_do() {
    let server = TestServer::start_with(|config| config.open_user_id = false).await;
    let nobody = "http://127.0.0.1:9";
    let another = something_else().await;
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    let mut wrong_key = client(&server, &["publish", "user:1", "x"]);
    wrong_key.env("PREGON_SERVER_KEY", "another-key-entirely");
    let id = "01a20cb5-1195-77f8-8b27-91b1946c4576";
    let ask = |arguments: &[&str]| client(&server, arguments);
    let cases = [
        (pregon(&["publish"]), 2, "required arguments"),
        (ask(&["publish", "user:1", "x", "--severity", "warn"]), 2, "[possible values: info, success, warning, error]"),
        (ask(&["publish", "user:1", "x", "--data", "{a}"]), 2, "not JSON: key must be a string at line 1 column 2"),
        (ask(&["publish", "user:1", "x", "--data", "@/there/is/none"]), 2, "can't read /there/is/none"),
        (ask(&["publish", "user:1", "x", "--action", "id=a,lable=b"]), 2, "lable is not a field of an action"),
        (ask(&["publish", "user:1", "x", "--i18n", "en"]), 2, "must be a language, = and the text"),
        (ask(&["publish", "user:1", "x", "--actor-avatar", "/a.png"]), 2, "--actor <NAME>"),
        (ask(&["publish", "user:1", "x", "--expires-in", "1h", "--expires-at", "x"]), 2, "cannot be used with"),
        (ask(&["publish", "user:1", "--tilte", "x"]), 2, "a similar argument exists: '--title'"),
        (ask(&["publish", "user:1", "x", "--idempotency-key", "a\nb"]), 2, "can't be put into a request"),
        (ask(&["publish", "user:1", "x", "--server", "ftp://localhost:8000"]), 2, "must be http:// or https://"),
        (ask(&["inbox", "list", "1", "--status", "new"]), 2, "[possible values: all, unread, read, archived]"),
        (ask(&["inbox", "list", "1", "--limit", "0"]), 2, "0 is not in 1.."),
        (ask(&["inbox", "read", "1"]), 2, "<ID|--all|--up-to <ID>>"),
        (ask(&["inbox", "read", "1", id, "--all"]), 2, "cannot be used with"),
        (ask(&["inbox", "archive", "1", "x"]), 2, "must be a UUID"),
        (ask(&["key", "create", "x"]), 2, "--scope <SCOPE>"),
        (ask(&["key", "create", "x", "--scope", "publish:usr:1"]), 2, "what is no audience: must be user:ID"),
        (ask(&["key", "revoke", "x"]), 2, "must be a UUID"),
        (ask(&["completions", "tcsh"]), 2, "[possible values: bash, elvish, fish, powershell, zsh]"),
        (pregon(&["serve", "--data-dir", data_dir]), 3, "export PREGON_SERVER_KEY=pregon_sk_"),
        (pregon(&["serve", "--heartbeat", "soon", "--listen", "x"]), 3, "the configuration has 2 errors"),
        (pregon(&["dev", "--listen", "0.0.0.0:0"]), 3, "on this machine only"),
        (
            pregon(&["serve", "--server-key", KEY, "--data-dir", data_dir, "--listen", server.address()]),
            1,
            "is in use; try --listen",
        ),
        (client(&server, &["publish", "usr:1", "x"]), 4, "did you mean user:1?"),
        (
            ask(&["publish", "user:1", "x", "--also-to", "topc:a", "--title", "", "--url", "javascript:x"]),
            4,
            "3 fields are wrong\n  /to/1 must be user:ID, topic:NAME or everyone; did you mean topic:a?\n  /title must",
        ),
        (wrong_key, 4, "the server key is not known here"),
        (ask(&["inbox", "list", ""]), 4, "`user_id` must say whose notifications are meant"),
        (ask(&["inbox", "read", "1", "--up-to", id]), 4, "the user has no notification with this id"),
        (ask(&["key", "revoke", id]), 4, "no key has this id"),
        (ask(&["show", id]), 4, "no notification has this id"),
        (ask(&["edit", id, "x"]), 4, "no notification has this id"),
        (ask(&["health", &format!("{}/pregon", server.url)]), 4, "there is nothing at this path"),
        (pregon(&["listen", "1", "--server", &server.url]), 4, "no credential was given"),
        (pregon(&["listen", "1", "--server", nobody]), 5, "no answer from http://127.0.0.1:9"),
        (pregon(&["health", &another]), 1, "answers 502 Bad Gateway to /readyz; is it pregon that listens there?"),
        (pregon(&["health", nobody]), 5, "no answer from"),
        (pregon(&["inbox", "counts", "1", "--server", nobody]), 5, "no answer from"),
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

#[tokio::test(flavor = "multi_thread")]
async fn data_that_can_not_be_written_is_a_failure() {
    let server = TestServer::start().await;
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut counting = client(&server, &["inbox", "counts", "1"]);
    let child = counting.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = within(child.wait_with_output()).await.unwrap();
    let says = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{says}");
    assert!(says.starts_with("error: stdout: No space left on device"), "{says}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shell_gets_its_completions() {
    for (shell, has) in [
        ("bash", "complete -F _pregon"),
        ("zsh", "#compdef pregon"),
        ("fish", "complete -c pregon"),
        ("elvish", "edit:completion:arg-completer[pregon]"),
        ("powershell", "Register-ArgumentCompleter -Native -CommandName 'pregon'"),
    ] {
        let (code, script, says) = run(pregon(&["completions", shell])).await;
        assert_eq!((code, says.as_str()), (Some(0), ""), "{shell}");
        assert!(script.contains(has) && script.contains("unarchive"), "{shell}");
    }
}
