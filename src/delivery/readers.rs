//! Who listens on one engine: users, their connections, and the topics that they are members of.
//!
//! A reader is a user with at least one connection here; all her connections share one [`Interest`].
//!
//! **Invariant:** a reader's interest holds every change of membership from the position at which she was registered
//! on, and, once the store's answer has come, all before. The answer may be older or newer than the changes seen
//! since: while one is awaited the changes are kept, and applied again on top of it.
//!
//! Deliberately absent: cursors and sockets; connections are only numbers here.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

use super::growth;
use crate::notification::{Audience, Change, Interest, Position, Topic, UserId};

/// The readers of one engine.
#[derive(Debug, Default)]
pub(super) struct Readers {
    all: Slab<Reader>,
    /// Numbers of readers by the hash of their user, whose id stands only in the interest.
    by_user: HashTable<u32>,
    by_topic: HashMap<Topic, HashSet<u32>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Reader {
    interest: Interest,
    connections: SmallVec<[u32; 4]>,
    /// There while answers of the store are awaited; boxed, since nearly always there are none.
    awaiting: Option<Box<Awaiting>>,
}

/// What is kept until the store has answered.
#[derive(Debug, Default)]
struct Awaiting {
    answers: u32,
    /// Changes of membership since the first answer was asked for.
    changes: Vec<(Position, Change)>,
}

impl Readers {
    /// Registers a connection of a user, for whom the store has been asked; gives the reader's number.
    pub(super) fn register(&mut self, user: &UserId, connection: u32) -> u32 {
        let number = self.number_of(user).unwrap_or_else(|| self.insert(user));
        let reader = self.reader_mut(number);
        reader.connections.push(connection);
        reader.awaiting.get_or_insert_default().answers += 1;
        number
    }

    fn number_of(&self, user: &UserId) -> Option<u32> {
        let is_hers = |number: &u32| self.reader(*number).interest.user == *user;
        self.by_user.find(self.hasher.hash_one(user), is_hers).copied()
    }

    fn insert(&mut self, user: &UserId) -> u32 {
        if self.all.len() == self.all.capacity() {
            self.all.reserve_exact(growth(self.all.len()));
        }
        let number = self.all.insert(Reader {
            interest: Interest::of(user.clone()),
            connections: SmallVec::new(),
            awaiting: None,
        });
        let number = u32::try_from(number).expect("fewer readers than descriptors");
        let (all, hasher) = (&self.all, &self.hasher);
        let hash = |number: &u32| hasher.hash_one(&all[*number as usize].interest.user);
        self.by_user.insert_unique(hasher.hash_one(user), number, hash);
        number
    }

    fn reader(&self, number: u32) -> &Reader {
        &self.all[number as usize]
    }

    fn reader_mut(&mut self, number: u32) -> &mut Reader {
        &mut self.all[number as usize]
    }

    /// The store has answered for a connection of the reader.
    pub(super) fn opened(&mut self, number: u32, stored: Interest) {
        let reader = &mut self.all[number as usize];
        reader.interest.merge(stored);
        for (position, change) in reader.awaiting.iter().flat_map(|awaiting| &awaiting.changes) {
            apply(&mut reader.interest, *position, change);
        }
        for membership in &reader.interest.memberships {
            enter(&mut self.by_topic, &membership.topic, number);
        }
        self.forget_oldest_memberships(number);
        self.no_longer_opening(number);
    }

    /// The store will not answer for a connection of the reader.
    pub(super) fn no_longer_opening(&mut self, number: u32) {
        let awaiting = &mut self.reader_mut(number).awaiting;
        if let Some(kept) = awaiting {
            kept.answers -= 1;
            if kept.answers == 0 {
                *awaiting = None;
            }
        }
    }

    /// Forgets a connection, and the reader with her last one.
    pub(super) fn unregister(&mut self, number: u32, connection: u32) {
        let reader = self.reader_mut(number);
        reader.connections.retain(|known| *known != connection);
        if !reader.connections.is_empty() {
            return;
        }
        let hash = self.hasher.hash_one(&self.reader(number).interest.user);
        if let Ok(entry) = self.by_user.find_entry(hash, |known| *known == number) {
            entry.remove();
        }
        let reader = self.all.remove(number as usize);
        for membership in &reader.interest.memberships {
            leave(&mut self.by_topic, &membership.topic, number);
        }
    }

    /// How many connections a user has.
    pub(super) fn count_of(&self, user: &UserId) -> usize {
        self.number_of(user).map_or(0, |number| self.reader(number).connections.len())
    }

