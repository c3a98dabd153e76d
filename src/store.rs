//! The truth: one durable log of every notification and every change, in one order.
//!
//! **Invariants**
//! * `Ok` from [`Store::append`] means durable: the entries survive the loss of power.
//! * Once a position has been shown, to a reader or to the [`Follower`], no lower one appears later.
//! * Entries become readable first, then the follower is told of them, then the append is answered.
//! * Everything given to one call of [`Store::append`] becomes durable together or not at all.
//!
//! Every backend passes the same suite, `store/suite.rs`. Deliberately absent: frames, connections, HTTP.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::event_id::Seal;
use crate::notification::{Change, Entry, Interest, Notification, NotificationId, Position, Topic, UserId};

pub mod sqlite;
#[cfg(test)]
mod suite;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space is left. Nothing was stored; later appends succeed once there is space.
    #[error("the disk is full")]
    Full,
    /// The store has stopped taking entries, since what it wrote may not have reached the disk. Only a restart,
    /// which reads what is really there, helps.
    #[error("the store has stopped after a failed write")]
    Stopped,
    /// What stands after the position has been removed in part.
    #[error("the entries up to {} have been removed", .oldest.0)]
    Trimmed {
        /// Everything after this position is still there.
        oldest: Position,
    },
    /// It could not be read or written this time.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Up to where unread notifications are counted: the cost of opening a stream must not grow with what a user has.
pub const UNREAD_MAX: usize = 1000;

/// How much of the log a follower is told of first.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// Most entries.
    pub entries: usize,
    /// Most bytes of content.
    pub bytes: usize,
}

/// A question of [`Store::open`].
#[derive(Clone, Debug)]
pub struct Asked {
    /// Whose stream opens.
    pub user: UserId,
    /// A time whose position is wanted.
    pub since: Option<Timestamp>,
}

/// What a reader's stream has to know when it opens.
#[derive(Clone, Debug)]
pub struct Opening {
    /// What she may see.
    pub interest: Interest,
    /// How many notifications she has not read, [`UNREAD_MAX`] at most.
    pub unread: usize,
    /// The end of the log at that moment.
    pub head: Position,
    /// Everything after this position is still there.
    pub oldest: Position,
    /// The last position before the time asked for, if one was.
    pub since: Option<Position>,
}

/// Part of a reader's log.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Notifications with their positions, rising.
    pub notifications: Vec<(Position, Arc<Notification>)>,
    /// Everything for this reader up to here has been given.
    pub through: Position,
}

/// A page of what a user has, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// Notifications with their positions, falling.
    pub notifications: Vec<(Position, Arc<Notification>)>,
    /// The end of the log at the same moment: a stream from here misses nothing and doubles nothing.
    pub head: Position,
}

/// Is told of every entry, in order, as soon as it is durable.
pub trait Follower: Send + Sync {
    /// The log goes on after `before` with these entries; called from one thread at a time.
    fn committed(&self, before: Position, entries: &[Entry]);
}

/// A durable log.
#[async_trait]
pub trait Store: Send + Sync {
    /// The identity of the log's positions.
    fn seal(&self) -> Seal;

    /// Appends changes, all or none, and gives the position of each. A change that changes nothing (joining a topic
    /// again, leaving one that was not joined) has no position.
    async fn append(&self, changes: Vec<Change>) -> Result<Vec<Option<Position>>, StoreError>;

    /// Tells `follower` first of the last entries, then of every later one.
    async fn follow(&self, follower: Arc<dyn Follower>, backlog: Backlog) -> Result<(), StoreError>;

    /// What streams have to know, in the order in which they are asked for. All see one moment of the log.
    async fn open(&self, asked: Vec<Asked>) -> Result<Vec<Opening>, StoreError>;

    /// Notifications of that interest after `after` and not beyond `through`, at most `limit`. If some of them have been
    /// removed, that is the error [`StoreError::Trimmed`].
    async fn read_after(
        &self,
        interest: &Interest,
        after: Position,
        through: Position,
        limit: usize,
    ) -> Result<Slice, StoreError>;

    /// The newest notifications of a user, at most `limit`.
    async fn page(&self, user: &UserId, limit: usize) -> Result<Page, StoreError>;

    /// The notification of that id.
    async fn find(&self, id: NotificationId) -> Result<Option<Arc<Notification>>, StoreError>;

    /// Members of a topic in the order of their names, after `after`, at most `limit`.
    async fn members(&self, topic: &Topic, after: Option<UserId>, limit: usize) -> Result<Vec<UserId>, StoreError>;

    /// Removes some of the entries older than that time, and says whether more are left. The newest entry stays, so
    /// that positions never start again.
    async fn trim(&self, older_than: Timestamp) -> Result<bool, StoreError>;

    /// Fails when the store has stopped.
    async fn check(&self) -> Result<(), StoreError>;
}
