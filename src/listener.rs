//! The listener: accepts connections within limits, with TLS or without, and speaks HTTP on them; those that become
//! streams go to delivery.
//!
//! **Invariant:** every connection is accepted, and has a [place](places) as long as it has a descriptor, so that nobody lacks
//! one; when there is none left, one that says nothing loses its own to the new one.
//!
//! Deliberately absent: what is answered.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::{AbortHandle, Abortable};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::delivery::Delivery;
use crate::http::address::Peer;

pub mod descriptors;
pub mod ending;
mod http1;
mod http2;
pub mod places;
mod refusal;
pub mod tls;

use ending::{End, Phase};
use places::{Place, Room, Rules};

/// Connections that the kernel holds until they are accepted. Tokio's own 1,024 costs a herd of returning clients whole
/// seconds of repeated SYNs.
const BACKLOG: i32 = 4096;
/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Time in which a request's head must have arrived, also on a connection that is kept alive.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Send buffer of a connection, in bytes; Linux doubles it. The default lets a reader who does not read pin 3 to 4 MB
/// of kernel memory; throughput is the same.
const SEND_BUFFER_BYTES: usize = 32 * 1024;
/// Unacknowledged bytes of an answer are given up after this; those of a stream by rules of its own.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(40);
/// Time in which connections that were being opened when the server ended are still accepted.
const LAST_ACCEPTED_WITHIN: Duration = Duration::from_millis(100);

/// A socket that listens.
pub struct Listener {
    listener: TcpListener,
    /// Another process goes on to listen on it when this one ends.
    is_shared: bool,
}

impl Listener {
    /// Binds to an address; to a free port if its port is 0.
    ///
    /// # Errors
    /// When the address is in use or not this machine's.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        set_up(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Listener { listener: TcpListener::from_std(socket.into())?, is_shared: false })
    }

    /// Takes a socket that listens already and was handed over, as by systemd.
    ///
    /// # Errors
    /// When it can't be set up.
    pub fn take(socket: std::net::TcpListener) -> io::Result<Listener> {
        set_up(&SockRef::from(&socket))?;
        Ok(Listener { listener: TcpListener::from_std(socket)?, is_shared: true })
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts connections until the server ends, and then serves until the last request has its answer.
    pub async fn serve(
        self,
        rules: Rules,
        tls: Option<TlsAcceptor>,
        router: Router,
        delivery: Arc<Delivery>,
        mut phase: watch::Receiver<Phase>,
    ) {
        let (open, mut all_closed) = mpsc::channel(1);
        let entrance = Entrance { room: Room::new(rules), tls, router, delivery, phase: phase.clone(), open };
        tokio::select! {
            () = self.accept_all(&entrance) => {}
            _ = phase.wait_for(|phase| *phase == Phase::Ending) => {}
        }
        // The queue of a shared socket stays with it. That of our own ends with it, and with it whoever is in it.
        if !self.is_shared {
            self.refuse_further();
            let _ = timeout(LAST_ACCEPTED_WITHIN, self.accept_all(&entrance)).await;
        }
        drop((self.listener, entrance));
        let _: Option<()> = all_closed.recv().await;
    }

    async fn accept_all(&self, entrance: &Entrance) {
        loop {
            match self.listener.accept().await {
                Ok((connection, address)) => entrance.admit(connection, Peer(address.ip())),
                Err(error) => {
                    // Mostly: no descriptor is left. Those who wait are served when one is given back.
                    entrance.room.not_accepted();
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Lets the kernel begin no further connections. Those that it has begun are completed, and can be accepted; whoever is not
    /// let in tries again within a second, and is refused by then.
    fn refuse_further(&self) {
        // Classic BPF; what a socket's filter sees begins with the TCP header. The byte at 13 has the flags, 2 is SYN.
        let filter = [
            SockFilter::new(0x30, 0, 0, 13),
            SockFilter::new(0x45, 0, 1, 2),
            SockFilter::new(0x06, 0, 0, 0),
            SockFilter::new(0x06, 0, 0, u32::MAX),
        ];
        if let Err(error) = SockRef::from(&self.listener).attach_filter(&filter) {
            tracing::debug!(%error, "connections that come at this moment may be reset");
        }
    }
}

/// Sets what accepted sockets inherit, so that it holds from the first byte.
fn set_up(socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(20)).with_interval(Duration::from_secs(5));
    socket.set_tcp_keepalive(&keepalive.with_retries(3))
}

/// What connections are admitted with.
struct Entrance {
    room: Room,
    tls: Option<TlsAcceptor>,
    router: Router,
    delivery: Arc<Delivery>,
    phase: watch::Receiver<Phase>,
    open: mpsc::Sender<()>,
}

impl Entrance {
    fn admit(&self, connection: TcpStream, peer: Peer) {
        let (abort, registration) = AbortHandle::new_pair();
        // All places are taken by requests under way, or its peer is in a hurry: it is closed at once.
        let Some(place) = self.room.enter(peer.0, abort) else { return };
        let (router, delivery, open) = (self.router.clone(), Arc::clone(&self.delivery), self.open.clone());
        let end = End::new(self.phase.clone(), place.clone());
        let door = Door { peer, router, delivery, end, place, _open: open };
        tokio::spawn(Abortable::new(door.serve(connection, self.tls.clone()), registration));
    }
}

/// What a connection is served with.
struct Door {
    peer: Peer,
    router: Router,
    delivery: Arc<Delivery>,
    end: End,
    place: Place,
    /// Nothing is sent: that it is there says that the connection is.
    _open: mpsc::Sender<()>,
}

impl Door {
    async fn serve(mut self, connection: TcpStream, tls: Option<TlsAcceptor>) {
        let entered = tokio::select! {
            entered = timeout(HEAD_TIME_MAX, enter(connection, tls)) => entered.ok().and_then(Result::ok),
            _ = self.end.may_close() => None,
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
