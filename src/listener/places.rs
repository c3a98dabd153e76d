//! The account of places: every connection that has a descriptor and is no stream has a place, and this says which one is
//! dropped when a new one comes and there is none left.
//!
//! **Invariants:** a connection under whose request something is being done is never dropped for another. There are never more
//! than `most` places taken, since a part of them ([`Account::busy_max`]) can't be taken by requests: it is for those
//! whose heads are being read, and the oldest of these goes first.
//!
//! Deliberately absent: time. How long a connection may be silent, idle or lingering is the business of who serves it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use futures_util::future::AbortHandle;
use hyper::body::{Frame, SizeHint};
use ipnet::IpNet;

use super::descriptors::REQUESTS_AT_ONCE_MIN;
use crate::http::address::Crowd;
use crate::limits::{Address, Buckets, Rate};
use crate::metrics::{Connections, Dropped};

/// How many places there are, and for whom.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Connections that speak HTTP at once.
    pub most: usize,
    /// Of these from one address.
    pub per_address: usize,
    /// How often a connection from one address is let in.
    pub pace: Option<Rate>,
    /// Proxies, whose addresses are not counted: they ask for others.
    pub trusted_proxies: Vec<IpNet>,
    /// Where it is counted why connections are dropped.
    pub dropped: Connections,
}

impl Rules {
    /// Counts a connection that is dropped, or not let in.
    fn count(&self, reason: &'static str) {
        self.dropped.get_or_create(&Dropped { reason }).inc();
    }
}

/// What a connection is doing, in the order in which they are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// It has had its last answer, and what its peer still sends is read out.
    Lingering,
    /// It has not sent a whole head yet.
    Silent,
    /// It is kept alive between two requests.
    Idle,
    /// A request is under way.
    Busy,
    /// It carries streams, which are counted as such.
    Streaming,
}

/// Kinds of [`Doing`] that may be dropped: the first so many.
const DROPPABLE: usize = 3;

/// Connections that may be dropped, by what they are doing, the oldest first.
#[derive(Default)]
struct Queues([BTreeMap<u64, u64>; DROPPABLE]);

impl Queues {
    fn of(&mut self, doing: Doing) -> Option<&mut BTreeMap<u64, u64>> {
        self.0.get_mut(doing as usize)
    }

    /// The one to be dropped first.
    fn first(&self) -> Option<u64> {
        self.0.iter().find_map(|queue| queue.first_key_value()).map(|(_, id)| *id)
    }
}

/// One connection.
struct Seat {
    address: Option<Address>,
    /// When it began to do what it does, as a number that rises.
    since: u64,
    spoken: bool,
    requests: usize,
    streams: usize,
    lingering: bool,
    abort: AbortHandle,
}

impl Seat {
    fn doing(&self) -> Doing {
        match self {
            Seat { streams: 1.., .. } => Doing::Streaming,
            Seat { requests: 1.., .. } => Doing::Busy,
            Seat { lingering: true, .. } => Doing::Lingering,
            Seat { spoken: true, .. } => Doing::Idle,
            _ => Doing::Silent,
        }
    }
}

/// Those from one address.
#[derive(Default)]
struct Neighbours {
    count: usize,
    queues: Queues,
}

/// All connections.
struct Account {
    rules: Rules,
    seats: HashMap<u64, Seat>,
    by_address: HashMap<Address, Neighbours>,
    queues: Queues,
    /// Places that are taken, and those of them with a request under way.
    taken: usize,
    busy: usize,
    number: u64,
}

impl Account {
    fn new(rules: Rules) -> Account {
        let (seats, by_address, queues) = (HashMap::new(), HashMap::new(), Queues::default());
        Account { rules, seats, by_address, queues, taken: 0, busy: 0, number: 0 }
    }

    /// Most requests under way at once; the other places are for heads.
    fn busy_max(&self) -> usize {
        self.rules.most - self.rules.most / 8
    }

    /// Most of them without a server key.
    fn busy_without_key_max(&self) -> usize {
        self.rules.most - self.rules.most / 4
    }

