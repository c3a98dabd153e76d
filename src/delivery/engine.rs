//! The engine: a thread that owns the sockets of its users and moves them through the log.
//!
//! One thread per core, sharing nothing: a user's connections live on one engine, a notice to everyone goes to all.
//! On the way out there is no lock; what comes in comes as a [`Command`]. All decisions are the [`Subscriber`]'s; this
//! file only carries them out.
//!
//! **Invariant:** commands are taken before anything is written, so under load all that has been published by then
//! leaves in one system call per connection.
//!
//! Deliberately absent: timers per connection (one sweep looks at a part of them every [`TICK`]), and any wait but
//! the one on the poll.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mio::{Events, Poll, Token, Waker};
use slab::Slab;

use super::beginning::{Beginning, pace};
use super::body::Notice;
use super::connection::Connection;
use super::counts::Counts;
use super::forms::Forms;
use super::inquiries::Inquiries;
use super::mailbox::{Attachment, Command, Committed, Handle, Read, Told};
use super::quiet::Quiet;
use super::readers::Readers;
use super::revisions::Revisions;
use super::sink::Sink;
use super::subscriber::{Input, Output, Reason, Start, Subscriber, View};
use super::tail::{Batch, Placed, Tail, TailEntry};
use super::{
    ConnectionId, NewStream, Presence, Shared, TICK, Tick, growth, place, ticks, ticks_until, whole_or_nothing,
};
use crate::notification::{Audience, Position, UserId};
use crate::store::{Asked, Opening, StoreError};

const WAKER: Token = Token(usize::MAX);
const EVENTS_PER_POLL: usize = 1024;
/// Batches written to one connection before the others have their turn.
const BATCHES_PER_TURN: usize = 4;
/// Connections written to between two looks for commands.
const WRITES_BETWEEN_COMMANDS: usize = 256;
/// The sweep looks at every connection once in so many ticks.
pub(super) const TICKS_PER_SWEEP: usize = 10;
struct Engine {
    number: usize,
    shared: Arc<Shared>,
    poll: Poll,
    commands: Receiver<Command>,
    inquiries: Inquiries,
    started: Instant,
    now: Tick,
    sweep_part: usize,
    tail: Tail,
    readers: Readers,
    forms: Forms,
    revisions: Revisions,
    connections: Slab<Connection>,
    generation: u32,
    due: Vec<usize>,
    batch: Batch,
    drained_by: Option<Tick>,
    counts: Counts,
}

/// Starts an engine.
pub(super) fn start(
    number: usize,
    shared: Arc<Shared>,
    inquiries: Inquiries,
) -> io::Result<(Handle, std::thread::JoinHandle<()>)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKER)?;
    let (sender, commands) = channel();
    let tail = Tail::new(Position::START, shared.tail_bytes());
    let counts = Counts::new(shared.options.metrics.clone(), TICKS_PER_SWEEP);
    let mut engine = Engine {
        number,
        shared,
        poll,
        commands,
        inquiries,
        started: Instant::now(),
        now: 0,
        sweep_part: 0,
        tail,
        readers: Readers::default(),
        forms: Forms::default(),
        revisions: Revisions::default(),
        connections: Slab::new(),
        generation: 0,
        due: Vec::new(),
        batch: Batch::default(),
        drained_by: None,
        counts,
    };
    let thread = whole_or_nothing(format!("engine-{number}"), move || engine.run())?;
    Ok((Handle::new(sender, waker), thread))
}

