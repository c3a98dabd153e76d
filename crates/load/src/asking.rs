//! How a listener asks for its stream: as which user, with which credential, after which event.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use anyhow::Context as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

/// How long a token is good for, in seconds.
const TOKEN_SECONDS: u64 = 3600;
/// Source addresses that connections are spread over. One has some 28,000 ports, and one that was used rests for a
/// minute: a hundred addresses do not run out however often a run is repeated.
const SOURCES: usize = 100;

#[derive(Serialize)]
struct Claims {
    sub: String,
    exp: u64,
}

/// What the listeners ask with; listener n is of user n modulo `users`.
#[derive(Debug)]
pub(crate) struct Asking {
    users: usize,
    /// A token for each user; without them, the user is said openly.
    tokens: Option<Vec<String>>,
}

impl Asking {
    /// Makes the tokens, if there is a key to sign them with.
    pub(crate) fn new(users: usize, token_key: Option<&str>) -> anyhow::Result<Asking> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let token = |key: &EncodingKey, user: usize| {
            let claims = Claims { sub: user.to_string(), exp: now + TOKEN_SECONDS };
            encode(&Header::new(Algorithm::HS256), &claims, key)
        };
        let tokens = token_key.map(|key| {
            let key = EncodingKey::from_secret(key.as_bytes());
            (0..users).map(|user| token(&key, user)).collect::<Result<Vec<_>, _>>()
        });
        Ok(Asking { users, tokens: tokens.transpose().context("a token could not be signed")? })
    }

    /// The path and the query.
    pub(crate) fn path(&self, listener: usize) -> String {
        match self.tokens {
            Some(_) => "/notifications".to_owned(),
            None => format!("/notifications?user_id={}", listener % self.users),
        }
    }

    /// The headers beside `host`.
    pub(crate) fn headers(&self, listener: usize, last_id: Option<&str>) -> Vec<(&'static str, String)> {
        let mut headers = vec![("accept", "text/event-stream".to_owned())];
        if let Some(tokens) = &self.tokens {
            headers.push(("authorization", format!("Bearer {}", tokens[listener % self.users])));
        }
        if let Some(id) = last_id {
            headers.push(("last-event-id", id.to_owned()));
        }
        headers
    }

    /// The request as HTTP/1.1.
    pub(crate) fn request(&self, listener: usize, last_id: Option<&str>) -> Vec<u8> {
        let mut request = format!("GET {} HTTP/1.1\r\nhost: localhost\r\n", self.path(listener));
        for (name, value) in self.headers(listener, last_id) {
            request.extend([name, ": ", &value, "\r\n"]);
        }
        request.push_str("\r\n");
        request.into_bytes()
    }
}

/// Where a listener's connection comes from, if the server is on this machine.
pub(crate) fn source(server: SocketAddr, listener: usize) -> Option<SocketAddr> {
    let last = u8::try_from(listener % SOURCES).ok()?.checked_add(2)?;
    server.ip().is_loopback().then(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_said_openly_or_by_a_token() {
        let open = Asking::new(3, None).expect("no tokens to make");
        let request = String::from_utf8(open.request(4, Some("5:0"))).expect("text");
        assert_eq!(
            request,
            "GET /notifications?user_id=1 HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nlast-event-id: 5:0\r\n\r\n"
        );
        let closed = Asking::new(3, Some("a key")).expect("tokens");
        assert_eq!(closed.path(4), "/notifications");
        let headers = closed.headers(4, None);
        let token = headers[1].1.strip_prefix("Bearer ").expect("a bearer token");
        assert_eq!(token.split('.').count(), 3);
        assert_eq!(headers.len(), 2);
    }
}
