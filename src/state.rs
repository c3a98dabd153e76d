//! What a user has done with what she has: seen, read, archived.
//!
//! **Invariants:** what is read has been seen. A state is changed only by [`State::set`], so every store and every page
//! agrees on what a change means.
//!
//! A change is an entry of the log, since it travels to her other tabs and devices on their streams: [`Marked`] is that
//! entry as one line of JSON, made once, kept and sent as it is.
//!
//! Deliberately absent: which notifications a user has; that is the store's to know.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// What a user has done with one notification, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// When it was first shown to her.
    pub seen_at: Option<Timestamp>,
    /// When she read it.
    pub read_at: Option<Timestamp>,
    /// When she put it away.
    pub archived_at: Option<Timestamp>,
}

/// A change of state; what is absent stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Marks, examples(json!({"read": true}), json!({"archived": true, "seen": false})))]
pub struct Set {
    /// Seen, or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<bool>,
    /// Read, or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<bool>,
    /// Archived, or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
}

impl State {
    /// The state after a change. Reading is seeing too, and what was not seen can't have been read. What is so already
    /// keeps its time.
    #[must_use]
    pub fn set(self, set: Set, at: Timestamp) -> State {
        let changed = |was: Option<Timestamp>, wanted: Option<bool>| match wanted {
            None => was,
            Some(true) => was.or(Some(at)),
            Some(false) => None,
        };
        let seen = if set.read == Some(true) { Some(true) } else { set.seen };
        let read = if set.seen == Some(false) && set.read.is_none() { Some(false) } else { set.read };
        State {
            seen_at: changed(self.seen_at, seen),
            read_at: changed(self.read_at, read),
            archived_at: changed(self.archived_at, set.archived),
        }
    }
}

/// How many of her notifications, those that are archived not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Not read.
    #[schema(examples(3))]
    pub unread: usize,
    /// Not seen.
    #[schema(examples(1))]
    pub unseen: usize,
    /// All.
    #[schema(examples(12))]
    pub total: usize,
}

impl Counts {
    /// Counts one more notification in that state.
    pub fn add(&mut self, state: &State) {
        if state.archived_at.is_none() {
            self.unread += usize::from(state.read_at.is_none());
            self.unseen += usize::from(state.seen_at.is_none());
            self.total += 1;
        }
    }
}

/// Which of her notifications a user marks, by their ids as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Which {
    /// These; absent for a mark of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<String>>,
    /// All up to this one; absent if up to the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_to: Option<String>,
}

/// That a user has marked notifications, as her streams say it: one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked(Arc<str>);

impl Marked {
    /// The JSON: `{"ids": […] or "up_to": id, "set": {…}, "at": "…", "counts": {…}}`, without both for all that she
    /// has. `counts` are those after it.
    #[must_use]
    pub fn new(which: &Which, set: Set, at: Timestamp, counts: Counts) -> Marked {
        #[derive(Serialize)]
        struct Json<'a> {
            #[serde(flatten)]
            which: &'a Which,
            set: Set,
            at: String,
            counts: Counts,
        }
        let at = format!("{at:.3}");
        Marked(serde_json::to_string(&Json { which, set, at, counts }).expect("plain structs encode").into())
    }

    /// Takes back the JSON that [`Marked::json`] gave, as the store keeps it.
    #[must_use]
    pub fn from_stored(json: &str) -> Marked {
        Marked(json.into())
    }

    /// The JSON object, one line.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: Option<Timestamp> = Some(Timestamp::UNIX_EPOCH);

    fn set(seen: Option<bool>, read: Option<bool>, archived: Option<bool>) -> Set {
        Set { seen, read, archived }
    }

    #[test]
    fn what_is_read_has_been_seen_and_what_is_unseen_has_not_been_read() {
        let now = Timestamp::from_second(1000).expect("in range");
        let late = Some(now);
        let state = |seen_at, read_at, archived_at| State { seen_at, read_at, archived_at };
        for (before, change, after) in [
            (state(None, None, None), set(None, Some(true), None), state(late, late, None)),
            (state(EARLY, None, None), set(None, Some(true), None), state(EARLY, late, None)),
            (state(EARLY, EARLY, None), set(None, Some(true), None), state(EARLY, EARLY, None)),
            (state(EARLY, EARLY, None), set(None, Some(false), None), state(EARLY, None, None)),
            (state(EARLY, EARLY, EARLY), set(Some(false), None, None), state(None, None, EARLY)),
            (state(None, None, None), set(Some(false), Some(true), None), state(late, late, None)),
            (state(None, None, None), set(None, None, Some(true)), state(None, None, late)),
            (state(None, None, EARLY), set(None, None, Some(false)), state(None, None, None)),
            (state(EARLY, None, None), Set::default(), state(EARLY, None, None)),
        ] {
            assert_eq!(before.set(change, now), after, "{before:?} {change:?}");
        }
    }

    #[test]
    fn what_is_archived_is_not_counted() {
        let mut counts = Counts::default();
        counts.add(&State::default());
        counts.add(&State { seen_at: EARLY, ..State::default() });
        counts.add(&State { seen_at: EARLY, read_at: EARLY, ..State::default() });
        counts.add(&State { archived_at: EARLY, ..State::default() });
        assert_eq!(counts, Counts { unread: 2, unseen: 1, total: 3 });
    }

    #[test]
    fn a_mark_says_only_what_it_changes() {
        let read = set(None, Some(true), None);
        let counts = Counts { unread: 1, unseen: 0, total: 2 };
        let (ids, up_to) = (Some(vec!["a".into()]), Some("b".into()));
        for (which, wanted) in [
            (Which { ids, up_to: None }, r#"{"ids":["a"],"#),
            (Which { ids: None, up_to }, r#"{"up_to":"b","#),
            (Which::default(), "{"),
        ] {
            let rest =
                r#""set":{"read":true},"at":"1970-01-01T00:00:00.000Z","counts":{"unread":1,"unseen":0,"total":2}}"#;
            let marked = Marked::new(&which, read, Timestamp::UNIX_EPOCH, counts);
            assert_eq!(marked.json(), format!("{wanted}{rest}"));
        }
    }
}
