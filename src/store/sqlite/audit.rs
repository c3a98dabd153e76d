//! Looks through the whole file at the start, and says what of it is damaged before anybody reads it.
//!
//! A checksum shows that a row is damaged when it is read, but not that a row is gone. So the log is held against the tables by
//! which entries are found, `addressed` and `changed`, and SQLite's `quick_check` looks at the pages. If either finds something, it
//! isn't known what is missing, so all clients are told `reset`, at each start until a backup is restored.
//!
//! Memberships are held against the entries that say who joined and left, as far back as the log reaches. If all else is whole,
//! wrong ones are made again from there, since a wrong one would show a topic to somebody else.
//!
//! Not checked: memberships that are older than the log, and `mute`; in `mark` and `watermark` a wrong value shows something as
//! read or unread, and in `once` one request is refused or done again.
//!
//! Deliberately absent: mending pages. That is for a backup.

use std::time::Instant;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::checksum::{LOG, REVOCATION, SCHEDULED, SERVER_KEY};
use super::damage::{Damaged, Damages};
use crate::notification::Position;

/// Says what is damaged. If an entry may be gone, gives the position up to which one may be.
pub(super) fn run(connection: &Connection, damages: &Damages) -> rusqlite::Result<Option<Position>> {
    let through = look(connection, damages);
    damages.say(Instant::now());
    through
}

fn note_all(damages: &Damages, found: &[Damaged]) {
    for damaged in found {
        damages.note(damaged);
    }
}

fn look(connection: &Connection, damages: &Damages) -> rusqlite::Result<Option<Position>> {
    let broken = match pages(connection) {
        Ok(said) => said,
        Err(error) => vec![Damaged::of(&error).ok_or(error)?],
    };
    note_all(damages, &broken);
    rows(connection, damages)?;
    let looked = entries(connection, damages).and_then(|through| {
        // A log that isn't whole says too little of them.
        if through.is_none() && broken.is_empty() {
            members(connection, damages)?;
        }
        Ok(through)
    });
    let through = match looked {
        Ok(through) => through,
        Err(error) => {
            damages.note(&Damaged::of(&error).ok_or(error)?);
            Some(super::head(connection)?)
        }
    };
    if broken.is_empty() { Ok(through) } else { super::head(connection).map(Some) }
}

/// Names damaged rows that no stream tells of.
fn rows(connection: &Connection, damages: &Damages) -> rusqlite::Result<()> {
    for (table, key) in [(&SCHEDULED, "id"), (&SERVER_KEY, "id"), (&REVOCATION, "user")] {
        match table.all_damaged(connection, key) {
            Ok(found) => note_all(damages, &found),
            Err(error) => damages.note(&Damaged::of(&error).ok_or(error)?),
        }
    }
    Ok(())
}

/// What SQLite says of the pages, twenty messages at most.
fn pages(connection: &Connection) -> rusqlite::Result<Vec<Damaged>> {
    let mut statement = connection.prepare("PRAGMA quick_check(20)")?;
    let said = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(said.into_iter().filter(|said| said != "ok").map(|said| Damaged(format!("the file ({said})"))).collect())
}

/// A row by which an entry is found, or should be.
fn finding(is_notified: bool, position: Position) -> Damaged {
    Damaged(format!(
        "the row for position {} of table {}",
        position.0,
        if is_notified { "addressed" } else { "changed" }
    ))
}

/// Where an entry may be gone: the last damaged one, or the newest of all if the log and these tables differ. Those are left as
/// they are: what is written into damaged pages damages others.
fn entries(connection: &Connection, damages: &Damages) -> rusqlite::Result<Option<Position>> {
    let (mut astray, through) = unfound(connection, damages)?;
    astray.extend(strays(connection)?);
    if astray.is_empty() {
        return Ok(through);
    }
    note_all(damages, &astray);
    super::head(connection).map(Some)
}

