//! A stream's socket: plain, or with TLS.
//!
//! **Invariant:** what is reported as taken will be sent in that order, or the connection ends; what is not will never be
//! sent from here.
//!
//! Deliberately absent: what is written, and when.

use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Interest as Readiness, Registry, Token};
use rustls::ServerConnection;
use socket2::SockRef;

/// Bytes that TLS may have sealed and not yet sent; as much as two of its records hold.
const SEALED_BYTES_MAX: usize = 32 * 1024;

/// Bytes that a peer has not acknowledged are given up after this. A peer that vanishes right after a heartbeat is noticed by
/// the next one: 18 s at most by default, a second of the sweep, and this are less than 45 s. Keepalive notices nothing while
/// beats are written.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(24);
/// The same while the socket is full, and for [`FULL_MEMORY`] after that. To the kernel a reader who reads slowly is one who
/// takes nothing, until there is room for a whole segment of up to 64 KiB. Whether a full socket moves is then judged by the
/// stall time of its stream alone.
const UNACKNOWLEDGED_MAX_WHEN_FULL: Duration = Duration::from_mins(10);
/// In this time a reader of 4 KB/s takes what is left in the send buffer.
const FULL_MEMORY: Duration = Duration::from_secs(30);

/// A plain socket.
pub(super) struct Socket {
    stream: TcpStream,
    /// When it was full, if that is not long ago.
    full_at: Option<Instant>,
}

impl Socket {
    pub(super) fn new(socket: std::net::TcpStream) -> Socket {
        let socket = Socket { stream: TcpStream::from_std(socket), full_at: None };
        socket.give_up_after(UNACKNOWLEDGED_MAX);
        socket
    }

    fn give_up_after(&self, time: Duration) {
        // Where a system has no such option, its own time holds.
        let _ = SockRef::from(&self.stream).set_tcp_user_timeout(Some(time));
    }

    /// Notes whether the socket has taken all that it was given.
    fn took(&mut self, whole: bool) {
        match self.full_at {
            None if whole => {}
            Some(full_at) if whole => {
                if full_at.elapsed() >= FULL_MEMORY {
                    self.full_at = None;
                    self.give_up_after(UNACKNOWLEDGED_MAX);
                }
            }
            before => {
                self.full_at = Some(Instant::now());
                if before.is_none() {
                    self.give_up_after(UNACKNOWLEDGED_MAX_WHEN_FULL);
                }
            }
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.stream, token, Readiness::READABLE | Readiness::WRITABLE)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        // A socket that is closed next is forgotten by the poll in any case.
        let _ = registry.deregister(&mut self.stream);
    }

    /// Writes as much as the socket takes; nothing if it is full.
    pub(super) fn write(&mut self, slices: &[Bytes]) -> io::Result<usize> {
        let bytes: usize = slices.iter().map(Bytes::len).sum();
        let written = if let [slice] = slices {
            self.take(|socket| socket.write(slice))
        } else {
            let slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
            self.take(|socket| socket.write_vectored(&slices))
        }?;
        self.took(written == bytes);
        Ok(written)
    }

    fn take(&mut self, mut write: impl FnMut(&mut TcpStream) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            match write(&mut self.stream) {
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
            match self.stream.read(&mut scratch) {
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
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Says that nothing more will come.
    pub(super) fn finish(&mut self) {
        // A peer that is gone does not mind.
        let _ = self.stream.shutdown(Shutdown::Write);
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
            match self.tls.write_tls(&mut self.socket.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.socket.took(false);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        self.socket.took(true);
        Ok(true)
    }

    /// Reads and forgets what the peer says; gives the number of bytes, or nothing if it has closed.
    pub(super) fn read_out(&mut self) -> Option<usize> {
        let mut bytes = 0;
        loop {
            match self.tls.read_tls(&mut self.socket.stream) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutant: the kernel's patience is the same whether the socket is full or not.
    #[test]
    fn the_kernel_gives_up_a_quiet_peer_soon_and_a_slow_reader_not_before_its_stall_time() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let reader = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (accepted, _) = listener.accept().expect("accepted");
        accepted.set_nonblocking(true).expect("set");
        let mut socket = Socket::new(accepted);
        let patience = |socket: &Socket| SockRef::from(&socket.stream).tcp_user_timeout().expect("known");
        assert_eq!(socket.write(&[Bytes::from_static(b"a beat")]).expect("written"), 6);
        assert_eq!(patience(&socket), Some(UNACKNOWLEDGED_MAX));
        let much = Bytes::from(vec![b'x'; 1024 * 1024]);
        while socket.write(&[much.clone(), much.clone()]).expect("written") > 0 {}
        assert_eq!(patience(&socket), Some(UNACKNOWLEDGED_MAX_WHEN_FULL));
        socket.took(true);
        assert_eq!(patience(&socket), Some(UNACKNOWLEDGED_MAX_WHEN_FULL), "what is left must be read first");
        socket.full_at = Instant::now().checked_sub(FULL_MEMORY);
        socket.took(true);
        assert_eq!(patience(&socket), Some(UNACKNOWLEDGED_MAX));
        drop(reader);
    }
}