impl Engine {
    fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        while self.turn(&mut events).is_continue() {}
        self.drive_each(self.numbers(), || Input::EndNow);
    }

    fn turn(&mut self, events: &mut Events) -> ControlFlow<()> {
        let wait = match (self.due.is_empty(), self.connections.is_empty()) {
            (false, _) => Some(Duration::ZERO),
            (true, false) => Some(TICK),
            (true, true) => None,
        };
        if let Err(error) = self.poll.poll(events, wait)
            && error.kind() != io::ErrorKind::Interrupted
        {
            panic!("an engine can't wait for its sockets: {error}");
        }
        let tick = Tick::try_from(self.started.elapsed().as_millis() / TICK.as_millis()).unwrap_or(Tick::MAX);
        let ticked = tick != self.now;
        self.now = tick;
        self.take_commands()?;
        for event in &*events {
            if event.token() != WAKER {
                self.ready(event.token().0, event.is_readable(), event.is_writable());
            }
        }
        self.write_due()?;
        self.counts.turned(self.due.is_empty());
        if ticked {
            self.sweep();
        }
        ControlFlow::Continue(())
    }

    fn take_commands(&mut self) -> ControlFlow<()> {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
                Ok(command) => self.take(command),
                Err(TryRecvError::Empty) => return ControlFlow::Continue(()),
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Attach(attachment) => self.attach(*attachment),
            Command::Committed(committed) => self.committed(&committed),
            Command::Opened(opened) => {
                for (from, opening) in opened {
                    if let Some(number) = self.present(from) {
                        self.opened(number, opening);
                    }
                }
            }
            Command::Trimmed(through) => self.tail.trim(through),
            Command::Refilled(read, slice) => self.refilled(&read, slice),
            Command::Body(connection, notice) => {
                if let Some(number) = self.present(connection) {
                    let input = match notice {
                        Notice::Room => Input::Writable,
                        Notice::Gone => Input::PeerClosed,
                    };
                    self.drive(number, input);
                }
            }
            Command::Look(user, answer) => {
                // Whoever asked may have gone away.
                let _ = answer.send(self.presence(&user));
            }
            Command::Drain(within) => self.drain(within),
            Command::Stop => {}
        }
    }

    fn refilled(&mut self, read: &Read, slice: Result<(Vec<Told>, Position), StoreError>) {
        let (mut told, through) = slice.map_or((None, read.through), |(told, through)| (Some(told), through));
        let known = self.revisions.answered(read, told.as_mut().unwrap_or(&mut Vec::new()));
        let Some(number) = self.present(read.from) else { return };
        match told {
            Some(told) if known => {
                let frames: Vec<Placed> = told.into_iter().map(|told| told.placed(self.now)).collect();
                self.drive(number, Input::Refilled { frames: &frames, through });
            }
            Some(_) => {
                let interest = self.readers.interest(self.connections[number].reader).clone();
                self.ask(read.again(interest, self.tail.head()));
            }
            None => self.close(number, Reason::Unavailable),
        }
    }

    fn ask(&mut self, read: Read) {
        self.revisions.asked();
        self.inquiries.read(read);
    }

    /// The streams of a user that have begun.
    fn presence(&self, user: &UserId) -> Vec<Presence> {
        let presence = |number: usize| {
            let connection = &self.connections[number];
            let id = ConnectionId { engine: self.number, number, generation: connection.generation };
            connection.presence(id, self.now)
        };
        self.readers.connections_of(user).filter_map(presence).collect()
    }

    /// The numbers of all connections.
    fn numbers(&self) -> Vec<usize> {
        self.connections.iter().map(|(number, _)| number).collect()
    }

    /// The number of a connection, if it is still there.
    fn present(&self, id: ConnectionId) -> Option<usize> {
        let connection = self.connections.get(id.number)?;
        (connection.generation == id.generation).then_some(id.number)
    }

    fn attach(&mut self, attachment: Attachment) {
        let Attachment { stream, head, transport } = attachment;
        let NewStream { user, start, issued_at, expires_at, trust, ticket, form, place: seat } = stream;
        if self.connections.len() == self.connections.capacity() {
            self.connections.reserve_exact(growth(self.connections.len()));
        }
        let entry = self.connections.vacant_entry();
        let number = entry.key();
        self.generation = self.generation.wrapping_add(1);
        let id = ConnectionId { engine: self.number, number, generation: self.generation };
        let Some(mut sink) = Sink::new(transport, id, self.poll.registry()) else {
            self.shared.gone();
            return;
        };
        let beginning = Beginning { start, issued_at, ticket, head, wire: form.wire, framing: form.framing };
        if self.readers.count_of(&user) >= self.shared.options.per_user_max {
            // A new connection has room for so few bytes.
            let _ = sink.write(&[beginning.postponed(&self.shared.options)]);
            sink.close(Reason::Ended, self.poll.registry());
            self.shared.gone();
            return self.shared.options.metrics.refuse("user");
        }
        let reader = self.readers.register(&user, place(number));
        let pace = pace(&self.shared.options, self.now, self.drained_by);
        // Registered first, then the head is taken, then the store is read: any other order loses or doubles.
        let mut subscriber = Subscriber::registered(self.tail.head(), pace, self.now);
        subscriber.end_with_trust(trust);
        if let Some(expires_at) = expires_at {
            subscriber.end_with_token(self.now.saturating_add(ticks_until(expires_at)));
        }
        let since = if let Start::Since(since) = start { Some(since) } else { None };
        let waits = self.inquiries.open(id, Asked { user, since, at: Timestamp::now() });
        entry.insert(Connection {
            sink,
            subscriber,
            reader,
            generation: self.generation,
            since: self.now,
            bytes_from_peer: 0,
            due: false,
            opening: Some(Box::new((beginning, waits))),
            form: self.forms.acquire(form),
            _place: seat,
        });
    }

    fn opened(&mut self, number: usize, opening: Option<Opening>) {
        let connection = &mut self.connections[number];
        let Some((beginning, _)) = connection.opening.take().map(|opening| *opening) else { return };
        let opening = match beginning.admitted(opening) {
            Ok(opening) => opening,
            Err(reason) => {
                self.readers.no_longer_opening(connection.reader);
                // A new connection has room for so few bytes; if not, its client comes back by itself.
                let _ = connection.sink.write(&[beginning.postponed(&self.shared.options)]);
                return self.close(number, reason);
            }
        };
        let registered = connection.subscriber.registered_at();
        let (cursor, resumed, greeting) = beginning.greeting(&self.shared, registered, &opening);
        self.counts.opened(resumed);
        self.readers.opened(connection.reader, opening.interest);
        self.drive(number, Input::Opened { cursor, greeting });
    }

    fn committed(&mut self, committed: &Committed) {
        if self.tail.head() == Position::START {
            // The first batch is the store's backlog: the tail begins where it does.
            self.tail = Tail::new(committed.before, self.shared.tail_bytes());
        }
        for (position, change) in &committed.interests {
            self.readers.change(*position, change);
        }
        for user in &committed.revoked {
            self.drive_each(self.readers.connections_of(user).collect(), || Input::EndNow);
        }
        for (audiences, told) in &committed.told {
            let ours = |audience: &&Audience| match audience {
                Audience::User(user) => super::engine_of(user, self.shared.engines) == self.number,
                Audience::Topic(_) | Audience::Everyone => true,
            };
            let audiences: Box<[Audience]> = audiences.iter().filter(ours).cloned().collect();
            if audiences.is_empty() {
                continue;
            }
            for audience in &audiences {
                let (connections, due, counts) = (&mut self.connections, &mut self.due, &mut self.counts);
                let mut mark = |number: usize, connection: &mut Connection| {
                    // One that is still opening waits for the store, not for this entry.
                    if connection.opening.is_none() {
                        counts.awaited(committed.at);
                    }
                    if !std::mem::replace(&mut connection.due, true) {
                        due.push(number);
                    }
                };
                if *audience == Audience::Everyone {
                    connections.iter_mut().for_each(|(number, connection)| mark(number, connection));
                } else {
                    self.readers.listening(audience, |number| mark(number as usize, &mut connections[number as usize]));
                }
            }
            self.tail.revise(told.position, told.origin, &audiences, &told.revision);
            self.revisions.note(told);
            let placed = told.placed(self.now);
            self.tail.push(TailEntry { audiences, placed });
        }
        self.tail.advance(committed.head);
    }

    fn write_due(&mut self) -> ControlFlow<()> {
        let mut due = std::mem::take(&mut self.due);
        for (count, number) in due.drain(..).enumerate() {
            if count % WRITES_BETWEEN_COMMANDS == WRITES_BETWEEN_COMMANDS - 1 {
                self.take_commands()?;
            }
            if let Some(connection) = self.connections.get_mut(number) {
                connection.due = false;
                self.drive(number, Input::Woken);
            }
        }
        if self.due.is_empty() {
            self.due = due;
        }
        ControlFlow::Continue(())
    }

    fn ready(&mut self, number: usize, readable: bool, writable: bool) {
        if readable && self.connections.get_mut(number).is_some_and(Connection::peer_is_gone) {
            self.drive(number, Input::PeerClosed);
        }
        if writable && let Some(connection) = self.connections.get_mut(number) {
            match connection.sink.flush() {
                Ok(true) => self.drive(number, Input::Writable),
                Ok(false) => {}
                Err(_) => self.close(number, Reason::Peer),
            }
        }
    }

    /// Gives a connection an input and carries out what it says, for some batches; the rest waits for its next turn.
    fn drive(&mut self, number: usize, input: Input<'_>) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        let interest = self.readers.interest(connection.reader);
        let form = self.forms.at(connection.form);
        let view = View { tail: &self.tail, interest, form, now: self.now };
        let mut output = connection.subscriber.on(input, view, &mut self.batch);
        let mut batches = 0;
        loop {
            match output {
                Output::Nothing => return connection.pause(),
                Output::Write => {
                    let Ok(bytes) = connection.sink.write(&self.batch.slices) else {
                        return self.close(number, Reason::Peer);
                    };
                    self.counts.written(bytes, self.batch.whole(bytes));
                    output = connection.subscriber.on(Input::Accepted { bytes }, view, &mut self.batch);
                    batches += 1;
                    if batches == BATCHES_PER_TURN && output == Output::Write {
                        // The batch is forgotten, not lost: the cursor has not moved over it.
                        if !std::mem::replace(&mut connection.due, true) {
                            self.due.push(number);
                        }
                        return;
                    }
                }
                Output::Read { after, through } => {
                    let from = ConnectionId { engine: self.number, number, generation: connection.generation };
                    let (interest, asked_at) = (interest.clone(), self.tail.head());
                    return self.ask(Read { from, interest, after, through, asked_at });
                }
                Output::Close(reason) => return self.close(number, reason),
            }
        }
    }

    fn drive_each(&mut self, numbers: Vec<usize>, input: impl Fn() -> Input<'static>) {
        for number in numbers {
            self.drive(number, input());
        }
    }

    fn close(&mut self, number: usize, reason: Reason) {
        let connection = self.connections.remove(number);
        if connection.opening.is_some() {
            self.readers.no_longer_opening(connection.reader);
        }
        self.readers.unregister(connection.reader, place(number));
        self.forms.release(connection.form);
        connection.sink.close(reason, self.poll.registry());
        self.shared.gone();
        self.counts.closed(reason);
        tracing::debug!(?reason, "a stream has ended");
    }

    /// Looks at a part of the connections for beats, stalls and ends.
    fn sweep(&mut self) {
        let shared = Arc::clone(&self.shared);
        let quiet = Quiet::at(&shared, self.tail.head(), self.now);
        let slots = self.connections.capacity();
        let part = slots.div_ceil(TICKS_PER_SWEEP);
        let from = self.sweep_part * part;
        let mut behind = 0;
        for number in from..(from + part).min(slots) {
            if let Some(connection) = self.connections.get(number) {
                let wire = self.forms.at(connection.form).wire;
                let notice = connection.subscriber.notice_due(self.now).map(|end| quiet.notice(wire, end));
                self.drive(number, Input::Tick { beats: quiet.beats(wire), notice });
            }
            let progress = self.connections.get(number).and_then(|connection| connection.subscriber.progress());
            behind += usize::from(progress.is_some_and(|progress| progress.cursor < self.tail.head()));
        }
        self.counts.behind(self.sweep_part, behind);
        self.sweep_part = (self.sweep_part + 1) % TICKS_PER_SWEEP;
    }

    fn drain(&mut self, within: Duration) {
        let (now, ticks) = (self.now, ticks(within));
        self.drained_by = Some(now.saturating_add(ticks));
        self.drive_each(self.numbers(), || Input::EndBy(now.saturating_add(fastrand::u32(0..=ticks))));
    }
}