/// The rows by which entries should be found, and are not; and the last entry that is damaged.
fn unfound(connection: &Connection, damages: &Damages) -> rusqlite::Result<(Vec<Damaged>, Option<Position>)> {
    let sql = format!(
        "SELECT position, {}, kind, audiences, expires, ifnull(origin, position),
                CASE WHEN kind = 'notified' AND json_valid(content) THEN content ->> '$.category' END FROM log",
        LOG.sound
    );
    let mut entries = connection.prepare(&sql)?;
    let mut entries = entries.query([])?;
    let mut addressed = connection
        .prepare("SELECT expires IS ?3 AND category IS ?4 FROM addressed WHERE audience = ?1 AND position = ?2")?;
    let mut changed =
        connection.prepare("SELECT origin IS ?3 AND ?4 IS NULL FROM changed WHERE audience = ?1 AND position = ?2")?;
    let (mut wrong, mut through) = (Vec::new(), None);
    while let Some(row) = entries.next()? {
        let position: Position = row.get(0)?;
        if !row.get::<_, bool>(1)? {
            damages.note(&LOG.damaged(&position.0));
            through = through.max(Some(position));
            continue;
        }
        let is_notified = row.get_ref(2)?.as_str()? == "notified";
        let beside: Option<i64> = row.get(if is_notified { 4 } else { 5 })?;
        let category: Option<String> = row.get(6)?;
        let found = if is_notified { &mut addressed } else { &mut changed };
        for audience in row.get_ref(3)?.as_str()?.split(' ').filter(|audience| !audience.is_empty()) {
            let right: Option<bool> =
                found.query_row(params![audience, position, beside, category], |row| row.get(0)).optional()?;
            if right != Some(true) {
                wrong.push(finding(is_notified, position));
            }
        }
    }
    Ok((wrong, through))
}

/// Rows that lead to no entry, or to one for somebody else.
fn strays(connection: &Connection) -> rusqlite::Result<Vec<Damaged>> {
    let leads = "SELECT 1 FROM log WHERE log.position = found.position AND instr(' ' || audiences || ' ', ' ' || audience || ' ')";
    let mut strays = Vec::new();
    for (is_notified, table, of_kind) in [(true, "addressed", "="), (false, "changed", "<>")] {
        let sql =
            format!("SELECT position FROM {table} AS found WHERE NOT EXISTS ({leads} AND kind {of_kind} 'notified')");
        for stray in connection.prepare(&sql)?.query_map([], |row| Ok(finding(is_notified, row.get(0)?)))? {
            strays.push(stray?);
        }
    }
    Ok(strays)
}

/// Memberships that are not as the log says, by user and topic, and where they begin or end. What the log has no longer is
/// believed. A membership that has ended may be missing if nothing was said to its topic meanwhile: it is not kept then.
const WRONG_MEMBERS: &str = "
    WITH floor AS (SELECT trimmed FROM log_identity),
         told AS (SELECT position, kind, substr(audiences, 6) AS user, content AS topic FROM log
                  WHERE kind IN ('joined', 'left') AND substr(audiences, 6) NOT IN (SELECT user FROM erasing)),
         said AS (SELECT told.*, lag(position) OVER same AS before, lead(position) OVER same AS after FROM told
                  WINDOW same AS (PARTITION BY user, topic ORDER BY position)),
         span AS (SELECT said.*, iif(kind = 'left', position, after) AS ends,
                         iif(kind = 'joined', position, ifnull(before, max(trimmed, ifnull(through, 0)))) AS begins
                  FROM said, floor LEFT JOIN user_trimmed ON user_trimmed.user = said.user),
         doubtful AS (SELECT member.user, topic, since, until, max(trimmed, ifnull(through, 0)) AS floor
                      FROM member, floor LEFT JOIN user_trimmed ON user_trimmed.user = member.user)
    SELECT user, topic, min(at) FROM (
    SELECT user, topic, position AS at FROM span WHERE NOT EXISTS (
        SELECT 1 FROM member WHERE member.user = span.user AND member.topic = span.topic
                                   AND iif(kind = 'joined', since, until) = span.position)
        AND (ends IS NULL
             OR EXISTS (SELECT 1 FROM addressed
                        WHERE audience = 'topic:' || topic AND addressed.position > begins AND addressed.position < ends)
             OR EXISTS (SELECT 1 FROM changed
                        WHERE audience = 'topic:' || topic AND changed.position > begins AND changed.position < ends))
    UNION ALL
    SELECT user, topic, since AS at FROM doubtful
    WHERE since > floor AND NOT EXISTS (
              SELECT 1 FROM log WHERE position = since AND kind = 'joined' AND audiences = 'user:' || user AND content = topic)
       OR until > floor AND NOT EXISTS (
              SELECT 1 FROM log WHERE position = until AND kind = 'left' AND audiences = 'user:' || user AND content = topic)
    ) GROUP BY user, topic";

