//! From which address a request comes, as far as limits are counted for one.
//!
//! **Invariant:** nobody chooses her own address: what a request says of it counts only as far as proxies that are trusted
//! have said it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::App;
use super::error::Problem;
use crate::limits::Address;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of the connection. The listener puts it into each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// How crowded it was when the request came. The listener puts it into each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// There is room for it.
    Room,
    /// What room is left is for server keys.
    KeysOnly,
    /// There is none.
    Full,
}

/// Where a request comes from.
#[derive(Clone, Copy)]
pub(super) struct Client {
    /// Nothing if that is this machine.
    pub(super) address: Option<Address>,
    /// Whether the other end of the connection is a proxy that is trusted to say how it was asked.
    pub(super) is_behind_trusted: bool,
}

impl Client {
    pub(super) fn of(app: &App, parts: &Parts) -> Client {
        let Some(Peer(peer)) = parts.extensions.get::<Peer>() else {
            return Client { address: None, is_behind_trusted: false };
        };
        let trusted = &app.options.trusted_proxies;
        Client {
            address: Address::of(client(trusted, *peer, &parts.headers)),
            is_behind_trusted: is_trusted(trusted, peer),
        }
    }
}

impl FromRequestParts<Arc<App>> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        Ok(Client::of(app, parts))
    }
}

/// The first address, seen from here, that is no proxy which is trusted. Each proxy has added at the end of
/// `X-Forwarded-For` from whom it got the request; what stands before that anybody may have written.
fn client(trusted: &[IpNet], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let lines = headers.get_all(FORWARDED_FOR).into_iter().filter_map(|line| line.to_str().ok());
    let mut said: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
    let mut nearest = peer;
    while is_trusted(trusted, &nearest) {
        let Some(before) = said.pop().and_then(ip) else { return nearest };
        nearest = before;
    }
    nearest
}

fn is_trusted(trusted: &[IpNet], ip: &IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(&ip.to_canonical()))
}

/// An address as proxies write it: alone, or with a port.
fn ip(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let alone = text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    alone.or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutant: the first address is believed, whoever wrote it.
    #[test]
    fn an_address_counts_only_as_far_as_trusted_proxies_have_said_it() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse::<IpNet>().expect("a network"));
        let seen = |peer: &str, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, line.parse().expect("a header"));
            }
            client(&trusted, peer.parse().expect("an address"), &headers).to_string()
        };
        for (peer, lines, wanted) in [
            ("203.0.113.9", &[][..], "203.0.113.9"),
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1:4711"], "198.51.100.1"),
            ("2001:db8::1", &["[2001:db9::7]:4711"], "2001:db9::7"),
            ("2001:db8::1", &["[2001:db9::7]"], "2001:db9::7"),
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.2"], "10.0.0.2"),
        ] {
            assert_eq!(seen(peer, lines), wanted, "{peer} {lines:?}");
        }
    }
}
