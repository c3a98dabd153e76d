//! A disk that fails or is full, under the real program.
//!
//! Writes beyond a size of a file are refused by the kernel (`RLIMIT_FSIZE`), which SQLite takes for an error of the disk.
//! What becomes full is a `tmpfs` of 24 MiB in a mount namespace of its own, which needs `unshare` and `nsenter`, and a
//! kernel that lets a user make namespaces, or root.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::{Client, Method, StatusCode};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::process::started;
use crate::server::{KEY, within};

/// The program on a folder, in a shell that keeps the signal of too large files from ending it.
struct Program {
    child: Child,
    url: String,
    http: Client,
}

impl Program {
    async fn start(folder: &Path, log: &Path) -> Program {
        Program::run(Command::new("sh").args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]), folder, log).await
    }

    /// Runs it as the arguments of a command.
    async fn run(command: &mut Command, folder: &Path, log: &Path) -> Program {
        let (child, ready) = started(Program::serve(command, folder, log)).await;
        Program { child, url: ready["url"].as_str().unwrap().to_owned(), http: Client::new() }
    }

    fn serve<'c>(command: &'c mut Command, folder: &Path, log: &Path) -> &'c mut Command {
        command
            .args([env!("CARGO_BIN_EXE_pregon"), "serve"])
            .args(["--listen", "127.0.0.1:0", "--open-user-id", "--server-key", KEY, "--data-dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(log).unwrap())
            .kill_on_drop(true)
    }

    /// Lets its files be so large, at the most.
    fn limit_files(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(self.child.id().unwrap().cast_signed());
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, String) {
        let request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(KEY);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let answer = within(request.send()).await.unwrap();
        (answer.status(), within(answer.text()).await.unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        self.ask(Method::GET, path, None).await
    }

    /// `pregon_commits_failed_total`.
    async fn failed_commits(&self) -> u64 {
        let (_, text) = self.get("/metrics").await;
        let value = text.lines().find_map(|line| line.strip_prefix("pregon_commits_failed_total "));
        value.unwrap().parse().unwrap()
    }

    /// Publishes some 1.6 MB in one commit.
    async fn publish_much(&self, to: &str) -> StatusCode {
        let items = vec![json!({"to": to, "message": "x".repeat(16_000)}); 100];
        self.ask(Method::POST, "/v1/notifications/batch", Some(json!(items))).await.0
    }

    async fn publish(&self, to: &str) -> (StatusCode, String) {
        self.ask(Method::POST, "/v1/notifications", Some(json!({"to": to, "message": "hola"}))).await
    }

    async fn kill(mut self) {
        within(self.child.kill()).await.unwrap();
    }

    /// Ends it as `systemctl stop` does.
    async fn stop(mut self) {
        let pid = Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        within(self.child.wait()).await.unwrap();
    }
}

/// A small disk that only those in its mount namespace see; a process that waits keeps it.
struct SmallDisk {
    folder: TempDir,
    keeper: Child,
}

impl SmallDisk {
    async fn make() -> SmallDisk {
        let folder = TempDir::new().unwrap();
        let mut keeper = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c"])
            .args(["mount -t tmpfs -o size=24m none \"$1\" && echo made && read end", "sh"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        within(BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line)).await.unwrap();
        assert_eq!(line, "made\n", "no disk of its own can be mounted here");
        SmallDisk { folder, keeper }
    }

    /// A command that gets another one as its arguments, and runs it where the disk is.
    fn enter(&self) -> Command {
        let keeper = self.keeper.id().unwrap().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--user", "--preserve-credentials", "--mount", "--target", &keeper]);
        command
    }

    async fn start(&self, log: &Path) -> Program {
        Program::run(&mut self.enter(), self.folder.path(), log).await
    }

    /// Whether a server starts; if not, what it says.
    async fn try_to_start(&self, log: &Path) -> Result<(), String> {
        let mut command = self.enter();
        let mut child = Program::serve(&mut command, self.folder.path(), log).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        within(BufReader::new(child.stdout.take().unwrap()).read_line(&mut line)).await.unwrap();
        if !line.is_empty() {
            within(child.kill()).await.unwrap();
            return Ok(());
        }
        let status = within(child.wait()).await.unwrap();
        let said = std::fs::read_to_string(log).unwrap();
        assert_eq!(status.code(), Some(1), "{said}");
        Err(said)
    }

    /// A path on it, as it is from outside.
    fn path(&self, name: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.keeper.id().unwrap());
        Path::new(&root).join(self.folder.path().strip_prefix("/").unwrap()).join(name)
    }

    /// Writes a file until there is not a byte left.
    fn fill(&self, name: &str) {
        let mut file = std::fs::File::create(self.path(name)).unwrap();
        for piece in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; piece]).is_ok() {}
        }
    }

    /// The same, less some bytes.
    fn fill_but(&self, name: &str, left: u64) {
        self.fill(name);
        let file = std::fs::File::options().write(true).open(self.path(name)).unwrap();
        file.set_len(file.metadata().unwrap().len() - left).unwrap();
    }

    fn remove(&self, names: &[&str]) {
        for name in names {
            // Which of them are there depends on how far a start has come.
            let _ = std::fs::remove_file(self.path(name));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_that_the_disk_fails_are_said_until_one_works() {
    let (folder, log) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let log = log.path().join("log");
    let program = Program::start(folder.path(), &log).await;
    let bytes_max = 8 << 20;
    // The `-wal` stays below it, the file can't.
    program.limit_files(Some(bytes_max));
    let failing = async {
        loop {
            assert!(program.publish_much("everyone").await.is_success(), "publishing goes on");
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
    // Lines are written by a thread of their own, which nobody waits for.
    let logged = async {
        loop {
            let logged = std::fs::read_to_string(&log).unwrap();
            if logged.contains("maintenance failed") && logged.contains("checkpoint") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within(logged).await;

    program.limit_files(None);
    let works = async {
        while program.get("/readyz").await.0 != 200 {
            assert!(program.publish_much("everyone").await.is_success());
        }
    };
    within(works).await;
    assert!(std::fs::metadata(folder.path().join("pregon.db")).unwrap().len() > bytes_max);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_lets_start_read_recall_erase_and_mark_and_publish_once_there_is_room() {
    let (disk, log) = (SmallDisk::make().await, TempDir::new().unwrap());
    let log = log.path().join("log");
    let program = disk.start(&log).await;
    let (status, recalled) = program.publish("everyone").await;
    assert_eq!(status, 201);
    let recalled: Value = serde_json::from_str(&recalled).unwrap();
    let recalled = recalled["id"].as_str().unwrap().to_owned();
    assert!(program.publish_much("user:zoe").await.is_success());
    assert!(program.publish_much("user:ana").await.is_success());
    disk.fill("of-others");
    // The `-wal` may have some space left within its length.
    let full = async { while program.publish("user:zoe").await.0 != 507 {} };
    within(full).await;
    assert!(disk.path("pregon.reserve").exists(), "nobody publishes into it");
    program.kill().await;
    // Also if what SQLite keeps beside the file is gone, and its space too.
    std::fs::remove_file(disk.path("pregon.db-shm")).unwrap();
    disk.fill("more-of-others");
    let program = disk.start(&log).await;
    assert_eq!(program.get("/readyz").await.0, 200, "it can be read");
    let stream = program.http.get(format!("{}/v1/stream?user_id=ana", program.url)).bearer_auth(KEY).send();
    assert_eq!(within(stream).await.unwrap().status(), 200);
    let (status, inbox) = program.get("/v1/inbox?user_id=ana").await;
    assert!(status == 200 && inbox.contains("xxxx"), "{inbox}");
    for (method, path) in [
        (Method::DELETE, format!("/v1/notifications/{recalled}")),
        (Method::DELETE, "/v1/users/zoe".into()),
        (Method::POST, "/v1/inbox/read-all?user_id=ana".into()),
    ] {
        let (status, answer) = program.ask(method, &path, None).await;
        assert!(status.is_success(), "{path}: {answer}");
        let failed = program.failed_commits().await;
        assert_eq!(program.publish("everyone").await.0, 507, "nothing else takes the space");
        assert!(program.failed_commits().await > failed, "each refusal is counted");
    }
    let (_, inbox) = program.get("/v1/inbox?user_id=zoe").await;
    let (_, counts) = program.get("/v1/inbox/counts?user_id=ana").await;
    let unread = |counts: &str| serde_json::from_str::<Value>(counts).unwrap()["unread"].as_u64();
    assert!(unread(&counts) == Some(0), "{counts} {inbox}");

    std::fs::remove_file(disk.path("of-others")).unwrap();
    let works = async { while program.publish("everyone").await.0 != 201 {} };
    within(works).await;
    assert_eq!(std::fs::metadata(disk.path("pregon.reserve")).unwrap().len(), 8 << 20, "made anew");

    // Full of what was published, to the last commit.
    while program.publish_much("everyone").await.is_success() {}
    let (status, answer) = program.ask(Method::DELETE, "/v1/users/ana", None).await;
    assert!(status.is_success(), "{answer}");
    program.stop().await;
    disk.start(&log).await.stop().await;
}

/// Else a repeated request would publish it after them.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_nothing_is_published_after_what_could_not_be() {
    let (disk, log) = (SmallDisk::make().await, TempDir::new().unwrap());
    let program = disk.start(&log.path().join("log")).await;
    disk.fill_but("of-others", 1 << 20);
    let large = json!({"to": "user:ana", "message": "x".repeat(16_000)});
    let mut items = vec![large; 200];
    items.push(json!({"to": "user:ana", "message": "hola"}));
    let (status, answer) = program.ask(Method::POST, "/v1/notifications/batch", Some(json!(items))).await;
    assert!(status.is_success(), "the first were published: {answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let published: Vec<bool> = answer["data"].as_array().unwrap().iter().map(|item| item["id"].is_string()).collect();
    assert_eq!(published.len(), 201);
    assert!(published[0] && published.is_sorted_by(|before, after| before >= after), "{published:?}");
    program.stop().await;
}

/// Mutants: what it frees is left to others; that nothing can be published is said only to who publishes.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_checkpoint_frees_on_a_full_disk_goes_back_into_the_reserve() {
    let (disk, log) = (SmallDisk::make().await, TempDir::new().unwrap());
    let program = disk.start(&log.path().join("log")).await;
    assert!(!program.get("/readyz").await.1.contains("publish"));
    let bytes = |name: &str| std::fs::metadata(disk.path(name)).unwrap().len();
    let mut small = Vec::new();
    for _ in 0..5 {
        let (_, published) = program.publish("user:ana").await;
        small.push(serde_json::from_str::<Value>(&published).unwrap()["id"].as_str().unwrap().to_owned());
    }
    while program.publish_much("user:ana").await.is_success() {}
    let (status, ready) = program.get("/readyz").await;
    assert!(status == 200 && ready.contains(r#""publish""#), "{ready}");
    let emptied = async {
        while bytes("pregon.db-wal") > 0 || bytes("pregon.reserve") < 7 << 20 {
            assert_eq!(program.publish("user:ana").await.0, 507);
        }
    };
    within(emptied).await;
    disk.fill("of-others");
    for id in small {
        let (status, answer) = program.ask(Method::DELETE, &format!("/v1/notifications/{id}"), None).await;
        assert!(status.is_success(), "{answer}");
        disk.fill(&format!("of-others-{id}"));
    }
    program.stop().await;
}

/// Others take all that is freed, each time.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_disk_that_stays_full_a_server_starts_again_and_again_and_recalls_each_time() {
    let (disk, log) = (SmallDisk::make().await, TempDir::new().unwrap());
    let log = log.path().join("log");
    let program = disk.start(&log).await;
    let mut published = Vec::new();
    for _ in 0..4 {
        let (status, answer) = program.publish("everyone").await;
        assert_eq!(status, 201);
        published.push(serde_json::from_str::<Value>(&answer).unwrap()["id"].as_str().unwrap().to_owned());
    }
    program.stop().await;
    for (round, id) in published.iter().enumerate() {
        disk.fill(&format!("of-others-{round}"));
        let program = disk.start(&log).await;
        let (status, answer) = program.publish("everyone").await;
        assert!(status == 507 && answer.contains("too little space is left"), "{answer}");
        disk.fill(&format!("more-of-others-{round}"));
        let (status, answer) = program.ask(Method::DELETE, &format!("/v1/notifications/{id}"), None).await;
        assert!(status.is_success(), "round {round}: {answer}");
        disk.fill(&format!("still-more-of-others-{round}"));
        program.stop().await;
        let logged = std::fs::read_to_string(&log).unwrap();
        assert!(!logged.contains("what is due could not be published"), "nothing is due: {logged}");
    }
}

/// A new log, on a disk that has no byte left, or too few; and one that is there, without its reserve.
///
/// Mutants: only what the database says is full; only at the first step of a start.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_too_little_space_says_that_the_disk_is_full_and_how_much_is_enough() {
    let (disk, log) = (SmallDisk::make().await, TempDir::new().unwrap());
    let log = log.path().join("log");
    let database = disk.folder.path().join("pregon.db");
    let full = format!(
        "can't open {}: the disk is full; free some space on it (1 MiB is enough to start and to recall or erase something)",
        database.display()
    );
    let mut left = 0;
    loop {
        disk.fill_but("of-others", left);
        if let Err(said) = disk.try_to_start(&log).await {
            assert!(said.contains(&full), "a new log with {left} bytes: {said}");
        } else {
            break;
        }
        disk.remove(&["of-others", "pregon.db", "pregon.db-wal", "pregon.db-shm", "pregon.head", "pregon.lock"]);
        left += 16 << 10;
    }
    assert!((64 << 10..1 << 20).contains(&left), "{left} bytes are enough");
    disk.remove(&["of-others"]);
    let program = disk.start(&log).await;
    assert_eq!(program.publish("everyone").await.0, 201);
    program.stop().await;
    disk.remove(&["pregon.reserve"]);
    disk.fill("of-others");
    let said = disk.try_to_start(&log).await.expect_err("not a byte is left");
    assert!(said.contains(&full), "{said}");
    // What it says is enough is enough.
    disk.remove(&["of-others"]);
    disk.fill_but("of-others", 1 << 20);
    let program = disk.start(&log).await;
    let (_, inbox) = program.get("/v1/inbox?user_id=1").await;
    let inbox: Value = serde_json::from_str(&inbox).unwrap();
    let recalled = format!("/v1/notifications/{}", inbox["data"][0]["id"].as_str().unwrap());
    let (status, answer) = program.ask(Method::DELETE, &recalled, None).await;
    assert!(status.is_success(), "{answer}");
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_write_that_failed_each_answer_says_what_is_known_and_a_restart_is_asked_for() {
    let (folder, log) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let log = log.path().join("log");
    let program = Program::start(folder.path(), &log).await;
    let publish = async |program: &Program| {
        let request = program.http.post(format!("{}/v1/notifications", program.url)).bearer_auth(KEY);
        let request = request.header("idempotency-key", "k").json(&json!({"to": "user:1", "message": "hola"}));
        let answer = within(request.send()).await.unwrap();
        let has_retry_after = answer.headers().contains_key("retry-after");
        let status = answer.status().as_u16();
        let problem: Value = within(answer.json()).await.unwrap();
        (status, problem["code"].as_str().unwrap_or_default().to_owned(), has_retry_after)
    };
    assert!(program.publish("everyone").await.0.is_success());
    assert_eq!(program.get("/healthz").await.0, 200);
    // Not a byte can be added to the `-wal`.
    program.limit_files(Some(std::fs::metadata(folder.path().join("pregon.db-wal")).unwrap().len()));
    assert_eq!(publish(&program).await, (503, "outcome_unknown".into(), false));
    assert_eq!(publish(&program).await, (503, "store_stopped".into(), true));
    for path in ["/healthz", "/readyz"] {
        let (status, problem) = program.get(path).await;
        assert!(status == 503 && problem.contains("store_stopped"), "{path}: {problem}");
    }
    assert_eq!(program.get("/v1/inbox?user_id=1").await.0, 200, "it can still be read");
    program.kill().await;
    let program = Program::start(folder.path(), &log).await;
    assert_eq!(program.get("/healthz").await.0, 200);
    assert_eq!(publish(&program).await.0, 201);
    let (_, inbox) = program.get("/v1/inbox?user_id=1").await;
    assert_eq!(inbox.matches("\"hola\"").count(), 2, "one to her and one to everyone: {inbox}");
}
