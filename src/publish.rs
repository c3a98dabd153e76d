//! Publishing: the one way into the log.
//!
//! **Invariant:** when a function here returns `Ok`, what it reports is durable. Whoever listens is told by the store
//! itself; nothing here wakes anybody.
//!
//! Deliberately absent: HTTP, and any second path for the demo generator or another inner publisher.

use std::sync::Arc;

use jiff::{Timestamp, Unit};
use uuid::Uuid;

use crate::content::Content;
use crate::notification::{AUDIENCES_MAX, Audience, Change, Notification, NotificationId, Topic, UserId};
use crate::store::{Store, StoreError};

/// A notification that is checked but not yet published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    audiences: Vec<Audience>,
    content: Content,
}

/// Why a draft can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// It is addressed to nobody.
    #[error("must name at least one audience")]
    Nobody,
    /// It is addressed to too many at once.
    #[error("must name at most {AUDIENCES_MAX} audiences")]
    TooMany,
}

impl Draft {
    /// A draft for these audiences; one named twice counts once.
    ///
    /// # Errors
    /// When there is none, or more than [`AUDIENCES_MAX`].
    pub fn new(mut audiences: Vec<Audience>, content: Content) -> Result<Draft, DraftError> {
        let mut seen = std::collections::HashSet::with_capacity(audiences.len());
        audiences.retain(|audience| seen.insert(audience.clone()));
        match audiences.len() {
            0 => Err(DraftError::Nobody),
            1..=AUDIENCES_MAX => Ok(Draft { audiences, content }),
            _ => Err(DraftError::TooMany),
        }
    }
}

/// Puts notifications and changes of membership into the log.
#[derive(Clone)]
pub struct Publisher {
    store: Arc<dyn Store>,
    clock: fn() -> Timestamp,
}

impl Publisher {
    /// A publisher into that store, which stamps by that clock.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: fn() -> Timestamp) -> Publisher {
        Publisher { store, clock }
    }

    /// Publishes a draft: to all its audiences, or to none.
    ///
    /// # Errors
    /// Those of the store; nothing has then been published, unless the store has stopped.
    pub async fn publish(&self, draft: Draft) -> Result<Arc<Notification>, StoreError> {
        let now = (self.clock)();
        let notification = Arc::new(Notification {
            id: NotificationId(Uuid::now_v7()),
            timestamp: now.round(Unit::Millisecond).unwrap_or(now),
            audiences: draft.audiences,
            content: draft.content,
        });
        self.store.append(vec![Change::Notified(Arc::clone(&notification))]).await?;
        Ok(notification)
    }

    /// Makes a user a member of a topic; says whether she was none before.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn join(&self, user: UserId, topic: Topic) -> Result<bool, StoreError> {
        self.change(Change::Joined { user, topic }).await
    }

    /// Ends a user's membership of a topic; says whether she was a member.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn leave(&self, user: UserId, topic: Topic) -> Result<bool, StoreError> {
        self.change(Change::Left { user, topic }).await
    }

    async fn change(&self, change: Change) -> Result<bool, StoreError> {
        Ok(self.store.append(vec![change]).await?.iter().any(Option::is_some))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Fields;

    #[test]
    fn a_draft_names_each_audience_once_and_at_least_one() {
        let content = Content::parse(&Fields { message: "Hola".into(), ..Fields::default() }).expect("valid");
        let draft = |names: &[&str]| {
            let audiences = names.iter().map(|name| name.parse().expect("valid")).collect();
            Draft::new(audiences, content.clone()).map(|draft| draft.audiences.len())
        };
        assert_eq!(draft(&[]), Err(DraftError::Nobody));
        assert_eq!(draft(&["user:1", "everyone", "user:1"]), Ok(2));
        let many: Vec<String> = (0..=AUDIENCES_MAX).map(|number| format!("user:{number}")).collect();
        assert_eq!(draft(&many.iter().map(String::as_str).collect::<Vec<_>>()), Err(DraftError::TooMany));
    }
}
