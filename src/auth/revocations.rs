//! Revocations: what users had been given by then, tokens, sessions and tickets, is refused.
//!
//! **Invariant:** what may have been issued before a revocation is covered by it. A token says in whole seconds when it was
//! issued, so all of the second of a revocation counts as before; and so does what does not say when.
//!
//! Deliberately absent: the disk ([`crate::access`] has both), and an end. Nobody knows how long the tokens last that others
//! sign, so a revocation stays: some 100 bytes for each user for whom there ever was one.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use jiff::Timestamp;

use crate::notification::UserId;

/// Whether a revocation covers what was issued then.
#[must_use]
pub fn covers(revoked_at: Timestamp, issued_at: Timestamp) -> bool {
    issued_at.as_second() <= revoked_at.as_second()
}

/// The last revocation of each user for whom there ever was one.
#[derive(Debug, Default)]
pub struct Revocations {
    by_user: RwLock<HashMap<UserId, Timestamp>>,
}

impl Revocations {
    /// Notes that all is refused that the user had been given by then.
    pub fn note(&self, user: UserId, at: Timestamp) {
        let mut by_user = self.by_user.write().unwrap_or_else(PoisonError::into_inner);
        let known = by_user.entry(user).or_insert(at);
        *known = at.max(*known);
    }

    /// Whether what was issued to a user then is refused.
    #[must_use]
    pub fn cover(&self, user: &UserId, issued_at: Timestamp) -> bool {
        let by_user = self.by_user.read().unwrap_or_else(PoisonError::into_inner);
        by_user.get(user).is_some_and(|revoked_at| covers(*revoked_at, issued_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutant: what was issued in the same second passes.
    #[test]
    fn what_may_have_been_issued_before_a_revocation_is_covered_by_it() {
        let at = |millisecond| Timestamp::from_millisecond(millisecond).expect("in range");
        let user = |id: &str| id.parse::<UserId>().expect("valid");
        let revocations = Revocations::default();
        assert!(!revocations.cover(&user("1"), Timestamp::UNIX_EPOCH));
        revocations.note(user("1"), at(5_400));
        // A clock that has been set back takes nothing back.
        revocations.note(user("1"), at(3_000));
        for (issued_at, covered) in [(0, true), (5_000, true), (5_999, true), (6_000, false)] {
            assert_eq!(revocations.cover(&user("1"), at(issued_at)), covered, "{issued_at}");
        }
        assert!(!revocations.cover(&user("2"), at(0)));
    }
}
