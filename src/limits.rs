//! How often, and how many at once: what keeps one from taking what is there for all.
//!
//! A [`Bucket`] gives so many at once and fills up again at an even pace (GCRA, by the crate `governor`).
//!
//! **Invariant:** memory is bounded whoever comes. Of addresses that fail at most [`ADDRESSES_MAX`] are known; beyond that the
//! count begins anew. What goes on at once takes room only as long as it does.
//!
//! Deliberately absent: what is limited, and what is answered.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock, Reference as _};
use governor::middleware::{NoOpMiddleware, StateInformationMiddleware};
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{InsufficientCapacity, Quota, RateLimiter};

/// Most addresses whose failures are counted, at some 100 bytes each.
const ADDRESSES_MAX: usize = 50_000;

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

    /// So many a minute, and as many at once.
    #[must_use]
    pub fn per_minute(count: NonZeroU32) -> Rate {
        Rate { quota: Quota::per_minute(count), count, each: "minute" }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// Failures by address: whoever has failed too often is not looked at for a while.
pub struct Failures<C: Clock = DefaultClock> {
    rate: Rate,
    clock: C,
    known: Mutex<Known<C>>,
}

struct Known<C: Clock> {
    limiter: RateLimiter<Address, HashMapStateStore<Address>, C, StateInformationMiddleware>,
    shut_until: HashMap<Address, C::Instant>,
}

impl Failures {
    /// Nobody has failed yet.
    #[must_use]
    pub fn new(rate: Rate) -> Failures {
        Failures::with_clock(rate, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Failures<C> {
    fn with_clock(rate: Rate, clock: C) -> Failures<C> {
        let known = Mutex::new(Known::nobody(rate, clock.clone()));
        Failures { rate, clock, known }
    }

    /// How often one may fail.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// How long nobody from that address is to be looked at.
    #[must_use]
    pub fn shut(&self, address: Address) -> Option<Duration> {
        let left = self.known().shut_until.get(&address)?.duration_since(self.clock.now());
        Some(Duration::from(left)).filter(|left| !left.is_zero())
    }

    /// Notes that somebody from that address has failed.
    pub fn failed(&self, address: Address) {
        let mut known = self.known();
        if known.limiter.len() >= ADDRESSES_MAX {
            *known = Known::nobody(self.rate, self.clock.clone());
        }
        let now = self.clock.now();
        let wait = match known.limiter.check_key(&address) {
            Ok(state) if state.remaining_burst_capacity() > 0 => return,
            Ok(_) => self.rate.quota.replenish_interval(),
            Err(not_until) => not_until.wait_time_from(now),
        };
        known.shut_until.insert(address, now + Nanos::from(wait));
    }

    fn known(&self) -> MutexGuard<'_, Known<C>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clock> Known<C> {
    fn nobody(rate: Rate, clock: C) -> Known<C> {
        let limiter = RateLimiter::new(rate.quota, HashMapStateStore::default(), clock);
        Known { limiter, shut_until: HashMap::new() }
    }
}

/// Counts what goes on at once, by address.
pub struct AtOnce {
    most: usize,
    by_address: Arc<Mutex<HashMap<Address, usize>>>,
}

/// One of those that go on. Dropping it makes room for another.
#[derive(Debug)]
pub struct Place {
    address: Address,
    by_address: Arc<Mutex<HashMap<Address, usize>>>,
}

impl AtOnce {
    /// At most so many from each address.
    #[must_use]
    pub fn new(most: usize) -> AtOnce {
        AtOnce { most, by_address: Arc::default() }
    }

    /// A place for one more from that address, if there is room.
    #[must_use]
    pub fn enter(&self, address: Address) -> Option<Place> {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.get(&address).copied().unwrap_or_default();
        if count >= self.most {
            return None;
        }
        by_address.insert(address, count + 1);
        Some(Place { address, by_address: Arc::clone(&self.by_address) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        match by_address.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                by_address.remove(&self.address);
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
        let failures = Failures::with_clock(Rate::per_minute(count(3)), clock.clone());
        let [hers, others] = ["192.0.2.1", "192.0.2.2"].map(|text| address(text).expect("not this machine"));
        for _ in 0..3 {
            assert_eq!(failures.shut(hers), None);
            failures.failed(hers);
        }
        assert_eq!(failures.shut(hers), Some(Duration::from_secs(20)));
        assert_eq!(failures.shut(others), None);
        clock.advance(Duration::from_secs(20));
        assert_eq!(failures.shut(hers), None, "one more is looked at");
        failures.failed(hers);
        assert_eq!(failures.shut(hers), Some(Duration::from_secs(20)));
        clock.advance(Duration::from_mins(2));
        failures.failed(hers);
        assert_eq!(failures.shut(hers), None, "all is forgotten");
    }

    #[test]
    fn of_all_who_fail_only_so_many_are_known() {
        let failures = Failures::with_clock(Rate::per_minute(count(1)), FakeRelativeClock::default());
        for number in 0..=u32::try_from(ADDRESSES_MAX).expect("few") {
            failures.failed(Address::of(IpAddr::V4(number.into())).expect("not this machine"));
        }
        let known = failures.known();
        assert_eq!((known.limiter.len(), known.shut_until.len()), (1, 1));
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
        assert!(at_once.by_address.lock().expect("whole").is_empty(), "nothing is left behind");
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
