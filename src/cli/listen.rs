//! `pregon listen`: prints what arrives, and goes on where it was after any loss of the connection.

use std::io::Write as _;
use std::time::Duration;

use anyhow::anyhow;
use futures_util::StreamExt as _;
use serde_json::Value;
use sse_stream::{Sse, SseByteStream};

use super::Failure;
use super::client::{Client, Requests, success};

const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Until the server has said how often it beats.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Print what arrives for a user
#[derive(Debug, clap::Args)]
pub(super) struct Listen {
    /// The user
    #[arg(value_name = "USER")]
    user: String,
    /// Print each notification as a line of JSON
    #[arg(long)]
    json: bool,
    /// Begin in the past: earliest, an event id, a time (RFC 3339) or a duration such as 1h
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// End after so many notifications
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    #[command(flatten)]
    client: Client,
}

/// How far the listener has got.
struct Progress {
    /// The newest event id.
    cursor: Option<String>,
    printed: u64,
    retry: Duration,
    silence_max: Duration,
    /// Connections that failed in a row.
    failures: u32,
    connected_before: bool,
}

/// Why a connection is over.
enum End {
    /// All that was asked for has been printed, or nobody reads it any more.
    Done,
    /// The stream has ended; it goes on with another connection.
    Again,
}

impl Listen {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let requests = self.client.requests()?;
        let mut progress = Progress {
            cursor: None,
            printed: 0,
            retry: Duration::from_secs(2),
            silence_max: SILENCE_MAX,
            failures: 0,
            connected_before: false,
        };
        loop {
            match self.connect(&requests, &mut progress).await {
                Ok(End::Done) => return Ok(()),
                Ok(End::Again) => {}
                Err(Failure::Unreachable(_) | Failure::Failed(_)) if progress.connected_before => {
                    progress.failures += 1;
                }
                Err(failure) => return Err(failure),
            }
            // Full jitter: whoever lost the same server must not come back in the same moment.
            let longest = progress.retry.saturating_mul(1 << progress.failures.min(5)).min(BACKOFF_MAX);
            let wait = if progress.failures == 0 { progress.retry } else { longest.mul_f64(fastrand::f64()) };
            anstream::eprintln!("connection lost; going on in {:.1} s", wait.as_secs_f64());
            tokio::time::sleep(wait).await;
        }
    }

    async fn connect(&self, requests: &Requests, progress: &mut Progress) -> Result<End, Failure> {
        let mut query = vec![("user_id", self.user.as_str())];
        if let (Some(since), None) = (&self.since, &progress.cursor) {
            query.push(("since", since));
        }
        let mut url = url::Url::parse(&self.client.url("/v1/stream"))
            .map_err(|error| Failure::Failed(anyhow!("--server is not a URL: {error}")))?;
        url.query_pairs_mut().extend_pairs(query);
        let mut request = requests.authorized(requests.client.get(url)).header("accept", "text/event-stream");
        if let Some(cursor) = &progress.cursor {
            request = request.header("last-event-id", cursor);
        }
        let response = success(request.send().await.map_err(|error| self.client.unreachable(error))?).await?;
        progress.connected_before = true;
        let mut events = SseByteStream::new(response.bytes_stream());
        loop {
            let Ok(Some(Ok(event))) = tokio::time::timeout(progress.silence_max, events.next()).await else {
                return Ok(End::Again);
            };
            if let End::Done = self.event(event, progress) {
                return Ok(End::Done);
            }
        }
    }

    fn event(&self, event: Sse, progress: &mut Progress) -> End {
        if let Some(retry) = event.retry {
            progress.retry = Duration::from_millis(retry).min(BACKOFF_MAX);
        }
        let data = event.data.unwrap_or_default();
        let said: Value = serde_json::from_str(&data).unwrap_or_default();
        let mut end = End::Again;
        match event.event.as_deref() {
            // A block with only a `retry:` is an event to the parser, and none to a reader.
            None if data.is_empty() => {}
            None => {
                if !self.print(&data, &said) {
                    return End::Done;
                }
                progress.printed += 1;
                if Some(progress.printed) == self.count {
                    end = End::Done;
                }
            }
            Some("hello") => {
                progress.failures = 0;
                if let Some(heartbeat) = said["heartbeat_ms"].as_u64() {
                    // Every second beat is an event; with its jitter two come in less than three intervals.
                    progress.silence_max =
                        Duration::from_millis(heartbeat.saturating_mul(3)).max(Duration::from_secs(3));
                }
            }
            Some("reset") => {
                let reason = said["reason"].as_str().unwrap_or("unknown");
                anstream::eprintln!("notifications may have been missed: the server can't go on from here ({reason})");
            }
            Some(_) => {}
        }
        // Only now: what was not printed must come again.
        if event.id.is_some() {
            progress.cursor = event.id;
        }
        end
    }

    /// Prints a notification; false if nobody reads any more.
    fn print(&self, data: &str, said: &Value) -> bool {
        let line = if self.json {
            data.to_owned()
        } else {
            let text = |name: &str| said[name].as_str().unwrap_or_default();
            let title = if text("title").is_empty() { String::new() } else { format!("{}: ", text("title")) };
            // A message must not be able to move the cursor of a terminal or to look like a second line.
            let printable: String =
                format!("{title}{}", text("message")).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            format!("{}  {printable}", text("timestamp"))
        };
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_ok()
    }
}
