//! Whose streams begin next: users have their turn one after another, so that one who opens many streams delays only their own.
//!
//! **Invariant:** a user whose questions are being answered waits for that before they have another turn, and whoever is
//! put back with nothing answered keeps their place before all others.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::notification::UserId;

/// Questions of one user in one turn. They have the same answer, so they cost little more than one.
const PER_TURN_MAX: usize = 16;

/// Questions that wait, by user.
pub(super) struct Turns<T> {
    waiting: HashMap<UserId, VecDeque<T>>,
    /// Users that wait and have nothing under way, each once.
    next: VecDeque<UserId>,
    under_way: HashSet<UserId>,
}

impl<T> Default for Turns<T> {
    fn default() -> Turns<T> {
        Turns { waiting: HashMap::new(), next: VecDeque::new(), under_way: HashSet::new() }
    }
}

impl<T> Turns<T> {
    pub(super) fn wait(&mut self, user: UserId, question: T) {
        let waiting = self.waiting.entry(user.clone()).or_default();
        if waiting.is_empty() && !self.under_way.contains(&user) {
            self.next.push_back(user);
        }
        waiting.push_back(question);
    }

    /// Takes at most `count` of those that are still wanted, and the users whose they are. The others are dropped.
    pub(super) fn take(&mut self, count: usize, is_wanted: impl Fn(&T) -> bool) -> (Vec<UserId>, Vec<T>) {
        let (mut users, mut taken) = (Vec::new(), Vec::new());
        while taken.len() < count
            && let Some(user) = self.next.pop_front()
        {
            let waiting = self.waiting.get_mut(&user).map(std::mem::take).unwrap_or_default();
            let mut waiting: VecDeque<T> = waiting.into_iter().filter(&is_wanted).collect();
            let first = waiting.len().min(PER_TURN_MAX).min(count - taken.len());
            taken.extend(waiting.drain(..first));
            if waiting.is_empty() {
                self.waiting.remove(&user);
            } else {
                self.waiting.insert(user.clone(), waiting);
            }
            if first > 0 {
                self.under_way.insert(user.clone());
                users.push(user);
            }
        }
        (users, taken)
    }

    /// What was taken for these users has been answered, but for the rest.
    pub(super) fn put_back(&mut self, users: Vec<UserId>, rest: impl DoubleEndedIterator<Item = (UserId, T)>) {
        let mut first = Vec::new();
        for (user, question) in rest.rev() {
            self.waiting.entry(user.clone()).or_default().push_front(question);
            if first.last() != Some(&user) {
                first.push(user);
            }
        }
        for user in users {
            self.under_way.remove(&user);
            if self.waiting.contains_key(&user) && !first.contains(&user) {
                self.next.push_back(user);
            }
        }
        for user in first {
            self.next.push_front(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        id.parse().expect("valid")
    }

    /// Mutant: first come, first served.
    #[test]
    fn one_user_with_many_streams_delays_nobody_elses_beginning() {
        let mut turns = Turns::default();
        (0..600).for_each(|number| turns.wait(user("a"), number));
        let (first, taken) = turns.take(256, |_| true);
        assert_eq!(taken, (0..PER_TURN_MAX).collect::<Vec<_>>());
        turns.wait(user("a"), 600);
        turns.wait(user("b"), 1000);
        let (second, taken) = turns.take(256, |_| true);
        assert_eq!(taken, [1000], "one user's questions are under way once");
        turns.put_back(first, std::iter::empty());
        turns.put_back(second, std::iter::empty());
        turns.wait(user("c"), 2000);
        assert_eq!(turns.take(256, |_| true).1.last(), Some(&2000));
    }

    /// Mutant: ask for all.
    #[test]
    fn questions_of_connections_that_are_gone_are_dropped() {
        let mut turns = Turns::default();
        (0..600).for_each(|number| turns.wait(user("a"), number));
        let (users, taken) = turns.take(256, |number| *number == 599);
        assert_eq!((users, taken), (vec![user("a")], vec![599]));
        turns.put_back(vec![user("a")], std::iter::empty());
        assert!(turns.take(256, |_| true).1.is_empty() && turns.waiting.is_empty() && turns.under_way.is_empty());
    }

    #[test]
    fn whoever_is_not_answered_keeps_their_place() {
        let mut turns = Turns::default();
        for (number, id) in ["a", "b", "b", "c", "d"].into_iter().enumerate() {
            turns.wait(user(id), number);
        }
        let (users, taken) = turns.take(4, |_| true);
        assert_eq!(taken, [0, 1, 2, 3]);
        turns.put_back(users, vec![(user("b"), 2), (user("c"), 3)].into_iter());
        assert_eq!(turns.take(4, |_| true).1, [2, 3, 4]);
    }
}
