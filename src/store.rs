//! The truth: one durable log of every notification and every change, in one order.
//!
//! **Invariants**
//! * `Ok` from [`Store::append`] means durable: the entries survive the loss of power.
//! * Once a position has been shown, to a reader or to the [`Follower`], no lower one appears later, nor the same again.
//! * Entries become readable first, then the follower is told of them, then the append is answered.
//! * Everything given to one call of [`Store::append`] becomes durable together or not at all.
//!
//! Every backend passes the same suite, `store/suite.rs`. Deliberately absent: frames, connections, HTTP.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::auth::keys::{KeptKey, KeyId};
use crate::auth::tokens::own::TokenSecret;
use crate::content::Patch;
use crate::event_id::Seal;
use crate::notification::{Entry, Interest, Notification, NotificationId, Position, Topic, UserId};
use crate::state::{Counts, Set, State};

pub mod sqlite;
#[cfg(test)]
mod suite;

/// Bytes of contents after which a reader gets what it has so far: of an inbox, of what a stream missed, of a poll. Else one who
/// is slow could hold some megabytes.
pub const BYTES_PER_READ: usize = 256 * 1024;

/// Up to how many members of a topic are counted.
pub const MEMBERS_COUNTED_MAX: usize = 1000;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space is left. Nothing was stored; later appends succeed once there is space.
    #[error("the disk is full")]
    Full,
    /// Nothing was stored: the store has stopped, since what it wrote before may not have reached the disk. Only a
    /// restart, which reads what is really there, helps.
    #[error("the store has stopped after a failed write")]
    Stopped,
    /// It may have been stored, or not, and the store has stopped. Only a restart helps, and shows which.
    #[error("a write failed, and what reached the disk is unknown")]
    Unknown,
    /// What stands after the position has been removed in part.
    #[error("the entries up to {} have been removed", .oldest.0)]
    Trimmed {
        /// Everything after this position is still there.
        oldest: Position,
    },
    /// What was to be read or changed is not as it was written. Everything else goes on.
    #[error("the store's file is damaged there")]
    Damaged(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It could not be read or written this time.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What is asked of the log, to be done together or not at all.
#[derive(Clone, Debug)]
pub struct Append {
    /// When.
    pub at: Timestamp,
    /// What, in this order.
    pub commands: Vec<Command>,
    /// If it may have been asked before.
    pub once: Option<Once>,
}

/// What a request that may come again is known by. The keys of one owner are none of another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// The name of the server key that it was sent with; empty for the one that the server was started with.
    pub owner: String,
    /// What the client calls the request.
    pub key: String,
}

/// Makes a repeated request one: the first stores the answer that all of them get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// What the request is known by.
    pub key: RequestKey,
    /// A digest of the request: the same key with another request is a mistake.
    pub fingerprint: [u8; 32],
    /// What the first one is answered.
    pub answer: String,
}

/// How a request was answered when it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// A digest of the request.
    pub fingerprint: [u8; 32],
    /// The answer.
    pub answer: String,
}

impl Answered {
    /// What comes of a request with the same key and that fingerprint.
    #[must_use]
    pub fn again(self, fingerprint: &[u8; 32]) -> Appended {
        if self.fingerprint == *fingerprint { Appended::Repeated(self.answer) } else { Appended::KeyReused }
    }
}

