//! The publishing side: one thread, keep-alive connections.
//!
//! At a fixed rate a message's time is when it was *due*, not when a connection was free for it, so a server that stalls
//! is charged for all that waited (no coordinated omission).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, Stream};

use crate::stream::histogram;
use crate::{http, tls};

/// How long acknowledgements may go unnoticed.
const POLL_TIME_MAX: Duration = Duration::from_millis(20);
/// The same while the next message is due within a millisecond.
const NAP: Duration = Duration::from_micros(100);

/// What is to be published.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) server: SocketAddr,
    /// Over TLS.
    pub(crate) secure: bool,
    pub(crate) started: Instant,
    pub(crate) key: Option<String>,
    /// Connections that publish.
    pub(crate) publishers: usize,
    /// Users in turn, or everyone if none.
    pub(crate) users: Option<usize>,
    /// Number of the first message (to each, if to users).
    pub(crate) first: u64,
    /// Size of a message, in bytes.
    pub(crate) message_bytes: usize,
    /// How many a second; as many as are acknowledged if none.
    pub(crate) rate: Option<f64>,
    /// How many at most.
    pub(crate) count: Option<u64>,
    /// For how long at most.
    pub(crate) duration: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) acknowledged: u64,
    pub(crate) took: Duration,
    /// From when it was due until it was acknowledged, in microseconds.
    pub(crate) latencies: Histogram<u64>,
}

struct Publisher {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    request: Vec<u8>,
    received: Vec<u8>,
    /// When the message under way was due, in nanoseconds.
    due_ns: Option<u64>,
    /// The server closed it while nothing was under way.
    closed: bool,
}

