//! A stream's socket: plain, or with TLS.
//!
//! **Invariant:** what is reported as taken will be sent in that order, or the connection ends; what is not will never be
//! sent from here.
//!
//! Deliberately absent: what is written, and when.

use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::time::Duration;

use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Interest as Readiness, Registry, Token};
use rustls::ServerConnection;
use socket2::SockRef;

/// Bytes that TLS may have sealed and not yet sent; as much as two of its records hold.
const SEALED_BYTES_MAX: usize = 32 * 1024;

/// A plain socket.
pub(super) struct Socket(TcpStream);

impl Socket {
    pub(super) fn new(socket: std::net::TcpStream) -> Socket {
        Socket(TcpStream::from_std(socket))
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.0, token, Readiness::READABLE | Readiness::WRITABLE)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        // A socket that is closed next is forgotten by the poll in any case.
        let _ = registry.deregister(&mut self.0);
    }

    /// Writes as much as the socket takes; nothing if it is full.
    pub(super) fn write(&mut self, slices: &[Bytes]) -> io::Result<usize> {
        if let [slice] = slices {
            return self.take(|socket| socket.write(slice));
        }
        let slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        self.take(|socket| socket.write_vectored(&slices))
    }

    fn take(&mut self, mut write: impl FnMut(&mut TcpStream) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            match write(&mut self.0) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                written => return written,
            }
        }
    }

    /// Reads and forgets what the peer says; gives the number of bytes, or nothing if it has closed.
    pub(super) fn read_out(&mut self) -> Option<usize> {
        let mut scratch = [0; 4096];
        let mut bytes = 0;
        loop {
            match self.0.read(&mut scratch) {
                Ok(0) => return None,
                Ok(read) => bytes += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(bytes),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// Makes closing it a reset. What the kernel holds for a peer that takes nothing is freed at once, and the peer
    /// learns of its end; behind that, an end in good order would never be heard.
    pub(super) fn break_off(&self) {
        // It is closed all the same.
        let _ = SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
    }

    /// Says that nothing more will come.
    pub(super) fn finish(&mut self) {
        // A peer that is gone does not mind.
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

/// A socket with TLS. The handshake is over.
pub(super) struct TlsSocket {
    socket: Socket,
    tls: ServerConnection,
}

impl TlsSocket {
    pub(super) fn new(socket: std::net::TcpStream, mut tls: ServerConnection) -> TlsSocket {
        tls.set_buffer_limit(Some(SEALED_BYTES_MAX));
        TlsSocket { socket: Socket::new(socket), tls }
    }

    pub(super) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Seals and sends as much as the socket takes, and at most [`SEALED_BYTES_MAX`] more.
    pub(super) fn write(&mut self, slices: &[Bytes]) -> io::Result<usize> {
        let mut slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let mut rest = &mut slices[..];
        let mut taken = 0;
        while self.flush()? && !rest.is_empty() {
            let sealed = self.tls.writer().write_vectored(rest)?;
            IoSlice::advance_slices(&mut rest, sealed);
            taken += sealed;
        }
        Ok(taken)
    }

    /// Sends what is sealed; false if the socket is full before all of it has left.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket.0) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads and forgets what the peer says; gives the number of bytes, or nothing if it has closed.
    pub(super) fn read_out(&mut self) -> Option<usize> {
        let mut bytes = 0;
        loop {
            match self.tls.read_tls(&mut self.socket.0) {
                Ok(0) => return None,
                Ok(read) => bytes += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return None,
            }
            let state = self.tls.process_new_packets().ok()?;
            if state.peer_has_closed() {
                return None;
            }
            let mut plain = self.tls.reader();
            // Its end is told by the state, and that nothing is there now is no error.
            let _ = io::copy(&mut plain, &mut io::sink());
        }
        // An update of the keys wants an answer.
        self.flush().ok().map(|_| bytes)
    }

    /// Says that nothing more will come.
    pub(super) fn finish(&mut self) {
        self.tls.send_close_notify();
        // As much as the socket takes: a client that misses the end comes back all the same.
        let _ = self.flush();
        self.socket.finish();
    }
}
