//! The options that limit how often, and how many at once.
//!
//! **Invariant:** no number means without a limit: an option that is absent does.

use std::net::IpAddr;
use std::num::NonZeroU32;

use ipnet::IpNet;

use super::Layers;
use crate::auth::tickets::TICKETS_PER_USER_MAX;
use crate::limits::Rate;

/// Keys that have no default.
pub(super) const WITHOUT_DEFAULT: [&str; 6] = [
    "publishes_per_second",
    "publish_burst",
    "streams_per_address",
    "connections_max",
    "connections_per_address",
    "trusted_proxy",
];

/// Smallest budget for bodies, in bytes: what the largest batch has.
const BODIES_BYTES_MIN: usize = 4 * 1024 * 1024;
/// Largest `max_per_user` and `max_topics_per_user`: each mark and each count reads what a user has, in some milliseconds then,
/// and looks once at each topic.
const PER_USER_MAX: usize = 10_000;

/// Most notifications or topics that a user has.
pub(super) fn per_user(text: &str) -> Result<usize, String> {
    let many = text.parse().ok().filter(|many| (1..=PER_USER_MAX).contains(many));
    many.ok_or_else(|| format!("must be a number from 1 to {PER_USER_MAX}"))
}

/// Most changes of a user at once, each of which takes the writing thread for some milliseconds at most.
const WRITES_AT_ONCE_MAX: NonZeroU32 = NonZeroU32::new(100).expect("above 0");
/// New connections from an address at once, at least: all browsers of an office come back together.
const NEW_CONNECTIONS_AT_ONCE_MIN: NonZeroU32 = NonZeroU32::new(1000).expect("above 0");
/// Fewest connections: with fewer, none would be left for those whose request is not read yet.
const CONNECTIONS_MIN: usize = 8;

/// The limits that are options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How often each server key may publish.
    pub publishes: Option<Rate>,
    /// Most topics that a user is a member of.
    pub topics_per_user: usize,
    /// Most streams of a user at once.
    pub streams_per_user: usize,
    /// Most streams from an address at once.
    pub streams_per_address: Option<usize>,
    /// Most unused tickets of a user.
    pub tickets_per_user: usize,
    /// How often somebody may send a wrong credential from an address.
    pub failed_logins: Rate,
    /// How often each user may change something.
    pub writes: Rate,
    /// Most connections that speak HTTP at once; by default what the descriptor limit allows.
    pub connections_max: Option<usize>,
    /// Most of these from an address; by default a quarter of all.
    pub connections_per_address: Option<usize>,
    /// How often a connection from an address is let in.
    pub connections: Rate,
    /// Bytes of the bodies of all requests that are under way.
    pub bodies_bytes_max: usize,
    /// Proxies that are believed when they say from whom a request comes.
    pub trusted_proxies: Vec<IpNet>,
}

/// Their flags, or variables in the environment.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitFlags {
    /// Most notifications that each server key publishes in a second [default: without a limit]
    #[arg(long, value_name = "COUNT", env = "PREGON_PUBLISHES_PER_SECOND")]
    publishes_per_second: Option<String>,
    /// Most that it publishes at once [default: as many as in a second]
    #[arg(long, value_name = "COUNT", env = "PREGON_PUBLISH_BURST")]
    publish_burst: Option<String>,
    /// Most topics that a user is a member of, 10000 at most [default: 1000]
    #[arg(long, value_name = "COUNT", env = "PREGON_MAX_TOPICS_PER_USER")]
    max_topics_per_user: Option<String>,
    /// Most streams of a user at once [default: 1000]
    #[arg(long, value_name = "COUNT", env = "PREGON_STREAMS_PER_USER")]
    streams_per_user: Option<String>,
    /// Most streams from an address at once [default: without a limit]
    #[arg(long, value_name = "COUNT", env = "PREGON_STREAMS_PER_ADDRESS")]
    streams_per_address: Option<String>,
    /// Most unused tickets of a user; the oldest goes [default: 32]
    #[arg(long, value_name = "COUNT", env = "PREGON_TICKETS_PER_USER")]
    tickets_per_user: Option<String>,
    /// Wrong credentials from an address in a minute, until none is looked at for a while [default: 30]
    #[arg(long, value_name = "COUNT", env = "PREGON_FAILED_LOGINS_PER_MINUTE")]
    failed_logins_per_minute: Option<String>,
    /// Changes that each user makes in a minute, with a token, at most 100 of them at once [default: 600]
    #[arg(long, value_name = "COUNT", env = "PREGON_WRITES_PER_MINUTE")]
    writes_per_minute: Option<String>,
    /// How far `nbf` and `iat` of user tokens may be ahead of this server's clock, 5m at most [default: 30s]
    #[arg(long, value_name = "DURATION", env = "PREGON_JWT_LEEWAY")]
    jwt_leeway: Option<String>,
    /// Most connections at once that are no streams [default: a quarter of the descriptor limit, 4096 at most]
    #[arg(long, value_name = "COUNT", env = "PREGON_CONNECTIONS_MAX")]
    connections_max: Option<String>,
    /// Most of these from an address [default: a quarter of them]
    #[arg(long, value_name = "COUNT", env = "PREGON_CONNECTIONS_PER_ADDRESS")]
    connections_per_address: Option<String>,
    /// New connections from each address in a second, at least 1000 of them at once [default: 300]
    #[arg(long, value_name = "COUNT", env = "PREGON_CONNECTIONS_PER_SECOND")]
    connections_per_second: Option<String>,
    /// Bytes of the bodies of all requests that are under way [default: 67108864]
    #[arg(long, value_name = "BYTES", env = "PREGON_BODIES_BYTES_MAX")]
    bodies_bytes_max: Option<String>,
    /// Networks of proxies whose X-Forwarded-For is believed, separated by commas
    #[arg(long, value_name = "NETWORKS", env = "PREGON_TRUSTED_PROXY")]
    trusted_proxy: Option<String>,
}

