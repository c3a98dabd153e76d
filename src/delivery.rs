//! Delivery: who listens on this node and how far each has got; everything after a cursor, in order, once.
//!
//! A connection holds a cursor, not a queue. The store tells of what is durable; the engines keep the newest of it,
//! encoded, in their [`tail`], and write to each connection what stands after its cursor. Replay, live delivery, lag
//! and restart are this one loop.
//!
//! **Invariant:** commit → the head advances → wake, and for a reader: register → take the head → read up to it → then
//! what is after it. The rules are in [`subscriber`], without sockets; [`engine`] is the shell round it.
//!
//! Deliberately absent: HTTP, tokens, and any memory that grows with a slow reader.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::AbortHandle;
use jiff::Timestamp;
use rustls::ServerConnection;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::auth::Trust;
use crate::auth::tickets::Held;
use crate::blocking;
use crate::diagnostics;
use crate::event_id::EventIds;
use crate::limits::{Address, Place};
use crate::metrics;
use crate::notification::{Audience, Change, Entry, Notification, Position, UserId};
use crate::sse::{Form, Frame};
use crate::store::{Backlog, Follower, Store};

#[cfg(test)]
mod agreement;
mod beginning;
mod body;
mod connection;
mod counts;
mod engine;
mod forms;
mod inquiries;
mod mailbox;
mod quiet;
mod readers;
mod revisions;
mod sink;
mod socket;
mod subscriber;
mod tail;
mod turns;

pub use body::BodyStream;
use mailbox::{Attachment, Command, Committed, Handle, Told, Transport};
pub use subscriber::Start;
use tail::{Revision, Says};

/// Time in steps of [`TICK`], from the engine's start.
type Tick = u32;
/// One step of an engine's time.
const TICK: Duration = Duration::from_millis(100);

/// A duration in ticks.
fn ticks(duration: Duration) -> Tick {
    Tick::try_from(duration.as_millis() / TICK.as_millis()).unwrap_or(Tick::MAX)
}

/// From now until a time, in ticks; rounded down, since what has expired gives no right to anything.
fn ticks_until(time: Timestamp) -> Tick {
    let left = time.duration_since(Timestamp::now());
    left.try_into().map_or(0, ticks)
}

/// Most entries that the tails are filled with at the start, so that clients that come back after a restart find them
/// there.
const BACKLOG_ENTRIES: usize = 10_000;

/// How streams behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time between two heartbeats of a quiet stream, ±20 %.
    pub heartbeat: Duration,
    /// Time without progress after which a stream is cut, ±20 %: those that stalled together don't come back together.
    pub stall_max: Duration,
    /// Age at which a stream is closed, ±30 %, so that coming back is ordinary.
    pub age_max: Duration,
    /// Most streams of a user at once.
    pub per_user_max: usize,
    /// Range from which each stream gets its `retry:`, in milliseconds.
    pub retry_ms: RangeInclusive<u64>,
    /// Memory of all tails together, in bytes.
    pub tail_bytes: usize,
    /// Where it is counted what becomes of them.
    pub metrics: metrics::Streams,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            heartbeat: Duration::from_secs(15),
            stall_max: Duration::from_secs(30),
            age_max: Duration::from_hours(1),
            per_user_max: 1000,
            retry_ms: 1000..=3000,
            tail_bytes: 24 * 1024 * 1024,
            metrics: metrics::Streams::default(),
        }
    }
}

impl Options {
    /// A `retry:` for one client.
    fn retry_ms(&self) -> u64 {
        fastrand::u64(self.retry_ms.clone())
    }
}

/// A stream that is asked for.
#[derive(Clone, Debug)]
pub struct NewStream {
    /// Whose it is.
    pub user: UserId,
    /// From where.
    pub start: Start,
    /// When the right to it was given; nothing if that can't be revoked.
    pub issued_at: Option<Timestamp>,
    /// When it ends at the latest: what gives the right to it is no longer valid then.
    pub expires_at: Option<Timestamp>,
    /// It ends with that, within a second.
    pub trust: Option<Trust>,
    /// The ticket that it was asked for with, which is used up when it begins.
    pub ticket: Option<Arc<Held>>,
    /// How she is told.
    pub form: Form,
    /// Its place among the streams from its address, if those are counted.
    pub place: Option<Arc<Place<Address>>>,
}

