//! The server under test, and the credentials for it.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use super::client::{Client, neighbour, request};

/// Lifetime of the tokens, in seconds.
const TOKEN_SECONDS: u64 = 3600;
/// Host numbers of the abuser and of the first and last of all others, in the server's /24 network.
const ABUSER: u8 = 200;
const OTHERS: (u8, u8) = (2, 199);

pub(super) struct Site {
    pub(super) server: SocketAddr,
    /// `Bearer` and the server key of everybody else's back end.
    pub(super) key: String,
    signing: EncodingKey,
}

impl Site {
    pub(super) fn new(server: SocketAddr, key: &str, token_key: &str) -> Site {
        Site { server, key: format!("Bearer {key}"), signing: EncodingKey::from_secret(token_key.as_bytes()) }
    }

    /// `Bearer` and a new token of that user.
    pub(super) fn token(&self, user: &str) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let claims = json!({ "sub": user, "exp": now + TOKEN_SECONDS, "iat": now });
        let token = encode(&Header::new(Algorithm::HS256), &claims, &self.signing).expect("a secret signs any claims");
        format!("Bearer {token}")
    }

    /// The one address that the abuser comes from.
    pub(super) fn abuser(&self) -> IpAddr {
        neighbour(self.server, ABUSER)
    }

    /// One of the addresses of all others, in turn.
    pub(super) fn other(&self, number: u64) -> IpAddr {
        let (first, last) = OTHERS;
        let offset = u8::try_from(number % u64::from(last - first + 1)).unwrap_or(0);
        neighbour(self.server, first + offset)
    }

    /// Publishes a batch as everybody else's back end does, for an abuse that needs a filled store.
    pub(super) async fn publish_batch(&self, client: &mut Client, items: &str) -> anyhow::Result<()> {
        let batch = request("POST /v1/notifications/batch", &[("authorization", &self.key)], Some(items));
        let answer = client.send(&batch).await.context("a batch could not be published")?;
        let refused = || format!("a batch was answered {}", String::from_utf8_lossy(&answer.body));
        ensure!(answer.status == 200 && !refused().contains("\"error\""), "{}", refused());
        Ok(())
    }
}
