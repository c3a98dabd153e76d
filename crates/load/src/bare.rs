//! Bare tokio: a task and an unbounded queue per connection; everything that is due leaves in one write. Nothing is
//! stored, nothing resumed, and a slow reader's queue grows without end. It is what coalescing alone can do.

use std::collections::HashMap;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::http::{self, Request};

/// Frames in one write.
const FRAMES_PER_WRITE: usize = 256;

/// A server of bare tokio
#[derive(Debug, clap::Args)]
pub(crate) struct Bare {
    #[arg(long, default_value = "127.0.0.1:8001")]
    listen: SocketAddr,
}

type Queues = Vec<UnboundedSender<Bytes>>;

#[derive(Default)]
struct Hub {
    by_user: Mutex<HashMap<String, Queues>>,
    published: AtomicU64,
}

impl Bare {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        tokio::runtime::Runtime::new()?.block_on(async {
            let listener = tokio::net::TcpListener::from_std(http::listen(self.listen)?)?;
            let hub = Arc::new(Hub::default());
            loop {
                let (socket, _) = listener.accept().await?;
                socket.set_nodelay(true)?;
                let hub = Arc::clone(&hub);
                // A connection that breaks concerns nobody else.
                tokio::spawn(async move { serve(socket, &hub).await.ok() });
            }
        })
    }
}

async fn serve(mut socket: TcpStream, hub: &Hub) -> std::io::Result<()> {
    let mut received = Vec::new();
    loop {
        match http::take_request(&mut received) {
            Some(Request::Stream { user }) => {
                let (queue, due) = unbounded_channel();
                hub.by_user.lock().expect("not poisoned").entry(user).or_default().push(queue);
                socket.write_all(http::STREAM_HEAD).await?;
                return stream(socket, due).await;
            }
            Some(Request::Publish { user, body }) => {
                let number = hub.published.fetch_add(1, Ordering::Relaxed);
                let frame = Bytes::from(http::frame(number, &body));
                {
                    let by_user = hub.by_user.lock().expect("not poisoned");
                    let queues: Box<dyn Iterator<Item = &UnboundedSender<Bytes>>> = match &user {
                        Some(user) => Box::new(by_user.get(user).into_iter().flatten()),
                        None => Box::new(by_user.values().flatten()),
                    };
                    for queue in queues {
                        // Whoever is gone is cleaned up by nobody: this server is only a measure.
                        queue.send(frame.clone()).ok();
                    }
                }
                socket.write_all(http::CREATED).await?;
            }
            None => {
                if socket.read_buf(&mut received).await? == 0 {
                    return Ok(());
                }
            }
        }
    }
}

async fn stream(mut socket: TcpStream, mut due: UnboundedReceiver<Bytes>) -> std::io::Result<()> {
    let mut frames = Vec::new();
    while due.recv_many(&mut frames, FRAMES_PER_WRITE).await > 0 {
        while !frames.is_empty() {
            let slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
            let mut written = socket.write_vectored(&slices).await?;
            let mut whole = 0;
            for frame in &mut frames {
                let part = written.min(frame.len());
                frame.advance(part);
                written -= part;
                whole += usize::from(frame.is_empty());
            }
            frames.drain(..whole);
        }
    }
    Ok(())
}