    /// Most that linger at once.
    fn lingering_max(&self) -> usize {
        self.rules.most / 8
    }

    /// Gives a place to a new connection; nothing if all are taken by requests under way.
    fn enter(&mut self, address: Option<Address>, abort: AbortHandle) -> Option<u64> {
        let neighbours = address.and_then(|address| self.by_address.get(&address));
        if let Some(neighbours) = neighbours.filter(|neighbours| neighbours.count >= self.rules.per_address) {
            let first = neighbours.queues.first()?;
            self.drop_one(first, "address");
        }
        if self.taken >= self.rules.most {
            let first = self.queues.first()?;
            self.drop_one(first, "place");
        }
        self.number += 1;
        let id = self.number;
        let seat = Seat { address, since: id, spoken: false, requests: 0, streams: 0, lingering: false, abort };
        self.seats.insert(id, seat);
        self.count(id, true);
        Some(id)
    }

    /// Adds a connection to the counts and queues, or takes it out.
    fn count(&mut self, id: u64, add: bool) {
        let Some(seat) = self.seats.get(&id) else { return };
        let (doing, since) = (seat.doing(), seat.since);
        let change = |count: &mut usize| *count = if add { *count + 1 } else { *count - 1 };
        let queue = |queues: &mut Queues| {
            if let Some(queue) = queues.of(doing) {
                if add {
                    queue.insert(since, id)
                } else {
                    queue.remove(&since)
                };
            }
        };
        if doing == Doing::Streaming {
            return;
        }
        change(&mut self.taken);
        if doing == Doing::Busy {
            change(&mut self.busy);
        }
        queue(&mut self.queues);
        if let Some(address) = seat.address {
            let neighbours = self.by_address.entry(address).or_default();
            change(&mut neighbours.count);
            queue(&mut neighbours.queues);
            if neighbours.count == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// Changes what a connection is doing; false if it has been dropped.
    fn change(&mut self, id: u64, change: impl FnOnce(&mut Seat)) -> bool {
        if !self.seats.contains_key(&id) {
            return false;
        }
        self.count(id, false);
        self.number += 1;
        let since = self.number;
        if let Some(seat) = self.seats.get_mut(&id) {
            let before = seat.doing();
            change(seat);
            if seat.doing() != before {
                seat.since = since;
            }
        }
        self.count(id, true);
        // One that carried streams needs a place again, and may be the one too many.
        if self.taken > self.rules.most {
            let first = self.queues.first().unwrap_or(id);
            self.drop_one(first, "place");
        }
        if self.queues.0[Doing::Lingering as usize].len() > self.lingering_max()
            && let Some((_, first)) = self.queues.0[Doing::Lingering as usize].first_key_value()
        {
            self.drop_one(*first, "lingering");
        }
        self.seats.contains_key(&id)
    }

    fn drop_one(&mut self, id: u64, reason: &'static str) {
        if let Some(abort) = self.leave(id) {
            abort.abort();
            self.rules.count(reason);
            tracing::debug!(reason, "a connection was dropped: its place is needed");
        }
    }

    fn leave(&mut self, id: u64) -> Option<AbortHandle> {
        self.count(id, false);
        self.seats.remove(&id).map(|seat| seat.abort)
    }

    /// A request begins, its head is read; nothing if its connection has been dropped.
    fn begin(&mut self, id: u64) -> Option<Crowd> {
        let crowd = match self.busy {
            busy if busy >= self.busy_max() => Crowd::Full,
            busy if busy >= self.busy_without_key_max() => Crowd::KeysOnly,
            _ => Crowd::Room,
        };
        let is_under_way = self.seats.get(&id).is_some_and(|seat| seat.requests + seat.streams > 0);
        let begun = self.change(id, |seat| {
            seat.spoken = true;
            seat.requests += 1;
        });
        // Another request of a connection that has a place takes none from others.
        begun.then_some(if is_under_way { Crowd::Room } else { crowd })
    }
}

/// The places of a listener.
#[derive(Clone)]
pub(super) struct Room {
    account: Arc<Mutex<Account>>,
    /// What each address may still open.
    pace: Option<Arc<Buckets<Address>>>,
}

impl Room {
    pub(super) fn new(mut rules: Rules) -> Room {
        rules.most = rules.most.max(REQUESTS_AT_ONCE_MIN);
        let pace = rules.pace.map(|pace| Arc::new(Buckets::new(pace)));
        Room { account: Arc::new(Mutex::new(Account::new(rules))), pace }
    }

    /// A place for a connection, and what it is to be ended by; nothing if there is none, or if those from its address come too
    /// fast.
    pub(super) fn enter(&self, peer: IpAddr, abort: AbortHandle) -> Option<Place> {
        let mut account = self.account();
        let is_proxy = account.rules.trusted_proxies.iter().any(|network| network.contains(&peer.to_canonical()));
        let address = Address::of(peer).filter(|_| !is_proxy);
        if let Some((pace, address)) = self.pace.as_ref().zip(address)
            && pace.take(&address).is_err()
        {
            tracing::warn!(address = %peer, "connections from this address come too fast and are closed");
            account.rules.count("pace");
            return None;
        }
        let Some(id) = account.enter(address, abort) else {
            account.rules.count("full");
            return None;
        };
        Some(Place(Arc::new(Taken { id, room: self.clone() })))
    }

    /// Counts a connection that could not be accepted.
    pub(super) fn not_accepted(&self) {
        self.account().rules.count("accept");
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection, for as long as anything of it is there.
#[derive(Clone)]
pub(super) struct Place(Arc<Taken>);

struct Taken {
    id: u64,
    room: Room,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.account().leave(self.id);
    }
}

impl Place {
    /// A request begins; nothing if the connection has been dropped for another.
    pub(super) fn request(&self) -> Option<(Crowd, UnderWay)> {
        let crowd = self.0.room.account().begin(self.0.id)?;
        Some((crowd, UnderWay { place: self.clone(), is_stream: false }))
    }

    /// A stream begins on a connection that stays with HTTP.
    pub(super) fn stream(&self) -> UnderWay {
        self.0.room.account().change(self.0.id, |seat| seat.streams += 1);
        UnderWay { place: self.clone(), is_stream: true }
    }

    /// Whether no request is under way, and since when.
    pub(super) fn quiet(&self) -> Option<Quiet> {
        let account = self.0.room.account();
        let seat = account.seats.get(&self.0.id)?;
        (seat.requests + seat.streams == 0).then_some(Quiet { since: seat.since, spoken: seat.spoken })
    }

    /// The last answer was given.
    pub(super) fn linger(&self) {
        self.0.room.account().change(self.0.id, |seat| seat.lingering = true);
    }
}

/// A connection that has no request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quiet {
    /// When it became so, as a number that rises.
    since: u64,
    /// It has had a request.
    pub(super) spoken: bool,
}

/// A request or a stream, as long as it lives.
pub(super) struct UnderWay {
    place: Place,
    is_stream: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Taken { id, room } = &*self.place.0;
        room.account().change(*id, |seat| {
            let count = if self.is_stream { &mut seat.streams } else { &mut seat.requests };
            *count -= 1;
        });
    }
}

/// The body of an answer; something is kept until all of it has been taken.
pub(super) struct Answer<K> {
    body: Body,
    kept: Option<K>,
}

impl<K> Answer<K> {
    pub(super) fn new(body: Body, kept: K) -> Answer<K> {
        Answer { body, kept: Some(kept) }
    }
}

impl<K: Unpin> HttpBody for Answer<K> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) {
            self.kept = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn rules(most: usize, per_address: usize) -> Rules {
        Rules { most, per_address, pace: None, trusted_proxies: Vec::new(), dropped: Connections::default() }
    }

