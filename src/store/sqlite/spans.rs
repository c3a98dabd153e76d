//! The spans of the log during which a user mutes a category or is a member of a topic, as they are kept.
//!
//! **Invariant:** only rows that change are written, and a span that ends is kept only if something that it is about may lie
//! in it. So the rows of a user are bounded, and changing what is muted costs no more the more often it was changed before.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use rusqlite::{Connection, params};

use super::checksum::{MEMBER, MUTE};
use super::rows::whole;
use crate::notification::{MEMBERSHIPS_ENDED_MAX, Mute, Notification, Position, Topic, UserId};

/// Entries of the log that are looked at for what lies in the spans that end. A span that began before these is kept.
const ENTRIES_LOOKED_AT_MAX: usize = 500;

/// Begins a membership, in place of a damaged one. Its parameters are the user, the topic, where it begins, and nothing.
pub(super) static JOIN: LazyLock<String> = LazyLock::new(|| MEMBER.insert.replacen("INSERT", "INSERT OR REPLACE", 1));

/// Ends a membership. Its parameters are the user, the topic and where it ends.
pub(super) static LEAVE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{} WHERE user = ?1 AND topic = ?2 AND until IS NULL AND {}",
        MEMBER.update(&[("until", "?3")]),
        MEMBER.sound
    )
});

/// The spans of a user's memberships that begin after a position, or all.
pub(super) static MEMBERSHIPS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT topic, since, until FROM member WHERE user = ?1 AND (?2 IS NULL OR since > ?2) AND {}",
        MEMBER.sound
    )
});

/// Members of a topic by name, after a name, at most a number.
pub(super) static MEMBERS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT user FROM member WHERE topic = ?1 AND until IS NULL AND user > ?2 AND {}
         AND NOT EXISTS (SELECT 1 FROM erasing WHERE erasing.user = member.user AND since <= through)
         ORDER BY user LIMIT ?3",
        MEMBER.sound
    )
});

static IS_MEMBER: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT 1 FROM member WHERE topic = ?1 AND user = ?2 AND until IS NULL AND {}", MEMBER.sound)
});

/// Drops the spans that end at that position and have nothing of their category in them.
pub(super) fn drop_empty(
    connection: &Connection,
    mutes: &mut thin_vec::ThinVec<Mute>,
    ends: Position,
) -> rusqlite::Result<()> {
    let Some(begins) = mutes.iter().filter(|mute| mute.until == Some(ends)).map(|mute| mute.since).min() else {
        return Ok(());
    };
    // The newest position of each category.
    let mut newest: HashMap<String, Position> = HashMap::new();
    let mut looked_after = begins;
    let mut newest_first = connection.prepare_cached(
        "SELECT position, CASE WHEN kind = 'notified' AND json_valid(content) THEN content ->> '$.category' END
         FROM log WHERE position > ?1 ORDER BY position DESC LIMIT ?2",
    )?;
    let mut rows = newest_first.query(params![begins, whole(ENTRIES_LOOKED_AT_MAX)])?;
    let mut looked = 0;
    while let Some(row) = rows.next()? {
        looked += 1;
        let position: Position = row.get(0)?;
        if looked == ENTRIES_LOOKED_AT_MAX {
            looked_after = Position(position.0 - 1);
        }
        if let Some(category) = row.get(1)? {
            newest.entry(category).or_insert(position);
        }
    }
    mutes.retain(|mute| {
        mute.until != Some(ends)
            || mute.since < looked_after
            || newest.get(&mute.category).is_some_and(|position| *position > mute.since)
    });
    Ok(())
}

/// Deletes a membership that ends at that position if nothing was said to the topic meanwhile. Changes are looked at too:
/// of a notification that has been taken back, the removal may still be owed to the user.
pub(super) fn drop_empty_membership(
    connection: &Connection,
    user: &str,
    topic: &str,
    ends: Position,
) -> rusqlite::Result<()> {
    let audience = format!("topic:{topic}");
    connection
        .prepare_cached(
            "DELETE FROM member AS span WHERE user = ?1 AND topic = ?2 AND until = ?3
             AND NOT EXISTS (SELECT 1 FROM addressed WHERE audience = ?4 AND position > span.since AND position < ?3)
             AND NOT EXISTS (SELECT 1 FROM changed WHERE audience = ?4 AND position > span.since AND position < ?3)",
        )?
        .execute(params![user, topic, ends, audience])?;
    Ok(())
}

/// Deletes the oldest memberships that have ended, but for the newest [`MEMBERSHIPS_ENDED_MAX`]. Something was said in each of
/// those, so what lies in older ones is hardly ever among the newest notifications of the user.
pub(super) fn drop_oldest_memberships(connection: &Connection, user: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM member WHERE user = ?1 AND until <= (
                 SELECT until FROM member WHERE user = ?1 AND until IS NOT NULL ORDER BY until DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![user, whole(MEMBERSHIPS_ENDED_MAX)])?;
    Ok(())
}

/// Those of the topics that a user is not a member of, each once.
pub(super) fn not_joined(
    connection: &Connection,
    user: &UserId,
    mut topics: Vec<Topic>,
) -> rusqlite::Result<Vec<Topic>> {
    let mut known = HashSet::new();
    topics.retain(|topic| known.insert(topic.clone()));
    let mut membership = connection.prepare_cached(&IS_MEMBER)?;
    let mut new = Vec::new();
    for topic in topics {
        if !membership.exists([topic.as_str(), user.as_str()])? {
            new.push(topic);
        }
    }
    Ok(new)
}

/// How many topics a user is a member of.
pub(super) fn count_joined(connection: &Connection, user: &UserId) -> rusqlite::Result<usize> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM member WHERE user = ?1 AND until IS NULL")?
        .query_row([user.as_str()], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Notes beside its addresses that a notification is about another category now.
pub(super) fn recategorize(
    connection: &Connection,
    position: Position,
    former: &Notification,
    category: Option<&str>,
) -> rusqlite::Result<()> {
    if category == former.content.category().as_deref() {
        return Ok(());
    }
    let mut addressed =
        connection.prepare_cached("UPDATE addressed SET category = ?3 WHERE audience = ?1 AND position = ?2")?;
    for audience in &former.audiences {
        addressed.execute(params![audience.to_string(), position, category])?;
    }
    Ok(())
}

/// Writes the difference.
pub(super) fn write(connection: &Connection, user: &UserId, before: &[Mute], after: &[Mute]) -> rusqlite::Result<()> {
    let mut gone: HashMap<(&str, Position), Option<Position>> =
        before.iter().map(|mute| ((&*mute.category, mute.since), mute.until)).collect();
    let mut put = connection.prepare_cached(&format!(
        "{} ON CONFLICT DO UPDATE SET
             until = excluded.until, checksum = checksum_of('mute', user, category, since, excluded.until)",
        MUTE.insert
    ))?;
    for Mute { category, since, until } in after {
        if gone.remove(&(category, *since)) != Some(*until) {
            put.execute(params![user.as_str(), category, since, until])?;
        }
    }
    let mut remove = connection.prepare_cached("DELETE FROM mute WHERE user = ?1 AND category = ?2 AND since = ?3")?;
    for (category, since) in gone.into_keys() {
        remove.execute(params![user.as_str(), category, since])?;
    }
    Ok(())
}
