//! What became of what was sent, while the store was being asked for some of it.
//!
//! **Invariant:** what an engine was told of before it gets an answer of the store is in that answer, or is put into it
//! here, or the store is asked again. So nothing is said again that had been taken back, edited or erased by then.
//!
//! Deliberately absent: anything while nobody asks.

use std::collections::VecDeque;

use super::mailbox::{Read, Told};
use super::tail::Revision;
use crate::notification::Position;

/// Most of them, and most bytes of what they say, that are kept while questions are open.
const KEPT_MAX: usize = 1024;
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Revisions since the oldest question that may be open.
#[derive(Debug, Default)]
pub(super) struct Revisions {
    /// Questions that are open.
    open: usize,
    kept: VecDeque<Revised>,
    bytes: usize,
    /// Up to here some may be missing.
    missing_through: Position,
}

#[derive(Debug)]
struct Revised {
    /// Where the log says so.
    at: Position,
    /// Which notification it is about.
    origin: Position,
    revision: Revision,
}

impl Revised {
    fn bytes(&self) -> usize {
        if let Revision::Says(says) = &self.revision { says.frame.cost() } else { 0 }
    }

    fn erases(&self, read: &Read) -> bool {
        matches!(&self.revision, Revision::Erased(user) if *user == read.interest.user)
    }
}

impl Revisions {
    /// A question more is open.
    pub(super) fn asked(&mut self) {
        self.open += 1;
    }

    /// Takes in what an entry makes of what was sent before.
    pub(super) fn note(&mut self, told: &Told) {
        if self.open == 0 || matches!(told.revision, Revision::None) {
            return;
        }
        let revised = Revised { at: told.position, origin: told.origin, revision: told.revision.clone() };
        self.bytes += revised.bytes();
        self.kept.push_back(revised);
        while self.kept.len() > KEPT_MAX || self.bytes > KEPT_BYTES_MAX {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.kept.pop_front() {
            self.bytes -= oldest.bytes();
            self.missing_through = oldest.at;
        }
    }

    /// Closes a question: brings what the store has read up to date. False if it has to be asked again.
    pub(super) fn answered(&mut self, read: &Read, told: &mut Vec<Told>) -> bool {
        let whole = read.asked_at >= self.missing_through;
        let since = self.kept.iter().rev().take_while(|revised| revised.at > read.asked_at);
        let known = whole && since.clone().all(|revised| !revised.erases(read));
        if known {
            told.retain_mut(|told| {
                let newest = since.clone().find(|revised| revised.origin == told.origin);
                match newest.map(|revised| &revised.revision) {
                    Some(Revision::Gone) => false,
                    // What an edit said is said by the newest one, which comes after this answer.
                    Some(Revision::Says(_)) if told.position != told.origin => false,
                    Some(Revision::Says(says)) => {
                        told.frame = says.frame.clone();
                        told.category.clone_from(&says.category);
                        true
                    }
                    _ => true,
                }
            });
        }
        self.open -= 1;
        if self.open == 0 {
            self.kept.clear();
            self.bytes = 0;
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::super::ConnectionId;
    use super::super::tail::tests::{frame, interest};
    use super::super::tail::{Placed, Says};
    use super::*;

    fn told(position: u64, origin: u64, revision: Revision) -> Told {
        let (position, origin) = (Position(position), Position(origin));
        Told { position, origin, expires_at: None, category: None, frame: frame(position.0), revision }
    }

    fn says(text: u64) -> Revision {
        Revision::Says(Says { frame: frame(text), category: Some("avisos".into()) })
    }

    fn read(asked_at: u64) -> Read {
        let from = ConnectionId { engine: 0, number: 0, generation: 0 };
        let (after, through, asked_at) = (Position(0), Position(10), Position(asked_at));
        Read { from, interest: interest("1"), after, through, asked_at }
    }

    /// What is given to a reader, by position and text, if the store need not be asked again.
    fn given(revisions: &mut Revisions, asked_at: u64, told: Vec<Told>) -> Option<Vec<Placed>> {
        let mut told = told;
        revisions.answered(&read(asked_at), &mut told).then(|| told.iter().map(|told| told.placed(0)).collect())
    }

    /// Mutant: give what the store has read as it was then.
    #[test]
    fn what_became_of_it_while_the_store_was_read_is_put_into_the_answer() {
        let mut revisions = Revisions::default();
        revisions.asked();
        for told in [
            told(11, 11, Revision::None),
            told(12, 1, Revision::Gone),
            told(13, 2, says(90)),
            told(14, 2, says(91)),
            told(15, 9, Revision::Erased("2".parse().expect("valid"))),
        ] {
            revisions.note(&told);
        }
        let answer = [(1, 1), (2, 2), (3, 3), (4, 2)].map(|(at, origin)| told(at, origin, Revision::None));
        let given = given(&mut revisions, 10, answer.to_vec()).expect("another user was erased");
        let given: Vec<_> =
            given.into_iter().map(|placed| (placed.position.0, placed.frame, placed.category)).collect();
        assert_eq!(given, [(2, frame(91), Some("avisos".into())), (3, frame(3), None)]);
    }

    /// Mutant: put into the answer also what it knew.
    #[test]
    fn what_the_store_knew_when_it_was_asked_is_left_as_it_is() {
        let mut revisions = Revisions::default();
        revisions.asked();
        revisions.note(&told(12, 1, says(90)));
        revisions.asked();
        let given = given(&mut revisions, 12, vec![told(1, 1, Revision::None)]).expect("known");
        assert_eq!(given[0].frame, frame(1));
    }

    #[test]
    fn the_store_is_asked_again_if_the_reader_was_erased_or_too_much_has_happened() {
        let mut revisions = Revisions::default();
        revisions.asked();
        revisions.note(&told(12, 12, Revision::Erased("1".parse().expect("valid"))));
        assert!(given(&mut revisions, 10, Vec::new()).is_none(), "erased");
        revisions.asked();
        for at in 0..=KEPT_MAX as u64 {
            revisions.note(&told(20 + at, 1, Revision::Gone));
        }
        revisions.asked();
        assert!(given(&mut revisions, 19, Vec::new()).is_none(), "the oldest is not kept");
        assert!(given(&mut revisions, 20, Vec::new()).is_some(), "it knew that one");
    }

    #[test]
    fn nothing_is_kept_while_nobody_asks_and_no_more_than_may_be() {
        let mut revisions = Revisions::default();
        revisions.note(&told(11, 1, says(90)));
        assert!(revisions.kept.is_empty());
        revisions.asked();
        for at in 0..20_000 {
            revisions.note(&told(20 + at, 1, says(90)));
            assert!(revisions.kept.len() <= KEPT_MAX && revisions.bytes <= KEPT_BYTES_MAX);
        }
        assert!(given(&mut revisions, 10, Vec::new()).is_none());
        assert!(revisions.kept.is_empty() && revisions.bytes == 0);
    }
}
