//! A restart behind a proxy that is set up as docs/operations.md says: a bare `EventSource` misses nothing.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, Ordering};

use futures_util::StreamExt as _;
use reqwest::Client;
use serde_json::Value;
use sse_stream::SseByteStream;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::cli::pregon;
use crate::process::Running;
use crate::proxies::program;
use crate::server::within;

/// What the blocks in the document call the server.
const DOCUMENTED_SERVER: &str = "127.0.0.1:8000";
const BEFORE: usize = 5;
const IN_ALL: usize = 20;

/// The block in that language under the heading about streams, as an operator copies it.
fn documented(language: &str) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let (_, section) = text.split_once("\n### What a proxy does to streams\n").unwrap();
    let (_, block) = section.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// The block with other addresses and paths, each of which must stand in it.
fn with(mut block: String, replaced: &[(&str, String)]) -> String {
    for (from, to) in replaced {
        assert!(block.contains(from), "{from} is not in {block}");
        block = block.replace(from, to);
    }
    block
}

/// An address of this machine that no other program or test binds: the host is used once.
fn free_address() -> SocketAddr {
    static USED: AtomicU8 = AtomicU8::new(64);
    let [.., third, fourth] = std::process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, USED.fetch_add(1, Ordering::Relaxed), third, fourth);
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

/// A proxy in front of a server.
struct Proxy {
    address: SocketAddr,
    _child: Child,
}

impl Proxy {
    async fn start(mut command: Command, address: SocketAddr) -> Proxy {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let listens = async {
            while TcpStream::connect(address).await.is_err() {
                assert!(child.try_wait().unwrap().is_none(), "{command:?} has ended");
                tokio::task::yield_now().await;
            }
        };
        within(listens).await;
        Proxy { address, _child: child }
    }

    async fn nginx(folder: &Path, server: &str, change: impl Fn(String) -> String) -> Proxy {
        let address = free_address();
        let block = with(
            documented("nginx"),
            &[("listen 80;", format!("listen {address};")), (DOCUMENTED_SERVER, server.into())],
        );
        let shown = folder.display();
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths = kinds.map(|kind| format!("{kind}_temp_path {shown}/{kind};\n")).concat();
        let configuration = format!(
            "daemon off; master_process off; pid {shown}/pid; error_log {shown}/errors crit;\n\
             events {{}}\nhttp {{\naccess_log off;\n{paths}{}}}\n",
            change(block)
        );
        std::fs::write(folder.join("nginx.conf"), configuration).unwrap();
        let mut command = program("nginx");
        command.arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("errors"));
        Proxy::start(command, address).await
    }

    async fn haproxy(folder: &Path, server: &str) -> Proxy {
        let address = free_address();
        let replaced = [("bind :80", format!("bind {address}")), (DOCUMENTED_SERVER, server.into())];
        std::fs::write(folder.join("haproxy.cfg"), with(documented("haproxy"), &replaced)).unwrap();
        let mut command = program("haproxy");
        command.arg("-db").arg("-f").arg(folder.join("haproxy.cfg"));
        Proxy::start(command, address).await
    }

    async fn caddy(folder: &Path, server: &str) -> Proxy {
        let address = free_address();
        let site = format!("http://:{} {{\n    bind {}", address.port(), address.ip());
        let replaced = [("notify.example {", site), (DOCUMENTED_SERVER, server.into())];
        let configuration =
            format!("{{\n    admin off\n    auto_https off\n}}\n{}", with(documented("caddyfile"), &replaced));
        std::fs::write(folder.join("Caddyfile"), configuration).unwrap();
        let mut command = program("caddy");
        command.env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
        Proxy::start(command, address).await
    }

    async fn apache(folder: &Path, server: &str) -> Proxy {
        let (address, files) = (free_address(), free_address());
        let file = folder.join("later.txt");
        std::fs::write(&file, "retry: 2000\n\n").unwrap();
        let replaced = [
            ("*:80", address.to_string()),
            ("127.0.0.1:8001", files.to_string()),
            (DOCUMENTED_SERVER, server.into()),
            ("/etc/pregon/later.txt", file.display().to_string()),
        ];
        let block = with(documented("apache"), &replaced);
        let modules = ["mpm_event", "authz_core", "alias", "mime", "proxy", "proxy_http"];
        let load = |name: &str| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
        let modules = modules.map(load).concat();
        let shown = folder.display();
        let configuration = format!(
            "ServerRoot {shown}\nDefaultRuntimeDir {shown}\nPidFile {shown}/apache.pid\nErrorLog {shown}/errors\n\
             ServerName localhost\n{modules}TypesConfig /etc/mime.types\nListen {address}\n{block}"
        );
        std::fs::write(folder.join("apache.conf"), configuration).unwrap();
        let mut command = program("apache2");
        command.arg("-DFOREGROUND").arg("-f").arg(folder.join("apache.conf"));
        Proxy::start(command, address).await
    }
}

