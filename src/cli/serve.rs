//! `pregon serve`, and what `dev` shares with it: log, signals, banner.

use std::io::IsTerminal as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use listenfd::ListenFd;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::Failure;
use super::banner::Banner;
use crate::auth::ServerKey;
use crate::config::{self, Config, ConfigError, Flags, LogFormat};
use crate::diagnostics::{self, Format};
use crate::listener::tls::Certificate;
use crate::server::{Server, StartError};

/// How long the process waits for its threads at the end, and then as long again for the log.
const FLUSH_TIME_MAX: Duration = Duration::from_millis(100);
/// How often it is tried to remove the folder of `dev`.
const REMOVALS_MAX: usize = 10;

/// Serve
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    flags: Flags,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (config, socket) = ready(Config::load(&self.flags))?;
        Process::begin()?.serve(config, socket, Extras::default())
    }
}

/// How a run differs from a plain `serve`.
#[derive(Default)]
pub(super) struct Extras {
    /// The folder of the data, if it goes with the process.
    pub(super) temporary: Option<TempDir>,
    pub(super) key_generated: bool,
}

/// Takes a configuration that has been read, and starts the log. Gives the socket that was handed over, if one was; its address
/// is the one of the configuration then.
pub(super) fn ready(config: Result<Config, ConfigError>) -> Result<(Config, Option<TcpListener>), Failure> {
    let mut config = config.map_err(|error| Failure::Config(error.into()))?;
    let filter = EnvFilter::try_new(&config.log).map_err(|error| Failure::Config(error.into()))?;
    let is_terminal = std::io::stderr().is_terminal();
    let colors = is_terminal && std::env::var_os("NO_COLOR").is_none();
    let format = match config.log_format {
        LogFormat::Auto if is_terminal => Format::Text { colors },
        LogFormat::Text => Format::Text { colors },
        LogFormat::Auto | LogFormat::Json => Format::Json,
    };
    diagnostics::start(filter, format).context("can't log to stderr").map_err(Failure::Failed)?;
    let socket = handed_over().map_err(Failure::Config)?;
    if let Some(socket) = &socket {
        config.listen = socket
            .local_addr()
            .context("can't read the address of the socket that was handed over (LISTEN_FDS)")
            .map_err(Failure::Config)?;
    }
    Ok((config, socket))
}

/// The socket that systemd has opened for this process (`LISTEN_FDS`), if it has.
fn handed_over() -> anyhow::Result<Option<TcpListener>> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 1 {
        bail!("{} sockets were handed over (LISTEN_FDS); the server takes one", sockets.len());
    }
    if sockets.len() == 0 {
        return Ok(None);
    }
    sockets
        .take_tcp_listener(0)
        .context("the descriptor that was handed over (LISTEN_FDS) must be a TCP socket that listens")
}

