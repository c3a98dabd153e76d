//! Revocations: what users had been given by then, tokens, sessions and tickets, is refused.
//!
//! **Invariant:** what may have been issued before a revocation is covered by it. A token says in whole seconds when it was
//! issued, so all of the second of a revocation counts as before; and so does what does not say when.
//!
//! A token is accepted although its `iat` is a little ahead of this server's clock, so one that was issued before a revocation
//! may say a later time. The server notes how far ahead of its clock a good token was at most since the start
//! ([`Revocations::seen`]), and a revocation covers what says it was issued up to that much later. While it could still be
//! such a token, one that is further ahead than any before that revocation is refused too. What is left: a token whose issuer's
//! clock is further ahead than any token has shown, and which is shown for the first time when its `iat` has passed.
//!
//! Deliberately absent: the disk ([`crate::access`] has both), and an end. Nobody knows how long the tokens last that others
//! sign, so a revocation stays: some 100 bytes for each user for whom there ever was one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::notification::UserId;

/// How far two clocks that agree differ at most.
const AGREEING: Duration = Duration::from_secs(1);

/// Whether a revocation through that time covers what says it was issued then.
#[must_use]
pub fn covers(through: Timestamp, issued_at: Timestamp) -> bool {
    issued_at.as_second() <= through.as_second()
}

/// The last revocation of each user for whom there ever was one.
#[derive(Debug, Default)]
pub struct Revocations {
    by_user: RwLock<HashMap<UserId, Revoked>>,
    /// In whole seconds, rounded up.
    ahead_s: AtomicI64,
    /// How far ahead of the clock `iat` may be.
    leeway: Duration,
}

/// A revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Credentials with an `iat` up to this time are refused.
    pub through: Timestamp,
    /// How far ahead a clock was known to be when it was revoked; 0 if that was before a restart.
    pub ahead: Duration,
}

impl Revocations {
    /// Nothing is revoked. Tokens are accepted whose `iat` is ahead by the leeway.
    #[must_use]
    pub fn new(leeway: Duration) -> Revocations {
        Revocations { leeway, ..Revocations::default() }
    }

    /// How far ahead of this server's clock a good token's `iat` was at most, in whole seconds.
    fn ahead(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.ahead_s.load(Ordering::Relaxed)).unwrap_or_default())
    }

    /// Notes when a good token says that it was issued.
    pub fn seen(&self, issued_at: Timestamp, now: Timestamp) {
        let ahead = issued_at.duration_since(now);
        let rounded_up = ahead.as_secs() + i64::from(ahead.subsec_nanos() > 0);
        // Nearly every token is from the past: no write to what all threads share.
        if rounded_up > self.ahead_s.load(Ordering::Relaxed) {
            self.ahead_s.fetch_max(rounded_up, Ordering::Relaxed);
        }
    }

    /// A revocation at that time.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Revoked {
        let ahead = self.ahead();
        Revoked { through: now.checked_add(ahead).unwrap_or(Timestamp::MAX), ahead }
    }

    /// Refuses from here on what a user had been given.
    pub fn note(&self, user: UserId, revoked: Revoked) {
        let mut by_user = self.by_user.write().unwrap_or_else(PoisonError::into_inner);
        let known = by_user.entry(user).or_insert(revoked);
        if revoked.through > known.through {
            *known = revoked;
        }
    }

    /// Whether what says that it was issued to a user then is refused.
    #[must_use]
    pub fn cover(&self, user: &UserId, issued_at: Timestamp, now: Timestamp) -> bool {
        let by_user = self.by_user.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Revoked { through, ahead }) = by_user.get(user) else { return false };
        // Its issuer's clock is further ahead than was known, so it may have been issued before. Clocks that agree differ by
        // less than a second.
        let end = through.checked_add(self.leeway).unwrap_or(Timestamp::MAX);
        let latest = now.checked_add((*ahead).max(AGREEING)).unwrap_or(Timestamp::MAX);
        let is_doubtful = issued_at <= end && issued_at > latest;
        covers(*through, issued_at) || is_doubtful
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).expect("in range")
    }

    fn user(id: &str) -> UserId {
        id.parse().expect("valid")
    }

    /// Mutant: what was issued in the same second passes.
    #[test]
    fn what_may_have_been_issued_before_a_revocation_is_covered_by_it() {
        let (revocations, now) = (Revocations::default(), at(9_000));
        assert!(!revocations.cover(&user("1"), Timestamp::UNIX_EPOCH, now));
        revocations.note(user("1"), revocations.at(at(5_400)));
        // A clock that has been set back takes nothing back.
        revocations.note(user("1"), revocations.at(at(3_000)));
        for (issued_at, covered) in [(0, true), (5_000, true), (5_999, true), (6_000, false)] {
            assert_eq!(revocations.cover(&user("1"), at(issued_at), now), covered, "{issued_at}");
        }
        assert!(!revocations.cover(&user("2"), at(0), now));
    }

    /// Mutant: a revocation covers only what its own second has.
    #[test]
    fn a_token_from_the_future_is_covered_by_a_later_revocation() {
        let covered = |seen_before: bool, shown_at: i64, issued_at: i64| {
            let revocations = Revocations::new(Duration::from_secs(30));
            // A clock that is behind, or right, changes nothing.
            revocations.seen(at(90_000), at(100_000));
            revocations.seen(Timestamp::MIN, at(100_000));
            if seen_before {
                revocations.seen(at(120_000), at(100_100));
            }
            revocations.note(user("1"), revocations.at(at(101_500)));
            revocations.cover(&user("1"), at(issued_at), at(shown_at))
        };
        for (shown_at, issued_at, is_covered) in [
            // The token that was seen, at once and when its time has come.
            (101_600, 120_000, true),
            (130_000, 120_000, true),
            // Issued by the same clock after the answer.
            (122_000, 122_000, false),
            (123_000, 142_000, false),
            // Issued by a clock that is right, but while it could be the other.
            (110_000, 110_000, true),
            // A clock that is ahead even further.
            (101_600, 131_000, true),
        ] {
            assert_eq!(covered(true, shown_at, issued_at), is_covered, "{shown_at} {issued_at}");
        }
        // Nothing was known of that clock.
        assert!(covered(false, 101_600, 120_000) && covered(false, 118_000, 120_000));
        // Clocks that agree, also within a second.
        assert!(!covered(false, 102_000, 102_000) && !covered(false, 102_100, 103_000));
        // The leeway is over: it was issued after the revocation.
        assert!(!covered(false, 130_000, 135_000));
    }
}
