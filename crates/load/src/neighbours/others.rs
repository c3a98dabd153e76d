//! Everybody else: back ends that publish at a fixed rate, and users who open streams at a fixed rate.
//!
//! **Open loop:** each request is started when it is due, whatever has become of those before it, and is timed from then
//! on. One that the server makes wait is charged for its wait.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::{Client, EventStream, request};
use super::phases::{Deed, Failure, Ledger, Phase};
use super::schedule::Schedule;
use super::site::Site;

/// One in so many publish requests comes on a connection of its own: back ends come and go, too.
const FRESH_CONNECTION_EACH: u64 = 10;
/// Users that are published to in turn.
const USERS: u64 = 1000;
/// Size of a message, in bytes.
const MESSAGE_BYTES: usize = 200;
/// Nice value of the measuring threads: they shall measure the server, and not how long they wait for a processor.
const NICE: i32 = -10;

#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) publishes_per_second: f64,
    pub(super) streams_per_second: f64,
    /// How long a request may take before it counts as unanswered.
    pub(super) patience: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Publish,
    Stream,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    wanted: Wanted,
    number: u64,
    at: Instant,
    phase: Phase,
}

/// The threads that measure, until they are told to stop.
pub(super) struct Others {
    stop: Arc<Mutex<bool>>,
    threads: Vec<JoinHandle<()>>,
}

impl Others {
    pub(super) fn start(site: &Arc<Site>, ledger: &Arc<Ledger>, rates: Rates) -> anyhow::Result<Others> {
        let stop = Arc::new(Mutex::new(false));
        let (sender, receiver) = unbounded_channel();
        let clock = {
            let (stop, ledger) = (Arc::clone(&stop), Arc::clone(ledger));
            std::thread::spawn(move || tick(&stop, &ledger, rates, &sender))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (site, ledger) = (Arc::clone(site), Arc::clone(ledger));
        let measuring = std::thread::spawn(move || {
            nice(NICE);
            runtime.block_on(measure(Neighbourhood { site, ledger, idle: Mutex::default(), rates }, receiver));
        });
        Ok(Others { stop, threads: vec![clock, measuring] })
    }

    /// Stops; returns when all that was due has been answered or given up.
    pub(super) fn finish(self) {
        *self.stop.lock().expect("nobody panics with it") = true;
        for thread in self.threads {
            thread.join().expect("a measuring thread does not panic");
        }
    }
}

/// Gives this thread a nice value; without the right to, it keeps its own.
pub(super) fn nice(value: i32) {
    // On Linux this is the thread, not the process.
    let _: Result<(), _> = rustix::process::setpriority_process(None, value);
}

/// Says what is due, when it is: a thread that sleeps is more exact than the runtime's timer, which counts milliseconds.
fn tick(stop: &Mutex<bool>, ledger: &Ledger, rates: Rates, sender: &UnboundedSender<Due>) {
    nice(NICE);
    let begun = Instant::now();
    let mut publishes = Schedule::new(begun, rates.publishes_per_second);
    let mut streams = Schedule::new(begun, rates.streams_per_second);
    while !*stop.lock().expect("nobody panics with it") {
        let first = publishes.peek().1.cmp(&streams.peek().1);
        let (wanted, (number, at)) = match first {
            Ordering::Less | Ordering::Equal => (Wanted::Publish, publishes.take()),
            Ordering::Greater => (Wanted::Stream, streams.take()),
        };
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if sender.send(Due { wanted, number, at, phase: ledger.phase() }).is_err() {
            return;
        }
    }
}

struct Neighbourhood {
    site: Arc<Site>,
    ledger: Arc<Ledger>,
    /// Connections of back ends without a request.
    idle: Mutex<Vec<Client>>,
    rates: Rates,
}

async fn measure(neighbourhood: Neighbourhood, mut receiver: UnboundedReceiver<Due>) {
    let neighbourhood = Arc::new(neighbourhood);
    let mut tasks = JoinSet::new();
    while let Some(due) = receiver.recv().await {
        neighbourhood.ledger.took(due.phase, Deed::Generator, due.at.elapsed());
        let neighbourhood = Arc::clone(&neighbourhood);
        tasks.spawn(async move {
            let outcome = match due.wanted {
                Wanted::Publish => neighbourhood.publish(due).await,
                Wanted::Stream => neighbourhood.stream(due).await,
            };
            if let Err(failure) = outcome {
                neighbourhood.ledger.failed(due.phase, failure);
            }
        });
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
}

impl Neighbourhood {
    /// Times a deed. One that is given up is charged for the time until then.
    async fn timed<T>(
        &self,
        phase: Phase,
        deed: Deed,
        begun: Instant,
        doing: impl Future<Output = anyhow::Result<T>>,
    ) -> Result<T, Failure> {
        let outcome = match timeout(self.rates.patience, doing).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(why)) => return Err(Failure::Refused(format!("{}: {why:#}", deed.name()))),
            Err(_) => Err(Failure::Unanswered),
        };
        self.ledger.took(phase, deed, begun.elapsed());
        outcome
    }