impl LimitFlags {
    /// The flags, by key.
    pub(super) fn all(&self) -> [(&'static str, &Option<String>); 14] {
        [
            ("publishes_per_second", &self.publishes_per_second),
            ("publish_burst", &self.publish_burst),
            ("max_topics_per_user", &self.max_topics_per_user),
            ("streams_per_user", &self.streams_per_user),
            ("streams_per_address", &self.streams_per_address),
            ("tickets_per_user", &self.tickets_per_user),
            ("failed_logins_per_minute", &self.failed_logins_per_minute),
            ("writes_per_minute", &self.writes_per_minute),
            ("jwt_leeway", &self.jwt_leeway),
            ("connections_max", &self.connections_max),
            ("connections_per_address", &self.connections_per_address),
            ("connections_per_second", &self.connections_per_second),
            ("bodies_bytes_max", &self.bodies_bytes_max),
            ("trusted_proxy", &self.trusted_proxy),
        ]
    }
}

impl Layers {
    /// Reads the limits; each is read even if one before it is wrong.
    pub(super) fn limits(&mut self) -> Option<Limits> {
        let number = |text: &str| text.parse::<NonZeroU32>().map_err(|_| "must be a number above 0".to_owned());
        let per_second = self.read("publishes_per_second", number);
        let burst = self.read("publish_burst", number);
        if per_second.is_none() && burst.is_some() {
            self.errors.push("publish_burst: it is of no use without publishes_per_second".into());
        }
        let count = |text: &str| number(text).map(|count| usize::try_from(count.get()).unwrap_or(usize::MAX));
        let topics_per_user = self.read("max_topics_per_user", per_user);
        let streams_per_user = self.read("streams_per_user", count);
        let streams_per_address = self.read("streams_per_address", count);
        let tickets_per_user = self.read("tickets_per_user", |text| match count(text)? {
            tickets if tickets <= TICKETS_PER_USER_MAX => Ok(tickets),
            _ => Err(format!("must be at most {TICKETS_PER_USER_MAX}")),
        });
        let failed_logins = self.read("failed_logins_per_minute", number);
        let writes = self.read("writes_per_minute", number);
        let connections_max = self.read("connections_max", |text| match count(text)? {
            connections if connections >= CONNECTIONS_MIN => Ok(connections),
            _ => Err(format!("must be at least {CONNECTIONS_MIN}")),
        });
        let connections_per_address = self.read("connections_per_address", count);
        let connections = self.read("connections_per_second", number);
        let bodies_bytes_max = self.read("bodies_bytes_max", |text| match count(text)? {
            bytes if bytes >= BODIES_BYTES_MIN => Ok(bytes),
            _ => Err(format!("must be at least {BODIES_BYTES_MIN} bytes, so that the largest body has room")),
        });
        let trusted_proxies = self.read("trusted_proxy", |text| {
            text.split([',', ' ']).filter(|part| !part.is_empty()).map(network).collect::<Result<_, String>>()
        });
        Some(Limits {
            publishes: per_second.map(|count| Rate::per_second(count, burst.unwrap_or(count))),
            topics_per_user: topics_per_user?,
            streams_per_user: streams_per_user?,
            streams_per_address,
            tickets_per_user: tickets_per_user?,
            failed_logins: failed_logins.map(|count| Rate::per_minute(count, count))?,
            writes: writes.map(|count| Rate::per_minute(count, count.min(WRITES_AT_ONCE_MAX)))?,
            connections_max,
            connections_per_address,
            connections: connections.map(|count| Rate::per_second(count, count.max(NEW_CONNECTIONS_AT_ONCE_MIN)))?,
            bodies_bytes_max: bodies_bytes_max?,
            trusted_proxies: trusted_proxies.unwrap_or_default(),
        })
    }
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.ok_or_else(|| format!("`{text}` is no network such as 10.0.0.0/8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_too_large_to_be_counted_at_each_mark_is_refused() {
        assert_eq!(per_user("10000"), Ok(PER_USER_MAX));
        for text in ["0", "10001", "150000", "many"] {
            assert_eq!(per_user(text), Err("must be a number from 1 to 10000".to_owned()), "{text}");
        }
    }
}
