//! What the engines ask of the store, and the tasks that ask it for them.
//!
//! **Invariant:** each question is answered by one command to the engine that asked, unless its connection is gone, or the
//! store with the server. Users have their turn one after another ([`super::turns`]), however many streams each of them opens.
//!
//! Deliberately absent: a limit for the queues. Each connection asks once at a time, so they are as long as there are
//! connections at most.

use std::sync::{Arc, Weak};

use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::mailbox::{Command, Handle, Read};
use super::turns::Turns;
use super::{ConnectionId, Shared};
use crate::store::{Asked, Opening, Store, StoreError};

/// Reads under way at once for streams that are behind the tail.
const READS_AT_ONCE: usize = 16;
/// Entries in one read: with the largest messages some 3 MiB.
const ENTRIES_PER_READ: usize = 100;
/// Streams for which the store is asked together how they begin, and how often at once. Whoever comes while it is being
/// asked waits for the next time, so a herd of returning clients becomes few questions.
const OPENINGS_TOGETHER: usize = 256;
const OPENINGS_AT_ONCE: usize = 2;

/// Asks what a stream must know to begin.
struct Open {
    from: ConnectionId,
    asked: Asked,
    waits: Weak<()>,
}

/// Held by a connection as long as it waits for an answer.
pub(super) type Waits = Arc<()>;

/// Where the engines ask.
#[derive(Clone)]
pub(super) struct Inquiries {
    openings: UnboundedSender<Open>,
    reads: UnboundedSender<Read>,
}

/// What the engines have asked.
pub(super) struct Inquired {
    openings: UnboundedReceiver<Open>,
    reads: UnboundedReceiver<Read>,
}

pub(super) fn channel() -> (Inquiries, Inquired) {
    let (openings, to_open) = unbounded_channel();
    let (reads, to_read) = unbounded_channel();
    (Inquiries { openings, reads }, Inquired { openings: to_open, reads: to_read })
}

impl Inquiries {
    /// Asks what a stream must know to begin; the answer is [`Command::Opened`].
    /// Nothing is asked any more once [`Waits`] is dropped.
    pub(super) fn open(&self, from: ConnectionId, asked: Asked) -> Waits {
        let waits = Arc::new(());
        // Nobody hears it any more when the server ends.
        let _ = self.openings.send(Open { from, asked, waits: Arc::downgrade(&waits) });
        waits
    }

    /// Asks for what the tail no longer has; the answer is [`Command::Refilled`].
    pub(super) fn read(&self, read: Read) {
        // Nobody hears it any more when the server ends.
        let _ = self.reads.send(read);
    }
}

impl Inquired {
    /// Starts the tasks that ask the store. They end when the engines have.
    pub(super) fn answer(self, store: &Arc<dyn Store>, shared: &Arc<Shared>, engines: &Arc<[Handle]>) -> JoinSet<()> {
        let desk = Desk { store: Arc::clone(store), shared: Arc::clone(shared), engines: Arc::clone(engines) };
        let mut tasks = JoinSet::new();
        tasks.spawn(desk.clone().answer_openings(self.openings));
        tasks.spawn(desk.answer_reads(self.reads));
        tasks
    }
}

/// What the tasks work with.
#[derive(Clone)]
struct Desk {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    engines: Arc<[Handle]>,
}

impl Desk {
    async fn answer_openings(self, mut inquired: UnboundedReceiver<Open>) {
        let mut turns = Turns::default();
        let mut asking = FuturesUnordered::new();
        loop {
            while let Ok(open) = inquired.try_recv() {
                turns.wait(open.asked.user.clone(), open);
            }
            while asking.len() < OPENINGS_AT_ONCE {
                let (users, together) = turns.take(OPENINGS_TOGETHER, |open| open.waits.strong_count() > 0);
                if together.is_empty() {
                    break;
                }
                asking.push(async { (users, self.open(together).await) });
            }
            tokio::select! {
                Some((users, rest)) = asking.next() => {
                    turns.put_back(users, rest.into_iter().map(|open| (open.asked.user.clone(), open)));
                }
                open = inquired.recv() => match open {
                    Some(open) => turns.wait(open.asked.user.clone(), open),
                    // The engines have ended, so nobody hears the answers to what is under way.
                    None => return,
                }
            }
        }
    }

    /// Answers as many as the store answers together, and gives back the rest.
    async fn open(&self, mut together: Vec<Open>) -> Vec<Open> {
        let asked: Vec<Asked> = together.iter().map(|open| open.asked.clone()).collect();
        let openings = match self.store.open(asked.clone()).await {
            // One of them met damage; the others did not.
            Err(StoreError::Damaged(_)) if asked.len() > 1 => {
                let mut openings = Vec::with_capacity(asked.len());
                for one in asked {
                    openings.extend(openings_of(self.store.open(vec![one]).await, 1));
                }
                openings
            }
            answer => openings_of(answer, asked.len()),
        };
        let rest = together.split_off(openings.len().min(together.len()));
        let mut opened: Vec<Vec<_>> = self.engines.iter().map(|_| Vec::new()).collect();
        for (Open { from, .. }, opening) in together.into_iter().zip(openings) {
            opened[from.engine].push((from, opening));
        }
        for (engine, opened) in self.engines.iter().zip(opened).filter(|(_, opened)| !opened.is_empty()) {
            engine.tell(Command::Opened(opened));
        }
        rest
    }

    async fn answer_reads(self, inquired: UnboundedReceiver<Read>) {
        let reads = stream::unfold(inquired, async |mut inquired| Some((inquired.recv().await?, inquired)));
        reads.for_each_concurrent(READS_AT_ONCE, |read| self.read(read)).await;
    }

    async fn read(&self, read: Read) {
        let slice = self.store.read_after(&read.interest, read.after, read.through, ENTRIES_PER_READ).await;
        if let Err(error) = &slice {
            tracing::warn!(%error, "a stream could not be continued; its client is asked to come back");
        }
        let told = slice
            .map(|slice| (slice.entries.iter().filter_map(|entry| self.shared.told(entry)).collect(), slice.through));
        self.engines[read.from.engine].tell(Command::Refilled(Box::new(read), told));
    }
}

/// What the store has said of each of so many streams, unless it could not.
fn openings_of(answer: Result<Vec<Opening>, StoreError>, streams: usize) -> Vec<Option<Opening>> {
    match answer {
        Ok(openings) => openings.into_iter().map(Some).collect(),
        Err(error) => {
            tracing::warn!(%error, streams, "streams could not begin; their clients are asked to come back");
            (0..streams).map(|_| None).collect()
        }
    }
}
