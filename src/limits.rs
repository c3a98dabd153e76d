//! How often, and how many at once: what keeps one from taking what is there for all.
//!
//! A [`Bucket`] gives so many at once and fills up again at an even pace (GCRA, by the crate `governor`).
//!
//! **Invariant:** memory is bounded whoever comes. [`Buckets`] know at most [`KEYS_MAX`] keys, and beyond that the one that
//! would be forgotten first makes room. What goes on at once takes room only as long as it does.
//!
//! Deliberately absent: what is limited, and what is answered.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{InsufficientCapacity, Quota, RateLimiter};

mod budget;

pub use budget::{Budget, Held};

/// Most keys that are counted, at some 100 bytes each beside the key.
const KEYS_MAX: usize = 50_000;

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    quota: Quota,
    count: NonZeroU32,
    /// In a second, or in a minute.
    each: &'static str,
}

impl Rate {
    /// So many a second, and so many at once.
    #[must_use]
    pub fn per_second(count: NonZeroU32, burst: NonZeroU32) -> Rate {
        Rate { quota: Quota::per_second(count).allow_burst(burst), count, each: "second" }
    }

    /// So many a minute, and so many at once.
    #[must_use]
    pub fn per_minute(count: NonZeroU32, burst: NonZeroU32) -> Rate {
        Rate { quota: Quota::per_minute(count).allow_burst(burst), count, each: "minute" }
    }

    /// How many at once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.quota.burst_size().get()
    }
}

/// In words: `20 at once, then 10 a second`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at once, then {} a {}", self.burst(), self.count, self.each)
    }
}

/// Why a bucket gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// It is empty; it has enough again after that time.
    Now(Duration),
    /// It never holds so much.
    Ever,
}

/// Gives so much, so often.
pub struct Bucket<C: Clock = DefaultClock> {
    limiter: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    rate: Rate,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn new(rate: Rate) -> Bucket {
        Bucket::with_clock(rate, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Bucket<C> {
    fn with_clock(rate: Rate, clock: C) -> Bucket<C> {
        Bucket { limiter: RateLimiter::direct_with_clock(rate.quota, clock.clone()), clock, rate }
    }

    /// How often it gives.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes so many out, all or none.
    ///
    /// # Errors
    /// When there are not enough.
    pub fn take(&self, count: usize) -> Result<(), Short> {
        let Some(count) = NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX)) else { return Ok(()) };
        match self.limiter.check_n(count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(Short::Now(not_until.wait_time_from(self.clock.now()))),
            Err(InsufficientCapacity(_)) => Err(Short::Ever),
        }
    }
}

impl<C: Clock> fmt::Debug for Bucket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rate.fmt(f)
    }
}

/// Who is told apart by where she comes from: an IPv4 address, or the 64 bits of an IPv6 address that a network is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(IpAddr);

impl Address {
    /// Nothing for this machine: whoever comes from here is a proxy that does not say for whom, or its operator.
    #[must_use]
    pub fn of(ip: IpAddr) -> Option<Address> {
        let ip = match ip.to_canonical() {
            IpAddr::V6(ip) if !ip.is_loopback() => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
            ip => ip,
        };
        (!ip.is_loopback()).then_some(Address(ip))
    }
}

/// A bucket for each key, such as an address or a user. Keys whose bucket is full are not kept.
///
/// Of each key one time is kept, as GCRA has it: when its bucket will be full. Each that is taken moves it by the interval
/// of the rate. The crate `governor` has the same, but lets go of all keys or of none.
pub struct Buckets<K, C: Clock = DefaultClock> {
    rate: Rate,
    clock: C,
    known: Mutex<Known<K, C::Instant>>,
}

struct Known<K, I> {
    full_at: HashMap<K, I>,
    soonest_first: BTreeSet<(I, K)>,
}

impl<K: Clone + Ord + Hash> Buckets<K> {
    /// All full.
    #[must_use]
    pub fn new(rate: Rate) -> Buckets<K> {
        Buckets::with_clock(rate, DefaultClock::default())
    }
}

impl<K: Clone + Ord + Hash, C: Clock> Buckets<K, C> {
    fn with_clock(rate: Rate, clock: C) -> Buckets<K, C> {
        let known = Known { full_at: HashMap::new(), soonest_first: BTreeSet::new() };
        Buckets { rate, clock, known: Mutex::new(known) }
    }

    /// How often each gives.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// How long that key's bucket is still empty.
    #[must_use]
    pub fn empty_for(&self, key: &K) -> Option<Duration> {
        self.wait(self.known().full_at.get(key).copied())
    }

