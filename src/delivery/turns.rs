//! Whose streams begin next: users have their turn one after another, so that one who opens many streams delays only their own,
//! and those for whom little has to be looked at wait for none of the others.
//!
//! **Invariant:** a user whose questions are being answered waits for that before they have another turn, and whoever is
//! put back with nothing answered keeps their place before all others.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::notification::UserId;
use crate::store::Effort;

/// How often the store is asked at once. One that takes much effort leaves a connection of the store to the others.
const ASKED_WITH_LITTLE_EFFORT_MAX: usize = 2;
const ASKED_WITH_ANY_EFFORT_MAX: usize = 1;

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

/// Questions that wait to be asked with some effort.
struct Lane<T> {
    turns: Turns<T>,
    effort: Effort,
    asked_max: usize,
    asked: usize,
}

impl<T> Lane<T> {
    fn new(effort: Effort, asked_max: usize) -> Lane<T> {
        Lane { turns: Turns::default(), effort, asked_max, asked: 0 }
    }
}

/// All questions. Each is asked with little effort first.
pub(super) struct Lanes<T>([Lane<T>; 2]);

impl<T> Default for Lanes<T> {
    fn default() -> Lanes<T> {
        let quick = Lane::new(Effort::Little, ASKED_WITH_LITTLE_EFFORT_MAX);
        Lanes([quick, Lane::new(Effort::Any, ASKED_WITH_ANY_EFFORT_MAX)])
    }
}

impl<T> Lanes<T> {
    pub(super) fn wait(&mut self, user: UserId, question: T) {
        self.0[0].turns.wait(user, question);
    }

    /// Takes at most `count` questions that the store is to be asked together: their effort, their users, and themselves.
    /// Returns nothing if none waits, or if the store is being asked often enough.
    pub(super) fn take(
        &mut self,
        count: usize,
        is_wanted: impl Fn(&T) -> bool,
    ) -> Option<(Effort, Vec<UserId>, Vec<T>)> {
        self.0.iter_mut().filter(|lane| lane.asked < lane.asked_max).find_map(|lane| {
            let (users, questions) = lane.turns.take(count, &is_wanted);
            if questions.is_empty() {
                return None;
            }
            lane.asked += 1;
            Some((lane.effort, users, questions))
        })
    }

    /// Notes that the questions taken for these users were answered, except two kinds. `rest` was too much to be asked at once
    /// and keeps its place; `harder` takes more effort and waits in the other lane.
    pub(super) fn answered(
        &mut self,
        effort: Effort,
        users: Vec<UserId>,
        rest: Vec<(UserId, T)>,
        harder: Vec<(UserId, T)>,
    ) {
        let lane = &mut self.0[usize::from(effort == Effort::Any)];
        lane.asked -= 1;
        lane.turns.put_back(users, rest.into_iter());
        for (user, question) in harder {
            self.0[1].turns.wait(user, question);
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

    /// Mutant: all in one lane.
    #[test]
    fn who_takes_much_effort_delays_nobody_who_takes_little() {
        let mut lanes = Lanes::default();
        (0..4).for_each(|number| lanes.wait(user(&number.to_string()), number));
        let (effort, users, harder) = lanes.take(4, |_| true).expect("something is to be asked");
        assert_eq!((effort, &harder), (Effort::Little, &vec![0, 1, 2, 3]));
        let harder = harder.into_iter().map(|number| (user(&number.to_string()), number)).collect();
        lanes.answered(effort, users, Vec::new(), harder);
        let asked = lanes.take(2, |_| true).expect("something is to be asked");
        assert_eq!((asked.0, asked.2), (Effort::Any, vec![0, 1]));
        assert!(lanes.take(2, |_| true).is_none(), "the store is left to the others");
        lanes.wait(user("a"), 10);
        let quick = lanes.take(2, |_| true).expect("something is to be asked");
        assert_eq!((quick.0, quick.2), (Effort::Little, vec![10]));
        lanes.answered(asked.0, asked.1, vec![(user("1"), 1)], Vec::new());
        assert_eq!(lanes.take(2, |_| true).map(|(effort, _, asked)| (effort, asked)), Some((Effort::Any, vec![1, 2])));
    }
}
