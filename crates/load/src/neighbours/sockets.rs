//! Abuses by connections on which little or nothing is said.

use std::time::Duration;

use futures_util::future::{BoxFuture, LocalBoxFuture};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::abuse::{Abuse, Turn};
use super::client::{Client, connect};
use super::requests::USER;
use super::site::Site;

/// Connections at once: more than a server has places for requests by default.
const SOCKETS: usize = 5000;
/// Time between two bytes of a slow body.
const BYTE_INTERVAL: Duration = Duration::from_secs(1);

/// Connections without a byte.
pub(super) struct Silent;

impl Abuse for Silent {
    fn workers(&self) -> usize {
        SOCKETS
    }

    fn per_second(&self) -> f64 {
        5000.0
    }

    fn once<'a>(&'a self, site: &'a Site, _: &'a mut Client, _: Turn) -> LocalBoxFuture<'a, anyhow::Result<u16>> {
        Box::pin(async {
            let mut connection = connect(site.server, site.abuser()).await?;
            answered(&mut connection).await
        })
    }
}

/// Requests by one user whose bodies come a byte a second.
#[derive(Default)]
pub(super) struct SlowBodies {
    token: String,
}

impl SlowBodies {
    fn head(&self) -> String {
        let token = &self.token;
        format!(
            "POST /v1/inbox/bulk HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\n\
             content-type: application/json\r\ncontent-length: 10000\r\n\r\n"
        )
    }
}

impl Abuse for SlowBodies {
    fn prepare<'a>(&'a mut self, site: &'a Site) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async {
            self.token = site.token(USER);
            Ok(())
        })
    }

    fn workers(&self) -> usize {
        SOCKETS
    }

    fn per_second(&self) -> f64 {
        5000.0
    }

    fn once<'a>(&'a self, site: &'a Site, _: &'a mut Client, _: Turn) -> LocalBoxFuture<'a, anyhow::Result<u16>> {
        Box::pin(async {
            let mut connection = connect(site.server, site.abuser()).await?;
            connection.write_all(self.head().as_bytes()).await?;
            loop {
                connection.write_all(b" ").await?;
                if let Ok(status) = timeout(BYTE_INTERVAL, answered(&mut connection)).await {
                    return status;
                }
            }
        })
    }
}

/// The status of an answer, from its first bytes; an error if the connection is closed without one.
async fn answered(connection: &mut TcpStream) -> anyhow::Result<u16> {
    let mut head = [0; 512];
    let length = connection.read(&mut head).await?;
    let status = head[..length].split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    Ok(std::str::from_utf8(status)?.parse()?)
}