    /// Takes one out of that key's bucket, also if it is empty: then the key has to wait for one more.
    pub fn spend(&self, key: &K) {
        self.known().put(self, key);
    }

    /// Takes one out of that key's bucket.
    ///
    /// # Errors
    /// When it is empty: how long.
    pub fn take(&self, key: &K) -> Result<(), Duration> {
        let mut known = self.known();
        if let Some(wait) = self.wait(known.full_at.get(key).copied()) {
            return Err(wait);
        }
        known.put(self, key);
        Ok(())
    }

    /// So much time has to be left until the bucket is full that one more would be one too many.
    fn wait(&self, full_at: Option<C::Instant>) -> Option<Duration> {
        let left = Duration::from(full_at?.duration_since(self.clock.now()));
        let interval = self.rate.quota.replenish_interval();
        Some((left + interval).saturating_sub(self.all())).filter(|left| !left.is_zero())
    }

    /// How long it takes until an empty bucket is full.
    fn all(&self) -> Duration {
        self.rate.quota.replenish_interval() * self.rate.burst()
    }

    fn known(&self) -> MutexGuard<'_, Known<K, C::Instant>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Ord + Hash, I: Reference> Known<K, I> {
    fn put<C: Clock<Instant = I>>(&mut self, buckets: &Buckets<K, C>, key: &K) {
        let (now, interval) = (buckets.clock.now(), Nanos::from(buckets.rate.quota.replenish_interval()));
        self.forget(|at| at <= now);
        let before = self.remove(key).map_or(now, |at| at.max(now));
        while self.full_at.len() >= KEYS_MAX {
            // It would have been forgotten first anyway, so no bucket is filled before one that is nearer to being full.
            self.forget_soonest();
        }
        self.insert(key.clone(), (before + interval).min(now + Nanos::from(buckets.all())));
    }

    fn insert(&mut self, key: K, full_at: I) {
        self.full_at.insert(key.clone(), full_at);
        self.soonest_first.insert((full_at, key));
    }

    fn remove(&mut self, key: &K) -> Option<I> {
        let (key, full_at) = self.full_at.remove_entry(key)?;
        self.soonest_first.remove(&(full_at, key));
        Some(full_at)
    }

    fn forget(&mut self, is_over: impl Fn(I) -> bool) {
        while self.soonest_first.first().is_some_and(|(at, _)| is_over(*at)) {
            self.forget_soonest();
        }
    }

    fn forget_soonest(&mut self) {
        if let Some((_, key)) = self.soonest_first.pop_first() {
            self.full_at.remove(&key);
        }
    }
}

/// Counts what goes on at once, by key, such as an address or a user.
pub struct AtOnce<K: Eq + Hash> {
    most: usize,
    counts: Arc<Mutex<HashMap<K, usize>>>,
}