/// One thing that is asked of the log.
#[derive(Clone, Debug)]
pub enum Command {
    /// Publish, in place of what it replaces.
    Publish(Arc<Notification>),
    /// Publish at that time, stamped with the time at which it then happens.
    Schedule {
        /// What.
        notification: Arc<Notification>,
        /// When.
        due: Timestamp,
    },
    /// Change some of what a notification says, whether it is published or not yet due.
    Edit {
        /// Which.
        id: NotificationId,
        /// What of it. What it says by then is read in the commit, so no other edit is undone.
        patch: Patch,
    },
    /// Take a notification back, whether it is published or not yet due.
    Recall {
        /// Which.
        id: NotificationId,
    },
    /// Note what a user has done with what she has.
    Mark {
        /// Who.
        user: UserId,
        /// With which.
        selection: Selection,
        /// What.
        set: Set,
    },
    /// Mute these categories for a user, and no others.
    Mute {
        /// Who.
        user: UserId,
        /// The categories, each once.
        categories: Vec<String>,
    },
    /// Forget all that is a user's: her own notifications, marks and memberships.
    Erase {
        /// Whose.
        user: UserId,
    },
    /// Make a user a member of topics: of all of them, or of none if that were too many.
    Join {
        /// The user.
        user: UserId,
        /// The topics.
        topics: Vec<Topic>,
    },
    /// End a user's membership of a topic.
    Leave {
        /// The user.
        user: UserId,
        /// The topic.
        topic: Topic,
    },
    /// All that a user has been given until now, tokens, sessions, tickets, is over; and so are her streams.
    Revoke {
        /// The user.
        user: UserId,
        /// Credentials with an `iat` up to this time are refused.
        through: Timestamp,
    },
    /// Keep a server key.
    KeepKey(KeptKey),
    /// Sign user tokens with another secret.
    RotateSecret {
        /// The secret that signs from now on.
        new: TokenSecret,
        /// When tokens signed with the one before are refused; a time that is not in the future deletes all older secrets.
        until: Timestamp,
    },
    /// Keep a server key no longer.
    ForgetKey {
        /// Which.
        id: KeyId,
        /// Only if another key with `admin` lasts as long, or this is none.
        leaves_admin: bool,
    },
}

impl Command {
    /// Whose it is, if it is about one user.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::Mark { user, .. }
            | Self::Mute { user, .. }
            | Self::Erase { user }
            | Self::Join { user, .. }
            | Self::Leave { user, .. }
            | Self::Revoke { user, .. } => Some(user),
            Self::Publish(_)
            | Self::Schedule { .. }
            | Self::Edit { .. }
            | Self::Recall { .. }
            | Self::KeepKey(_)
            | Self::RotateSecret { .. }
            | Self::ForgetKey { .. } => None,
        }
    }

    /// Whether it takes away or marks, so that it has to work on a full disk too; as has a new secret, without which nobody
    /// could read.
    #[must_use]
    pub fn works_on_a_full_disk(&self) -> bool {
        match self {
            Self::Recall { .. }
            | Self::Mark { .. }
            | Self::Mute { .. }
            | Self::Erase { .. }
            | Self::Leave { .. }
            | Self::Revoke { .. }
            | Self::RotateSecret { .. }
            | Self::ForgetKey { .. } => true,
            Self::Publish(_) | Self::Schedule { .. } | Self::Edit { .. } | Self::Join { .. } | Self::KeepKey(_) => {
                false
            }
        }
    }
}

/// Which of her notifications a user marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// These.
    These(Vec<NotificationId>),
    /// All up to this one: what arrives meanwhile stays as it is.
    UpTo(NotificationId),
    /// All.
    All,
}

/// What has come of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The log says so from that position on; the last one, if it says several things.
    Logged(Position),
    /// It is stored. The log says nothing of it, or will say so when it is due.
    Kept,
    /// It was so already.
    Unchanged,
    /// The notification says so now, whether or not it did before.
    Edited(Arc<Notification>),
    /// As many are kept already as may be.
    TooMany,
    /// No other key that may do everything lasts as long, and it is kept.
    LastAdmin,
    /// There is no such notification, or not for that user; or no such key.
    Missing,
    /// What a user has now is counted so.
    Marked {
        /// The counts.
        counts: Counts,
        /// Those of the selection that she does not have.
        missing: Vec<NotificationId>,
    },
}

/// What has come of an [`Append`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is durable; what has come of each command, in order.
    Done(Vec<Outcome>),
    /// It had been done before: nothing has been done now, and this is the answer of that time.
    Repeated(String),
    /// Another request had the same key: nothing has been done.
    KeyReused,
}

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
    /// The time, for what expires.
    pub at: Timestamp,
}

/// How much is to be looked at for an answer of [`Store::open_within`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// What most take.
    Little,
    /// Whatever it takes, within the store's own bounds.
    Any,
}

