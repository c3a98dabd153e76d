//! `pregon listen`: prints what arrives, and goes on where it was after any loss of the connection.
//!
//! **Invariant:** a line of JSON is a notification as it was published, unless its first field is `event`, which no
//! notification has. So a program that knows only notifications can tell them from what came later.

use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Map, Value};
use sse_stream::{Sse, SseByteStream};

use super::Failure;
use super::client::{Connection, Reader};
use super::terminal::{DIM, headline, print_json, print_styled, printable, severity_style, talk, text};

const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Until the server has said how often it beats.
const SILENCE_MAX: Duration = Duration::from_mins(1);

const EXAMPLES: &str = "\
Examples:
  pregon listen 1 --since 1h
  pregon listen 1 --json | jq -r --unbuffered 'select(.event == null) | .message'   only notifications
  pregon listen 1 --count 1 > /dev/null && echo 'something has come'";

/// Print what arrives for a user
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Listen {
    /// The user
    #[arg(value_name = "USER")]
    user: String,
    /// Print each notification as a line of JSON; what is not one has an "event": updated, removed, state, preferences, reset
    #[arg(long)]
    json: bool,
    /// Begin in the past: earliest, an event id, a time (RFC 3339) or a duration such as 1h
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// End after so many notifications
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    /// In this language, where it has been said in it
    #[arg(long, value_name = "LANG")]
    lang: Option<String>,
    #[command(flatten)]
    reader: Reader,
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
    /// All that was asked for has been printed, or nobody reads it any more, or it can't be printed.
    Done(Result<(), Failure>),
    /// The stream has ended; it goes on with another connection.
    Again,
}

