//! Listeners over plain HTTP/1.1: an epoll thread with little state per connection.
//!
//! A deaf one reads the head of its answer and nothing more. When it has been cut it connects again, so that there are
//! always about as many. It learns of that by a reset or, if its server closes quietly, from the kernel's table.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::asking::source;
use crate::http::find;
use crate::listeners::{Listener, Share};
use crate::severed;
use crate::stream::{Heard, Ledger, count};

/// After which time a connection that was refused is tried again: the server may be about to listen.
pub(crate) const REFUSED_RETRY: Duration = Duration::from_millis(50);
/// After which time a connection that was cut is opened again.
pub(crate) const CUT_RETRY: Duration = Duration::from_millis(100);
/// Connections opened before those that are open are looked after.
const CONNECTS_PER_TURN: usize = 128;
const POLL_TIME_MAX: Duration = Duration::from_millis(20);
/// As browsers have it.
const KEEPALIVE: Duration = Duration::from_secs(45);
/// The least that Linux grants is some 2 KiB.
const DEAF_RECEIVE_BUFFER_BYTES: usize = 2048;
/// How often the deaf look whether their server still holds them.
const HELD_LOOK: Duration = Duration::from_secs(5);
const EINPROGRESS: i32 = 115;
const HEAD_BYTES_MAX: usize = 16 * 1024;

struct Connection {
    socket: TcpStream,
    request: Vec<u8>,
    /// The head of the answer, as far as it has come.
    head: Vec<u8>,
    begun: bool,
}

struct Thread {
    poll: Poll,
    share: Share,
    ledger: Ledger,
    /// By the places of the listeners.
    connections: Vec<Option<Connection>>,
    /// Places that have no connection yet.
    waiting: VecDeque<usize>,
    /// Places that are to connect again, and when.
    again: VecDeque<(Instant, usize)>,
    /// Connections whose stream has not begun.
    connecting: usize,
    /// When the deaf look next whether their server still holds them.
    held_look: Instant,
}

/// How a connection ended.
enum End {
    /// Before it began.
    Refused(anyhow::Error),
    Closed,
}

/// Opens the connections of a share, and listens until told to stop.
pub(crate) fn listen(share: Share, ledger: Ledger) -> anyhow::Result<(Heard, Vec<Listener>)> {
    let places = share.listeners.len();
    let mut thread = Thread {
        poll: Poll::new()?,
        share,
        ledger,
        connections: std::iter::repeat_with(|| None).take(places).collect(),
        waiting: (0..places).collect(),
        again: VecDeque::new(),
        connecting: 0,
        held_look: Instant::now() + HELD_LOOK,
    };
    let mut events = Events::with_capacity(4096);
    let mut buffer = vec![0; 256 * 1024];
    while !thread.ledger.counters.stop.load(std::sync::atomic::Ordering::Relaxed) {
        let time_max = thread.connect_some()?;
        if let Err(error) = thread.poll.poll(&mut events, Some(time_max))
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        for event in &events {
            thread.ready(event, &mut buffer)?;
        }
        if thread.share.deaf {
            thread.leave_severed()?;
        }
    }
    Ok((thread.ledger.heard, thread.share.listeners))
}

impl Thread {
    /// Opens what may be opened now; gives the longest time until there is more to do.
    fn connect_some(&mut self) -> anyhow::Result<Duration> {
        let now = Instant::now();
        while let Some((_, place)) = self.again.pop_front_if(|(at, _)| *at <= now) {
            self.waiting.push_back(place);
        }
        for _ in 0..CONNECTS_PER_TURN {
            if self.connecting >= self.share.manner.connecting_max {
                return Ok(POLL_TIME_MAX);
            }
            let Some(place) = self.waiting.pop_front() else {
                let next = self.again.front().map_or(POLL_TIME_MAX, |(at, _)| at.saturating_duration_since(now));
                return Ok(next.clamp(Duration::from_millis(1), POLL_TIME_MAX));
            };
            self.connecting += 1;
            match self.connect(place) {
                Ok(connection) => self.connections[place] = Some(connection),
                Err(error) => self.end(place, End::Refused(error))?,
            }
        }
        Ok(Duration::ZERO)
    }

