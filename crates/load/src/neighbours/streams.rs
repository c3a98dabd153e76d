//! Abuses by streams.

use std::time::Duration;

use futures_util::future::{BoxFuture, LocalBoxFuture};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::abuse::{Abuse, Turn};
use super::client::{Client, EventStream, connect, request};
use super::requests::{USER, toggle};
use super::site::Site;

/// Broadcasts of the muted category, and how many are published at once.
const BROADCASTS: usize = 300_000;
const BATCH: usize = 1000;
/// Users who mute it.
const MUTING_USERS: usize = 200;
/// How long a refused client keeps its connection. A server that waits for it to close waits for some seconds.
const LINGER_TIME: Duration = Duration::from_secs(6);

/// A user opens streams and closes them.
#[derive(Default)]
pub(super) struct Streams {
    token: String,
    /// The user has muted and unmuted often before.
    history: bool,
    /// A stream is left before it begins.
    abandoned: bool,
}

impl Streams {
    /// Each is closed when its `hello` has come.
    pub(super) fn opened() -> Streams {
        Streams::default()
    }

    /// Each is closed right after its request, by a user with a long history of mutes.
    pub(super) fn abandoned() -> Streams {
        Streams { history: true, abandoned: true, ..Streams::default() }
    }
}

impl Abuse for Streams {
    fn prepare<'a>(&'a mut self, site: &'a Site) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async {
            self.token = site.token(USER);
            if self.history { toggle(site, &self.token).await } else { Ok(()) }
        })
    }

    fn workers(&self) -> usize {
        600
    }

    fn once<'a>(&'a self, site: &'a Site, _: &'a mut Client, _: Turn) -> LocalBoxFuture<'a, anyhow::Result<u16>> {
        Box::pin(async {
            let open = request("GET /v1/stream", &[("authorization", &self.token)], None);
            if self.abandoned {
                connect(site.server, site.abuser()).await?.write_all(&open).await?;
            } else {
                EventStream::open(site.server, site.abuser(), &open).await?;
            }
            Ok(200)
        })
    }
}

/// Users who have muted a category that most notifications are of come back, all at once, again and again.
#[derive(Default)]
pub(super) struct Returning {
    tokens: Vec<String>,
}

impl Abuse for Returning {
    fn prepare<'a>(&'a mut self, site: &'a Site) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async {
            self.tokens = (0..MUTING_USERS).map(|number| site.token(&format!("{USER}-{number}"))).collect();
            let mut client = Client::new(site.server, site.abuser());
            let body = json!({ "muted": ["busy"] }).to_string();
            for token in &self.tokens {
                client.send(&request("PUT /v1/inbox/preferences", &[("authorization", token)], Some(&body))).await?;
            }
            let item = json!({ "to": "everyone", "message": "Busy", "category": "busy" });
            let batch = Value::Array(vec![item; BATCH]).to_string();
            for _ in 0..BROADCASTS / BATCH {
                site.publish_batch(&mut client, &batch).await?;
            }
            Ok(())
        })
    }

    fn workers(&self) -> usize {
        MUTING_USERS
    }

    fn once<'a>(&'a self, site: &'a Site, _: &'a mut Client, turn: Turn) -> LocalBoxFuture<'a, anyhow::Result<u16>> {
        Box::pin(async move {
            let open = request("GET /v1/stream", &[("authorization", &self.tokens[turn.worker])], None);
            EventStream::open(site.server, site.abuser(), &open).await?;
            Ok(200)
        })
    }
}

/// A user opens streams, each with a combination of languages that none before it had.
#[derive(Default)]
pub(super) struct Languages {
    token: String,
}

impl Abuse for Languages {
    fn prepare<'a>(&'a mut self, site: &'a Site) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async {
            self.token = site.token(USER);
            Ok(())
        })
    }

    fn workers(&self) -> usize {
        100
    }

    fn per_second(&self) -> f64 {
        5000.0
    }

    fn once<'a>(&'a self, site: &'a Site, _: &'a mut Client, turn: Turn) -> LocalBoxFuture<'a, anyhow::Result<u16>> {
        Box::pin(async move {
            let number = turn.round * self.workers() + turn.worker;
            let languages = format!("de-{:04},fr-{:04},es,en", number / 1000, number % 1000);
            let headers = [("authorization", self.token.as_str()), ("accept-language", &languages)];
            EventStream::open(site.server, site.abuser(), &request("GET /v1/stream", &headers, None)).await?;
            Ok(200)
        })
    }
}

/// A user opens more streams than they may have, and does not close those that are refused.
#[derive(Default)]
pub(super) struct Lingering {
    token: String,
}

impl Abuse for Lingering {
    fn prepare<'a>(&'a mut self, site: &'a Site) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async {
            self.token = site.token(USER);
            Ok(())
        })
    }

    fn workers(&self) -> usize {
        6000
    }

    fn per_second(&self) -> f64 {
        3000.0
    }

    fn once<'a>(&'a self, site: &'a Site, _: &'a mut Client, _: Turn) -> LocalBoxFuture<'a, anyhow::Result<u16>> {
        Box::pin(async {
            let mut connection = connect(site.server, site.abuser()).await?;
            connection.write_all(&request("GET /v1/stream", &[("authorization", &self.token)], None)).await?;
            // A stream that has a place is read until the server ends it.
            while connection.read(&mut [0; 512]).await? > 0 {}
            tokio::time::sleep(LINGER_TIME).await;
            Ok(200)
        })
    }
}
