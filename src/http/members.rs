//! How many members the topics have that something was published to: whoever publishes to nobody learns of it.
//!
//! It is said beside the answer that is remembered for a repeated request: then, too, it is how many there are now.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::App;
use super::request::encoded;
use crate::notification::{Audience, Topic};

/// The part of a receipt that says to whom it went.
#[derive(Deserialize)]
struct Addressed<'a> {
    #[serde(borrow)]
    to: To<'a>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum To<'a> {
    One(#[serde(borrow)] Cow<'a, str>),
    Many(Vec<String>),
}

/// Adds to receipts how many members their topics have. Without it they are right too, so it is left out if the store can't say.
pub(super) async fn count(app: &App, receipts: Vec<String>) -> Vec<String> {
    let of_each: Vec<Vec<Topic>> = receipts.iter().map(|receipt| topics(receipt)).collect();
    let mut all: Vec<Topic> = of_each.iter().flatten().cloned().collect();
    all.sort_unstable();
    all.dedup();
    if all.is_empty() {
        return receipts;
    }
    let Ok(counts) = app.inbox.member_counts(&all).await else { return receipts };
    let counts: BTreeMap<Topic, usize> = all.into_iter().zip(counts).collect();
    receipts.into_iter().zip(of_each).map(|(receipt, topics)| with(receipt, &topics, &counts)).collect()
}

/// The topics among those to whom something went.
fn topics(receipt: &str) -> Vec<Topic> {
    // Most receipts name none.
    if !receipt.contains("\"topic:") {
        return Vec::new();
    }
    let to = match serde_json::from_str(receipt) {
        Ok(Addressed { to: To::One(one) }) => vec![one.into_owned()],
        Ok(Addressed { to: To::Many(several) }) => several,
        Err(_) => Vec::new(),
    };
    let topic = |audience: &String| match audience.parse() {
        Ok(Audience::Topic(topic)) => Some(topic),
        _ => None,
    };
    to.iter().filter_map(topic).collect()
}

fn with(receipt: String, topics: &[Topic], counts: &BTreeMap<Topic, usize>) -> String {
    match receipt.strip_suffix('}') {
        Some(open) if !topics.is_empty() => {
            let members: BTreeMap<&str, usize> =
                topics.iter().filter_map(|topic| Some((topic.as_str(), *counts.get(topic)?))).collect();
            format!("{open},\"members\":{}}}", encoded(&members))
        }
        _ => receipt,
    }
}
