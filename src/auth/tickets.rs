//! Tickets: each opens one stream, once, soon. A browser's own `EventSource` can send no header, and what lasts longer
//! than a minute has no business in a URL, where proxies and histories keep it.
//!
//! **Invariant:** one request at a time holds a ticket. It is used up when the stream of that request begins; if the request
//! is refused, or its stream can't begin now, it can be used again. Only its digest is kept. How many there are is bounded,
//! for a user and for all; the oldest goes first, so one user's tickets push out none of another's as long as there is room
//! for all.
//!
//! Deliberately absent: the disk. After a restart a client asks for another one, as it does whenever it comes back.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::{Trust, sha256};
use crate::notification::UserId;

/// How long a ticket may be used.
pub const TICKET_VALID: Duration = Duration::from_mins(1);
/// Most that may be allowed as unused tickets of one user: a hundredth of those of all.
pub const TICKETS_PER_USER_MAX: usize = 1000;
/// Most unused tickets of all users, at some 200 bytes each.
const TICKETS_MAX: usize = 100_000;

/// Used ones that may stand in the order of age before it is swept, beside as many as there are unused ones.
const USED_MAX: usize = 64;

type Digest = [u8; 32];

/// What a ticket gives a right to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Whose stream it opens.
    pub user: UserId,
    /// When it was given.
    pub issued_at: Timestamp,
    /// When that stream ends at the latest; nothing if a server key or nobody vouches for her.
    pub expires_at: Option<Timestamp>,
    /// That of the key that her token was signed with, if it may go away.
    pub trust: Option<Trust>,
}

/// The tickets that have not been used yet.
#[derive(Debug)]
pub struct Tickets {
    per_user_max: usize,
    unused: Shared,
}

/// The unused tickets, also as those see them who hold one.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Unused>>);

/// A ticket that a request has shown and whose stream has not begun. Nobody else can use it meanwhile. When this is dropped
/// it can be used again, until it is a minute old, unless it was [used up](Held::use_up).
#[derive(Debug)]
pub struct Held {
    unused: Shared,
    digest: Digest,
}

#[derive(Debug, Default)]
struct Unused {
    by_digest: HashMap<Digest, Ticket>,
    /// As they were given out; some may have been used.
    oldest_first: VecDeque<Digest>,
    by_user: HashMap<UserId, VecDeque<Digest>>,
}

#[derive(Debug)]
struct Ticket {
    admission: Admission,
    until: Timestamp,
    is_held: bool,
}

impl Tickets {
    /// None yet, and never more than so many of a user.
    #[must_use]
    pub fn new(per_user_max: usize) -> Tickets {
        Tickets { per_user_max, unused: Shared::default() }
    }

    /// A new ticket, 32 characters that hold 192 random bits, and until when it may be used.
    #[must_use]
    pub fn issue(&self, admission: Admission, now: Timestamp) -> (String, Timestamp) {
        let mut random = [0; 24];
        aws_lc_rs::rand::fill(&mut random).expect("the operating system has randomness");
        let secret = URL_SAFE_NO_PAD.encode(random);
        let until = now.checked_add(TICKET_VALID).unwrap_or(Timestamp::MAX);
        let until = admission.expires_at.map_or(until, |end| end.min(until));
        let mut unused = self.unused.lock();
        unused.make_room(&admission.user, self.per_user_max, now);
        unused.insert(sha256(secret.as_bytes()), Ticket { admission, until, is_held: false });
        (secret, until)
    }

    /// What a ticket gives a right to, and the ticket, which nobody else can use as long as it is held. Nothing if there is
    /// none such, somebody else holds it, it is too old, or the key of its token is gone.
    #[must_use]
    pub fn take(&self, secret: &str, now: Timestamp) -> Option<(Admission, Held)> {
        let digest = sha256(secret.as_bytes());
        let mut unused = self.unused.lock();
        let ticket = unused.by_digest.get_mut(&digest)?;
        let admission = ticket.good(now)?;
        ticket.is_held = true;
        Some((admission, Held { unused: self.unused.clone(), digest }))
    }