    /// How many connections have been dropped, by reason.
    fn counted(rules: &Rules) -> Vec<(&'static str, u64)> {
        let counts = Dropped::REASONS.map(|reason| (reason, rules.dropped.get_or_create(&Dropped { reason }).get()));
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn account(most: usize, per_address: usize) -> Account {
        Account::new(rules(most, per_address))
    }

    fn enter(account: &mut Account, address: u32) -> Option<(u64, AbortHandle)> {
        let (abort, _) = AbortHandle::new_pair();
        let address = Address::of(IpAddr::V4(address.into()));
        account.enter(address, abort.clone()).map(|id| (id, abort))
    }

    /// Connections from an address of each of its own.
    fn come(account: &mut Account, count: u32) -> Vec<(u64, AbortHandle)> {
        (0..count).map(|number| enter(account, 0x0a00_0000 + number).expect("there is room")).collect()
    }

    fn dropped(connections: &[(u64, AbortHandle)]) -> Vec<usize> {
        connections.iter().enumerate().filter(|(_, (_, abort))| abort.is_aborted()).map(|(at, _)| at).collect()
    }

    fn rest(account: &mut Account, id: u64) {
        account.change(id, |seat| seat.requests -= 1);
    }

    /// Mutants: everybody is let in; a proxy has the pace of one address.
    #[test]
    fn who_opens_connections_too_fast_is_not_let_in_and_others_are() {
        let count = |count| NonZeroU32::new(count).expect("above 0");
        let trusted_proxies = vec!["10.0.0.9/32".parse().expect("valid")];
        let pace = Some(Rate::per_second(count(1), count(3)));
        let rules = Rules { pace, trusted_proxies, ..rules(100, 100) };
        let room = Room::new(rules.clone());
        let enter = |address: &str| room.enter(address.parse().expect("valid"), AbortHandle::new_pair().0).is_some();
        assert_eq!([(); 5].map(|()| enter("10.0.0.1")), [true, true, true, false, false]);
        assert!(enter("10.0.0.2"));
        assert!((0..10).all(|_| enter("10.0.0.9") && enter("127.0.0.1")));
        assert_eq!(counted(&rules), [("pace", 2)]);
    }

    /// Mutant: the newest is dropped.
    #[test]
    fn the_oldest_silent_connection_is_dropped_for_a_new_one() {
        let mut account = account(8, 8);
        let connections = come(&mut account, 11);
        assert_eq!(dropped(&connections), [0, 1, 2]);
        assert_eq!((account.taken, account.seats.len(), account.by_address.len()), (8, 8, 8));
        assert_eq!(counted(&account.rules), [("place", 3)]);
    }

    /// Mutant: whoever lingers is not dropped.
    #[test]
    fn who_lingers_goes_first_then_who_is_silent_then_who_is_idle_and_never_who_is_busy() {
        let mut account = account(16, 16);
        let connections = come(&mut account, 16);
        for (at, (id, _)) in connections.iter().enumerate().skip(2) {
            assert!(account.begin(*id).is_some(), "{at}");
        }
        for at in [5, 4, 3, 2] {
            rest(&mut account, connections[at].0);
        }
        for at in [15, 14] {
            rest(&mut account, connections[at].0);
            account.change(connections[at].0, |seat| seat.lingering = true);
        }
        let mut order = Vec::new();
        for number in 0..8 {
            let before = dropped(&connections);
            let (id, _) = enter(&mut account, 0x0b00_0000 + number).expect("there is room");
            assert!(account.begin(id).is_some());
            order.extend(dropped(&connections).into_iter().filter(|at| !before.contains(at)));
        }
        assert_eq!(order, [15, 14, 0, 1, 5, 4, 3, 2], "of the same kind who has been so for longest");
        assert!(enter(&mut account, 0x0c00_0000).is_none(), "whose request is under way is not dropped");
        assert_eq!(dropped(&connections), [0, 1, 2, 3, 4, 5, 14, 15]);
    }

    #[test]
    fn those_who_linger_are_few() {
        let mut account = account(16, 16);
        let connections = come(&mut account, 8);
        for (id, _) in &connections {
            account.change(*id, |seat| seat.lingering = true);
        }
        assert_eq!(dropped(&connections), [0, 1, 2, 3, 4, 5]);
        assert_eq!(counted(&account.rules), [("lingering", 6)]);
    }

    /// As a new connection is told by nothing else why it is closed. Mutant: not counted.
    #[test]
    fn who_is_not_let_in_since_all_are_busy_is_counted() {
        let rules = rules(8, 8);
        let room = Room::new(rules.clone());
        let enter = |last| room.enter([10, 0, 0, last].into(), AbortHandle::new_pair().0);
        let places: Vec<_> = (0..8).map(|last| enter(last).expect("there is room")).collect();
        let _busy: Vec<_> = places.iter().map(|place| place.request().expect("it has a place")).collect();
        assert!(enter(8).is_none() && enter(9).is_none());
        room.not_accepted();
        assert_eq!(counted(&rules), [("full", 2), ("accept", 1)]);
    }

    /// Mutant: an address has as many as all together.
    #[test]
    fn an_address_has_so_many_and_drops_its_own() {
        let mut account = account(16, 3);
        let others = come(&mut account, 4);
        let of_one: Vec<_> = (0..5).map(|_| enter(&mut account, 1).expect("there is room")).collect();
        assert_eq!((dropped(&of_one), dropped(&others)), (vec![0, 1], vec![]));
        assert_eq!(counted(&account.rules), [("address", 2)]);
        for (id, _) in &of_one[2..] {
            assert!(account.begin(*id).is_some());
        }
        assert!(enter(&mut account, 1).is_none(), "all of its own are busy");
        assert!(enter(&mut account, 2).is_some());
        let (abort, _) = AbortHandle::new_pair();
        for _ in 0..8 {
            assert!(account.enter(None, abort.clone()).is_some(), "this machine is not counted");
        }
    }

    /// Mutant: no places are kept for server keys.
    #[test]
    fn the_last_places_for_requests_are_for_server_keys_and_some_are_for_heads() {
        let mut account = account(16, 16);
        let connections = come(&mut account, 16);
        let crowds: Vec<_> = connections.iter().map(|(id, _)| account.begin(*id).expect("it is there")).collect();
        assert_eq!(crowds[..12], [Crowd::Room; 12]);
        assert_eq!(crowds[12..14], [Crowd::KeysOnly; 2]);
        assert_eq!(crowds[14..], [Crowd::Full; 2]);
        assert_eq!(account.begin(connections[0].0), Some(Crowd::Room), "it has a place already");
        rest(&mut account, connections[0].0);
        assert_eq!(account.busy, 16);
    }

    /// As HTTP/2 does it. Mutant: whoever has had a stream is not counted any more.
    #[test]
    fn a_connection_with_streams_has_its_place_again_when_the_last_has_ended() {
        let mut account = account(8, 8);
        let connections = come(&mut account, 8);
        for (id, _) in &connections {
            assert!(account.begin(*id).is_some());
            account.change(*id, |seat| seat.streams += 1);
            rest(&mut account, *id);
        }
        assert_eq!((account.taken, account.by_address.len()), (0, 0), "streams are counted elsewhere");
        let more: Vec<_> =
            (0..8).map(|number| enter(&mut account, 0x0b00_0000 + number).expect("there is room")).collect();
        account.change(connections[0].0, |seat| seat.streams -= 1);
        assert_eq!(
            (account.taken, dropped(&more)),
            (8, vec![0]),
            "a silent one goes for one that has its streams reset"
        );
        for (id, _) in &more[1..] {
            assert!(account.begin(*id).is_some());
        }
        // It is idle, all others are busy: it would be the next to go.
        account.change(connections[1].0, |seat| seat.streams -= 1);
        assert_eq!((account.taken, dropped(&connections)), (8, vec![0]));
        for (id, _) in connections.iter().chain(&more) {
            account.leave(*id);
        }
        assert_eq!((account.taken, account.busy, account.seats.len(), account.by_address.len()), (0, 0, 0, 0));
        assert!(account.queues.first().is_none());
    }

    #[test]
    fn one_that_was_dropped_begins_nothing() {
        let mut account = account(8, 8);
        let connections = come(&mut account, 9);
        assert_eq!(account.begin(connections[0].0), None);
        assert_eq!((account.taken, account.busy), (8, 0));
    }
}