/// What an `EventSource` has met.
#[derive(Debug, PartialEq, Eq)]
enum Met {
    Message(String),
    /// It was asked to come back, and nothing else.
    Later,
    /// It is closed for good, by an answer with that status.
    Closed(u16),
}

/// What a browser's `EventSource` does, but that it comes back at once: any status but 200 closes it for good, and so does
/// another media type.
async fn event_source(url: String, met: UnboundedSender<Met>) {
    let http = Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let mut last_event_id = None;
    loop {
        let mut request = http.get(&url).header("accept", "text/event-stream");
        if let Some(id) = &last_event_id {
            request = request.header("last-event-id", id);
        }
        let Ok(response) = request.send().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let media_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        if response.status() != 200 || !media_type.is_some_and(|value| value.starts_with("text/event-stream")) {
            let _ = met.send(Met::Closed(response.status().as_u16()));
            return;
        }
        let mut events = SseByteStream::new(response.bytes_stream());
        while let Some(Ok(event)) = events.next().await {
            if event.id.is_some() {
                last_event_id = event.id;
            }
            let told = match (event.event, event.data) {
                (None, None) => Met::Later,
                (None, Some(data)) => {
                    let said: Value = serde_json::from_str(&data).unwrap();
                    Met::Message(said["message"].as_str().unwrap().to_owned())
                }
                (Some(_), _) => continue,
            };
            if met.send(told).is_err() {
                return;
            }
        }
    }
}

async fn serve(folder: &TempDir, listen: &str) -> Running {
    let mut command = pregon(&["serve", "--listen", listen, "--open-user-id", "--log", "off"]);
    command.stderr(Stdio::null());
    Running::of(command, folder).await
}

/// Publishes some, kills the server, has the proxy answer for it, starts it again and publishes the others; gives all that
/// an `EventSource` behind the proxy has been told, or with which status it was closed.
async fn over_a_restart(proxy: impl AsyncFn(&Path, &str) -> Proxy) -> Result<Vec<String>, u16> {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut server = serve(&data, "127.0.0.1:0").await;
    let address = server.address().to_owned();
    let proxy = proxy(folder.path(), &address).await;
    let (met, mut heard) = unbounded_channel();
    let source = format!("http://{}/v1/stream?user_id=1&since=earliest", proxy.address);
    let source = tokio::spawn(event_source(source, met));
    let mut got = Vec::new();
    publish(&server, 0..BEFORE).await;
    hear(&mut heard, &mut got, BEFORE).await?;
    server.child.start_kill().unwrap();
    within(server.child.wait()).await.unwrap();
    match within(heard.recv()).await.unwrap() {
        Met::Later => {}
        Met::Closed(status) => return Err(status),
        Met::Message(message) => panic!("{message} came from nowhere"),
    }
    let server = serve(&data, &address).await;
    publish(&server, BEFORE..IN_ALL).await;
    hear(&mut heard, &mut got, IN_ALL).await?;
    source.abort();
    Ok(got)
}

async fn publish(server: &Running, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(server.publish(&number.to_string()).await, 201);
    }
}

async fn hear(heard: &mut UnboundedReceiver<Met>, got: &mut Vec<String>, count: usize) -> Result<(), u16> {
    while got.len() < count {
        match within(heard.recv()).await.unwrap() {
            Met::Message(message) => got.push(message),
            Met::Closed(status) => return Err(status),
            Met::Later => {}
        }
    }
    Ok(())
}

fn all() -> Vec<String> {
    (0..IN_ALL).map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_nginx_a_bare_event_source_misses_nothing_over_a_restart() {
    assert_eq!(
        over_a_restart(async |folder, server| Proxy::nginx(folder, server, |block| block).await).await,
        Ok(all())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_documented_line_it_is_closed_for_good() {
    let without = |block: String| block.replace("error_page 502 503 504 =200 @later;", "");
    assert_eq!(over_a_restart(async |folder, server| Proxy::nginx(folder, server, without).await).await, Err(502));
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_haproxy_a_bare_event_source_misses_nothing_over_a_restart() {
    assert_eq!(over_a_restart(async |folder, server| Proxy::haproxy(folder, server).await).await, Ok(all()));
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_caddy_a_bare_event_source_misses_nothing_over_a_restart() {
    assert_eq!(over_a_restart(async |folder, server| Proxy::caddy(folder, server).await).await, Ok(all()));
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_apache_a_bare_event_source_misses_nothing_over_a_restart() {
    assert_eq!(over_a_restart(async |folder, server| Proxy::apache(folder, server).await).await, Ok(all()));
}
