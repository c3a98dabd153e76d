//! How many members topics have: counted when it is asked for, and known until it changes.
//!
//! **Invariant:** what is known is what a count would say now, or at the last commit that is not yet answered. A count that a
//! commit has overtaken is not kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, params};

use super::readers::Readers;
use super::rows::whole;
use crate::notification::{Change, Entry, Topic};
use crate::store::{MEMBERS_COUNTED_MAX, StoreError};

/// Topics of which it is known. Beyond, all are counted anew.
const KNOWN_MAX: usize = 10_000;

/// Goes over an index, and no further than it counts.
const COUNT: &str = "SELECT count(*) FROM (
    SELECT 1 FROM member WHERE topic = ?1 AND until IS NULL
    AND NOT EXISTS (SELECT 1 FROM erasing WHERE erasing.user = member.user AND since <= through)
    LIMIT ?2)";

/// The counts that are known.
#[derive(Clone, Default)]
pub(super) struct MemberCounts(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// How many commits have changed who is a member of what.
    changes: u64,
    counts: HashMap<Topic, usize>,
}

/// What is known of some topics, and what is not.
struct Looked {
    /// For each topic its count, if it is known.
    counts: Vec<Option<usize>>,
    /// How many changes there had been.
    changes: u64,
}

impl MemberCounts {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many members each of these topics has now.
    pub(super) async fn of(&self, topics: &[Topic], readers: &Readers) -> Result<Vec<usize>, StoreError> {
        let looked = self.look(topics);
        let unknown: Vec<Topic> = topics
            .iter()
            .zip(&looked.counts)
            .filter(|(_, count)| count.is_none())
            .map(|(topic, _)| topic.clone())
            .collect();
        let mut counted = Vec::new();
        if !unknown.is_empty() {
            let count_all = move |connection: &Connection| {
                unknown.into_iter().map(|topic| Ok((count(connection, &topic)?, topic))).collect()
            };
            let pairs: Vec<(usize, Topic)> = readers.read(count_all).await?;
            counted = pairs.iter().map(|(count, _)| *count).collect();
            self.note(&looked, pairs);
        }
        let mut counted = counted.into_iter();
        Ok(looked.counts.into_iter().map(|known| known.or_else(|| counted.next()).unwrap_or_default()).collect())
    }

    fn look(&self, topics: &[Topic]) -> Looked {
        let known = self.known();
        let counts = topics.iter().map(|topic| known.counts.get(topic).copied()).collect();
        Looked { counts, changes: known.changes }
    }

    /// Takes what was counted after a look, unless a commit may have changed it since.
    fn note(&self, looked: &Looked, counted: Vec<(usize, Topic)>) {
        let mut known = self.known();
        if known.changes == looked.changes {
            if known.counts.len() >= KNOWN_MAX {
                known.counts.clear();
            }
            known.counts.extend(counted.into_iter().map(|(count, topic)| (topic, count)));
        }
    }

    /// Forgets what a commit has changed.
    pub(super) fn committed(&self, entries: &[Entry]) {
        for entry in entries {
            match &entry.change {
                Change::Joined { topic, .. } | Change::Left { topic, .. } => {
                    let mut known = self.known();
                    known.changes += 1;
                    known.counts.remove(topic);
                }
                Change::Erased { .. } => {
                    let mut known = self.known();
                    known.changes += 1;
                    known.counts.clear();
                }
                _ => {}
            }
        }
    }
}

/// How many members a topic has, at most [`MEMBERS_COUNTED_MAX`].
fn count(connection: &Connection, topic: &Topic) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(COUNT)?
        .query_row(params![topic.as_str(), whole(MEMBERS_COUNTED_MAX)], |row| row.get::<_, i64>(0))
        .map(|count| usize::try_from(count).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::Position;

    fn topic(name: &str) -> Topic {
        name.parse().expect("valid")
    }

    fn change(change: Change) -> Entry {
        Entry { position: Position(1), origin: Position(1), change }
    }

    /// Mutant: what was counted is kept whatever has happened meanwhile.
    #[test]
    fn a_count_is_known_until_its_topic_changes_and_not_kept_if_that_happens_while_it_is_counted() {
        let counts = MemberCounts::default();
        let topics = [topic("a"), topic("b")];
        let user = || "1".parse().expect("valid");
        let looked = counts.look(&topics);
        assert_eq!(looked.counts, [None, None]);
        counts.note(&looked, vec![(1, topic("a")), (2, topic("b"))]);
        assert_eq!(counts.look(&topics).counts, [Some(1), Some(2)]);
        counts.committed(&[change(Change::Revoked { user: user() })]);
        assert_eq!(counts.look(&topics).counts, [Some(1), Some(2)], "that is about no topic");
        counts.committed(&[change(Change::Joined { user: user(), topic: topic("a") })]);
        let looked = counts.look(&topics);
        assert_eq!(looked.counts, [None, Some(2)]);
        counts.committed(&[change(Change::Left { user: user(), topic: topic("a") })]);
        counts.note(&looked, vec![(2, topic("a"))]);
        assert_eq!(counts.look(&topics).counts, [None, Some(2)], "she left while it was counted");
        counts.committed(&[change(Change::Erased { user: user() })]);
        assert_eq!(counts.look(&topics).counts, [None, None]);
    }

    #[test]
    fn counting_goes_over_an_index() {
        let mut connection = Connection::open_in_memory().expect("opens");
        super::super::schema::prepare(&mut connection).expect("prepared");
        let plan: Vec<String> = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {COUNT}"))
            .expect("valid")
            .query_map(params!["a", 10], |row| row.get(3))
            .expect("planned")
            .collect::<rusqlite::Result<_>>()
            .expect("read");
        assert!(plan.iter().any(|step| step.contains("USING INDEX member_now (topic=?)")), "{plan:?}");
    }
}