/// The asynchronous runtime of a server process, and the signals that it handles.
///
/// Once this exists, SIGTERM, SIGINT and SIGHUP no longer kill the process by themselves. So it is made before the store is
/// opened: a signal that comes meanwhile lets the process end in good order.
pub(super) struct Process {
    runtime: Runtime,
    signals: Signals,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Process {
    pub(super) fn begin() -> Result<Process, Failure> {
        let runtime = Runtime::new().map_err(|error| Failure::Failed(error.into()))?;
        let signals = runtime.block_on(async { Signals::listen() });
        let signals = signals.context("can't listen for signals").map_err(Failure::Failed)?;
        Ok(Process { runtime, signals })
    }

    /// Runs a server until SIGTERM or SIGINT, then lets it end in good order; a second signal ends the process at once. Removes
    /// the temporary folder, if the server has one, in both cases.
    pub(super) fn serve(self, config: Config, socket: Option<TcpListener>, extras: Extras) -> Result<(), Failure> {
        let Process { runtime, signals } = self;
        let folder = extras.temporary.as_ref().map(|folder| folder.path().to_owned());
        let served = runtime.block_on(serve(config, socket, &extras, signals, folder));
        // Work that was handed to other threads may never end; all that was acknowledged is on the disk.
        runtime.shutdown_timeout(FLUSH_TIME_MAX);
        diagnostics::flush(FLUSH_TIME_MAX);
        if let Some(folder) = extras.temporary {
            remove(folder.path());
        }
        served
    }
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        let [hangup, terminate, interrupt] =
            [SignalKind::hangup(), SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        Ok(Signals { hangup: hangup?, terminate: terminate?, interrupt: interrupt? })
    }
}

async fn serve(
    config: Config,
    socket: Option<TcpListener>,
    extras: &Extras,
    signals: Signals,
    folder: Option<PathBuf>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let Signals { hangup, terminate, interrupt } = signals;
    let server_key = config.server_key.clone();
    let (open_user_id, data_dir) = (config.open_user_id, config.data_dir.clone());
    let demo = config.demo.then_some(config.demo_interval);
    for complaint in config::unknown_variables() {
        tracing::warn!("{complaint}");
    }
    // In a task of its own, since to open a large store blocks for long, and a signal ends that too.
    let mut shutdown = std::pin::pin!(shutdown(terminate, interrupt, folder));
    let mut binding = tokio::spawn(Server::bind_on(config, socket));
    let server = tokio::select! {
        () = &mut shutdown => {
            if extras.temporary.is_some() {
                // It is quick, and else it would make files while the folder is removed. How it ends is of no interest.
                let _ = binding.await;
            }
            return Ok(());
        }
        bound = &mut binding => bound.map_err(|error| Failure::Failed(error.into()))?.map_err(failure)?,
    };
    if open_user_id && extras.temporary.is_none() {
        tracing::warn!("unsafe: open_user_id is on; anyone who reaches this address can read any user's notifications");
    }
    tokio::spawn(reload_on_hangup(hangup, server.certificate()));
    Banner {
        url: server.url(),
        ready_in: started.elapsed(),
        store: data_dir.join("pregon.db").display().to_string(),
        streams_max: server.streams_max(),
        server_key: server_key.as_ref().map_or("", ServerKey::reveal),
        open_user_id,
        demo,
        temporary: extras.temporary.is_some(),
        key_generated: extras.key_generated,
    }
    .print();
    server.run(shutdown).await;
    Ok(())
}

fn failure(error: StartError) -> Failure {
    match error {
        StartError::Listen { address, ref source } if source.kind() == std::io::ErrorKind::AddrInUse => {
            let port = address.port().wrapping_add(1);
            let hint = format!("port {} is in use; try --listen {}:{port}", address.port(), address.ip());
            Failure::Failed(anyhow::Error::new(error).context(hint))
        }
        StartError::NoServerKey => Failure::Config(anyhow::anyhow!(
            "{error}. Here is a new one:\n\n  export PREGON_SERVER_KEY={}\n\n\
             (or --server-key-file FILE; to try things out: pregon dev)",
            ServerKey::generate().reveal()
        )),
        error => Failure::Failed(error.into()),
    }
}

/// Reads the certificate again with each SIGHUP. Without one the signal must do nothing: a terminal that closes sends it too,
/// and it would end the process.
async fn reload_on_hangup(mut hangup: Signal, certificate: Option<Arc<Certificate>>) {
    while hangup.recv().await.is_some() {
        if let Some(certificate) = &certificate {
            certificate.reload();
        } else {
            tracing::info!("SIGHUP: nothing to reload, since this server has no TLS certificate");
        }
    }
}

/// Removes a folder. The store's threads may still make and remove files in it, so it is tried a few times; a failure is
/// ignored, since the process is about to end.
fn remove(folder: &Path) {
    for _ in 0..REMOVALS_MAX {
        if std::fs::remove_dir_all(folder).is_ok() || !folder.exists() {
            return;
        }
    }
}

/// Completes with the first SIGTERM or SIGINT. After that, a second one removes `folder`, if there is one, and exits the process
/// with code 130.
async fn shutdown(mut terminate: Signal, mut interrupt: Signal, folder: Option<PathBuf>) {
    tokio::select! {
        _ = terminate.recv() => {},
        _ = interrupt.recv() => {},
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {},
            _ = interrupt.recv() => {},
        }
        if let Some(folder) = folder {
            remove(&folder);
        }
        // All that was acknowledged is on the disk.
        std::process::exit(130);
    });
}
