//! The listener: accepts connections within limits, with TLS or without, and speaks HTTP on them; those that become
//! streams go to delivery.
//!
//! **Invariant:** every connection is accepted, and has a [place](places) as long as it has a descriptor, so that nobody lacks
//! one; when there is none left, one that says nothing loses its own to the new one.
//!
//! Deliberately absent: what is answered.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::{AbortHandle, Abortable};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::delivery::Delivery;
use crate::http::address::Peer;

mod http1;
mod http2;
pub mod places;
mod refusal;
pub mod tls;

use places::{Place, Room, Rules};

/// Connections that the kernel holds until they are accepted. Tokio's own 1,024 costs a herd of returning clients whole
/// seconds of repeated SYNs.
const BACKLOG: i32 = 4096;
/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Time in which a request's head must have arrived, also on a connection that is kept alive.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Most connections that speak HTTP at once, at some 12 KB each; streams do not count.
const REQUESTS_AT_ONCE_MAX: usize = 4096;
/// Send buffer of a connection, in bytes; Linux doubles it. The default lets a reader who does not read pin 3 to 4 MB
/// of kernel memory; throughput is the same.
const SEND_BUFFER_BYTES: usize = 32 * 1024;
/// Unacknowledged bytes of an answer are given up after this; those of a stream by rules of its own.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(40);
/// Descriptors that are kept from connections: for the store, the log, what is inherited; and for each core an engine and
/// a reader of the store.
const DESCRIPTORS_RESERVED: usize = 64;
const DESCRIPTORS_PER_CORE: usize = 8;

/// How the descriptors of this process are shared out.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Connections that speak HTTP at once.
    pub requests: usize,
    /// Streams at once; further ones are asked to come back.
    pub streams: usize,
}

impl Places {
    /// Raises the descriptor limit as far as this process may, and shares it out; `connections_max` of it to those that speak
    /// HTTP if that is given.
    #[must_use]
    pub fn of_this_process(connections_max: Option<usize>) -> Places {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let granted = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
        let descriptors = granted.map_or(usize::MAX, |granted| usize::try_from(granted).unwrap_or(usize::MAX));
        let requests = connections_max.unwrap_or((descriptors / 4).clamp(1, REQUESTS_AT_ONCE_MAX));
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let reserved = DESCRIPTORS_RESERVED + DESCRIPTORS_PER_CORE * cores;
        Places { requests, streams: descriptors.saturating_sub(requests + reserved).max(1) }
    }
}

/// A socket that listens.
pub struct Listener {
    listener: TcpListener,
}

impl Listener {
    /// Binds to an address; to a free port if its port is 0.
    ///
    /// # Errors
    /// When the address is in use or not this machine's.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // Accepted sockets inherit these, so that they hold from the first byte.
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(20)).with_interval(Duration::from_secs(5));
        socket.set_tcp_keepalive(&keepalive.with_retries(3))?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Listener { listener: TcpListener::from_std(socket.into())? })
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts connections until told to stop, and then until the last request has its answer.
    pub async fn serve(
        self,
        rules: Rules,
        tls: Option<TlsAcceptor>,
        router: Router,
        delivery: Arc<Delivery>,
        mut stop: watch::Receiver<bool>,
    ) {
        let room = Room::new(rules);
        let (open, mut all_closed) = mpsc::channel(1);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let (connection, peer) = match accepted {
                Ok((connection, address)) => (connection, Peer(address.ip())),
                Err(error) => {
                    // Mostly: no descriptor is left. Those who wait are served when one is given back.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (abort, registration) = AbortHandle::new_pair();
            // All places are taken by requests under way: it is closed at once.
            let Some(place) = room.enter(peer.0, abort) else { continue };
            let (router, delivery, stop, open) = (router.clone(), Arc::clone(&delivery), stop.clone(), open.clone());
            let door = Door { peer, router, delivery, stop, place, _open: open };
            tokio::spawn(Abortable::new(door.serve(connection, tls.clone()), registration));
        }
        drop((self.listener, open));
        let _: Option<()> = all_closed.recv().await;
    }
}

/// What a connection is served with.
struct Door {
    peer: Peer,
    router: Router,
    delivery: Arc<Delivery>,
    stop: watch::Receiver<bool>,
    place: Place,
    /// Nothing is sent: that it is there says that the connection is.
    _open: mpsc::Sender<()>,
}

impl Door {
    async fn serve(mut self, connection: TcpStream, tls: Option<TlsAcceptor>) {
        let entered = tokio::select! {
            entered = timeout(HEAD_TIME_MAX, enter(connection, tls)) => entered.ok().and_then(Result::ok),
            _ = self.stop.wait_for(|stop| *stop) => None,
        };
        // A task is as large as the largest of its futures; what only some connections need is boxed.
        match entered {
            Some(Entered::Plain(connection)) => http1::serve(connection, self).await,
            Some(Entered::Tls(connection)) if connection.get_ref().1.alpn_protocol() == Some(tls::HTTP2) => {
                Box::pin(http2::serve(*connection, self)).await;
            }
            Some(Entered::Tls(connection)) => Box::pin(http1::serve(*connection, self)).await,
            None => {}
        }
    }
}

/// A connection whose peer has said something.
enum Entered {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Waits for the first byte, before anything reserves buffers: a connection that is opened ahead of its request, as
/// browsers do, costs next to nothing. (That a new socket is readable tokio says ahead of the event.) Then shakes hands.
async fn enter(connection: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<Entered> {
    connection.peek(&mut [0]).await?;
    Ok(match tls {
        Some(tls) => Entered::Tls(Box::pin(async move { tls.accept(connection).await.map(Box::new) }).await?),
        None => Entered::Plain(connection),
    })
}
