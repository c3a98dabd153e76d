//! The floor: raw epoll, one thread, one write per event and connection, nothing stored, nothing resumed. What remains
//! here is nearly all the kernel's.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::http::{self, Request};

const LISTENER: Token = Token(usize::MAX);

/// A server of raw epoll
#[derive(Debug, clap::Args)]
pub(crate) struct Floor {
    #[arg(long, default_value = "127.0.0.1:8001")]
    listen: SocketAddr,
}

struct Connection {
    socket: TcpStream,
    received: Vec<u8>,
    /// What the socket did not take at once.
    owed: Vec<u8>,
    user: Option<String>,
}

#[derive(Default)]
struct Server {
    connections: Slab<Connection>,
    by_user: HashMap<String, Vec<usize>>,
    published: u64,
}

impl Floor {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut poll = Poll::new()?;
        let mut listener = TcpListener::from_std(http::listen(self.listen)?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let mut events = Events::with_capacity(1024);
        let mut server = Server::default();
        loop {
            if let Err(error) = poll.poll(&mut events, None)
                && error.kind() != ErrorKind::Interrupted
            {
                return Err(error.into());
            }
            for event in &events {
                if event.token() != LISTENER {
                    server.ready(event.token().0);
                    continue;
                }
                while let Ok((mut socket, _)) = listener.accept() {
                    let entry = server.connections.vacant_entry();
                    let readiness = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut socket, Token(entry.key()), readiness)?;
                    entry.insert(Connection { socket, received: Vec::new(), owed: Vec::new(), user: None });
                }
            }
        }
    }
}

impl Server {
    fn ready(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        let mut scratch = [0; 16 * 1024];
        loop {
            match connection.socket.read(&mut scratch) {
                Ok(0) => return self.close(number),
                Ok(read) => connection.received.extend_from_slice(&scratch[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.close(number),
            }
        }
        send(connection, &[]);
        while let Some(connection) = self.connections.get_mut(number) {
            match http::take_request(&mut connection.received) {
                Some(Request::Stream { user }) => {
                    connection.received = Vec::new();
                    connection.user = Some(user.clone());
                    send(connection, http::STREAM_HEAD);
                    self.by_user.entry(user).or_default().push(number);
                }
                Some(Request::Publish { user, body }) => {
                    self.published += 1;
                    let frame = http::frame(self.published, &body);
                    match user {
                        Some(user) => {
                            for listener in self.by_user.get(&user).into_iter().flatten() {
                                send(&mut self.connections[*listener], &frame);
                            }
                        }
                        None => {
                            for (_, listener) in self.connections.iter_mut().filter(|(_, c)| c.user.is_some()) {
                                send(listener, &frame);
                            }
                        }
                    }
                    send(&mut self.connections[number], http::CREATED);
                }
                None => return,
            }
        }
    }

    fn close(&mut self, number: usize) {
        let connection = self.connections.remove(number);
        if let Some(user) = connection.user
            && let Some(listeners) = self.by_user.get_mut(&user)
        {
            listeners.retain(|listener| *listener != number);
        }
    }
}

/// Writes at once what the socket takes and keeps the rest.
fn send(connection: &mut Connection, bytes: &[u8]) {
    if !connection.owed.is_empty() {
        connection.owed.extend_from_slice(bytes);
        let written = connection.socket.write(&connection.owed).unwrap_or(0);
        connection.owed.drain(..written);
        return;
    }
    if bytes.is_empty() {
        return;
    }
    let written = connection.socket.write(bytes).unwrap_or(0);
    if written < bytes.len() {
        connection.owed = bytes[written..].to_vec();
    }
}
