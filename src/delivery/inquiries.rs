//! What the engines ask of the store, and the tasks that ask it for them.
//!
//! **Invariant:** each question is answered by one command to the engine that asked, unless the store is gone with the
//! server.
//!
//! Deliberately absent: a limit for the queues. Each connection asks once at a time, so they are as long as there are
//! connections at most.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::mailbox::{Command, Handle};
use super::{ConnectionId, Shared};
use crate::notification::{Interest, Position};
use crate::store::{Asked, Store};

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
}

/// Asks for what the tail no longer has.
struct Read {
    from: ConnectionId,
    interest: Interest,
    after: Position,
    through: Position,
}

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
    pub(super) fn open(&self, from: ConnectionId, asked: Asked) {
        // Nobody hears it any more when the server ends.
        let _ = self.openings.send(Open { from, asked });
    }

    /// Asks for what the tail no longer has; the answer is [`Command::Refilled`].
    pub(super) fn read(&self, from: ConnectionId, interest: Interest, after: Position, through: Position) {
        // Nobody hears it any more when the server ends.
        let _ = self.reads.send(Read { from, interest, after, through });
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
    async fn answer_openings(self, inquired: UnboundedReceiver<Open>) {
        let together = stream::unfold(inquired, async |mut inquired| {
            let mut together = Vec::new();
            (inquired.recv_many(&mut together, OPENINGS_TOGETHER).await > 0).then_some((together, inquired))
        });
        together.for_each_concurrent(OPENINGS_AT_ONCE, |together| self.open(together)).await;
    }

    async fn open(&self, together: Vec<Open>) {
        let (from, asked): (Vec<_>, Vec<_>) = together.into_iter().map(|open| (open.from, open.asked)).unzip();
        let openings: Vec<Option<_>> = match self.store.open(asked).await {
            Ok(openings) => openings.into_iter().map(Some).collect(),
            Err(error) => {
                tracing::warn!(%error, streams = from.len(), "streams could not begin; their clients are asked to come back");
                from.iter().map(|_| None).collect()
            }
        };
        let mut opened: Vec<Vec<_>> = self.engines.iter().map(|_| Vec::new()).collect();
        for (from, opening) in from.into_iter().zip(openings) {
            opened[from.engine].push((from, opening));
        }
        for (engine, opened) in self.engines.iter().zip(opened).filter(|(_, opened)| !opened.is_empty()) {
            engine.tell(Command::Opened(opened));
        }
    }

    async fn answer_reads(self, inquired: UnboundedReceiver<Read>) {
        let reads = stream::unfold(inquired, async |mut inquired| Some((inquired.recv().await?, inquired)));
        reads.for_each_concurrent(READS_AT_ONCE, |read| self.read(read)).await;
    }

    async fn read(&self, Read { from, interest, after, through }: Read) {
        let slice = self.store.read_after(&interest, after, through, ENTRIES_PER_READ).await;
        if let Err(error) = &slice {
            tracing::warn!(%error, "a stream could not be continued; its client is asked to come back");
        }
        let told = slice
            .map(|slice| (slice.entries.iter().filter_map(|entry| self.shared.told(entry)).collect(), slice.through));
        self.engines[from.engine].tell(Command::Refilled(from, told));
    }
}
