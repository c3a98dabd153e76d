//! The inbox: what a user has, newest first.
//!
//! **Invariant:** a page and its cursor are of the same moment: a stream that goes on from the cursor misses nothing
//! and doubles nothing.
//!
//! Deliberately absent so far: read, seen and archived.

use std::sync::Arc;

use crate::notification::{Notification, NotificationId, Topic, UserId};
use crate::store::{Page, Store, StoreError};

/// Most notifications on a page.
pub const PAGE_MAX: usize = 50;
/// Most members of a topic in one list.
pub const MEMBERS_MAX: usize = 1000;

/// Reads what users have.
#[derive(Clone)]
pub struct Inbox {
    store: Arc<dyn Store>,
}

impl Inbox {
    /// The inboxes in that store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Inbox {
        Inbox { store }
    }

    /// The newest notifications of a user. A user of whom nothing is known has none.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn newest(&self, user: &UserId) -> Result<Page, StoreError> {
        self.store.page(user, PAGE_MAX).await
    }

    /// The notification of that id, if there is one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn find(&self, id: NotificationId) -> Result<Option<Arc<Notification>>, StoreError> {
        self.store.find(id).await
    }

    /// Members of a topic by name, after the one given, at most [`MEMBERS_MAX`].
    ///
    /// # Errors
    /// Those of the store.
    pub async fn members(&self, topic: &Topic, after: Option<UserId>) -> Result<Vec<UserId>, StoreError> {
        self.store.members(topic, after, MEMBERS_MAX).await
    }

    /// Fails when nothing can be stored.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }
}