/// One of those that go on. Dropping it makes room for another.
#[derive(Debug)]
pub struct Place<K: Eq + Hash> {
    key: K,
    counts: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Clone + Eq + Hash> AtOnce<K> {
    /// At most so many of each key.
    #[must_use]
    pub fn new(most: usize) -> AtOnce<K> {
        AtOnce { most, counts: Arc::default() }
    }

    /// How many each key may have at once.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// A place for one more of that key, if there is room.
    #[must_use]
    pub fn enter(&self, key: K) -> Option<Place<K>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&key).copied().unwrap_or_default();
        if count >= self.most {
            return None;
        }
        counts.insert(key.clone(), count + 1);
        Some(Place { key, counts: Arc::clone(&self.counts) })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn count(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).expect("above 0")
    }

    fn address(text: &str) -> Option<Address> {
        Address::of(text.parse().expect("an address"))
    }

    #[test]
    fn a_bucket_gives_so_many_at_once_and_then_at_an_even_pace() {
        let clock = FakeRelativeClock::default();
        let rate = Rate::per_second(count(10), count(20));
        assert_eq!(rate.to_string(), "20 at once, then 10 a second");
        let bucket = Bucket::with_clock(rate, clock.clone());
        assert_eq!(bucket.take(21), Err(Short::Ever));
        assert_eq!(bucket.take(15), Ok(()));
        assert_eq!(bucket.take(6), Err(Short::Now(Duration::from_millis(100))), "all or none");
        assert_eq!(bucket.take(5), Ok(()));
        assert_eq!(bucket.take(0), Ok(()), "nothing is always there");
        assert_eq!(bucket.take(1), Err(Short::Now(Duration::from_millis(100))));
        clock.advance(Duration::from_millis(250));
        assert_eq!(bucket.take(2), Ok(()));
        assert_eq!(bucket.take(1), Err(Short::Now(Duration::from_millis(50))));
    }

    /// Mutant: shut nobody out.
    #[test]
    fn whoever_fails_too_often_is_shut_out_for_a_while_and_nobody_else() {
        let clock = FakeRelativeClock::default();
        let failures = Buckets::with_clock(Rate::per_minute(count(3), count(3)), clock.clone());
        let [hers, others] = ["192.0.2.1", "192.0.2.2"].map(|text| address(text).expect("not this machine"));
        for _ in 0..3 {
            assert_eq!(failures.empty_for(&hers), None);
            failures.spend(&hers);
        }
        assert_eq!(failures.empty_for(&hers), Some(Duration::from_secs(20)));
        assert_eq!(failures.empty_for(&others), None);
        clock.advance(Duration::from_secs(20));
        assert_eq!(failures.empty_for(&hers), None, "one more is looked at");
        failures.spend(&hers);
        assert_eq!(failures.empty_for(&hers), Some(Duration::from_secs(20)));
        clock.advance(Duration::from_mins(2));
        failures.spend(&hers);
        assert_eq!(failures.empty_for(&hers), None, "all is forgotten");
    }

    fn number(number: usize) -> Address {
        Address::of(IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | (number as u128) << 64))).expect("elsewhere")
    }

    /// A network of 65,536 addresses is given to anybody who asks for one.
    ///
    /// Mutant: when there are too many, all are forgotten.
    #[test]
    fn no_flood_of_failing_addresses_ends_the_lock_out_of_another() {
        let clock = FakeRelativeClock::default();
        let failures = Buckets::with_clock(Rate::per_minute(count(3), count(3)), clock.clone());
        let hers = address("192.0.2.1").expect("not this machine");
        (0..3).for_each(|_| failures.spend(&hers));
        let wait = failures.empty_for(&hers);
        assert_eq!(wait, Some(Duration::from_secs(20)));
        for attacker in 0..2 * KEYS_MAX {
            failures.spend(&number(attacker));
        }
        assert_eq!(failures.empty_for(&hers), wait);
        let known = failures.known();
        assert_eq!((known.full_at.len(), known.soonest_first.len()), (KEYS_MAX, KEYS_MAX));
    }

    /// Mutant: whoever takes from an empty bucket waits for one more.
    #[test]
    fn each_key_has_a_bucket_and_asking_an_empty_one_costs_nothing() {
        let clock = FakeRelativeClock::default();
        let buckets = Buckets::with_clock(Rate::per_minute(count(60), count(2)), clock.clone());
        assert_eq!((buckets.take(&"ana"), buckets.take(&"ana")), (Ok(()), Ok(())));
        for _ in 0..10 {
            assert_eq!(buckets.take(&"ana"), Err(Duration::from_secs(1)));
        }
        assert_eq!(buckets.take(&"bea"), Ok(()));
        clock.advance(Duration::from_secs(1));
        assert_eq!((buckets.take(&"ana"), buckets.take(&"ana")), (Ok(()), Err(Duration::from_secs(1))));
    }

    #[test]
    fn an_address_is_forgotten_with_its_failures() {
        let clock = FakeRelativeClock::default();
        let failures = Buckets::with_clock(Rate::per_minute(count(3), count(3)), clock.clone());
        (0..1000).for_each(|address| failures.spend(&number(address)));
        clock.advance(Duration::from_secs(20));
        failures.spend(&number(0));
        let known = failures.known();
        assert_eq!((known.full_at.len(), known.soonest_first.len()), (1, 1));
    }

    #[test]
    fn what_goes_on_at_once_makes_room_when_it_ends() {
        let at_once = AtOnce::new(2);
        let [hers, others] = ["192.0.2.1", "192.0.2.2"].map(|text| address(text).expect("not this machine"));
        let first = at_once.enter(hers);
        let second = at_once.enter(hers);
        assert!(first.is_some() && second.is_some());
        assert!(at_once.enter(hers).is_none());
        assert!(at_once.enter(others).is_some());
        drop(first);
        assert!(at_once.enter(hers).is_some());
        drop(second);
        assert!(at_once.counts.lock().expect("whole").is_empty(), "nothing is left behind");
    }

    #[test]
    fn an_address_is_what_a_network_is_given() {
        assert_eq!(address("2001:db8:1:2:3:4:5:6"), address("2001:db8:1:2::9"));
        assert_ne!(address("2001:db8:1:2::9"), address("2001:db8:1:3::9"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("192.0.2.2"), address("192.0.2.1"));
        for this_machine in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(address(this_machine), None);
        }
    }
}