    /// Gives the connections of a user.
    pub(super) fn connections_of(&self, user: &UserId) -> impl Iterator<Item = usize> {
        let reader = self.number_of(user).map(|number| self.reader(number));
        reader.into_iter().flat_map(|reader| reader.connections.iter().map(|connection| *connection as usize))
    }

    /// Takes in a change of what somebody may see or wants.
    pub(super) fn change(&mut self, position: Position, change: &Change) {
        let (Change::Joined { user, .. }
        | Change::Left { user, .. }
        | Change::Muted { user, .. }
        | Change::Erased { user }) = change
        else {
            return;
        };
        let Some(number) = self.number_of(user) else { return };
        let reader = &mut self.all[number as usize];
        if matches!(change, Change::Erased { .. }) {
            for membership in &reader.interest.memberships {
                leave(&mut self.by_topic, &membership.topic, number);
            }
        }
        apply(&mut reader.interest, position, change);
        if let Some(awaiting) = &mut reader.awaiting {
            awaiting.changes.push((position, change.clone()));
        }
        // Whoever leaves stays in the topic's list: what was published before may still be owed to her. A topic of which
        // the interest has no span is not entered: nobody would take it out again.
        if let Change::Joined { topic, .. } | Change::Left { topic, .. } = change
            && reader.interest.memberships.iter().any(|membership| membership.topic == *topic)
        {
            enter(&mut self.by_topic, topic, number);
        }
        self.forget_oldest_memberships(number);
    }

    /// Keeps a reader who joins and leaves again and again from growing.
    fn forget_oldest_memberships(&mut self, number: u32) {
        for topic in self.reader_mut(number).interest.forget_oldest_memberships() {
            leave(&mut self.by_topic, &topic, number);
        }
    }

    /// What a reader may see.
    pub(super) fn interest(&self, number: u32) -> &Interest {
        &self.reader(number).interest
    }

