//! The demo generator: a notification for each of two users, again and again, through the same publisher as any other.

use std::time::Duration;

use crate::content::{Content, Fields};
use crate::notification::Audience;
use crate::publish::{Draft, Publisher};

/// The users who get one.
pub const USERS: [&str; 2] = ["1", "2"];

/// Publishes at once and then every `interval`, until it is dropped.
pub async fn run(publisher: Publisher, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for user in USERS {
            if let Err(error) = publisher.publish(draft(user)).await {
                tracing::warn!(%error, user, "the demo notification could not be published");
            }
        }
    }
}

fn draft(user: &str) -> Draft {
    let fields = Fields { message: format!("Notificación para el usuario {user}"), ..Fields::default() };
    let content = Content::parse(&fields).expect("the demo's text is valid");
    Draft::new(vec![Audience::User(user.parse().expect("the demo's users are valid"))], content).expect("one audience")
}
