//! All that listen in one phase: threads that open their connections, hear, and are told to stop.
//!
//! **Invariant:** a thread that fails fails the run, with its reason.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::asking::Asking;
use crate::stream::{Counters, Heard, Ledger, Stream, Terms};
use crate::{secure, subscribers};

/// How long anything may stay unfinished before the run has failed.
const PATIENCE: Duration = Duration::from_mins(2);

/// What carries the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Transport {
    /// HTTP/1.1
    Plain,
    /// HTTP/1.1 over TLS
    Tls,
    /// HTTP/2 over TLS, one stream per connection
    H2,
}

/// One listener and its account.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    pub(crate) number: usize,
    pub(crate) stream: Stream,
}

/// What all listeners of a phase have in common.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) server: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) asking: Arc<Asking>,
    /// Connections that may be under way at once, over all threads.
    pub(crate) connecting_max: usize,
    /// Whoever is refused or cut tries again; otherwise that fails the run, or leaves one listener fewer.
    pub(crate) persistent: bool,
}

/// What a thread has to do.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) manner: Manner,
    pub(crate) listeners: Vec<Listener>,
    /// They connect and never read.
    pub(crate) deaf: bool,
}

type Outcome = anyhow::Result<(Heard, Vec<Listener>)>;

/// The threads of a phase.
#[derive(Debug)]
pub(crate) struct Listening {
    threads: Vec<JoinHandle<Outcome>>,
    pub(crate) counters: Arc<Counters>,
}

impl Listening {
    /// Starts to connect all of them, `deaf` more that never read.
    pub(crate) fn start(manner: &Manner, terms: Terms, listeners: Vec<Listener>, deaf: usize) -> Listening {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let manner = Manner { connecting_max: manner.connecting_max.div_ceil(threads), ..manner.clone() };
        let mut shares: Vec<Share> = Vec::new();
        shares.resize_with(threads, || Share { manner: manner.clone(), listeners: Vec::new(), deaf: false });
        let numbers = listeners.len()..listeners.len() + deaf;
        for (at, listener) in listeners.into_iter().enumerate() {
            shares[at % threads].listeners.push(listener);
        }
        if deaf > 0 {
            let listeners = numbers.map(|number| Listener { number, stream: Stream::default() }).collect();
            shares.push(Share { manner, listeners, deaf: true });
        }
        let counters = Arc::new(Counters::default());
        let threads = shares.into_iter().map(|share| {
            let ledger = Ledger { terms, counters: Arc::clone(&counters), heard: Heard::default() };
            std::thread::spawn(move || match share.manner.transport {
                Transport::Plain => subscribers::listen(share, ledger),
                Transport::Tls | Transport::H2 => secure::listen(share, ledger),
            })
        });
        Listening { threads: threads.collect(), counters }
    }

    /// Waits for a condition; fails if a thread has, or if patience has ended.
    pub(crate) fn wait(&mut self, what: &str, mut condition: impl FnMut(&Counters) -> bool) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !condition(&self.counters) {
            if let Some(ended) = self.threads.iter().position(JoinHandle::is_finished) {
                join(self.threads.swap_remove(ended))?;
                bail!("a listening thread has ended before its time");
            }
            ensure!(begun.elapsed() < PATIENCE, "within {} s, not {what}: {:?}", PATIENCE.as_secs(), self.counters);
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Closes all connections; gives what was heard.
    pub(crate) fn finish(self) -> anyhow::Result<(Heard, Vec<Listener>, Arc<Counters>)> {
        self.counters.stop.store(true, Ordering::Relaxed);
        let (mut heard, mut listeners) = (Heard::default(), Vec::new());
        for thread in self.threads {
            let (part, of_thread) = join(thread)?;
            heard.add(&part)?;
            listeners.extend(of_thread);
        }
        listeners.sort_by_key(|listener| listener.number);
        Ok((heard, listeners, self.counters))
    }
}

fn join(thread: JoinHandle<Outcome>) -> Outcome {
    thread.join().expect("a listening thread does not panic").context("a listening thread has failed")
}

/// So many listeners that have heard nothing.
pub(crate) fn fresh(count: usize) -> Vec<Listener> {
    (0..count).map(|number| Listener { number, stream: Stream::default() }).collect()
}
