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
use super::turns::Lanes;
use super::{ConnectionId, Shared};
use crate::store::{Asked, Effort, Opening, Store, StoreError};

/// Reads under way at once for streams that are behind the tail.
const READS_AT_ONCE: usize = 16;
/// Entries in one read: with the largest messages some 3 MiB.
const ENTRIES_PER_READ: usize = 100;
/// Most streams in one question to the store about how they begin. Streams that are opened while the store answers wait, and
/// are asked about together in the next question. So when many clients come back at once, the store is asked few questions.
const OPENINGS_TOGETHER: usize = 256;

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
        let mut lanes = Lanes::default();
        let desk = &self;
        let mut asking = FuturesUnordered::new();
        loop {
            while let Ok(open) = inquired.try_recv() {
                lanes.wait(open.asked.user.clone(), open);
            }
            while let Some((effort, users, together)) =
                lanes.take(OPENINGS_TOGETHER, |open| open.waits.strong_count() > 0)
            {
                asking.push(async move { (effort, users, desk.open(together, effort).await) });
            }
            tokio::select! {
                Some((effort, users, (rest, harder))) = asking.next() => {
                    let theirs = |open: Open| (open.asked.user.clone(), open);
                    let rest = rest.into_iter().map(theirs).collect();
                    lanes.answered(effort, users, rest, harder.into_iter().map(theirs).collect());
                }
                open = inquired.recv() => match open {
                    Some(open) => lanes.wait(open.asked.user.clone(), open),
                    // The engines have ended, so nobody hears the answers to what is under way.
                    None => return,
                }
            }
        }
    }

    /// Answers as many as the store answers together; gives back the rest, and those that take more effort.
    async fn open(&self, together: Vec<Open>, effort: Effort) -> (Vec<Open>, Vec<Open>) {
        let asked: Vec<Asked> = together.iter().map(|open| open.asked.clone()).collect();
        let openings = match self.store.open_within(asked.clone(), effort).await {
            // One of them met damage; the others did not.
            Err(StoreError::Damaged(_)) if asked.len() > 1 => {
                let mut openings = Vec::with_capacity(asked.len());
                for one in asked {
                    openings.extend(openings_of(self.store.open_within(vec![one], effort).await, 1));
                }
                openings
            }
            answer => openings_of(answer, asked.len()),
        };
        let (mut rest, mut harder) = (Vec::new(), Vec::new());
        let mut openings = openings.into_iter();
        let mut opened: Vec<Vec<_>> = self.engines.iter().map(|_| Vec::new()).collect();
        for open in together {
            match openings.next() {
                Some(Ok(Some(opening))) => opened[open.from.engine].push((open.from, Some(opening))),
                Some(Ok(None)) => harder.push(open),
                Some(Err(Unopened)) => opened[open.from.engine].push((open.from, None)),
                None => rest.push(open),
            }
        }
        for (engine, opened) in self.engines.iter().zip(opened).filter(|(_, opened)| !opened.is_empty()) {
            engine.tell(Command::Opened(opened));
        }
        (rest, harder)
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

/// That the store could not say how a stream begins.
struct Unopened;

/// What the store has said of each of so many streams, unless it could not.
fn openings_of(
    answer: Result<Vec<Option<Opening>>, StoreError>,
    streams: usize,
) -> Vec<Result<Option<Opening>, Unopened>> {
    match answer {
        Ok(openings) => openings.into_iter().map(Ok).collect(),
        Err(error) => {
            tracing::warn!(%error, streams, "streams could not begin; their clients are asked to come back");
            (0..streams).map(|_| Err(Unopened)).collect()
        }
    }
}
