//! Which users may have too many entries: those for whom there were many since they were last looked at.
//!
//! **Invariant:** memory is bounded, and no user's count is lost. When there are too many users to count, each is looked at
//! before its count is dropped: one for each further entry, so a flood of users costs the writer one look an entry.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::notification::{Audience, Change, Entry, UserId};

/// Entries for one user after which it is looked whether they have too many.
const ENTRIES_BETWEEN_LOOKS: u32 = 100;
/// Users whose entries are counted at once, at some 100 bytes each. As many again may wait to be looked at.
const USERS_COUNTED_MAX: usize = 50_000;

#[derive(Debug, Default)]
pub(super) struct Counted {
    entries: HashMap<UserId, u32>,
    /// Users whose count has made room for others'.
    displaced: Vec<UserId>,
    /// Users to look at now, each once.
    due: VecDeque<UserId>,
    is_due: HashSet<UserId>,
}

impl Counted {
    /// Counts entries for the users whom they concern: those whom they are addressed to, and whoever joins or leaves a topic.
    pub(super) fn count_all(&mut self, entries: &[Entry]) {
        for entry in entries {
            if let Change::Joined { user, .. } | Change::Left { user, .. } = &entry.change {
                self.count(user);
            }
            for audience in entry.change.audiences() {
                let Audience::User(user) = audience else { continue };
                self.count(&user);
            }
        }
    }

    /// Counts an entry for a user.
    fn count(&mut self, user: &UserId) {
        if let Some(user) = self.displaced.pop() {
            self.put_back(user);
        }
        if let Some(count) = self.entries.get_mut(user) {
            *count += 1;
            if *count == ENTRIES_BETWEEN_LOOKS {
                self.entries.remove(user);
                self.put_back(user.clone());
            }
            return;
        }
        if self.entries.len() == USERS_COUNTED_MAX {
            // Those of the last time have been looked at: it took as many entries to fill the table again.
            self.displaced.extend(self.entries.drain().map(|(user, _)| user));
        }
        self.entries.insert(user.clone(), 1);
    }

    /// A user who may have too many.
    pub(super) fn take_due(&mut self) -> Option<UserId> {
        let user = self.due.pop_front()?;
        self.is_due.remove(&user);
        Some(user)
    }

    /// Notes that a user may have too many, or still has. The others who are due have their turn first.
    pub(super) fn put_back(&mut self, user: UserId) {
        if self.is_due.insert(user.clone()) {
            self.due.push_back(user);
        }
    }

    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> UserId {
        number.to_string().parse().expect("valid")
    }

    #[test]
    fn a_user_is_looked_at_after_so_many_entries() {
        let mut counted = Counted::default();
        (1..ENTRIES_BETWEEN_LOOKS).for_each(|_| counted.count(&user(1)));
        counted.count(&user(2));
        assert_eq!(counted.take_due(), None);
        counted.count(&user(1));
        assert_eq!((counted.take_due(), counted.entries.len()), (Some(user(1)), 1));
        assert_eq!(counted.take_due(), None);
    }

    /// Mutant: when there are too many users, their counts are dropped.
    #[test]
    fn no_user_escapes_the_look_among_many_others() {
        let mut counted = Counted::default();
        let users = 2 * USERS_COUNTED_MAX + 1;
        let mut looks = vec![0; users];
        for number in (0..4).flat_map(|_| 0..users) {
            counted.count(&user(number));
            let due: Vec<UserId> = std::iter::from_fn(|| counted.take_due()).collect();
            assert!(due.len() <= 2 && counted.displaced.len() <= USERS_COUNTED_MAX, "one look for one entry, or two");
            for user in due {
                looks[user.as_str().parse::<usize>().expect("a number")] += 1;
            }
        }
        assert!(looks.iter().all(|looks| *looks >= 1), "each was looked at, though none had {ENTRIES_BETWEEN_LOOKS}");
        assert!(counted.entries.len() <= USERS_COUNTED_MAX);
    }
}