/// Publishes according to plan; returns when everything sent has been acknowledged.
pub(crate) fn publish(plan: &Plan) -> anyhow::Result<Published> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let config = plan.secure.then(|| tls::config(tls::HTTP_1)).transpose()?;
    let connect = |poll: &Poll, number: usize| -> anyhow::Result<Publisher> {
        let mut publisher =
            Publisher::connect(plan.server, config.as_ref()).context("a publisher could not connect")?;
        poll.registry().register(&mut publisher.socket, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        Ok(publisher)
    };
    let mut publishers =
        (0..plan.publishers).map(|number| connect(&poll, number)).collect::<anyhow::Result<Vec<Publisher>>>()?;
    let mut idle: Vec<usize> = (0..plan.publishers).collect();
    let mut latencies = histogram();
    let (mut sent, mut acknowledged) = (0_u64, 0_u64);
    let begun = Instant::now();
    let begun_ns = u64::try_from(begun.duration_since(plan.started).as_nanos())?;
    loop {
        let elapsed = begun.elapsed();
        let over = elapsed >= plan.duration || plan.count.is_some_and(|count| sent >= count);
        if over && acknowledged == sent {
            return Ok(Published { acknowledged, took: begun.elapsed(), latencies });
        }
        while !over && !idle.is_empty() && plan.count.is_none_or(|count| sent < count) {
            let now_ns = u64::try_from(plan.started.elapsed().as_nanos())?;
            let due_ns = plan.rate.map_or(now_ns, |rate| begun_ns + nanoseconds(sent, rate));
            if due_ns > now_ns {
                break;
            }
            // The one that was used last: a server closes those that have nothing to say for long.
            let number = idle.pop().context("an idle publisher")?;
            if publishers[number].closed {
                publishers[number] = connect(&poll, number)?;
            }
            publishers[number].send(request(plan, sent, due_ns), due_ns)?;
            sent += 1;
        }
        let wait = match plan.rate {
            Some(rate) if !over && !idle.is_empty() => {
                let due = plan.started + Duration::from_nanos(begun_ns + nanoseconds(sent, rate));
                due.saturating_duration_since(Instant::now()).min(POLL_TIME_MAX)
            }
            _ => POLL_TIME_MAX,
        };
        // A poll waits for whole milliseconds and would make the next one late; the rest is slept through in short naps.
        let wait = if wait < Duration::from_millis(1) {
            std::thread::sleep(wait.min(NAP));
            Duration::ZERO
        } else {
            Duration::from_millis(u64::try_from(wait.as_millis())?)
        };
        if let Err(error) = poll.poll(&mut events, Some(wait))
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        let now_ns = u64::try_from(plan.started.elapsed().as_nanos())?;
        for event in &events {
            let publisher = &mut publishers[event.token().0];
            publisher.flush()?;
            if event.is_readable()
                && let Some(due_ns) = publisher.answered()?
            {
                acknowledged += 1;
                latencies.saturating_record((now_ns.saturating_sub(due_ns) / 1000).max(1));
                idle.push(event.token().0);
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a schedule")]
fn nanoseconds(count: u64, rate: f64) -> u64 {
    (count as f64 / rate * 1e9) as u64
}

fn request(plan: &Plan, number: u64, due_ns: u64) -> Vec<u8> {
    let (path, sequence) = match plan.users {
        Some(users) => {
            let users = users as u64;
            (format!("/v1/users/{}/notifications", number % users), plan.first + number / users)
        }
        None => ("/v1/broadcast".to_owned(), plan.first + number),
    };
    let mut message = format!("s={sequence} t={due_ns} ");
    while message.len() < plan.message_bytes {
        message.push('x');
    }
    let key = plan.key.as_ref().map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let length = message.len();
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{key}content-type: text/plain\r\ncontent-length: {length}\r\n\r\n{message}")
        .into_bytes()
}

impl Publisher {
    fn connect(server: SocketAddr, config: Option<&Arc<ClientConfig>>) -> anyhow::Result<Publisher> {
        let mut socket = std::net::TcpStream::connect(server)?;
        socket.set_nodelay(true)?;
        let mut tls = None;
        if let Some(config) = config {
            let mut connection = Box::new(ClientConnection::new(Arc::clone(config), tls::name(server))?);
            // The socket still waits, so this is the whole handshake.
            connection.complete_io(&mut socket)?;
            tls = Some(connection);
        }
        socket.set_nonblocking(true)?;
        let socket = TcpStream::from_std(socket);
        Ok(Publisher { socket, tls, request: Vec::new(), received: Vec::new(), due_ns: None, closed: false })
    }

    fn write(&mut self) -> std::io::Result<usize> {
        match &mut self.tls {
            Some(tls) => Stream::new(tls.as_mut(), &mut self.socket).write(&self.request),
            None => self.socket.write(&self.request),
        }
    }

    fn read(&mut self, scratch: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.tls {
            Some(tls) => Stream::new(tls.as_mut(), &mut self.socket).read(scratch),
            None => self.socket.read(scratch),
        }
    }

    fn send(&mut self, request: Vec<u8>, due_ns: u64) -> anyhow::Result<()> {
        self.request = request;
        self.due_ns = Some(due_ns);
        self.flush()
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        while !self.request.is_empty() {
            match self.write() {
                Ok(written) => drop(self.request.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("a publish request could not be sent"),
            }
        }
        if let Some(tls) = &mut self.tls
            && tls.wants_write()
            && let Err(error) = Stream::new(tls.as_mut(), &mut self.socket).flush()
            && error.kind() != ErrorKind::WouldBlock
        {
            return Err(error).context("a publish request could not be sent");
        }
        Ok(())
    }

    /// Reads what is there; gives the message's time once it has been acknowledged.
    fn answered(&mut self) -> anyhow::Result<Option<u64>> {
        let mut scratch = [0; 4096];
        loop {
            match self.read(&mut scratch) {
                Ok(0) if self.due_ns.is_none() => {
                    self.closed = true;
                    return Ok(None);
                }
                Ok(0) => anyhow::bail!("the server closed a publisher's connection instead of answering"),
                Ok(read) => self.received.extend_from_slice(&scratch[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("an answer could not be read"),
            }
        }
        let Some((length, status)) = http::answer(&self.received) else { return Ok(None) };
        anyhow::ensure!((200..300).contains(&status), "{}", String::from_utf8_lossy(&self.received));
        self.received.drain(..length);
        Ok(self.due_ns.take())
    }
}
