//! An HTTP/1.1 client with one connection, which is kept open between requests.

use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::http;

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Client {
    server: SocketAddr,
    source: IpAddr,
    connection: Option<TcpStream>,
}

impl Client {
    pub(super) fn new(server: SocketAddr, source: IpAddr) -> Client {
        Client { server, source, connection: None }
    }

    /// Sends a request and reads its answer. As browsers and libraries do, it repeats a request on a new connection if
    /// the server closed the old one without a byte of an answer.
    pub(super) async fn send(&mut self, request: &[u8]) -> Result<Answer> {
        if let Some(connection) = self.connection.take()
            && still_open(&connection)
        {
            match self.exchange(connection, request).await {
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                outcome => return outcome,
            }
        }
        let connection = connect(self.server, self.source).await?;
        self.exchange(connection, request).await
    }

    /// Reports a connection that ended before the first byte of the answer as `ConnectionReset`.
    async fn exchange(&mut self, mut connection: TcpStream, request: &[u8]) -> Result<Answer> {
        let reset = |error: Error| Error::new(ErrorKind::ConnectionReset, error);
        // A server may refuse before it has read all, and its answer is what counts.
        let sent = connection.write_all(request).await;
        let mut received = Vec::new();
        loop {
            match connection.read_buf(&mut received).await {
                Ok(0) if received.is_empty() => {
                    return Err(reset(sent.err().unwrap_or_else(|| ErrorKind::UnexpectedEof.into())));
                }
                Ok(0) => return Err(Error::other("the connection ended within an answer")),
                Ok(_) => {}
                Err(error) if received.is_empty() => return Err(reset(error)),
                Err(error) => return Err(error),
            }
            let Some((length, status)) = http::answer(&received) else { continue };
            let head_length = http::find(&received, b"\r\n\r\n").map_or(length, |at| at + 4);
            let closes = http::find(&received[..head_length].to_ascii_lowercase(), b"connection: close").is_some();
            if sent.is_ok() && !closes {
                self.connection = Some(connection);
            }
            return Ok(Answer { status, body: received[head_length..length].to_vec() });
        }
    }
}

fn still_open(connection: &TcpStream) -> bool {
    matches!(connection.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Connects from that address of this machine.
pub(super) async fn connect(server: SocketAddr, source: IpAddr) -> Result<TcpStream> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(server).await
}

/// A stream whose answer has begun.
#[derive(Debug)]
pub(super) struct EventStream {
    connection: TcpStream,
    received: Vec<u8>,
}

impl EventStream {
    /// Opens a stream; returns when its `hello` is there.
    pub(super) async fn open(server: SocketAddr, source: IpAddr, request: &[u8]) -> Result<EventStream> {
        let mut connection = connect(server, source).await?;
        connection.write_all(request).await?;
        let mut stream = EventStream { connection, received: Vec::new() };
        stream.wait_for(b"event: hello\n").await?;
        stream.received.clear();
        Ok(stream)
    }

    pub(super) fn has(&self, bytes: &[u8]) -> bool {
        http::find(&self.received, bytes).is_some()
    }

    /// Reads until those bytes have come.
    pub(super) async fn wait_for(&mut self, wanted: &[u8]) -> Result<()> {
        while !self.has(wanted) {
            if self.connection.read_buf(&mut self.received).await? == 0 {
                let said = String::from_utf8_lossy(&self.received);
                let end = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>();
                let (status, last) = (end.first().unwrap_or(&"nothing"), end.last().unwrap_or(&"nothing"));
                return Err(Error::other(format!("a stream ended: {status} … {last}")));
            }
        }
        Ok(())
    }
}

/// A request as bytes; a body makes it a `POST` or whatever the line says, with its length.
pub(super) fn request(line: &str, headers: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    if let Some(body) = body {
        let length = body.len().to_string();
        text.extend(["content-type: application/json\r\ncontent-length: ", &length, "\r\n\r\n", body]);
    } else {
        text.push_str("\r\n");
    }
    text.into_bytes()
}

/// Address number `host` of the /24 network that the server listens in.
pub(super) fn neighbour(server: SocketAddr, host: u8) -> IpAddr {
    match server.ip() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, host))
        }
        ip @ IpAddr::V6(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_length_only_with_a_body() {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        assert_eq!(text(request("GET /a", &[("b", "c")], None)), "GET /a HTTP/1.1\r\nhost: localhost\r\nb: c\r\n\r\n");
        assert!(text(request("PUT /a", &[], Some("{}"))).ends_with("content-length: 2\r\n\r\n{}"));
    }

    #[test]
    fn neighbours_are_in_the_network_of_the_server() {
        let server = "192.0.2.1:8000".parse().expect("an address");
        assert_eq!(neighbour(server, 77).to_string(), "192.0.2.77");
    }
}
