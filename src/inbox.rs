//! The inbox: what a user has, newest first, and what she has done with it.
//!
//! **Invariant:** a page and its cursor are of the same moment: a stream that goes on from the cursor misses nothing
//! and doubles nothing. A mark is in the log when it is answered, and travels to her other tabs on their streams.
//!
//! Deliberately absent: what is published ([`crate::publish`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::notification::{Interest, NotificationId, Position, Topic, UserId};
use crate::state::{Counts, Set};
use crate::store::{Command, Failing, Found, Item, Outcome, Page, Selection, Status, Store, StoreError, Wanted};

/// Most notifications on a page.
pub const PAGE_MAX: usize = 100;
/// Notifications on a page if nothing else is wanted.
pub const PAGE_DEFAULT: usize = 20;
/// Most members of a topic in one list.
pub const MEMBERS_MAX: usize = 1000;
/// Most notifications that are marked one by one.
pub const MARKED_MAX: usize = 100;

/// Most categories that a user mutes.
pub const MUTED_MAX: usize = 100;

/// What has come of a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// How many she has in each state now.
    pub counts: Counts,
    /// Those that she does not have.
    pub missing: Vec<NotificationId>,
}

/// Reads and marks what users have.
#[derive(Clone)]
pub struct Inbox {
    store: Arc<dyn Store>,
    clock: fn() -> Timestamp,
}

impl Inbox {
    /// The inboxes in that store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: fn() -> Timestamp) -> Inbox {
        Inbox { store, clock }
    }

    /// A question for the first page of all that a user has.
    #[must_use]
    pub fn first_page(&self, user: UserId) -> Wanted {
        Wanted {
            user,
            status: Status::All,
            category: None,
            topic: None,
            before: None,
            limit: PAGE_DEFAULT,
            at: (self.clock)(),
        }
    }

    /// A page of what a user has. A user of whom nothing is known has nothing.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn page(&self, wanted: Wanted) -> Result<Page, StoreError> {
        self.store.page(wanted).await
    }

    /// How many notifications a user has.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn counts(&self, user: UserId) -> Result<Counts, StoreError> {
        let nothing = Wanted { limit: 0, ..self.first_page(user) };
        self.store.page(nothing).await.map(|page| page.counts)
    }

    /// A notification as a user has it; nothing if she does not.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn item(&self, user: &UserId, id: NotificationId) -> Result<Option<Item>, StoreError> {
        self.store.item(user, id, (self.clock)()).await
    }

    /// Notes what a user has done; nothing if it is about one notification, and she does not have it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn mark(&self, user: UserId, selection: Selection, set: Set) -> Result<Option<Marks>, StoreError> {
        match self.store.one((self.clock)(), Command::Mark { user, selection, set }).await? {
            Outcome::Marked { counts, missing } => Ok(Some(Marks { counts, missing })),
            _ => Ok(None),
        }
    }

    /// The categories that a user mutes, by name.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn muted(&self, user: &UserId) -> Result<Vec<String>, StoreError> {
        let mutes = self.store.interest(user).await?.mutes;
        let open = mutes.into_iter().filter(|mute| mute.until.is_none());
        Ok(open.map(|mute| mute.category).collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Mutes these categories for a user, and no others: from here on she gets nothing that is about them.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn mute(&self, user: UserId, categories: Vec<String>) -> Result<(), StoreError> {
        self.store.one((self.clock)(), Command::Mute { user, categories }).await.map(|_| ())
    }

    /// What is known of a notification, if there is one of that id.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find(&self, id: NotificationId) -> Result<Option<Found>, StoreError> {
        self.store.find(id).await
    }

    /// What a user may see.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn interest(&self, user: &UserId) -> Result<Interest, StoreError> {
        self.store.interest(user).await
    }

    /// How much is said to an interest after a position, counted up to `limit`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn said_after(&self, interest: &Interest, after: Position, limit: usize) -> Result<usize, StoreError> {
        let (mut said, mut after) = (0, after);
        while said < limit && after < Position::END {
            match self.store.read_after(interest, after, Position::END, limit - said).await {
                Ok(slice) => (said, after) = (said + slice.entries.len(), slice.through),
                Err(StoreError::Trimmed { .. }) => return Ok(limit),
                Err(error) => return Err(error),
            }
        }
        Ok(said)
    }

    /// Members of a topic by name, after the one given, at most [`MEMBERS_MAX`].
    ///
    /// # Errors
    /// Those of the store.
    pub async fn members(&self, topic: &Topic, after: Option<UserId>) -> Result<Vec<UserId>, StoreError> {
        self.store.members(topic, after, MEMBERS_MAX).await
    }

    /// How many members each of these topics has now; see [`MEMBERS_COUNTED_MAX`](crate::store::MEMBERS_COUNTED_MAX).
    ///
    /// # Errors
    /// Those of the store.
    pub async fn member_counts(&self, topics: &[Topic]) -> Result<Vec<usize>, StoreError> {
        self.store.count_members(topics).await
    }

    /// Whether the store has stopped for good.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.store.has_stopped()
    }

    /// Fails when nothing can be stored; says which maintenance of the store fails.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn check(&self) -> Result<Vec<Failing>, StoreError> {
        self.store.check().await
    }
}
