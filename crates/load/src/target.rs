//! What is loaded, and by whom: the options that all measurements share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::asking::Asking;
use crate::listeners::{Manner, Transport};
use crate::publishers::Plan;

/// The server and those who use it
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Target {
    /// The server
    #[arg(long, default_value = "127.0.0.1:8000")]
    pub(crate) server: SocketAddr,
    /// Its processes, to read what they use
    #[arg(long, value_delimiter = ',')]
    pub(crate) pid: Vec<u32>,
    /// Server key for publishing
    #[arg(long)]
    key: Option<String>,
    /// Key to sign the listeners' tokens with (HS256); without it they say `?user_id=`
    #[arg(long)]
    token_key: Option<String>,
    /// What carries the streams; with TLS, publishing goes over TLS as well
    #[arg(long, value_enum, default_value = "plain")]
    transport: Transport,
    /// Connections that listen
    #[arg(long, default_value_t = 1000)]
    pub(crate) connections: usize,
    /// Users that the connections are spread over
    #[arg(long, default_value_t = 1, value_parser = positive)]
    pub(crate) users: usize,
    /// Publish to the users in turn instead of to everyone
    #[arg(long)]
    pub(crate) per_user: bool,
    /// Connections that publish
    #[arg(long, default_value_t = 16, value_parser = positive)]
    publishers: usize,
    /// Size of a message, in bytes
    #[arg(long, default_value_t = 200)]
    bytes: usize,
    /// Print `{"waiting": true}` and wait for a line: in `run` when all are open and rested, in `resume` when all have left
    #[arg(long)]
    pub(crate) pause: bool,
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "must be a number from 1 on".to_owned())
}

impl Target {
    /// How its listeners connect; their tokens are made here.
    pub(crate) fn manner(&self, connecting_max: usize, persistent: bool) -> anyhow::Result<Manner> {
        Ok(Manner {
            server: self.server,
            transport: self.transport,
            asking: Arc::new(Asking::new(self.users, self.token_key.as_deref())?),
            connecting_max,
            persistent,
        })
    }

    /// A plan to publish as fast as messages are acknowledged, without end.
    pub(crate) fn plan(&self, started: Instant) -> Plan {
        Plan {
            server: self.server,
            secure: self.transport != Transport::Plain,
            started,
            key: self.key.clone(),
            publishers: self.publishers,
            users: self.per_user.then_some(self.users),
            first: 0,
            message_bytes: self.bytes,
            rate: None,
            count: None,
            duration: Duration::MAX,
        }
    }
}

/// Waits until whoever started the program says so; gives the line.
pub(crate) fn pause() -> anyhow::Result<String> {
    crate::figures::print(&serde_json::json!({ "waiting": true }));
    let mut line = String::new();
    anyhow::ensure!(std::io::stdin().read_line(&mut line)? > 0, "nobody said to go on");
    Ok(line)
}
