//! Notifications for the tests of all stores. A test names only what matters to it.

use std::sync::Arc;

use jiff::Timestamp;

use crate::content::{Content, Fields};
use crate::notification::{Notification, NotificationId};

/// A notification of 1970, with an id of its own; it never expires and replaces nothing.
pub(in crate::store) fn notification(audiences: &[&str], message: &str) -> Notification {
    let fields = Fields { message: message.to_owned(), ..Fields::default() };
    Notification {
        id: NotificationId::generate(),
        timestamp: Timestamp::UNIX_EPOCH,
        audiences: audiences.iter().map(|audience| audience.parse().expect("valid")).collect(),
        content: Content::parse(&fields).expect("valid"),
        expires_at: None,
        replaces: None,
    }
}

/// The same of that time, in milliseconds since 1970.
pub(super) fn notification_at(millisecond: i64, audiences: &[&str], message: &str) -> Arc<Notification> {
    let timestamp = Timestamp::from_millisecond(millisecond).expect("in range");
    Arc::new(Notification { timestamp, ..notification(audiences, message) })
}