/// An open stream, as its engine sees it.
#[derive(Clone, Debug)]
pub struct Presence {
    /// Its name while it lasts.
    pub id: String,
    /// Since when it is there.
    pub connected_at: Timestamp,
    /// What it is written to: `http1`, `tls` (HTTP/1.1 too), or the `body` of an answer (HTTP/2, long poll).
    pub transport: &'static str,
    /// Where it began.
    pub began: Position,
    /// Everything for it up to here has been taken by the kernel.
    pub cursor: Position,
}

/// A connection on its engine. Its number may be another connection's by the time of an answer; its generation tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ConnectionId {
    engine: usize,
    number: usize,
    generation: u32,
}

/// A connection's number in 32 bits.
fn place(number: usize) -> u32 {
    u32::try_from(number).expect("fewer connections than descriptors")
}

/// What the engines have in common.
struct Shared {
    options: Options,
    ids: EventIds,
    connections: AtomicUsize,
    engines: usize,
}

impl Shared {
    /// A stream more.
    fn come(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.options.metrics.open.inc();
    }

    /// A stream less.
    fn gone(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.options.metrics.open.dec();
    }

    /// What an entry says on the wire; nothing for a change of membership, nor for a revocation.
    fn told(&self, entry: &Entry) -> Option<Told> {
        let event_id = self.ids.of_entry(entry.position);
        let notified = |at, notification: &Notification| Frame::notification(self.ids.of_entry(at), notification);
        let category = |notification: &Notification| notification.content.category().map(Arc::from);
        let (frame, revision) = match &entry.change {
            Change::Notified(notification) => (notified(entry.position, notification), Revision::None),
            Change::Edited(notification) => {
                let says = Says { frame: notified(entry.origin, notification), category: category(notification) };
                (Frame::updated(event_id, notification), Revision::Says(says))
            }
            Change::Removed { id, reason, .. } => (Frame::removed(event_id, *id, *reason), Revision::Gone),
            Change::Marked { marked, .. } => (Frame::state(event_id, marked), Revision::None),
            Change::Muted { categories, .. } => (Frame::preferences(event_id, categories), Revision::None),
            Change::Erased { user } => (Frame::erased(event_id), Revision::Erased(user.clone())),
            Change::Joined { .. } | Change::Left { .. } | Change::Revoked { .. } => return None,
        };
        let (expires_at, category) = match &entry.change {
            Change::Notified(notification) | Change::Edited(notification) => {
                (notification.expires_at, category(notification))
            }
            _ => (None, None),
        };
        Some(Told { position: entry.position, origin: entry.origin, expires_at, category, frame, revision })
    }

    /// Memory of one engine's tail, in bytes.
    fn tail_bytes(&self) -> usize {
        self.options.tail_bytes / self.engines
    }
}

/// The engines of this node.
pub struct Delivery {
    shared: Arc<Shared>,
    engines: Arc<[Handle]>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The tasks that ask the store.
    inquiring: Mutex<JoinSet<()>>,
}

