//! The stream as a long poll, for clients that can read only whole answers.
//!
//! A poll is a short stream of JSON lines: it waits for the first event, takes what comes with it, and gives it together
//! with the cursor for the next poll. So it obeys the same rules, and nothing is lost or doubled between two polls.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use futures_util::stream::AbortHandle;
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::App;
use super::draft::duration;
use super::error::Problem;
use super::identity::Asker;
use super::request::{encoded, json, parameter};
use super::shapes;
use crate::delivery::{BodyStream, Delivery, NewStream};
use crate::limits::{AtOnce, Place};
use crate::store::BYTES_PER_READ;

/// Events about the stream that carries them: none is what a poll waits for.
const ABOUT_STREAMS: [&str; 4] = ["hello", "heartbeat", "retry", "token_expiring"];
/// How long a poll waits if it does not say, and at most: proxies cut off at 30 to 60 s.
const WAIT_DEFAULT: Duration = Duration::from_secs(25);
pub(super) const WAIT_MAX: Duration = Duration::from_secs(55);
/// Most events in one answer.
pub(super) const EVENTS_MAX: usize = 100;

/// A user has a sixteenth of the room for polls; a server key's owner, or an address without a credential, a fourth, since
/// many people may be behind it.
const SHARES: [usize; 2] = [16, 4];
/// When a client that polls more than its share shall come back: its other polls are answered by then, or soon.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Room for long polls: each keeps a connection from speaking HTTP while it waits.
pub struct Polls {
    room: Semaphore,
    users: AtOnce<Asker>,
    others: AtOnce<Asker>,
}

impl Polls {
    /// Half of the requests at once may be polls, so that there is always room for publishers.
    #[must_use]
    pub fn new(requests: usize) -> Polls {
        let room = requests.div_ceil(2);
        let [users, others] = SHARES.map(|share| AtOnce::new((room / share).max(1)));
        Polls { room: Semaphore::new(room), users, others }
    }

    /// A place within the share of whoever asks.
    ///
    /// # Errors
    /// When that share is taken: 429, since it says nothing about others, and a poll is no `EventSource`.
    fn enter(&self, asker: Asker) -> Result<Place<Asker>, Problem> {
        let (share, whose) = match asker {
            Asker::User(_) => (&self.users, "a user"),
            Asker::Key(_) => (&self.others, "a server key"),
            Asker::Address(_) => (&self.others, "an address"),
        };
        let allowed = || format!("{whose} may have {} polls at once", share.most());
        share.enter(asker).ok_or_else(|| Problem::rate_limited(allowed(), RETRY_AFTER))
    }
}