/// What a reader's stream has to know when it opens.
#[derive(Clone, Debug)]
pub struct Opening {
    /// What she may see.
    pub interest: Interest,
    /// How many notifications she has.
    pub counts: Counts,
    /// The end of the log at that moment.
    pub head: Position,
    /// Everything for her after this position is still there.
    pub oldest: Position,
    /// Position up to which entries can't be given because the store is damaged; the start of the log if none.
    pub damaged: Position,
    /// The last position before the time asked for, if one was.
    pub since: Option<Position>,
    /// When all that she had been given was revoked, if ever.
    pub revoked_at: Option<Timestamp>,
}

/// Part of a reader's log.
#[derive(Clone, Debug)]
pub struct Slice {
    /// What her streams say, rising. What has been removed or has expired since is not there.
    pub entries: Vec<Entry>,
    /// Everything for this reader up to here has been given.
    pub through: Position,
}

/// Which of a user's notifications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Those that are not archived.
    #[default]
    All,
    /// Those neither read nor archived.
    Unread,
    /// Those that are read and not archived.
    Read,
    /// Those that are archived.
    Archived,
}

impl Status {
    /// The names on the wire, in the order of the variants.
    pub const NAMES: [&'static str; 4] = ["all", "unread", "read", "archived"];

    /// The status of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Status> {
        let all = [Self::All, Self::Unread, Self::Read, Self::Archived].into_iter().zip(Self::NAMES);
        all.into_iter().find_map(|(status, known)| (known == name).then_some(status))
    }

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Whether a notification in that state is one of them.
    #[must_use]
    pub fn includes(self, state: &State) -> bool {
        let (archived, read) = (state.archived_at.is_some(), state.read_at.is_some());
        match self {
            Self::All => !archived,
            Self::Unread => !archived && !read,
            Self::Read => !archived && read,
            Self::Archived => archived,
        }
    }
}

/// A question for a page of what a user has.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Who.
    pub user: UserId,
    /// In which state.
    pub status: Status,
    /// Of which category, if only of one.
    pub category: Option<String>,
    /// Published to which topic, if only to one.
    pub topic: Option<Topic>,
    /// Older than this position, if it is not the first page.
    pub before: Option<Position>,
    /// How many; there are fewer on a page if they are large.
    pub limit: usize,
    /// The time, for what expires.
    pub at: Timestamp,
}

/// A notification that a user has, and what she has done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it stands in the log.
    pub position: Position,
    /// What was published.
    pub notification: Arc<Notification>,
    /// What she has done with it.
    pub state: State,
}

/// A page of what a user has, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The notifications, falling.
    pub items: Vec<Item>,
    /// Whether there are older ones of that kind.
    pub more: bool,
    /// How many she has, whatever was asked for.
    pub counts: Counts,
    /// The end of the log at the same moment: a stream from here misses nothing and doubles nothing.
    pub head: Position,
}

/// What is known of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// As it stands.
    pub notification: Arc<Notification>,
    /// Where in the log, once it is published.
    pub position: Option<Position>,
    /// When it is to be published, if that is still to come.
    pub due: Option<Timestamp>,
}

/// Work of a store that failed the last time that it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Its name: `checkpoint`, `trim`, `trim_user`, `expire`, `erase`, `vacuum`, `scrub`, `head`; or
    /// `publish`, as long as there is too little space for it.
    pub work: &'static str,
    /// Whether it fails for want of space, or for a lock of another process, so that the store can be read as ever.
    pub passes: bool,
}

/// Is told of every entry, in order, as soon as it is durable.
pub trait Follower: Send + Sync {
    /// The log goes on after `before` with these entries, through `through`; called from one thread at a time.
    fn committed(&self, before: Position, entries: &[Entry], through: Position);

    /// The log no longer has what stands up to `through`; called from the same thread.
    fn trimmed(&self, through: Position);
}

/// A durable log.
#[async_trait]
pub trait Store: Send + Sync {
    /// The identity of the log's positions.
    fn seal(&self) -> Seal;

    /// Does what is asked, all or none, and says what has come of it.
    async fn append(&self, append: Append) -> Result<Appended, StoreError>;