impl Delivery {
    /// Starts one engine per core, and follows the store.
    ///
    /// # Errors
    /// When a thread or its poll can't be made, or the store can't be read.
    pub async fn start(options: Options, store: Arc<dyn Store>) -> io::Result<Delivery> {
        let count = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let shared = Arc::new(Shared {
            options,
            ids: EventIds::new(&store.seal()),
            connections: AtomicUsize::new(0),
            engines: count,
        });
        let (inquiries, inquired) = inquiries::channel();
        let mut engines = Vec::with_capacity(count);
        let mut threads = Vec::with_capacity(count);
        for number in 0..count {
            let (handle, thread) = engine::start(number, Arc::clone(&shared), inquiries.clone())?;
            engines.push(handle);
            threads.push(thread);
        }
        drop(inquiries);
        let engines: Arc<[Handle]> = engines.into();
        let inquiring = inquired.answer(&store, &shared, &engines);
        let backlog = Backlog { entries: BACKLOG_ENTRIES, bytes: shared.options.tail_bytes };
        let dispatch = Dispatch { shared: Arc::clone(&shared), engines: Arc::clone(&engines) };
        store.follow(Arc::new(dispatch), backlog).await.map_err(io::Error::other)?;
        Ok(Delivery { shared, engines, threads: Mutex::new(threads), inquiring: Mutex::new(inquiring) })
    }

    /// Makes and reads the event ids of this log.
    #[must_use]
    pub fn ids(&self) -> &EventIds {
        &self.shared.ids
    }

    /// Takes over the connection of a stream. `head` is the head of its answer; nothing else is owed to the socket.
    pub fn attach(&self, stream: NewStream, head: Bytes, socket: TcpStream) {
        self.take(stream, head, Transport::Plain(socket));
    }

    /// The same for a connection with TLS.
    pub fn attach_tls(&self, stream: NewStream, head: Bytes, socket: TcpStream, tls: ServerConnection) {
        self.take(stream, head, Transport::Tls(socket, Box::new(tls)));
    }

    /// Begins a stream inside a connection that stays with HTTP; gives its body. `abort` ends the task that sends it.
    #[must_use]
    pub fn attach_body(&self, stream: NewStream, abort: AbortHandle) -> BodyStream {
        let engines = Arc::clone(&self.engines);
        let (sink, body) = body::pipe(abort, move |id, notice| engines[id.engine].tell(Command::Body(id, notice)));
        self.take(stream, Bytes::new(), Transport::Body(sink));
        body
    }

    fn take(&self, stream: NewStream, head: Bytes, transport: Transport) {
        self.shared.come();
        let engine = engine_of(&stream.user, self.engines.len());
        self.engines[engine].tell(Command::Attach(Box::new(Attachment { stream, head, transport })));
    }

    /// Streams that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// The open streams of a user.
    pub async fn presence(&self, user: &UserId) -> Vec<Presence> {
        let (answer, answered) = oneshot::channel();
        self.engines[engine_of(user, self.engines.len())].tell(Command::Look(user.clone(), answer));
        // An engine that has ended has none.
        answered.await.unwrap_or_default()
    }

    /// A time after which a client that is sent away shall come back, in milliseconds; another for each.
    #[must_use]
    pub fn retry_ms(&self) -> u64 {
        self.shared.options.retry_ms()
    }

    /// The options in force.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Closes all streams, spread over that time, and returns when the last one is gone.
    pub async fn drain(&self, within: Duration) {
        // A stream ends when the sweep comes to it, so up to a whole sweep late.
        let within = within.saturating_sub(TICK * u32::try_from(engine::TICKS_PER_SWEEP).unwrap_or(u32::MAX));
        for engine in self.engines.iter() {
            engine.tell(Command::Drain(within));
        }
        // Streams end in steps of the sweep; looking as often costs nothing.
        while self.connections() > 0 {
            tokio::time::sleep(TICK).await;
        }
    }