/// The answer to a poll; without a stream, that its client shall come back.
pub(super) async fn answer(
    app: &App,
    stream: Option<(Asker, NewStream)>,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Response, Problem> {
    let wait = match parameter(uri, &["wait"]) {
        None => WAIT_DEFAULT,
        Some(text) => duration(&text).map_err(|detail| Problem::query("wait", detail))?.min(WAIT_MAX),
    };
    let given = headers.get("last-event-id").and_then(|id| id.to_str().ok().map(str::to_owned));
    let mut polled = Polled {
        cursor: given.or_else(|| parameter(uri, &["last_event_id", "lastEventId", "lastEventID"])),
        events: Vec::new(),
        bytes: 0,
        retry_ms: None,
        partial: Vec::new(),
    };
    let (_place, stream) = match stream {
        Some((asker, stream)) => (Some(app.polls.enter(asker)?), Some(stream)),
        None => (None, None),
    };
    match (stream, app.polls.room.try_acquire()) {
        (Some(stream), Ok(_room)) => {
            // Nothing is sent by HTTP meanwhile, so there is nothing to abort.
            let (abort, _) = AbortHandle::new_pair();
            polled.wait(app.delivery.attach_body(stream, abort), &app.delivery, wait).await;
        }
        (Some(_), Err(_)) => {
            app.metrics.streams.refuse("polls");
            polled.retry_ms = Some(app.delivery.retry_ms());
        }
        (None, _) => polled.retry_ms = Some(app.delivery.retry_ms()),
    }
    let answer = shapes::Polled { data: polled.events, cursor: polled.cursor, retry_ms: polled.retry_ms };
    let mut response = json(StatusCode::OK, encoded(&answer));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What a poll has got so far.
struct Polled {
    cursor: Option<String>,
    /// As the stream's lines say them.
    events: Vec<Box<RawValue>>,
    /// Their bytes.
    bytes: usize,
    /// After how many milliseconds to come back, if the stream could not begin.
    retry_ms: Option<u64>,
    /// The beginning of a line.
    partial: Vec<u8>,
}

impl Polled {
    /// Takes events until there is one and no more come at once, or the time is over, or the stream.
    async fn wait(&mut self, mut parts: BodyStream, delivery: &Delivery, wait: Duration) {
        let begun = Instant::now();
        loop {
            let next = if self.events.is_empty() {
                // However short the wait: before the store has answered, nobody knows whether there is nothing.
                if timeout_at(begun + WAIT_MAX, parts.settled()).await.is_err() {
                    self.retry_ms = Some(delivery.retry_ms());
                    return;
                }
                timeout_at(begun + wait, parts.next()).await.ok().flatten()
            } else {
                parts.next().now_or_never().flatten()
            };
            let Some(part) = next else { break };
            self.partial.extend_from_slice(&part);
            let partial = std::mem::take(&mut self.partial);
            let mut lines = partial.split_inclusive(|byte| *byte == b'\n').peekable();
            while let Some(line) = lines.next_if(|line| line.ends_with(b"\n")) {
                self.take(line);
                if self.events.len() == EVENTS_MAX || self.bytes >= BYTES_PER_READ {
                    return;
                }
            }
            self.partial = lines.next().unwrap_or_default().to_vec();
        }
        // Where nothing came for long, the cursor would else fall out of the log.
        if let Some(position) = parts.caught_up().filter(|_| self.events.is_empty()) {
            self.cursor = Some(delivery.ids().fresh(position).to_string());
        }
    }

    fn take(&mut self, line: &[u8]) {
        let Ok(event) = serde_json::from_slice::<&RawValue>(line) else { return };
        let Ok(about) = serde_json::from_str::<About>(event.get()) else { return };
        if about.event == "retry" {
            self.retry_ms = about.retry_ms;
        }
        if let Some(id) = about.id {
            self.cursor = Some(id.into_owned());
        }
        if !ABOUT_STREAMS.contains(&&*about.event) {
            self.bytes += event.get().len();
            self.events.push(event.to_owned());
        }
    }
}

/// What a poll has to know of an event.
#[derive(Deserialize)]
struct About<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    retry_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: no shares; one share for all.
    #[test]
    fn each_has_a_share_of_the_polls_and_nobody_elses() {
        let user = |name: &str| Asker::User(name.parse().expect("valid"));
        let key = || Asker::Key("shop".to_owned());
        for (requests, of_a_user, of_a_key) in [(256, 8, 32), (4096, 128, 512), (32, 1, 4), (8, 1, 1)] {
            let polls = Polls::new(requests);
            let take = |asker: Asker| std::iter::from_fn(|| polls.enter(asker.clone()).ok()).collect::<Vec<_>>();
            let mut taken = take(user("1"));
            assert_eq!(taken.len(), of_a_user, "of {requests}");
            let refused = polls.enter(user("1")).expect_err("all are taken");
            assert!(refused.is_temporary());
            assert_eq!((take(user("2")).len(), take(key()).len()), (of_a_user, of_a_key), "of {requests}");
            taken.pop();
            assert!(polls.enter(user("1")).is_ok(), "one has ended");
        }
    }
}
