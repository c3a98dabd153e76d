//! Appends of users who are being erased. They wait until nothing of their user is left, and others' appends go on meanwhile.
//!
//! **Invariant:** what a user does after an erasure is done after it, in the order in which it was asked for. An append that
//! waits is answered when it has been done, or with the failure that keeps its user from being erased.

use std::collections::HashSet;

use rusqlite::Connection;

use super::erasing;
use super::failure::Failure;
use super::tasks::{Answer, answered};
use crate::notification::UserId;
use crate::store::{Append, Appended, Command};

/// An append, and where its answer is waited for.
type Asked = (Append, Answer<Appended>);

/// The appends that wait, in their order, each with one of its users who is being erased.
#[derive(Default)]
pub(super) struct Deferred(Vec<(UserId, Asked)>);

impl Deferred {
    /// Gives those of a batch that can be done in one commit, and keeps the others.
    pub(super) fn sort_out(&mut self, connection: &Connection, batch: Vec<Asked>) -> Vec<Asked> {
        let mut erased = HashSet::new();
        let mut now = Vec::with_capacity(batch.len());
        for asked in batch {
            let waits_for = asked.0.commands.iter().filter_map(Command::user).find(|user| {
                // What can't be read fails when the append is tried.
                erased.contains(*user) || erasing::through(connection, user).is_ok_and(|through| through.is_some())
            });
            if let Some(user) = waits_for.cloned() {
                self.0.push((user, asked));
                continue;
            }
            erased.extend(asked.0.commands.iter().filter_map(|command| match command {
                Command::Erase { user } => Some(user.clone()),
                _ => None,
            }));
            now.push(asked);
        }
        now
    }

    /// The user who is waited for first.
    pub(super) fn first(&self) -> Option<&UserId> {
        self.0.first().map(|(user, _)| user)
    }

    /// Takes those that can be done now.
    pub(super) fn take_ready(&mut self, connection: &Connection) -> Vec<Asked> {
        let all = std::mem::take(&mut self.0).into_iter().map(|(_, asked)| asked).collect();
        self.sort_out(connection, all)
    }

    /// Answers all with a failure.
    pub(super) fn refuse(&mut self, failure: Failure) {
        for (_, (_, answer)) in self.0.drain(..) {
            answered(answer, Err(failure.into()));
        }
    }
}