    /// Calls `wake` for each connection to which an entry for `audience` may matter, except for everyone.
    pub(super) fn listening(&self, audience: &Audience, mut wake: impl FnMut(u32)) {
        let wake_all = |number: &u32| self.reader(*number).connections.iter().for_each(|c| wake(*c));
        match audience {
            Audience::User(user) => self.number_of(user).iter().for_each(wake_all),
            Audience::Topic(topic) => self.by_topic.get(topic).into_iter().flatten().for_each(wake_all),
            Audience::Everyone => {}
        }
    }
}

fn apply(interest: &mut Interest, position: Position, change: &Change) {
    match change {
        Change::Joined { topic, .. } => interest.join(topic, position),
        Change::Left { topic, .. } => interest.leave(topic, position),
        Change::Muted { categories, .. } => interest.mute(categories, position),
        Change::Erased { .. } => interest.erase(position),
        _ => {}
    }
}

fn enter(by_topic: &mut HashMap<Topic, HashSet<u32>>, topic: &Topic, number: u32) {
    by_topic.entry(topic.clone()).or_default().insert(number);
}

fn leave(by_topic: &mut HashMap<Topic, HashSet<u32>>, topic: &Topic, number: u32) {
    if let Some(readers) = by_topic.get_mut(topic) {
        readers.remove(&number);
        if readers.is_empty() {
            by_topic.remove(topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::{MEMBERSHIPS_ENDED_MAX, Membership};

    fn user() -> UserId {
        "1".parse().expect("valid")
    }

    fn topic() -> Topic {
        "t".parse().expect("valid")
    }

    fn joined() -> Change {
        Change::Joined { user: user(), topic: topic() }
    }

    fn left() -> Change {
        Change::Left { user: user(), topic: topic() }
    }

    fn stored(spans: &[(u64, Option<u64>)]) -> Interest {
        let memberships = spans
            .iter()
            .map(|(since, until)| Membership { topic: topic(), since: Position(*since), until: until.map(Position) })
            .collect();
        Interest { memberships, ..Interest::of(user()) }
    }

    fn seen(readers: &Readers, number: u32) -> Vec<u64> {
        let audience = Audience::Topic(topic());
        (0..40).filter(|at| readers.interest(number).includes(&audience, Position(*at))).collect()
    }

    /// Registered at 10. Joined at 15, left at 20, joined at 30; the store answers as of each moment from 10 on.
    /// Mutant: apply changes only when they come, not again on top of the answer.
    #[test]
    fn the_stores_answer_may_be_older_or_newer_than_the_changes_seen() {
        let changes = [(15, joined()), (20, left()), (30, joined())];
        let answers: [&[(u64, Option<u64>)]; 4] =
            [&[], &[(15, None)], &[(15, Some(20))], &[(15, Some(20)), (30, None)]];
        for (answer_holds, answer) in answers.into_iter().enumerate() {
            for seen_before in 0..=changes.len() {
                let mut readers = Readers::default();
                let number = readers.register(&user(), 7);
                for (at, change) in &changes[..seen_before] {
                    readers.change(Position(*at), change);
                }
                readers.opened(number, stored(answer));
                for (at, change) in &changes[seen_before..] {
                    readers.change(Position(*at), change);
                }
                let wanted: Vec<u64> = (16..20).chain(31..40).collect();
                assert_eq!(seen(&readers, number), wanted, "answer of {answer_holds}, {seen_before} seen before it");
            }
        }
    }

    /// A member since before she connected leaves while the store is being asked.
    #[test]
    fn leaving_while_the_store_answers_is_not_forgotten() {
        let mut readers = Readers::default();
        let number = readers.register(&user(), 7);
        readers.change(Position(20), &left());
        readers.opened(number, stored(&[(5, None)]));
        assert_eq!(seen(&readers, number), (6..20).collect::<Vec<u64>>());
    }

    /// The store's answer may have her memberships still, or those that she has had since.
    #[test]
    fn an_erased_reader_has_only_what_she_joined_since() {
        for (changes_first, answer) in [(true, vec![(5, None)]), (true, vec![(30, None)]), (false, vec![(5, None)])] {
            let mut readers = Readers::default();
            let number = readers.register(&user(), 7);
            let changes = [(20, Change::Erased { user: user() }), (30, joined())];
            let change = |readers: &mut Readers| changes.iter().for_each(|(at, c)| readers.change(Position(*at), c));
            if changes_first {
                change(&mut readers);
            }
            readers.opened(number, stored(&answer));
            if !changes_first {
                change(&mut readers);
            }
            assert_eq!(seen(&readers, number), (31..40).collect::<Vec<u64>>(), "{answer:?}");
            readers.unregister(number, 7);
            assert!(readers.by_topic.is_empty(), "{answer:?}");
        }
    }

    /// Mutant: keep them all.
    #[test]
    fn a_reader_who_joins_and_leaves_again_and_again_does_not_grow() {
        let mut readers = Readers::default();
        let number = readers.register(&user(), 7);
        readers.opened(number, stored(&[(1, Some(2))]));
        let many = u64::try_from(MEMBERSHIPS_ENDED_MAX).expect("few") + 10;
        for round in 0..many {
            let topic: Topic = format!("t{}", round % 600).parse().expect("valid");
            readers.change(Position(10 * round + 10), &Change::Joined { user: user(), topic: topic.clone() });
            readers.change(Position(10 * round + 15), &Change::Left { user: user(), topic });
        }
        let memberships = &readers.interest(number).memberships;
        assert_eq!(memberships.len(), MEMBERSHIPS_ENDED_MAX);
        assert_eq!(memberships.iter().map(|of| of.since).min(), Some(Position(110)), "the newest are kept");
        assert_eq!(readers.by_topic.len(), 600, "that of which none is left is gone");
        readers.unregister(number, 7);
        assert!(readers.by_topic.is_empty());
    }

    /// Mutant: enter a topic of which the interest has no span.
    #[test]
    fn whoever_goes_before_the_store_answers_leaves_nothing_behind() {
        let mut readers = Readers::default();
        let number = readers.register(&user(), 7);
        readers.change(Position(20), &left());
        readers.no_longer_opening(number);
        readers.unregister(number, 7);
        readers.listening(&Audience::Topic(topic()), |_| panic!("nobody listens"));
        assert!(readers.by_topic.is_empty() && readers.by_user.is_empty() && readers.all.is_empty());
    }

    #[test]
    fn each_connection_is_woken_once_for_what_may_matter_to_it() {
        let mut readers = Readers::default();
        let number = readers.register(&user(), 7);
        assert_eq!(readers.register(&user(), 8), number, "one reader for all her tabs");
        readers.opened(number, stored(&[(5, None)]));
        readers.opened(number, stored(&[(5, None)]));
        readers.register(&"2".parse().expect("valid"), 9);
        let woken = |readers: &Readers, audience| {
            let mut woken = Vec::new();
            readers.listening(&audience, |connection| woken.push(connection));
            woken
        };
        assert_eq!(woken(&readers, Audience::User(user())), [7, 8]);
        assert_eq!(woken(&readers, Audience::Topic(topic())), [7, 8]);
        readers.unregister(number, 7);
        assert_eq!(woken(&readers, Audience::Topic(topic())), [8]);
        readers.unregister(number, 8);
        assert!(woken(&readers, Audience::Topic(topic())).is_empty());
        assert!(woken(&readers, Audience::User(user())).is_empty());
        assert!(readers.by_topic.is_empty() && readers.by_user.len() == 1);
    }
}