    /// Ends the engines, and with them every stream that is left. The store is no longer used when it returns.
    pub async fn stop(&self) {
        for engine in self.engines.iter() {
            engine.tell(Command::Stop);
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = blocking::run(|| threads.into_iter().all(|thread| thread.join().is_ok()));
        let mut inquiring = std::mem::take(&mut *self.inquiring.lock().unwrap_or_else(PoisonError::into_inner));
        let mut well = joined.await.unwrap_or(false);
        while let Some(ended) = inquiring.join_next().await {
            well &= ended.is_ok();
        }
        if !well {
            tracing::error!("delivery had ended with a panic");
        }
    }
}

/// Starts a thread of an engine. A server with a dead engine would look alive and leave a part of its users without
/// anything. It ends instead: all that was acknowledged is on the disk, and every client comes back by itself.
fn whole_or_nothing(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    struct WholeOrNothing;
    impl Drop for WholeOrNothing {
        fn drop(&mut self) {
            if std::thread::panicking() {
                tracing::error!("an engine has ended with a panic; the server ends, so that it can be started again");
                diagnostics::flush(Duration::from_secs(1));
                std::process::abort();
            }
        }
    }
    std::thread::Builder::new().name(name).spawn(move || {
        let _whole = WholeOrNothing;
        run();
    })
}

/// By how many places a list of that length grows. Doubling would leave up to half of the memory of all connections
/// unused; an eighth costs some more copying.
fn growth(length: usize) -> usize {
    length / 8 + 64
}

/// The engine on which a user's connections live.
fn engine_of(user: &UserId, engines: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    user.hash(&mut hasher);
    usize::try_from(hasher.finish() % engines as u64).unwrap_or(0)
}

/// Hands what the store has committed to the engines.
struct Dispatch {
    shared: Arc<Shared>,
    engines: Arc<[Handle]>,
}

impl Follower for Dispatch {
    fn committed(&self, before: Position, entries: &[Entry], through: Position) {
        let mut committed = Committed {
            before,
            head: through,
            at: Instant::now(),
            told: Vec::with_capacity(entries.len()),
            interests: Vec::new(),
            revoked: Vec::new(),
        };
        let mut concerned = Concerned::none(self.engines.len());
        for entry in entries {
            if let Some(told) = self.shared.told(entry) {
                let audiences = entry.change.audiences();
                for audience in &audiences {
                    concerned.by(audience);
                }
                committed.told.push((audiences, told));
            }
            match &entry.change {
                Change::Joined { .. } | Change::Left { .. } | Change::Muted { .. } | Change::Erased { .. } => {
                    committed.interests.push((entry.position, entry.change.clone()));
                }
                Change::Revoked { user } => {
                    concerned.by(&Audience::User(user.clone()));
                    committed.revoked.push(user.clone());
                }
                _ => {}
            }
        }
        let committed = Arc::new(committed);
        for (engine, concerned) in self.engines.iter().zip(concerned.engines) {
            let command = Command::Committed(Arc::clone(&committed));
            if concerned { engine.tell(command) } else { engine.tell_unhurried(command) }
        }
    }

    fn trimmed(&self, through: Position) {
        for engine in self.engines.iter() {
            engine.tell_unhurried(Command::Trimmed(through));
        }
    }
}

/// The engines that have somebody to send something to. The others need not hear at once that the log goes on.
struct Concerned {
    engines: Vec<bool>,
}

impl Concerned {
    fn none(engines: usize) -> Concerned {
        Concerned { engines: vec![false; engines] }
    }