impl Listen {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let connection = self.reader.connection()?;
        let mut progress = Progress {
            cursor: None,
            printed: 0,
            retry: Duration::from_secs(2),
            silence_max: SILENCE_MAX,
            failures: 0,
            connected_before: false,
        };
        loop {
            match self.connect(&connection, &mut progress).await {
                Ok(End::Done(result)) => return result,
                Ok(End::Again) => {}
                Err(Failure::Unreachable(_) | Failure::Failed(_)) if progress.connected_before => {
                    progress.failures += 1;
                }
                Err(failure) => return Err(failure),
            }
            // Full jitter: whoever lost the same server must not come back in the same moment.
            let longest = progress.retry.saturating_mul(1 << progress.failures.min(5)).min(BACKOFF_MAX);
            let wait = if progress.failures == 0 { progress.retry } else { longest.mul_f64(fastrand::f64()) };
            talk(&format!("connection lost; going on in {:.1} s", wait.as_secs_f64()));
            tokio::time::sleep(wait).await;
        }
    }

    async fn connect(&self, connection: &Connection, progress: &mut Progress) -> Result<End, Failure> {
        let mut query = vec![("user_id", self.user.as_str())];
        if let (Some(since), None) = (&self.since, &progress.cursor) {
            query.push(("since", since));
        }
        query.extend(self.lang.as_deref().map(|lang| ("lang", lang)));
        let mut request = connection.request(Method::GET, "/v1/stream", &query).header("accept", "text/event-stream");
        if let Some(cursor) = &progress.cursor {
            request = request.header("last-event-id", cursor);
        }
        let response = connection.open(request).await?;
        progress.connected_before = true;
        let mut events = SseByteStream::new(response.bytes_stream());
        loop {
            let Ok(Some(Ok(event))) = tokio::time::timeout(progress.silence_max, events.next()).await else {
                return Ok(End::Again);
            };
            if let End::Done(result) = self.event(event, progress) {
                return Ok(End::Done(result));
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
                if let Some(end) = ended(self.print(&data, &said)) {
                    return end;
                }
                progress.printed += 1;
                if Some(progress.printed) == self.count {
                    end = End::Done(Ok(()));
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
            Some("heartbeat") => {}
            Some(name) => {
                if let Some(end) = ended(self.print_change(name, said)) {
                    return end;
                }
            }
        }
        // Only now: what was not printed must come again.
        if event.id.is_some() {
            progress.cursor = event.id;
        }
        end
    }

    /// Prints a notification; false if nobody reads any more.
    fn print(&self, data: &str, said: &Value) -> Result<bool, Failure> {
        if self.json {
            return print_json(data);
        }
        let style = severity_style(text(said, "severity"));
        let (at, headline) = (printable(text(said, "timestamp")), headline(said));
        print_styled(&format!("{DIM}{at}{DIM:#}  {style}{headline}{style:#}"))
    }

    /// Prints what has become of notifications; false if nobody reads any more.
    fn print_change(&self, name: &str, said: Value) -> Result<bool, Failure> {
        if name == "reset" {
            match text(&said, "reason") {
                "erased" => talk("all that the user had has been erased"),
                reason => talk(&format!(
                    "notifications may have been missed: the server can't go on from here ({})",
                    printable(reason)
                )),
            }
        }
        if self.json {
            let mut line = Map::from_iter([("event".to_owned(), Value::from(name))]);
            if let Value::Object(fields) = said {
                line.extend(fields);
            }
            return print_json(&Value::Object(line).to_string());
        }
        match in_words(name, &said) {
            // Under the times of the notifications, which are as long.
            Some((what, rest)) => print_styled(&format!("{DIM}{what:>24}{DIM:#}  {rest}")),
            None => Ok(true),
        }
    }
}

/// That printing was the end.
fn ended(printed: Result<bool, Failure>) -> Option<End> {
    match printed {
        Ok(true) => None,
        Ok(false) => Some(End::Done(Ok(()))),
        Err(failure) => Some(End::Done(Err(failure))),
    }
}

/// What a change is called, and what it is about; nothing for what only programs need to know.
fn in_words(name: &str, said: &Value) -> Option<(String, String)> {
    match name {
        "updated" => Some(("edited".into(), headline(said))),
        "removed" => Some((printable(text(said, "reason")), printable(text(said, "id")))),
        "state" => {
            let names = [("seen", "unseen"), ("read", "unread"), ("archived", "unarchived")];
            let set =
                names.iter().filter_map(|(yes, no)| said["set"][yes].as_bool().map(|set| if set { yes } else { no }));
            let set: Vec<&str> = set.copied().collect();
            let which = match (said["ids"].as_array().map(Vec::as_slice), said["up_to"].as_str()) {
                (Some([id]), _) => printable(id.as_str().unwrap_or_default()),
                (Some(ids), _) => format!("{} notifications", ids.len()),
                (None, Some(id)) => format!("all up to {}", printable(id)),
                (None, None) => "all".into(),
            };
            Some((set.join(", "), format!("{which}; {} unread", said["counts"]["unread"])))
        }
        "preferences" => {
            let muted: Vec<&str> = said["muted"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let muted = if muted.is_empty() { "nothing".into() } else { printable(&muted.join(", ")) };
            Some(("muted".into(), muted))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_said_in_a_few_words() {
        let counts = json!({"unread": 2, "unseen": 0, "total": 9});
        for (name, said, what, rest) in [
            ("updated", json!({"id": "a", "title": "T", "message": "m\nn"}), "edited", "T: m n"),
            ("removed", json!({"id": "a", "reason": "recalled"}), "recalled", "a"),
            ("state", json!({"ids": ["a"], "set": {"read": true}, "counts": counts}), "read", "a; 2 unread"),
            (
                "state",
                json!({"ids": ["a", "b"], "set": {"read": false, "archived": true}, "counts": counts}),
                "unread, archived",
                "2 notifications; 2 unread",
            ),
            ("state", json!({"up_to": "a", "set": {"seen": true}, "counts": counts}), "seen", "all up to a; 2 unread"),
            ("preferences", json!({"muted": ["facturas", "avisos"]}), "muted", "facturas, avisos"),
            ("preferences", json!({"muted": []}), "muted", "nothing"),
            ("state", json!({"set": {"archived": false}, "counts": counts}), "unarchived", "all; 2 unread"),
        ] {
            assert_eq!(in_words(name, &said), Some((what.into(), rest.into())));
        }
        assert_eq!(in_words("token_expiring", &json!({})), None);
    }
}
