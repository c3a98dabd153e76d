//! Which connections a server on this machine still holds, from the kernel's table of TCP sockets.
//!
//! A server that closes a connection whose client never reads has its end of stream queue up behind what was not read:
//! the client cannot learn of it. Only the kernel knows that the other end is closed.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::Context as _;

const ESTABLISHED: &str = "01";

/// The clients' ends of the connections that this server holds; nothing if that cannot be known here.
pub(crate) fn held(server: SocketAddr) -> anyhow::Result<Option<HashSet<SocketAddr>>> {
    if !server.ip().is_loopback() || !server.is_ipv4() {
        return Ok(None);
    }
    let path = "/proc/net/tcp";
    Ok(Some(clients(&std::fs::read_to_string(path).context(path)?, server)))
}

fn clients(table: &str, server: SocketAddr) -> HashSet<SocketAddr> {
    let client = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
        (state == ESTABLISHED && address(local)? == server).then(|| address(remote)).flatten()
    };
    table.lines().filter_map(client).collect()
}

/// An address as the kernel writes it: `0200007F:1F90`, in the order of bytes that the machine has.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
    Some(SocketAddrV4::new(ip, u16::from_str_radix(port, 16).ok()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn held_is_what_is_established_at_the_server() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
            0: 0100007F:1F90 0200007F:C350 01 00000000\n\
            1: 0100007F:1F90 0300007F:C350 04 00000000\n\
            2: 0200007F:C350 0100007F:1F90 01 00000000\n\
            3: 0100007F:1F91 0400007F:C350 01 00000000\n";
        let server = "127.0.0.1:8080".parse().expect("an address");
        let client = "127.0.0.2:50000".parse().expect("an address");
        assert_eq!(clients(table, server), HashSet::from([client]));
    }
}
