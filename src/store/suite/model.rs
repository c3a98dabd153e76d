//! What users have, in the most obvious way: plain lists, and every question answered by looking through all of them.
//!
//! It is what a store is held against, so it must be believed by being read: it has at most 120 lines of code, which
//! `tests/it/tidy.rs` counts.
//!
//! **Two rules that could have been others:** a mark of all, or of all up to one, that says seen or read holds for all
//! she has up to the newest that it changes, also for what is too old to be in her inbox and may come back into it;
//! every other mark is of what is in her inbox. And what has expired can be edited and taken back until it is removed.
//!
//! Deliberately absent: positions, retention, and requests that are repeated.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{LOGGED, counted, lasts};
use crate::notification::{Audience, Interest, Notification, NotificationId, Position, UserId};
use crate::state::{Set, State};
use crate::store::{Command, Found, Item, Outcome, Selection};

/// All that has been done. Its positions are the numbers of the commands.
#[derive(Default)]
pub(super) struct Model {
    pub(super) inbox_max: usize,
    pub(super) passed_max: usize,
    /// What each user may see.
    pub(super) interests: HashMap<UserId, Interest>,
    pub(super) head: Position,
    /// What is published, in that order, and what is scheduled.
    pub(super) all: Vec<Found>,
    pub(super) states: HashMap<(UserId, NotificationId), State>,
}

impl Model {
    /// What she has, newest first.
    pub(super) fn inbox(&self, user: &UserId, at: Timestamp) -> Vec<Item> {
        self.newest(user, at, self.passed_max).take(self.inbox_max).collect()
    }

    /// The same without an end, but that so many muted or expired ones for topics and everyone are passed over at most.
    pub(super) fn newest(&self, user: &UserId, at: Timestamp, passed_max: usize) -> impl Iterator<Item = Item> {
        let (interest, mut passed) = (&self.interests[user], 0);
        self.all.iter().rev().filter_map(move |one| {
            let (notification, position) = (Arc::clone(&one.notification), one.position?);
            let own = notification.audiences.contains(&Audience::User(user.clone()));
            let included = own || passed < passed_max;
            if !included || !notification.audiences.iter().any(|audience| interest.includes(audience, position)) {
                return None;
            }
            let category = notification.content.category();
            if !lasts(&notification, at) || category.is_some_and(|category| interest.mutes(&category, position)) {
                passed += usize::from(!own);
                return None;
            }
            let state = self.states.get(&(user.clone(), notification.id)).copied().unwrap_or_default();
            Some(Item { position, notification, state })
        })
    }

    /// Publishes what is due, then forgets what has expired.
    pub(super) fn advance(&mut self, now: Timestamp) {
        let mut due: Vec<_> = self.all.extract_if(.., |one| one.due.is_some_and(|due| due <= now)).collect();
        due.sort_by_key(|one| (one.due, one.notification.id));
        for Found { notification, .. } in due.into_iter().filter(|one| lasts(&one.notification, now)) {
            self.put(Arc::new(Notification { timestamp: now, ..Notification::clone(&notification) }), None);
        }
        self.all.retain(|one| one.due.is_some() || lasts(&one.notification, now));
    }

    fn put(&mut self, new: Arc<Notification>, due: Option<Timestamp>) -> Outcome {
        self.head.0 += 1;
        let same = |old: &Notification| old.replaces == new.replaces && old.audiences == new.audiences;
        self.all.retain(|one| new.replaces.is_none() || one.due.or(due).is_some() || !same(&one.notification));
        self.all.push(Found { notification: new, position: due.is_none().then_some(self.head), due });
        due.map_or(LOGGED, |_| Outcome::Kept)
    }

    pub(super) fn apply(&mut self, command: Command, at: Timestamp) -> Outcome {
        self.head.0 += 1;
        let answer = |due: Option<Timestamp>| due.map_or(LOGGED, |_| Outcome::Kept);
        match command {
            Command::Publish(notification) => self.put(notification, None),
            Command::Schedule { notification, due } => self.put(notification, Some(due)),
            Command::Edit { id, patch } => match self.all.iter_mut().find(|one| one.notification.id == id) {
                None => Outcome::Missing,
                Some(one) => {
                    let content = one.notification.content.patched(&patch).expect("not damaged");
                    Arc::make_mut(&mut one.notification).content = content;
                    Outcome::Edited(Arc::clone(&one.notification))
                }
            },
            Command::Recall { id } => {
                let recalled = self.all.extract_if(.., |one| one.notification.id == id).next();
                recalled.map_or(Outcome::Missing, |one| answer(one.due))
            }
            Command::Mark { user, selection, set } => self.mark(&user, &selection, set, at),
            Command::Erase { user } => {
                let hers = Audience::User(user.clone());
                self.all
                    .iter_mut()
                    .for_each(|one| Arc::make_mut(&mut one.notification).audiences.retain(|a| *a != hers));
                self.all.retain(|one| !one.notification.audiences.is_empty());
                self.states.retain(|(marked_by, _), _| *marked_by != user);
                self.interests.insert(user.clone(), Interest::of(user));
                LOGGED
            }
            Command::Join { user, topics } => {
                self.change(&user, |interest, at| topics.iter().for_each(|topic| interest.join(topic, at)))
            }
            Command::Leave { user, topic } => self.change(&user, |interest, at| interest.leave(&topic, at)),
            Command::Mute { user, categories } => self.change(&user, |interest, at| interest.mute(&categories, at)),
            _ => unreachable!("no sequence does anything else"),
        }
    }

    fn change(&mut self, user: &UserId, change: impl FnOnce(&mut Interest, Position)) -> Outcome {
        let interest = self.interests.get_mut(user).expect("known");
        let before = interest.clone();
        change(interest, self.head);
        if *interest == before { Outcome::Unchanged } else { LOGGED }
    }

    fn mark(&mut self, user: &UserId, selection: &Selection, set: Set, at: Timestamp) -> Outcome {
        let (mut chosen, mut missing) = (self.inbox(user, at), Vec::new());
        if let Selection::These(ids) = selection {
            missing.extend(ids.iter().filter(|id| !chosen.iter().any(|item| item.notification.id == **id)));
            chosen.retain(|item| ids.contains(&item.notification.id));
        } else if let Selection::UpTo(id) = selection {
            let Some(first) = chosen.iter().position(|one| one.notification.id == *id) else { return Outcome::Missing };
            chosen.drain(..first);
        }
        chosen.retain(|item| item.state.set(set, at) != item.state);
        let all = set.archived.is_none() && !matches!(selection, Selection::These(_));
        let newest = chosen.first().filter(|_| all && set.read.or(set.seen) == Some(true)).map(|one| one.position);
        for Found { position, notification, .. } in self.all.iter().filter(|one| one.due.is_none()) {
            if *position <= newest || chosen.iter().any(|one| one.notification.id == notification.id) {
                let state = self.states.entry((user.clone(), notification.id)).or_default();
                *state = state.set(set, at);
            }
        }
        Outcome::Marked { counts: counted(&self.inbox(user, at)), missing }
    }
}