    async fn publish(&self, due: Due) -> Result<(), Failure> {
        let body = json!({ "message": format!("{:0>MESSAGE_BYTES$}", due.number) }).to_string();
        let user = format!("user-{}", due.number % USERS);
        self.timed(due.phase, Deed::Publish, due.at, self.post(due.number, &user, &body)).await
    }

    async fn post(&self, number: u64, user: &str, body: &str) -> anyhow::Result<()> {
        let fresh = number.is_multiple_of(FRESH_CONNECTION_EACH);
        let mut headers = vec![("authorization", self.site.key.as_str())];
        if fresh {
            headers.push(("connection", "close"));
        }
        // The one that was used last: a server closes those that have nothing to say for long.
        let idle = if fresh { None } else { self.idle.lock().expect("nobody panics with it").pop() };
        let mut client = idle.unwrap_or_else(|| Client::new(self.site.server, self.site.other(number)));
        let line = format!("POST /v1/users/{user}/notifications");
        let answer = client.send(&request(&line, &headers, Some(body))).await?;
        let body = String::from_utf8_lossy(&answer.body);
        anyhow::ensure!(answer.status == 201, "answered {}: {body}", answer.status);
        if !fresh {
            self.idle.lock().expect("nobody panics with it").push(client);
        }
        Ok(())
    }

    /// A user opens a stream in a language of their own, and is sent something that is translated into it.
    async fn stream(&self, due: Due) -> Result<(), Failure> {
        let (user, language) = (format!("stranger-{}", due.number), language(due.number));
        let token = self.site.token(&user);
        let headers = [("authorization", token.as_str()), ("accept-language", &language)];
        let open = request("GET /v1/stream", &headers, None);
        let opening = async { Ok(EventStream::open(self.site.server, self.site.other(due.number), &open).await?) };
        let mut stream = self.timed(due.phase, Deed::Stream, due.at, opening).await?;
        let body = json!({ "message": "not translated", "i18n": { &language: { "message": "translated" } } });
        let body = body.to_string();
        let delivery = async {
            self.post(1, &user, &body).await?;
            stream.wait_for(b"translated\"").await?;
            anyhow::ensure!(!stream.has(b"not translated"), "a notification came without its translation");
            Ok(())
        };
        self.timed(due.phase, Deed::Delivery, Instant::now(), delivery).await
    }
}

/// A tag that nobody else has: `q` and four letters.
fn language(number: u64) -> String {
    let letter = |place: u32| char::from(b'a' + u8::try_from(number / 26_u64.pow(place) % 26).unwrap_or(0));
    format!("q{}{}{}{}", letter(3), letter(2), letter(1), letter(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_a_language_of_its_own() {
        assert_eq!((language(0).as_str(), language(27).as_str()), ("qaaaa", "qaabb"));
        let all: std::collections::HashSet<String> = (0..10_000).map(language).collect();
        assert_eq!(all.len(), 10_000);
    }
}
