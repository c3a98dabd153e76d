//! An abuse: how one client misbehaves, and the thread that makes it do so.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::client::Client;
use super::others::nice;
use super::schedule::Pace;
use super::site::Site;

/// Nice value of the abuser's thread. It would be on another machine: it takes what the server and the measuring threads
/// leave of the processors.
const NICE: i32 = 10;
/// Wait of a worker after an error of its connection.
const AFTER_ERROR: Duration = Duration::from_millis(10);

/// The number of a request and of the worker that sends it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) worker: usize,
    pub(super) round: usize,
}

/// Misbehaviour of one client: one user with one token, or one server key, from one address.
pub(super) trait Abuse: Send {
    /// Fills the store or makes keys beforehand. Not measured.
    fn prepare<'a>(&'a mut self, _: &'a Site) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// Requests or connections at once.
    fn workers(&self) -> usize;

    /// Most requests or connections that are begun in a second, of all workers together.
    fn per_second(&self) -> f64 {
        1000.0
    }

    /// One request or connection, which a worker repeats without end; gives the status of the answer. `client` is the
    /// worker's own connection.
    fn once<'a>(
        &'a self,
        site: &'a Site,
        client: &'a mut Client,
        turn: Turn,
    ) -> LocalBoxFuture<'a, anyhow::Result<u16>>;
}

/// The requests of an abuse, counted by their outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) begun: u64,
    done: u64,
    /// Answered with a 4xx or 5xx status.
    refused: u64,
    /// Connections that failed or were closed without an answer.
    broken: u64,
}

impl Tally {
    fn count(&mut self, outcome: &anyhow::Result<u16>) {
        match outcome {
            Ok(status) if *status < 400 => self.done += 1,
            Ok(_) => self.refused += 1,
            Err(_) => self.broken += 1,
        }
    }

    pub(super) fn figures(self) -> Value {
        json!({ "begun": self.begun, "done": self.done, "refused": self.refused, "broken": self.broken })
    }
}

/// An abuser, ready to begin.
pub(super) struct Abuser {
    go: oneshot::Sender<()>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<Tally>>,
}

impl Abuser {
    /// Prepares the abuse; returns when it may begin.
    pub(super) fn prepare(mut abuse: Box<dyn Abuse>, site: &Arc<Site>) -> anyhow::Result<Abuser> {
        let (go, going) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let (ready, prepared) = mpsc::channel();
        let site = Arc::clone(site);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || {
            nice(NICE);
            runtime.block_on(async move {
                abuse.prepare(&site).await?;
                ready.send(())?;
                // An error means that the run has failed, and nothing is to be done.
                if going.await.is_ok() { Ok(act(abuse.as_ref(), &site, stopped).await) } else { Ok(Tally::default()) }
            })
        });
        if prepared.recv().is_err() {
            let failed = thread.join().expect("the abuser's thread does not panic");
            failed.context("the abuse could not be prepared")?;
            anyhow::bail!("the abuser ended early");
        }
        Ok(Abuser { go, stop, thread })
    }

    pub(super) fn begin(self) -> Abusing {
        // The thread waits for it; if it has failed, that is told at the end.
        let _: Result<(), ()> = self.go.send(());
        Abusing { stop: self.stop, thread: self.thread }
    }
}

/// An abuse that goes on.
pub(super) struct Abusing {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<Tally>>,
}

impl Abusing {
    /// Closes all of its connections.
    pub(super) fn stop(self) -> anyhow::Result<Tally> {
        let _: Result<(), ()> = self.stop.send(());
        self.thread.join().expect("the abuser's thread does not panic")
    }
}

/// All workers, until it is to stop.
async fn act(abuse: &dyn Abuse, site: &Site, stopped: oneshot::Receiver<()>) -> Tally {
    let pace = Pace::new(abuse.per_second());
    let tally = RefCell::new(Tally::default());
    let work = async |worker: usize| {
        let mut client = Client::new(site.server, site.abuser());
        for round in 0.. {
            pace.turn().await;
            tally.borrow_mut().begun += 1;
            let outcome = abuse.once(site, &mut client, Turn { worker, round }).await;
            tally.borrow_mut().count(&outcome);
            if outcome.is_err() {
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    };
    {
        let mut workers: FuturesUnordered<_> = (0..abuse.workers()).map(work).collect();
        tokio::select! {
            _ = stopped => {}
            () = async { while workers.next().await.is_some() {} } => {}
        }
    }
    tally.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_by_their_kind() {
        let mut tally = Tally { begun: 5, ..Tally::default() };
        for outcome in [Ok(200), Ok(201), Ok(429), Ok(503), Err(anyhow::anyhow!("closed"))] {
            tally.count(&outcome);
        }
        assert_eq!(tally.figures(), json!({ "begun": 5, "done": 2, "refused": 2, "broken": 1 }));
    }
}