/// Makes memberships again that are not as the log says.
fn members(connection: &Connection, damages: &Damages) -> rusqlite::Result<()> {
    let wrong: Vec<(String, String, i64)> = connection
        .prepare(WRONG_MEMBERS)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let transaction = connection.unchecked_transaction()?;
    for (user, topic, position) in &wrong {
        damages.note(&Damaged(format!("the membership of table member that begins or ends at position {position}")));
        let floor = super::oldest_of(&transaction, user)?;
        for sql in [
            "DELETE FROM member WHERE user = ?1 AND topic = ?2 AND since > ?3",
            "UPDATE member SET until = NULL WHERE user = ?1 AND topic = ?2 AND until > ?3",
        ] {
            transaction.execute(sql, params![user, topic, floor])?;
        }
        let said = format!(
            "SELECT kind = 'joined', position FROM log
             WHERE kind IN ('joined', 'left') AND audiences = 'user:' || ?1 AND content = ?2 AND {} ORDER BY position",
            LOG.sound
        );
        let mut said = transaction.prepare(&said)?;
        let mut said = said.query(params![user, topic])?;
        while let Some(row) = said.next()? {
            let (is_joined, position): (bool, Position) = (row.get(0)?, row.get(1)?);
            let sql = if is_joined {
                "INSERT OR IGNORE INTO member (user, topic, since) VALUES (?1, ?2, ?3)"
            } else {
                "UPDATE member SET until = ?3 WHERE user = ?1 AND topic = ?2 AND until IS NULL"
            };
            transaction.execute(sql, params![user, topic, position])?;
        }
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::{Options, SqliteStore};
    use super::*;
    use crate::content::Content;
    use crate::notification::{Notification, NotificationId, Topic, UserId};
    use crate::store::{Command, Store as _};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// Mutant: call each membership wrong that the log tells of and the table has not.
    #[tokio::test]
    async fn a_membership_that_is_gone_is_made_again_unless_nothing_was_said_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let (ana, bea): (UserId, UserId) = ("ana".parse().expect("valid"), "bea".parse().expect("valid"));
        let [quiet, busy]: [Topic; 2] = ["quiet", "busy"].map(|name| name.parse().expect("valid"));
        let join = |user: &UserId, topic: &Topic| Command::Join { user: user.clone(), topic: topic.clone() };
        let leave = |user: &UserId, topic: &Topic| Command::Leave { user: user.clone(), topic: topic.clone() };
        let publish = Command::Publish(std::sync::Arc::new(Notification {
            id: NotificationId::generate(),
            timestamp: NOW,
            audiences: vec!["topic:busy".parse().expect("valid")],
            content: Content::from_stored("{\"message\":\"m\"}"),
            expires_at: None,
            replaces: None,
        }));
        let store = open();
        for command in [
            join(&ana, &quiet),
            join(&ana, &busy),
            leave(&ana, &quiet),
            publish,
            leave(&ana, &busy),
            join(&bea, &quiet),
        ] {
            store.one(NOW, command).await.expect("done");
        }
        let whole = (store.interest(&ana).await.expect("read"), store.interest(&bea).await.expect("read"));
        assert_eq!(whole.0.memberships.len(), 1, "nothing was said in the other");
        drop(store);
        let store = open();
        assert_eq!(store.options.metrics.damaged.get(), 0);
        drop(store);
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        assert_eq!(connection.execute("DELETE FROM member", []).expect("deleted"), 2);
        drop(connection);
        let store = open();
        assert_eq!(store.options.metrics.damaged.get(), 2);
        assert_eq!((store.interest(&ana).await.expect("read"), store.interest(&bea).await.expect("read")), whole);
    }
}
