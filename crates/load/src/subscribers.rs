//! The listening side: epoll threads with little state per connection.
//!
//! Every message says `s=` its number among those for this user (or everyone) and `t=` when it was due, in nanoseconds
//! since the generator's start. So each connection knows what is missing or doubled, and how late it is.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::http::find;

/// Longest latency that is told apart from longer ones, in microseconds.
pub(crate) const LATENCY_US_MAX: u64 = 600_000_000;

/// What all threads count together.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections whose stream has begun.
    pub(crate) open: AtomicU64,
    /// Messages received.
    pub(crate) received: AtomicU64,
    /// Messages that had been received before.
    pub(crate) doubled: AtomicU64,
    /// Connections that the server closed.
    pub(crate) closed: AtomicU64,
    pub(crate) stop: AtomicBool,
}

/// Which connections a thread holds.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) server: SocketAddr,
    pub(crate) started: Instant,
    /// Numbers of the connections; connection n is of user n modulo `users`.
    pub(crate) connections: Vec<usize>,
    pub(crate) users: usize,
    /// They connect and never read.
    pub(crate) deaf: bool,
    /// Connections of this thread that may be under way at once.
    pub(crate) connecting_max: usize,
}

struct Connection {
    socket: TcpStream,
    request: Vec<u8>,
    /// The beginning of a frame whose end has not come.
    rest: Vec<u8>,
    /// Every message below this number has been received.
    next: u64,
    /// Those beyond it that have been: few, since publishers overtake each other only a little.
    ahead: Vec<u64>,
    begun: bool,
}

impl Connection {
    /// Notes a message; false if it had been received before.
    fn take(&mut self, number: u64) -> bool {
        if number < self.next || self.ahead.contains(&number) {
            return false;
        }
        if number > self.next {
            self.ahead.push(number);
            return true;
        }
        self.next += 1;
        while let Some(at) = self.ahead.iter().position(|ahead| *ahead == self.next) {
            self.ahead.swap_remove(at);
            self.next += 1;
        }
        true
    }
}

/// Opens the connections of a share, and listens until told to stop; gives the latencies in microseconds.
pub(crate) fn listen(share: &Share, counters: &Arc<Counters>) -> anyhow::Result<Histogram<u64>> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(4096);
    let mut latencies = Histogram::new_with_max(LATENCY_US_MAX, 3)?;
    let mut connections: Vec<Option<Connection>> = Vec::with_capacity(share.connections.len());
    let mut begun_here = 0;
    let mut buffer = vec![0; 256 * 1024];
    while !counters.stop.load(Ordering::Relaxed) {
        while connections.len() < share.connections.len() && connections.len() - begun_here < share.connecting_max {
            let number = share.connections[connections.len()];
            let mut connection = connect(share, number)?;
            let token = Token(connections.len());
            poll.registry().register(&mut connection.socket, token, Interest::READABLE | Interest::WRITABLE)?;
            connections.push(Some(connection));
        }
        if let Err(error) = poll.poll(&mut events, Some(Duration::from_millis(20)))
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        for event in &events {
            let slot = &mut connections[event.token().0];
            let Some(connection) = slot else { continue };
            if event.is_writable() && !connection.request.is_empty() {
                match connection.socket.write(&connection.request) {
                    Ok(written) => drop(connection.request.drain(..written)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error).context("a request could not be sent"),
                }
            }
            if !event.is_readable() || (share.deaf && connection.begun) {
                continue;
            }
            let begun = connection.begun;
            let open = receive(connection, &mut buffer, share, counters, &mut latencies)?;
            begun_here += usize::from(!begun && connection.begun);
            if !open {
                counters.closed.fetch_add(1, Ordering::Relaxed);
                *slot = None;
            }
        }
    }
    Ok(latencies)
}

fn connect(share: &Share, number: usize) -> anyhow::Result<Connection> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if share.server.ip().is_loopback() {
        // One source address has some 28,000 ports, and one that was used rests for a minute: a hundred addresses do not
        // run out however often a run is repeated.
        let source = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number % 100)?);
        socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into())?;
    }
    match socket.connect(&share.server.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(115) => {} // EINPROGRESS
        Err(error) => return Err(error.into()),
    }
    let user = number % share.users;
    let request =
        format!("GET /notifications?user_id={user} HTTP/1.1\r\nhost: load\r\naccept: text/event-stream\r\n\r\n");
    let socket = TcpStream::from_std(socket.into());
    Ok(Connection { socket, request: request.into_bytes(), rest: Vec::new(), next: 0, ahead: Vec::new(), begun: false })
}

/// Reads all that is there; false at the end of the stream.
fn receive(
    connection: &mut Connection,
    buffer: &mut [u8],
    share: &Share,
    counters: &Counters,
    latencies: &mut Histogram<u64>,
) -> anyhow::Result<bool> {
    loop {
        let kept = connection.rest.len();
        anyhow::ensure!(kept < buffer.len() / 2, "a frame of over {kept} bytes");
        buffer[..kept].copy_from_slice(&connection.rest);
        let read = match connection.socket.read(&mut buffer[kept..]) {
            Ok(0) => return Ok(false),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(_) => return Ok(false),
        };
        let mut bytes = &buffer[..kept + read];
        if !connection.begun {
            let Some(end) = find(bytes, b"\r\n\r\n") else {
                connection.rest = bytes.to_vec();
                continue;
            };
            anyhow::ensure!(bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes[..end]));
            connection.begun = true;
            counters.open.fetch_add(1, Ordering::Relaxed);
            bytes = &bytes[end + 4..];
            if share.deaf {
                return Ok(true);
            }
        }
        let now_ns = share.started.elapsed().as_nanos();
        while let Some(end) = find(bytes, b"\n\n") {
            if let Some((number, due_ns)) = stamp(&bytes[..end]) {
                let late_us = u64::try_from(now_ns.saturating_sub(u128::from(due_ns)) / 1000)?;
                latencies.saturating_record(late_us.max(1));
                counters.received.fetch_add(1, Ordering::Relaxed);
                if !connection.take(number) {
                    counters.doubled.fetch_add(1, Ordering::Relaxed);
                }
            }
            bytes = &bytes[end + 2..];
        }
        connection.rest.clear();
        connection.rest.extend_from_slice(bytes);
        connection.rest.shrink_to(1024);
    }
}

/// The number and the time in a frame: `s=12 t=3456 `.
fn stamp(frame: &[u8]) -> Option<(u64, u64)> {
    let at = find(frame, b"s=")?;
    let mut words = frame[at + 2..].split(|byte| *byte == b' ');
    let mut number = || std::str::from_utf8(words.next()?).ok();
    let sequence = number()?.parse().ok()?;
    let due = number()?.strip_prefix("t=")?.parse().ok()?;
    Some((sequence, due))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_tells_its_number_and_its_time() {
        assert_eq!(stamp(b"id: x\ndata: {\"message\":\"s=12 t=3456 xxx\"}"), Some((12, 3456)));
        assert_eq!(stamp(b"event: hello\ndata: {}"), None);
    }
}