    /// The same for one command that is not repeated.
    async fn one(&self, at: Timestamp, command: Command) -> Result<Outcome, StoreError> {
        match self.append(Append { at, commands: vec![command], once: None }).await? {
            Appended::Done(outcomes) => Ok(outcomes.into_iter().next().expect("each command has an outcome")),
            Appended::Repeated(_) | Appended::KeyReused => unreachable!("it has no key"),
        }
    }

    /// How a request of that key has been answered, if it is still remembered. Only [`Store::append`] tells for sure that
    /// nobody else is answering it.
    async fn answered(&self, key: &RequestKey) -> Result<Option<Answered>, StoreError>;

    /// Tells `follower` first of the last entries, then of every later one.
    async fn follow(&self, follower: Arc<dyn Follower>, backlog: Backlog) -> Result<(), StoreError>;

    /// What streams have to know, in the order in which they are asked for. All see one moment of the log. When much has to
    /// be looked at, the answer has fewer than were asked for, but at least the first; the others are to be asked for again.
    /// There is nothing in place of one that would take more than [`Effort::Little`] if that is given.
    async fn open_within(&self, asked: Vec<Asked>, effort: Effort) -> Result<Vec<Option<Opening>>, StoreError>;

    /// The same with [`Effort::Any`].
    async fn open(&self, asked: Vec<Asked>) -> Result<Vec<Opening>, StoreError> {
        Ok(self.open_within(asked, Effort::Any).await?.into_iter().flatten().collect())
    }

    /// What is said to that interest after `after` and not beyond `through`, at most `limit`, and fewer if they are large. If
    /// some of it has been removed by retention, that is the error [`StoreError::Trimmed`].
    async fn read_after(
        &self,
        interest: &Interest,
        after: Position,
        through: Position,
        limit: usize,
    ) -> Result<Slice, StoreError>;

    /// A page of what a user has.
    async fn page(&self, wanted: Wanted) -> Result<Page, StoreError>;

    /// A notification as one user has it; nothing if she does not.
    async fn item(&self, user: &UserId, id: NotificationId, at: Timestamp) -> Result<Option<Item>, StoreError>;

    /// The notification of that id, also one that is not yet due.
    async fn find(&self, id: NotificationId) -> Result<Option<Found>, StoreError>;

    /// What a user may see.
    async fn interest(&self, user: &UserId) -> Result<Interest, StoreError>;

    /// Members of a topic in the order of their names, after `after`, at most `limit`.
    async fn members(&self, topic: &Topic, after: Option<UserId>, limit: usize) -> Result<Vec<UserId>, StoreError>;

    /// How many members each of these topics has, at most [`MEMBERS_COUNTED_MAX`].
    async fn count_members(&self, topics: &[Topic]) -> Result<Vec<usize>, StoreError>;

    /// When all that a user had been given was revoked, for every user for whom it ever was.
    async fn revocations(&self) -> Result<Vec<(UserId, Timestamp)>, StoreError>;

    /// The server keys, as they were made.
    async fn keys(&self) -> Result<Vec<KeptKey>, StoreError>;

    /// The server's own secrets for user tokens, as they were made.
    async fn token_secrets(&self) -> Result<Vec<TokenSecret>, StoreError>;

    /// Publishes some of what is due, and removes some of what has expired; says when there is more to do.
    async fn advance(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// The log's own time: not later than `now`, and behind it as long as the wall clock has gone ahead faster than time
    /// passed. What is deleted for its age is deleted by it.
    async fn log_time(&self, now: Timestamp) -> Result<Timestamp, StoreError>;

    /// Removes some of the entries older than that time, and says whether more are left. The newest entry stays, so
    /// that positions never start again.
    async fn trim(&self, older_than: Timestamp) -> Result<bool, StoreError>;

    /// Whether it has stopped for good, so that only a restart helps.
    fn has_stopped(&self) -> bool;

    /// Fails when the store has stopped; says which maintenance fails.
    async fn check(&self) -> Result<Vec<Failing>, StoreError>;
}

/// Does work to its end even if the caller is dropped, as a request is when its client goes away.
///
/// For a change of the store that memory has to follow: a caller dropped between the two would leave them different until
/// a restart.
///
/// # Errors
/// Those of the work; [`StoreError::Unknown`] if the runtime shuts down first.
pub async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Unknown),
        },
    }
}
