//! Which hosts are this machine: `localhost`, the names below it (RFC 6761, 6.3) and the addresses of loopback.
//!
//! **Invariant:** whoever connects to such a host with a credential, or trusts what it answers over plain HTTP, connects to
//! [`ADDRESSES`] if the host is a name: a resolver may not know names below `localhost`, and ask others for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::Host;

/// What the names of this machine lead to. The port 0 stands for the one that is asked for.
pub const ADDRESSES: [SocketAddr; 2] =
    [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0)];

/// Whether a host is this machine. Names are in lower case, as [`Host::parse`] and [`url::Url`] give them.
pub fn is_loopback<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => name.as_ref() == "localhost" || name.as_ref().ends_with(".localhost"),
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_localhost_what_is_below_it_and_addresses_of_loopback_are_this_machine() {
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST", true),
            ("shop.localhost", true),
            ("127.0.0.1", true),
            ("127.8.9.1", true),
            ("[::1]", true),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("evil-localhost", false),
            ("localhost.localdomain", false),
            ("10.0.0.7", false),
            ("0.0.0.0", false),
            ("[2001:db8::1]", false),
        ] {
            assert_eq!(is_loopback(&Host::parse(host).expect("a host")), expected, "{host}");
        }
    }
}