    /// What a ticket gives a right to; it is not taken. Nothing where [`Tickets::take`] gives nothing.
    #[must_use]
    pub fn look(&self, secret: &str, now: Timestamp) -> Option<Admission> {
        self.unused.lock().by_digest.get(&sha256(secret.as_bytes()))?.good(now)
    }
}

impl Held {
    /// Its stream begins: it opens no other one.
    pub fn use_up(&self) {
        self.unused.lock().remove(&self.digest);
    }
}

/// The stream has not begun, or the ticket is used up and no longer there.
impl Drop for Held {
    fn drop(&mut self) {
        if let Some(ticket) = self.unused.lock().by_digest.get_mut(&self.digest) {
            ticket.is_held = false;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Unused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Its admission, unless the ticket is held or too old or its token's key is gone.
    fn good(&self, now: Timestamp) -> Option<Admission> {
        let vouched = self.admission.trust.as_ref().is_none_or(Trust::holds);
        (!self.is_held && self.until > now && vouched).then(|| self.admission.clone())
    }
}

impl Unused {
    fn insert(&mut self, digest: Digest, ticket: Ticket) {
        self.oldest_first.push_back(digest);
        self.by_user.entry(ticket.admission.user.clone()).or_default().push_back(digest);
        self.by_digest.insert(digest, ticket);
    }

    fn remove(&mut self, digest: &Digest) -> Option<Ticket> {
        let ticket = self.by_digest.remove(digest)?;
        if let Some(hers) = self.by_user.get_mut(&ticket.admission.user) {
            hers.retain(|known| known != digest);
            if hers.is_empty() {
                self.by_user.remove(&ticket.admission.user);
            }
        }
        Some(ticket)
    }

    /// Lets go of what is used or too late, and of the oldest if there are too many.
    fn make_room(&mut self, user: &UserId, per_user_max: usize, now: Timestamp) {
        if let Some(hers) = self.by_user.get(user)
            && hers.len() >= per_user_max
            && let Some(oldest) = hers.front().copied()
        {
            self.remove(&oldest);
        }
        // What is used up counts for nothing: else whoever uses up many would push out the others'.
        if self.oldest_first.len() > 2 * self.by_digest.len() + USED_MAX {
            self.oldest_first.retain(|digest| self.by_digest.contains_key(digest));
        }
        while let Some(oldest) = self.oldest_first.front().copied() {
            let keep = self.by_digest.get(&oldest).is_some_and(|ticket| ticket.until > now);
            if keep && self.by_digest.len() < TICKETS_MAX {
                return;
            }
            self.remove(&oldest);
            self.oldest_first.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER_USER: usize = 32;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("in range")
    }

    fn admission(user: &str) -> Admission {
        Admission { user: user.parse().expect("valid"), issued_at: at(0), expires_at: None, trust: None }
    }

    /// Uses a ticket up.
    fn redeem(tickets: &Tickets, secret: &str, now: Timestamp) -> Option<Admission> {
        let (admission, held) = tickets.take(secret, now)?;
        held.use_up();
        Some(admission)
    }

    /// Mutants: not held; used up by whoever takes it.
    #[test]
    fn a_ticket_is_held_by_one_until_its_stream_begins_or_cannot() {
        let tickets = Tickets::new(PER_USER);
        let (ticket, _) = tickets.issue(admission("1"), at(0));
        let (admitted, held) = tickets.take(&ticket, at(1)).expect("good");
        assert_eq!(admitted, admission("1"));
        assert!(tickets.take(&ticket, at(1)).is_none(), "held by somebody else");
        assert_eq!(tickets.look(&ticket, at(1)), None);
        drop(held);
        assert_eq!(tickets.look(&ticket, at(59)), Some(admission("1")));
        assert!(tickets.take(&ticket, at(60)).is_none(), "it is no younger for it");
        let (_, held) = tickets.take(&ticket, at(59)).expect("good again");
        held.use_up();
        drop(held);
        assert!(tickets.take(&ticket, at(59)).is_none(), "used up");
        // One that made room for others while it was held does not come back.
        let (ticket, _) = tickets.issue(admission("1"), at(0));
        let (_, held) = tickets.take(&ticket, at(1)).expect("good");
        let _newer: Vec<_> = (0..PER_USER).map(|_| tickets.issue(admission("1"), at(0))).collect();
        drop(held);
        assert_eq!(tickets.look(&ticket, at(1)), None);
    }

    #[test]
    fn a_ticket_is_good_once_and_for_a_minute() {
        let tickets = Tickets::new(PER_USER);
        let (ticket, until) = tickets.issue(admission("1"), at(0));
        let (late, _) = tickets.issue(admission("1"), at(0));
        assert_eq!((ticket.len(), until), (32, at(60)));
        assert_eq!(redeem(&tickets, "another", at(1)), None);
        assert_eq!(redeem(&tickets, &ticket, at(59)), Some(admission("1")));
        assert_eq!(redeem(&tickets, &ticket, at(59)), None, "used up");
        assert_eq!(redeem(&tickets, &late, at(60)), None, "too late");
        let soon = Admission { expires_at: Some(at(10)), ..admission("1") };
        let (ticket, until) = tickets.issue(soon.clone(), at(0));
        assert_eq!(until, at(10), "no longer than what it was given for");
        assert_eq!(redeem(&tickets, &ticket, at(9)), Some(soon));
    }

    #[test]
    fn a_ticket_is_good_only_while_the_key_behind_it_is() {
        let (tickets, trust) = (Tickets::new(PER_USER), Trust::begin());
        let hers = Admission { trust: Some(trust.clone()), ..admission("1") };
        let (first, _) = tickets.issue(hers.clone(), at(0));
        let (second, _) = tickets.issue(hers.clone(), at(0));
        assert_eq!(redeem(&tickets, &first, at(1)), Some(hers));
        trust.end();
        assert_eq!(redeem(&tickets, &second, at(1)), None);
    }

    #[test]
    fn only_so_many_are_kept_and_the_oldest_goes_first() {
        let tickets = Tickets::new(PER_USER);
        let (of_another, _) = tickets.issue(admission("2"), at(0));
        let hers: Vec<String> = (0..=PER_USER).map(|_| tickets.issue(admission("1"), at(0)).0).collect();
        assert_eq!(redeem(&tickets, &hers[0], at(1)), None, "her own oldest made room");
        assert!(redeem(&tickets, &hers[1], at(1)).is_some());
        assert!(redeem(&tickets, &of_another, at(1)).is_some(), "and nobody else's");
    }

    /// Mutant: count what is used up.
    #[test]
    fn whoever_uses_up_many_pushes_out_nobody_elses() {
        let tickets = Tickets::new(PER_USER);
        let (of_another, _) = tickets.issue(admission("2"), at(0));
        for _ in 0..=TICKETS_MAX {
            let _ = tickets.issue(admission("1"), at(0));
        }
        assert!(tickets.unused.lock().oldest_first.len() <= 2 * PER_USER + USED_MAX + 4);
        assert!(redeem(&tickets, &of_another, at(1)).is_some());
    }

    #[test]
    fn what_is_used_or_too_late_leaves_nothing_behind() {
        let tickets = Tickets::new(PER_USER);
        for user in 0..100 {
            let (ticket, _) = tickets.issue(admission(&user.to_string()), at(0));
            if user % 2 == 0 {
                assert!(redeem(&tickets, &ticket, at(1)).is_some());
            }
        }
        let (last, _) = tickets.issue(admission("last"), at(61));
        let unused = tickets.unused.lock();
        assert_eq!((unused.by_digest.len(), unused.oldest_first.len(), unused.by_user.len()), (1, 1, 1));
        assert!(unused.by_digest.contains_key(&sha256(last.as_bytes())));
    }
}