    fn by(&mut self, audience: &Audience) {
        match audience {
            Audience::User(user) => {
                let engine = engine_of(user, self.engines.len());
                self.engines[engine] = true;
            }
            Audience::Topic(_) | Audience::Everyone => self.engines.fill(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::TcpListener;

    use futures_util::StreamExt as _;
    use futures_util::stream::Abortable;
    use tokio::io::{AsyncReadExt as _, Interest as Readiness};
    use uuid::Uuid;

    use super::*;
    use crate::auth::tickets::{Admission, Tickets};
    use crate::content::{Content, Fields};
    use crate::metrics::Metrics;
    use crate::notification::NotificationId;
    use crate::sse::chunk::tests::unchunked;
    use crate::sse::{Framing, Wire};
    use crate::store::sqlite::{self, SqliteStore};
    use crate::store::{Append, Command};

    #[test]
    fn the_engines_that_have_somebody_to_send_to_are_woken() {
        let concerned = |audiences: &[&str]| {
            let mut concerned = Concerned::none(4);
            for audience in audiences {
                concerned.by(&audience.parse().expect("valid"));
            }
            concerned.engines
        };
        assert_eq!(concerned(&[]), [false; 4]);
        let hers = engine_of(&"1".parse().expect("valid"), 4);
        assert_eq!(concerned(&["user:1"]), [0, 1, 2, 3].map(|engine| engine == hers));
        assert_eq!(concerned(&["topic:t"]), [true; 4]);
        assert_eq!(concerned(&["user:1", "everyone"]), [true; 4]);
    }

    fn notification(message: &str) -> Notification {
        let fields = Fields { message: message.to_owned(), ..Fields::default() };
        Notification {
            id: NotificationId(Uuid::now_v7()),
            timestamp: Timestamp::now(),
            audiences: vec![Audience::Everyone],
            content: Content::parse(&fields).expect("valid"),
            expires_at: None,
            replaces: None,
        }
    }

    /// Delivery that has little patience, with more to send than any buffer takes.
    async fn impatient(folder: &std::path::Path) -> Delivery {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder, sqlite::Options::default()).expect("opened"));
        let long = "x".repeat(16_000);
        let commands = (0..1000).map(|_| Command::Publish(Arc::new(notification(&long)))).collect();
        store.append(Append { at: Timestamp::now(), commands, once: None }).await.expect("stored");
        let options = Options { stall_max: Duration::from_secs(1), ..Options::default() };
        Delivery::start(options, store).await.expect("started")
    }

    fn everything() -> NewStream {
        let user = "1".parse().expect("valid");
        NewStream {
            user,
            start: Start::Earliest,
            issued_at: None,
            expires_at: None,
            trust: None,
            ticket: None,
            form: Form::default(),
            place: None,
        }
    }

    async fn within<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), future).await.expect("it did not happen in time")
    }

    /// An end in good order would stand behind what the peer does not read, and be heard by nobody.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_socket_that_takes_nothing_is_reset() {
        let folder = tempfile::tempdir().expect("a folder");
        let delivery = impatient(folder.path()).await;
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let peer = tokio::net::TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        let (socket, _) = listener.accept().expect("accepted");
        socket.set_nonblocking(true).expect("set");
        delivery.attach(everything(), Bytes::new(), socket);
        within(peer.ready(Readiness::ERROR)).await.expect("reset");
        delivery.stop().await;
    }

    /// Mutant: cut.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_stream_that_is_left_when_the_engines_stop_ends_in_good_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(folder.path(), sqlite::Options::default()).expect("opened"));
        let delivery = Delivery::start(Options::default(), store).await.expect("started");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let mut peer = tokio::net::TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        let (socket, _) = listener.accept().expect("accepted");
        socket.set_nonblocking(true).expect("set");
        let form = Form { framing: Framing::Chunked, ..Form::default() };
        delivery.attach(NewStream { form, ..everything() }, Bytes::new(), socket);
        let mut got = Vec::new();
        while got.is_empty() {
            within(peer.read_buf(&mut got)).await.expect("greeted");
        }
        delivery.stop().await;
        within(peer.read_to_end(&mut got)).await.expect("ended");
        let (chunks, whole) = unchunked(&got);
        assert_eq!((chunks.len(), whole), (1, true));
    }

    /// What has been revoked between the look at a credential and the beginning of its stream.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_right_that_was_revoked_meanwhile_opens_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(folder.path(), sqlite::Options::default()).expect("opened"));
        let at = |second| Timestamp::from_second(second).expect("in range");
        let user: UserId = "1".parse().expect("valid");
        store.one(at(100), Command::Revoke { user: user.clone(), through: at(100) }).await.expect("stored");
        let delivery = Delivery::start(Options::default(), store).await.expect("started");
        let first = async |issued_at: Option<i64>| {
            let (_body, said) = begun(&delivery, NewStream { issued_at: issued_at.map(at), ..everything() }).await;
            said
        };
        assert_eq!(first(Some(99)).await, (true, false));
        assert_eq!(first(Some(100)).await, (true, false));
        assert_eq!(first(Some(101)).await, (false, true));
        assert_eq!(first(None).await, (false, true), "nobody has been given it");
        delivery.stop().await;
    }

    /// A stream, and whether it first said `retry`, and `hello`.
    async fn begun(delivery: &Delivery, stream: NewStream) -> (BodyStream, (bool, bool)) {
        let form = Form { wire: Wire::Lines, ..Form::default() };
        let (abort, _) = AbortHandle::new_pair();
        let mut body = delivery.attach_body(NewStream { form, ..stream }, abort);
        let first = within(body.next()).await.expect("something is said");
        let said = String::from_utf8(first.to_vec()).expect("text");
        (body, (said.contains("\"retry\""), said.contains("\"hello\"")))
    }

    /// Mutants: used up by a stream that does not begin; by none.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_ticket_is_used_up_by_a_stream_that_begins_and_by_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pregon.db");
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(folder.path(), sqlite::Options::default()).expect("opened"));
        let options = Options { per_user_max: 1, ..Options::default() };
        let delivery = Delivery::start(options, store).await.expect("started");
        let (tickets, now) = (Tickets::new(1), Timestamp::now());
        let admission = Admission { user: "1".parse().expect("valid"), issued_at: now, expires_at: None, trust: None };
        let (ticket, _) = tickets.issue(admission, now);
        let shown = || {
            let (_, held) = tickets.take(&ticket, now).expect("it can be used");
            NewStream { ticket: Some(Arc::new(held)), ..everything() }
        };
        let (first, said) = begun(&delivery, everything()).await;
        assert_eq!(said, (false, true));
        assert_eq!(begun(&delivery, shown()).await.1, (true, false), "one stream too many");
        drop(first);
        within(async { while delivery.connections() > 0 {} }).await;
        // The store can't say how a stream begins.
        let renamed = |to: &str, from: &str| {
            let connection = rusqlite::Connection::open(&file).expect("opened");
            connection.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}")).expect("renamed");
        };
        renamed("absent", "log");
        assert_eq!(begun(&delivery, shown()).await.1, (true, false), "the store can't be read");
        renamed("log", "absent");
        assert_eq!(begun(&delivery, shown()).await.1, (false, true));
        assert_eq!(tickets.look(&ticket, now), None, "used up");
        delivery.stop().await;
    }

    /// On a quiet server an engine sleeps until a stream opens; what was published meanwhile has kept nobody waiting.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_delay_is_counted_only_where_a_stream_waited() {
        let folder = tempfile::tempdir().expect("a folder");
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(folder.path(), sqlite::Options::default()).expect("opened"));
        let metrics = Metrics::default();
        let options = Options { metrics: metrics.streams.clone(), ..Options::default() };
        let delivery = Delivery::start(options, Arc::clone(&store)).await.expect("started");
        let publish = async |message: &str| {
            let published = Command::Publish(Arc::new(notification(message)));
            store.one(Timestamp::now(), published).await.expect("stored");
        };
        let count = || {
            let text = metrics.text();
            let count = text.lines().find_map(|line| line.strip_prefix("pregon_delivery_seconds_count "));
            count.expect("a histogram").parse::<u64>().expect("a number")
        };
        publish("before").await;
        let (abort, _) = AbortHandle::new_pair();
        let mut body = delivery.attach_body(NewStream { start: Start::Now, ..everything() }, abort);
        let mut until = async |wanted: &str| loop {
            let piece = within(body.next()).await.expect("the stream goes on");
            if String::from_utf8(piece.to_vec()).expect("text").contains(wanted) {
                return;
            }
        };
        until("hello").await;
        publish("after").await;
        until("after").await;
        delivery.stop().await;
        assert_eq!(count(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_that_takes_nothing_is_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let delivery = impatient(folder.path()).await;
        let (abort, registration) = AbortHandle::new_pair();
        let _body = delivery.attach_body(everything(), abort);
        within(Abortable::new(pending::<()>(), registration)).await.expect_err("aborted");
        delivery.stop().await;
    }
}
