//! What one writes first: axum's `Sse` over a broadcast channel. Nothing is stored or resumed, and a slow reader loses
//! what the channel no longer holds.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::Event;
use axum::routing::{get, post};
use futures_util::stream::{self, Stream};
use tokio::sync::broadcast;

use crate::http;

/// A server of axum's `Sse`
#[derive(Debug, clap::Args)]
pub(crate) struct Naive {
    #[arg(long, default_value = "127.0.0.1:8001")]
    listen: SocketAddr,
}

/// Messages that a channel holds for slow readers.
const CHANNEL: usize = 1024;

struct Hub {
    everyone: broadcast::Sender<Arc<str>>,
    by_user: Mutex<HashMap<String, broadcast::Sender<Arc<str>>>>,
}

impl Naive {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        tokio::runtime::Runtime::new()?.block_on(async {
            let hub = Arc::new(Hub { everyone: broadcast::channel(CHANNEL).0, by_user: Mutex::default() });
            let router = Router::new()
                .route("/notifications", get(notifications))
                .route("/v1/users/{user}/notifications", post(publish))
                .route("/v1/broadcast", post(broadcast))
                .with_state(hub);
            let listener = tokio::net::TcpListener::from_std(http::listen(self.listen)?)?;
            Ok(axum::serve(listener, router).await?)
        })
    }
}

async fn notifications(
    State(hub): State<Arc<Hub>>,
    Query(query): Query<HashMap<String, String>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let user = query.get("user_id").cloned().unwrap_or_default();
    let own = {
        let mut by_user = hub.by_user.lock().expect("not poisoned");
        by_user.entry(user).or_insert_with(|| broadcast::channel(64).0).subscribe()
    };
    let events = stream::unfold((own, hub.everyone.subscribe()), async |(mut own, mut everyone)| {
        let message = tokio::select! {
            message = own.recv() => message,
            message = everyone.recv() => message,
        };
        match message {
            Ok(message) => Some((Ok(Event::default().data(&message)), (own, everyone))),
            Err(broadcast::error::RecvError::Lagged(_)) => Some((Ok(Event::default().comment("")), (own, everyone))),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    });
    Sse::new(events)
}

async fn publish(State(hub): State<Arc<Hub>>, Path(user): Path<String>, body: String) -> StatusCode {
    if let Some(channel) = hub.by_user.lock().expect("not poisoned").get(&user) {
        // Nobody listening is no failure.
        channel.send(body.into()).ok();
    }
    StatusCode::CREATED
}

async fn broadcast(State(hub): State<Arc<Hub>>, body: String) -> StatusCode {
    hub.everyone.send(body.into()).ok();
    StatusCode::CREATED
}