    fn connect(&self, place: usize) -> anyhow::Result<Connection> {
        let manner = &self.share.manner;
        let Listener { number, stream } = &self.share.listeners[place];
        let socket = socket2::Socket::new(socket2::Domain::for_address(manner.server), socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if self.share.deaf {
            // Whoever reads slowly is elsewhere as a rule, and so is what her machine holds for her. What the server's
            // holds is to be measured here.
            socket.set_recv_buffer_size(DEAF_RECEIVE_BUFFER_BYTES)?;
            socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
        }
        if let Some(source) = source(manner.server, *number) {
            socket.bind(&source.into())?;
        }
        match socket.connect(&manner.server.into()) {
            Err(error) if error.raw_os_error() != Some(EINPROGRESS) => return Err(error.into()),
            _ => {}
        }
        let mut socket = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut socket, Token(place), Interest::READABLE | Interest::WRITABLE)?;
        let request = manner.asking.request(*number, stream.last_id());
        Ok(Connection { socket, request, head: Vec::new(), begun: false })
    }

    fn ready(&mut self, event: &Event, buffer: &mut [u8]) -> anyhow::Result<()> {
        let place = event.token().0;
        let Some(connection) = &mut self.connections[place] else { return Ok(()) };
        if event.is_writable() && !connection.request.is_empty() {
            match connection.socket.write(&connection.request) {
                Ok(written) => drop(connection.request.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    let error = anyhow!(error).context("a request could not be sent");
                    return self.end(place, End::Refused(error));
                }
            }
        }
        if self.share.deaf && connection.begun {
            if event.is_read_closed() || event.is_error() {
                return self.end(place, End::Closed);
            }
            return Ok(());
        }
        if event.is_readable()
            && let Some(end) = self.receive(place, buffer)?
        {
            return self.end(place, end);
        }
        Ok(())
    }

    /// Reads all that is there, unless deaf; gives how the connection ended, if it did.
    fn receive(&mut self, place: usize, buffer: &mut [u8]) -> anyhow::Result<Option<End>> {
        let Some(connection) = &mut self.connections[place] else { return Ok(None) };
        let stream = &mut self.share.listeners[place].stream;
        loop {
            let read = match connection.socket.read(buffer) {
                Ok(0) if connection.begun => return Ok(Some(End::Closed)),
                Ok(0) => return Ok(Some(End::Refused(anyhow!("the server closed a connection without an answer")))),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(_) if connection.begun => return Ok(Some(End::Closed)),
                Err(error) => return Ok(Some(End::Refused(anyhow!(error).context("no answer could be read")))),
            };
            if connection.begun {
                stream.take(&buffer[..read], &mut self.ledger)?;
                continue;
            }
            connection.head.extend_from_slice(&buffer[..read]);
            let Some(end) = find(&connection.head, b"\r\n\r\n") else {
                ensure!(connection.head.len() <= HEAD_BYTES_MAX, "a head of over {HEAD_BYTES_MAX} bytes");
                continue;
            };
            let head = std::mem::take(&mut connection.head);
            ensure!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head[..end]));
            connection.begun = true;
            self.connecting -= 1;
            stream.begin(&mut self.ledger);
            if self.share.deaf {
                return Ok(None);
            }
            stream.take(&head[end + 4..], &mut self.ledger)?;
        }
    }

    /// Ends the deaf connections that the server no longer holds.
    fn leave_severed(&mut self) -> anyhow::Result<()> {
        if self.held_look > Instant::now() {
            return Ok(());
        }
        self.held_look = Instant::now() + HELD_LOOK;
        let Some(held) = severed::held(self.share.manner.server)? else { return Ok(()) };
        for place in 0..self.connections.len() {
            if let Some(connection) = &self.connections[place]
                && connection.begun
                && !held.contains(&connection.socket.local_addr()?)
            {
                count(&self.ledger.counters.deaf_severed);
                self.end(place, End::Closed)?;
            }
        }
        Ok(())
    }

    /// Takes leave of a connection, and has its listener connect again if it is one that does.
    fn end(&mut self, place: usize, end: End) -> anyhow::Result<()> {
        self.connections[place] = None;
        let counters = &self.ledger.counters;
        let after = match end {
            End::Refused(error) => {
                self.connecting -= 1;
                if !self.share.manner.persistent && !self.share.deaf {
                    return Err(error).context("a listener could not connect");
                }
                count(&counters.retried);
                REFUSED_RETRY
            }
            End::Closed if self.share.deaf => {
                count(&counters.deaf_cut);
                CUT_RETRY
            }
            End::Closed if self.share.manner.persistent => {
                count(&counters.retried);
                CUT_RETRY
            }
            End::Closed => {
                count(&counters.closed);
                return Ok(());
            }
        };
        // Not in order of time, but nearly: the two waits differ by less than anyone notices.
        self.again.push_back((Instant::now() + after, place));
        Ok(())
    }
}
