//! Looks through the file at the start, and says what of it is damaged before anybody reads it.
//!
//! A checksum shows that a row is damaged when it is read, but not that a row is gone. So the log is held against the
//! tables by which entries are found, `addressed` and `changed`, and SQLite's `integrity_check` looks at pages and indexes.
//! If either finds something, it isn't known what is missing, so all clients are told `reset`, at each start until a backup
//! is restored.
//!
//! All that takes some seconds for a million entries. Of a long log only the newest entries are looked at before the start,
//! and whether they are found; the rest is looked at while the server serves, by [`older`].
//!
//! Memberships are held against the entries that say who joined and left, as far back as the log reaches. If all else is
//! whole, wrong ones are made again from there, since a wrong one would show a topic to somebody else.
//!
//! Rows of other tables have checksums. Tables with more rows than entries are looked at before the start are looked at by
//! [`older`] as well. A damaged row that what readers are owed depends on is removed once all are told, so that this happens once.
//!
//! Not checked: whether a membership that is older than the log is missing; in `mark` and `watermark` a wrong value shows something as read or unread, and in `once` one request is
//! refused or done again.
//!
//! Deliberately absent: mending pages. That is for a backup.

use std::sync::LazyLock;
use std::time::Instant;

use rusqlite::types::{Null, Value};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::checksum::{
    ERASING, LOG, MEMBER, MUTE, REVOCATION, RowKey, SCHEDULED, SERVER_KEY, TOKEN_SECRET, Table, USER_TRIMMED,
};
use super::damage::{Damaged, Damages};
use super::rows::whole;
use super::{erasing, spans};
use crate::notification::{MEMBERSHIPS_ENDED_MAX, Position};

pub(super) mod older;

/// What a look has come to.
pub(super) struct Looked {
    /// Up to where an entry may be gone, if one may be.
    pub(super) through: Option<Position>,
    /// Up to where it has not looked yet, if the log is long.
    pub(super) older: Option<Position>,
    /// Of which tables it has looked at no row yet, since they are long.
    pub(super) tables: Vec<&'static Kept>,
}

/// A table whose rows no stream tells of.
pub(super) struct Kept {
    table: &'static LazyLock<Table>,
    /// How many of its columns, the first ones, are its key.
    keys: usize,
    /// Whether what readers are owed depends on it.
    is_owed: bool,
}

static KEPT: [Kept; 8] = [
    Kept { table: &SCHEDULED, keys: 1, is_owed: false },
    Kept { table: &SERVER_KEY, keys: 1, is_owed: false },
    Kept { table: &TOKEN_SECRET, keys: 1, is_owed: false },
    Kept { table: &REVOCATION, keys: 1, is_owed: false },
    Kept { table: &ERASING, keys: 1, is_owed: false },
    Kept { table: &USER_TRIMMED, keys: 1, is_owed: true },
    Kept { table: &MUTE, keys: 3, is_owed: true },
    Kept { table: &MEMBER, keys: 3, is_owed: true },
];

/// Says what is damaged: of a log of no more than `entries_max` all, of a longer one the newest.
pub(super) fn run(connection: &Connection, damages: &Damages, entries_max: usize) -> rusqlite::Result<Looked> {
    let looked = look(connection, damages, entries_max);
    damages.say(Instant::now());
    looked
}

fn note_all(damages: &Damages, found: &[Damaged]) {
    for damaged in found {
        damages.note(damaged);
    }
}

fn look(connection: &Connection, damages: &Damages, entries_max: usize) -> rusqlite::Result<Looked> {
    let (lost, tables) = rows(connection, damages, entries_max)?;
    let looked = log(connection, damages, entries_max)?;
    let through = if lost { Some(super::head(connection)?) } else { looked.0 };
    Ok(Looked { through, older: looked.1, tables })
}

/// Looks at the log: gives up to where an entry may be gone, and up to where it has not looked yet.
fn log(
    connection: &Connection,
    damages: &Damages,
    entries_max: usize,
) -> rusqlite::Result<(Option<Position>, Option<Position>)> {
    let older = connection
        .prepare("SELECT position FROM log ORDER BY position DESC LIMIT 1 OFFSET ?1")?
        .query_row([whole(entries_max)], |row| row.get(0))
        .optional();
    let looked = match older {
        Ok(None) => return Ok((all(connection, damages)?, None)),
        Ok(Some(older)) => entries(connection, damages, older, false).map(|through| (through, Some(older))),
        Err(error) => Err(error),
    };
    looked.or_else(|error| {
        damages.note(&Damaged::of(&error).ok_or(error)?);
        Ok((Some(super::head(connection)?), None))
    })
}

/// Looks at the pages and at all entries and memberships.
fn all(connection: &Connection, damages: &Damages) -> rusqlite::Result<Option<Position>> {
    let broken = match pages(connection) {
        Ok(said) => said,
        Err(error) => vec![Damaged::of(&error).ok_or(error)?],
    };
    note_all(damages, &broken);
    let looked = entries(connection, damages, Position(0), true).and_then(|through| {
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

/// Names damaged rows that no stream tells of, of tables with no more than so many. Says whether what readers are owed is not
/// known any more, and which tables are longer.
fn rows(connection: &Connection, damages: &Damages, rows_max: usize) -> rusqlite::Result<(bool, Vec<&'static Kept>)> {
    let (mut lost, mut longer) = (false, Vec::new());
    for kept in &KEPT {
        match kept.look(connection, damages, rows_max) {
            Ok(Some(is_lost)) => lost |= is_lost,
            Ok(None) => longer.push(kept),
            Err(error) => {
                damages.note(&Damaged::of(&error).ok_or(error)?);
                lost |= kept.is_owed;
            }
        }
    }
    Ok((lost, longer))
}

impl Kept {
    fn is(&self, table: &'static LazyLock<Table>) -> bool {
        std::ptr::eq(self.table, table)
    }

    /// Notes rows that are damaged.
    fn note(&self, damages: &Damages, keys: &[RowKey]) {
        for key in keys {
            let name = match &key[0] {
                Value::Text(text) => text.clone(),
                _ => String::new(),
            };
            damages.note(&self.table.damaged(&name));
        }
    }

    /// Looks at all rows if there are no more than so many: says whether what readers are owed is not known any more.
    fn look(&self, connection: &Connection, damages: &Damages, rows_max: usize) -> rusqlite::Result<Option<bool>> {
        let mut rows_max = rows_max;
        if self.is(&ERASING) {
            // Few as a rule; and the log, which says who is being erased, is looked through only before the start.
            rows_max = ROWS_MAX;
        } else if self.table.has_more_than(connection, rows_max)? {
            return Ok(None);
        }
        let (found, _) = self.table.damaged_after(connection, self.keys, None, rows_max)?;
        self.note(damages, &found);
        if self.is(&SCHEDULED) {
            let (missing, _) = scheduled_users(connection, damages, "", rows_max)?;
            note_users(connection, &missing)?;
        }
        if found.is_empty() {
            return Ok(Some(false));
        }
        if self.is_owed {
            // Nobody is owed by them any more, once all are told.
            self.table.delete_damaged(connection)?;
        } else if self.is(&ERASING) {
            erasing::make_again(connection)?;
        }
        Ok(Some(self.is_owed))
    }
}

/// A user of a scheduled notification, and its id.
type ScheduledFor = (String, String);

/// As many rows as there can be.
const ROWS_MAX: usize = usize::MAX / 2;

/// The users of scheduled notifications after an id, of so many at most, by whom these are not found, with the ids; and the
/// last id.
fn scheduled_users(
    connection: &Connection,
    damages: &Damages,
    after: &str,
    limit: usize,
) -> rusqlite::Result<(Vec<ScheduledFor>, Option<String>)> {
    let slice = "FROM scheduled WHERE id > ?1 ORDER BY id LIMIT ?2";
    let last: Option<String> = connection
        .prepare_cached(&format!("SELECT max(id) FROM (SELECT id {slice})"))?
        .query_row(params![after, whole(limit)], |row| row.get(0))?;
    let sql = format!(
        "SELECT DISTINCT substr(value, 6), kept
         FROM (SELECT id AS kept, audiences FROM (SELECT * {slice}) WHERE {}) AS sound,
              json_each('[' || replace(json_quote(audiences), ' ', '\",\"') || ']')
         WHERE substr(value, 1, 5) = 'user:'
           AND NOT EXISTS (SELECT 1 FROM scheduled_user WHERE user = substr(value, 6) AND scheduled_user.id = kept)",
        SCHEDULED.sound
    );
    let missing: Vec<ScheduledFor> = connection
        .prepare_cached(&sql)?
        .query_map(params![after, whole(limit)], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (_, id) in &missing {
        damages.note(&Damaged(format!("the row for {id} of table scheduled_user")));
    }
    Ok((missing, last))
}

/// Makes rows again by which a user's scheduled notifications are found, as far as these are still scheduled for the user.
fn note_users(connection: &Connection, missing: &[ScheduledFor]) -> rusqlite::Result<()> {
    let mut note = connection.prepare_cached(
        "INSERT OR IGNORE INTO scheduled_user (user, id)
         SELECT ?1, id FROM scheduled WHERE id = ?2 AND instr(' ' || audiences || ' ', ' user:' || ?1 || ' ')",
    )?;
    missing.iter().try_for_each(|(user, id)| note.execute([user, id]).map(|_| ()))
}

/// What was found while the server serves, for the writing thread to mend.
pub(super) enum Mend {
    /// Rows of a table that what readers are owed depends on: they go, and memberships are made again from the log.
    Rows(&'static Kept, Vec<RowKey>),
    /// Users of scheduled notifications, and the ids of these.
    ScheduledUsers(Vec<ScheduledFor>),
}

impl Mend {
    pub(super) fn apply(&self, connection: &Connection) -> rusqlite::Result<()> {
        let (kept, keys) = match self {
            Self::Rows(kept, keys) => (kept, keys),
            Self::ScheduledUsers(missing) => return note_users(connection, missing),
        };
        for key in keys {
            kept.table.delete_if_damaged(connection, key)?;
            if let [Value::Text(user), Value::Text(topic), _] = &key[..]
                && kept.is(&MEMBER)
            {
                make_membership_again(connection, user, topic)?;
            }
        }
        Ok(())
    }
}

/// What SQLite says of the pages and of what the indexes lack, twenty messages at most.
fn pages(connection: &Connection) -> rusqlite::Result<Vec<Damaged>> {
    let mut statement = connection.prepare("PRAGMA integrity_check(20)")?;
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
fn entries(
    connection: &Connection,
    damages: &Damages,
    after: Position,
    with_strays: bool,
) -> rusqlite::Result<Option<Position>> {
    let Unfound { mut astray, damaged, .. } = unfound(connection, damages, after, usize::MAX)?;
    if with_strays {
        astray.extend(strays(connection)?);
    }
    if astray.is_empty() {
        return Ok(damaged);
    }
    note_all(damages, &astray);
    super::head(connection).map(Some)
}

/// What is wrong with some entries of the log.
struct Unfound {
    /// Rows by which they should be found, and are not.
    astray: Vec<Damaged>,
    /// The last entry that is damaged.
    damaged: Option<Position>,
    /// The last entry.
    through: Option<Position>,
}

/// Looks at the first `limit` entries after a position.
fn unfound(connection: &Connection, damages: &Damages, after: Position, limit: usize) -> rusqlite::Result<Unfound> {
    let sql = format!(
        "SELECT position, {}, kind, audiences, expires, ifnull(origin, position),
                CASE WHEN kind = 'notified' AND json_valid(content) THEN content ->> '$.category' END FROM log
         WHERE position > ?1 ORDER BY position LIMIT ?2",
        LOG.sound
    );
    let mut entries = connection.prepare_cached(&sql)?;
    let mut entries = entries.query(params![after, whole(limit)])?;
    let mut addressed = connection.prepare_cached(
        "SELECT expires IS ?3 AND category IS ?4 FROM addressed WHERE audience = ?1 AND position = ?2",
    )?;
    let mut changed = connection
        .prepare_cached("SELECT origin IS ?3 AND ?4 IS NULL FROM changed WHERE audience = ?1 AND position = ?2")?;
    let mut unfound = Unfound { astray: Vec::new(), damaged: None, through: None };
    while let Some(row) = entries.next()? {
        let position: Position = row.get(0)?;
        if position <= unfound.through.unwrap_or(after) {
            // Damaged keys are in no order, and are not to be looked at for ever.
            unfound.astray.push(Damaged("the order of table log".to_owned()));
            unfound.through = None;
            break;
        }
        unfound.through = Some(position);
        if !row.get::<_, bool>(1)? {
            damages.note_entry(position);
            unfound.damaged = unfound.damaged.max(Some(position));
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
                unfound.astray.push(finding(is_notified, position));
            }
        }
    }
    Ok(unfound)
}

/// The tables by which entries are found: whether notified ones, and their names.
const FINDING: [(bool, &str); 2] = [(true, "addressed"), (false, "changed")];

/// An SQL expression: whether a row of such a table, `found`, leads to no entry, or to one for somebody else.
fn leads_astray(is_notified: bool) -> String {
    let of_kind = if is_notified { "=" } else { "<>" };
    format!(
        "NOT EXISTS (SELECT 1 FROM log WHERE log.position = found.position
                     AND instr(' ' || audiences || ' ', ' ' || audience || ' ') AND kind {of_kind} 'notified')"
    )
}

/// Rows that lead to no entry, or to one for somebody else.
fn strays(connection: &Connection) -> rusqlite::Result<Vec<Damaged>> {
    let mut strays = Vec::new();
    for (is_notified, table) in FINDING {
        let sql = format!("SELECT position FROM {table} AS found WHERE {}", leads_astray(is_notified));
        for stray in connection.prepare(&sql)?.query_map([], |row| Ok(finding(is_notified, row.get(0)?)))? {
            strays.push(stray?);
        }
    }
    Ok(strays)
}

/// Memberships that are not as the log says, by user and topic, and where they begin or end. What the log has no longer is
/// believed. A membership that has ended may be missing if nothing was said to its topic meanwhile, or if there are enough that
/// have ended later: it is not kept then.
static WRONG_MEMBERS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH floor AS (SELECT trimmed FROM log_identity),
         told AS (SELECT position, kind, substr(audiences, 6) AS user, content AS topic FROM log
                  WHERE kind IN ('joined', 'left') AND substr(audiences, 6) NOT IN (SELECT user FROM erasing)),
         said AS (SELECT told.*, lag(position) OVER same AS before, lead(position) OVER same AS after FROM told
                  WINDOW same AS (PARTITION BY user, topic ORDER BY position)),
         span AS (SELECT said.*, iif(kind = 'left', position, after) AS ends,
                         iif(kind = 'joined', position, ifnull(before, max(trimmed, ifnull(through, 0)))) AS begins
                  FROM said, floor LEFT JOIN user_trimmed ON user_trimmed.user = said.user),
         doubtful AS (SELECT member.user, topic, since, until, max(trimmed, ifnull(through, 0)) AS floor
                      FROM member, floor LEFT JOIN user_trimmed ON user_trimmed.user = member.user
                      WHERE member.user NOT IN (SELECT user FROM erasing))
    SELECT user, topic, min(at) FROM (
    SELECT user, topic, position AS at FROM span WHERE NOT EXISTS (
        SELECT 1 FROM member WHERE member.user = span.user AND member.topic = span.topic
                                   AND iif(kind = 'joined', since, until) = span.position)
        AND (ends IS NULL
             OR EXISTS (SELECT 1 FROM addressed
                        WHERE audience = 'topic:' || topic AND addressed.position > begins AND addressed.position < ends)
             OR EXISTS (SELECT 1 FROM changed
                        WHERE audience = 'topic:' || topic AND changed.position > begins AND changed.position < ends))
        AND NOT EXISTS (SELECT 1 FROM member WHERE member.user = span.user AND until > ends
                        LIMIT 1 OFFSET {MEMBERSHIPS_ENDED_MAX} - 1)
    UNION ALL
    SELECT user, topic, since AS at FROM doubtful
    WHERE since > floor AND NOT EXISTS (
              SELECT 1 FROM log WHERE position = since AND kind = 'joined' AND audiences = 'user:' || user AND content = topic)
       OR until > floor AND NOT EXISTS (
              SELECT 1 FROM log WHERE position = until AND kind = 'left' AND audiences = 'user:' || user AND content = topic)
    ) GROUP BY user, topic"
    )
});

/// Makes memberships again that are not as the log says.
fn members(connection: &Connection, damages: &Damages) -> rusqlite::Result<()> {
    let wrong: Vec<(String, String, i64)> = connection
        .prepare(&WRONG_MEMBERS)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let transaction = connection.unchecked_transaction()?;
    for (user, topic, position) in &wrong {
        damages.note(&Damaged(format!("the membership of table member that begins or ends at position {position}")));
        make_membership_again(&transaction, user, topic)?;
    }
    transaction.commit()
}

/// Makes the memberships of a user in a topic again, as far back as the log reaches.
fn make_membership_again(connection: &Connection, user: &str, topic: &str) -> rusqlite::Result<()> {
    let floor = super::oldest_of(connection, user)?;
    for sql in [
        "DELETE FROM member WHERE user = ?1 AND topic = ?2 AND since > ?3",
        &format!(
            "{} WHERE user = ?1 AND topic = ?2 AND until > ?3 AND {}",
            MEMBER.update(&[("until", "NULL")]),
            MEMBER.sound
        ),
    ] {
        connection.prepare_cached(sql)?.execute(params![user, topic, floor])?;
    }
    let said = format!(
        "SELECT kind = 'joined', position
         FROM (SELECT audience, position AS changed_at FROM changed WHERE audience = 'user:' || ?1)
              CROSS JOIN log ON position = changed_at
         WHERE kind IN ('joined', 'left') AND audiences = audience AND content = ?2 AND {} ORDER BY position",
        LOG.sound
    );
    let mut said = connection.prepare_cached(&said)?;
    let mut said = said.query(params![user, topic])?;
    while let Some(row) = said.next()? {
        let (is_joined, position): (bool, Position) = (row.get(0)?, row.get(1)?);
        if is_joined {
            let known = "SELECT 1 FROM member WHERE user = ?1 AND topic = ?2 AND (since = ?3 OR until IS NULL)";
            if !connection.prepare_cached(known)?.exists(params![user, topic, position])? {
                connection.prepare_cached(&MEMBER.insert)?.execute(params![user, topic, position, Null])?;
            }
        } else {
            connection.prepare_cached(&spans::LEAVE)?.execute(params![user, topic, position])?;
            spans::drop_empty_membership(connection, user, topic, position)?;
        }
    }
    spans::drop_oldest_memberships(connection, user)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use jiff::Timestamp;

    use super::super::{Options, SqliteStore, checksum};
    use super::*;
    use crate::notification::{Notification, Topic, UserId};
    use crate::store::{Append, Command, Outcome, Store as _, suite};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn publish(user: &UserId) -> Command {
        Command::Publish(notification(user))
    }

    fn notification(user: &UserId) -> Arc<Notification> {
        Arc::new(suite::notification(&[&format!("user:{user}")], "m"))
    }

    /// The start looks at ten entries. Mutants: the older ones are never looked at; what is found there is told to nobody.
    #[tokio::test]
    async fn in_the_older_part_of_a_long_log_damage_is_found_while_the_server_serves() {
        let ana: UserId = "ana".parse().expect("valid");
        let options = || Options { audited_max: 10, ..Options::default() };
        for damage in [
            "DELETE FROM addressed WHERE position = 3",
            "UPDATE log SET content = '{}' WHERE position = 3",
            "DELETE FROM log WHERE position = 3",
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let store = SqliteStore::open(folder.path(), options()).expect("opens");
            for _ in 0..30 {
                store.one(NOW, publish(&ana)).await.expect("published");
            }
            drop(store);
            let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
            assert_eq!(connection.execute(damage, []).expect("damaged"), 1);
            drop(connection);
            let store = SqliteStore::open(folder.path(), options()).expect("opens");
            let interest = store.interest(&ana).await.expect("read");
            let told = async {
                while store.read_after(&interest, Position(2), Position(30), 100).await.is_ok() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_mins(1), told).await.expect("who comes from before it is told");
            assert!(store.options.metrics.damaged.get() >= 1, "{damage}");
        }
    }

    /// Mutant: `quick_check`. By such an index the wrong notification would be replaced, or none recalled.
    #[tokio::test]
    async fn an_entry_that_an_index_lacks_is_noticed_at_the_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let store = open();
        store.one(NOW, publish(&"ana".parse().expect("valid"))).await.expect("published");
        drop(store);
        // The entry is put back while SQLite doesn't know of the index.
        for sql in [
            "CREATE TABLE kept AS SELECT * FROM log; DELETE FROM log;
             CREATE TABLE hidden AS SELECT * FROM sqlite_schema WHERE name = 'log_id';
             PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'log_id'",
            "INSERT INTO log SELECT * FROM kept; DROP TABLE kept;
             PRAGMA writable_schema = ON; INSERT INTO sqlite_schema SELECT * FROM hidden",
            "DROP TABLE hidden",
        ] {
            let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
            connection.execute_batch(sql).expect("done");
        }
        assert!(open().options.metrics.damaged.get() >= 1);
    }

    #[tokio::test]
    async fn a_scheduled_notification_whose_user_is_not_noted_is_erased_all_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let ana: UserId = "ana".parse().expect("valid");
        let notification = notification(&ana);
        let due = Timestamp::from_second(1000).expect("in range");
        let schedule = Command::Schedule { notification: Arc::clone(&notification), due };
        let store = open();
        store.one(NOW, schedule).await.expect("kept");
        drop(store);
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        assert_eq!(connection.execute("DELETE FROM scheduled_user", []).expect("deleted"), 1);
        drop(connection);
        let store = open();
        assert_eq!(store.options.metrics.damaged.get(), 1);
        store.one(NOW, Command::Erase { user: ana }).await.expect("erased");
        assert_eq!(store.find(notification.id).await.expect("read"), None);
        drop(store);
        assert_eq!(open().options.metrics.damaged.get(), 0);
    }

    /// Mutant: call each membership wrong that the log tells of and the table has not.
    #[tokio::test]
    async fn a_membership_that_is_gone_is_made_again_unless_nothing_was_said_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let (ana, bea): (UserId, UserId) = ("ana".parse().expect("valid"), "bea".parse().expect("valid"));
        let [quiet, busy]: [Topic; 2] = ["quiet", "busy"].map(|name| name.parse().expect("valid"));
        let join = |user: &UserId, topic: &Topic| Command::Join { user: user.clone(), topics: vec![topic.clone()] };
        let leave = |user: &UserId, topic: &Topic| Command::Leave { user: user.clone(), topic: topic.clone() };
        let publish = Command::Publish(Arc::new(suite::notification(&["topic:busy"], "m")));
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

    /// Mutants: a row counts whatever its checksum; a damaged one stays.
    #[tokio::test]
    async fn a_damaged_membership_shows_a_topic_to_nobody_and_is_made_again() {
        let (ana, bea): (UserId, UserId) = ("ana".parse().expect("valid"), "bea".parse().expect("valid"));
        let [topic, other]: [Topic; 2] = ["t", "u"].map(|name| name.parse().expect("valid"));
        let join = || Command::Join { user: ana.clone(), topics: vec![topic.clone()] };
        for damage in ["user = 'bea'", "topic = 'u'", "until = 7", "since = 7"] {
            let folder = tempfile::tempdir().expect("a folder");
            let open = || SqliteStore::open(folder.path(), Options::default()).expect("opens");
            let connection = || Connection::open(folder.path().join("pregon.db")).expect("opens");
            let store = open();
            store.one(NOW, publish(&bea)).await.expect("published");
            store.one(NOW, join()).await.expect("joined");
            let whole = store.interest(&ana).await.expect("read");
            assert_eq!(connection().execute(&format!("UPDATE member SET {damage}"), []).expect("damaged"), 1);
            let seen = async |store: &SqliteStore| {
                let mut members = store.members(&topic, None, 9).await.expect("read");
                members.extend(store.members(&other, None, 9).await.expect("read"));
                let interests = [&ana, &bea].map(|user| store.interest(user));
                let spans = futures_util::future::try_join_all(interests).await.expect("read");
                (members, spans.iter().map(|interest| interest.memberships.len()).sum::<usize>())
            };
            assert_eq!(seen(&store).await, (vec![], 0), "while it is served: {damage}");
            drop(store);
            let store = open();
            assert!(store.options.metrics.damaged.get() >= 1, "{damage}");
            assert_eq!(seen(&store).await, (vec![ana.clone()], 1), "{damage}");
            assert_eq!(store.interest(&ana).await.expect("read"), whole, "{damage}");
            drop(store);
            let store = open();
            assert_eq!(store.options.metrics.damaged.get(), 0, "once: {damage}");
            assert_eq!(connection().execute("UPDATE member SET since = 7", []).expect("damaged"), 1);
            assert!(matches!(store.one(NOW, join()).await, Ok(Outcome::Logged(_))), "{damage}");
            assert_eq!(seen(&store).await, (vec![ana.clone()], 1), "joining again mends it: {damage}");
        }
    }

    /// Mutants: only tables that are looked at before the start are mended; a membership is not made again from the log.
    #[tokio::test]
    async fn damaged_rows_of_a_long_table_are_mended_while_the_server_serves() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |audited_max| {
            SqliteStore::open(folder.path(), Options { audited_max, ..Options::default() }).expect("opens")
        };
        let topic: Topic = "t".parse().expect("valid");
        let store = open(100);
        for number in 0..30 {
            let user: UserId = format!("u{number}").parse().expect("valid");
            let due = Timestamp::from_second(1000).expect("in range");
            for command in [
                Command::Join { user: user.clone(), topics: vec![topic.clone()] },
                Command::Mute { user: user.clone(), categories: vec!["a".into()] },
                Command::Schedule { notification: notification(&user), due },
            ] {
                store.one(NOW, command).await.expect("done");
            }
        }
        drop(store);
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        checksum::add_to(&connection).expect("added");
        for number in 0..30 {
            let user = format!("u{number}");
            connection.execute(&USER_TRIMMED.insert, params![user, 0]).expect("inserted");
        }
        for damage in [
            "UPDATE member SET until = 5 WHERE user = 'u7'",
            "UPDATE mute SET category = 'b' WHERE user = 'u7'",
            "UPDATE user_trimmed SET through = 5 WHERE user = 'u7'",
            "DELETE FROM scheduled_user WHERE user = 'u7'",
        ] {
            assert_eq!(connection.execute(damage, []).expect("damaged"), 1);
        }
        let wrong = format!(
            "SELECT (SELECT count(*) FROM member WHERE NOT ({})) + (SELECT count(*) FROM mute WHERE NOT ({}))
                  + (SELECT count(*) FROM user_trimmed WHERE NOT ({})) + 30 - (SELECT count(*) FROM scheduled_user)",
            MEMBER.sound, MUTE.sound, USER_TRIMMED.sound
        );
        let wrong = || connection.query_row(&wrong, [], |row| row.get::<_, u32>(0)).expect("counted");
        assert_eq!(wrong(), 4);
        let store = open(10);
        let mended = async {
            while wrong() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), mended).await.expect("all are mended");
        assert_eq!(store.members(&topic, None, 100).await.expect("read").len(), 30, "a member as the log says");
        drop(store);
        let store = open(1000);
        assert_eq!(store.options.metrics.damaged.get(), 0, "nothing is left of it");
    }

    /// Mutant: call those wrong that were dropped since there were too many.
    #[tokio::test]
    async fn ended_memberships_that_are_too_many_are_not_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        // So that all entries are there.
        let options = || Options { inbox_max: 10_000, ..Options::default() };
        let open = || SqliteStore::open(folder.path(), options()).expect("opens");
        let ana: UserId = "ana".parse().expect("valid");
        let topic: Topic = "t".parse().expect("valid");
        let said = |_| {
            [
                Command::Join { user: ana.clone(), topics: vec![topic.clone()] },
                Command::Publish(Arc::new(suite::notification(&["topic:t"], "m"))),
                Command::Leave { user: ana.clone(), topic: topic.clone() },
            ]
        };
        let commands = (0..MEMBERSHIPS_ENDED_MAX + 10).flat_map(said).collect();
        let store = open();
        store.append(Append { at: NOW, commands, once: None }).await.expect("done");
        let kept = store.interest(&ana).await.expect("read");
        assert_eq!(kept.memberships.len(), MEMBERSHIPS_ENDED_MAX);
        drop(store);
        let store = open();
        assert_eq!(store.options.metrics.damaged.get(), 0);
        drop(store);
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        assert_eq!(connection.execute("DELETE FROM member WHERE since = 1000", []).expect("deleted"), 1);
        drop(connection);
        let store = open();
        assert_eq!(store.options.metrics.damaged.get(), 1);
        assert_eq!(store.interest(&ana).await.expect("read"), kept);
    }

    /// Mutants: rows that say what was removed are believed whatever their checksum; damaged ones tell nobody.
    #[tokio::test]
    async fn what_says_up_to_where_something_was_removed_is_not_believed_if_it_is_damaged() {
        let ana: UserId = "ana".parse().expect("valid");
        for damage in [
            "UPDATE user_trimmed SET through = 1",
            "UPDATE user_trimmed SET user = 'bea'",
            "UPDATE log_identity SET trimmed = 1",
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let open =
                || SqliteStore::open(folder.path(), Options { inbox_max: 10, ..Options::default() }).expect("opens");
            let store = open();
            store.one(NOW, publish(&"bea".parse().expect("valid"))).await.expect("published");
            store.trim(Timestamp::MAX).await.expect("trimmed");
            for _ in 0..120 {
                store.one(NOW, publish(&ana)).await.expect("published");
            }
            if damage.contains("log_identity") {
                while store.trim(Timestamp::MAX).await.expect("trimmed") {}
            }
            let (epoch, interest) = (store.seal().epoch, store.interest(&ana).await.expect("read"));
            let cursor = Position(5);
            let read = async |store: &SqliteStore| store.read_after(&interest, cursor, Position(121), 1000).await;
            assert!(read(&store).await.is_err(), "what she has not seen is gone: {damage}");
            let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
            assert_eq!(connection.execute(damage, []).expect("damaged"), 1);
            if !damage.contains("user = ") {
                assert!(read(&store).await.is_err(), "while it is served: {damage}");
            }
            drop(store);
            let store = open();
            assert!(read(&store).await.is_err() || store.seal().epoch != epoch, "after the start: {damage}");
            drop(store);
            let store = open();
            assert!(read(&store).await.is_err() || store.seal().epoch != epoch, "and after another one: {damage}");
            assert_eq!(store.options.metrics.damaged.get(), 0, "it is mended: {damage}");
        }
    }

    #[tokio::test]
    async fn a_damaged_mute_hides_nothing_and_a_damaged_erasure_erases_nothing_new() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let (ana, zoe): (UserId, UserId) = ("ana".parse().expect("valid"), "zoe".parse().expect("valid"));
        let store = open();
        store.one(NOW, publish(&zoe)).await.expect("published");
        store.one(NOW, Command::Mute { user: ana.clone(), categories: vec!["a".into()] }).await.expect("muted");
        store.one(NOW, Command::Erase { user: zoe.clone() }).await.expect("erased");
        let new = notification(&zoe);
        store.one(NOW, Command::Publish(Arc::clone(&new))).await.expect("published");
        let epoch = store.seal().epoch;
        drop(store);
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        for damage in ["UPDATE mute SET category = 'b'", "INSERT INTO erasing (user, through) VALUES ('zoe', 99)"] {
            assert_eq!(connection.execute(damage, []).expect("damaged"), 1);
        }
        drop(connection);
        let store = open();
        assert_eq!(store.options.metrics.damaged.get(), 2);
        let interest = store.interest(&ana).await.expect("read");
        assert_eq!(interest.mutes.len(), 0);
        assert!(store.read_after(&interest, Position(1), Position(4), 100).await.is_err(), "she is told");
        // As long as there is something to be erased, it goes on.
        store.log_time(NOW).await.expect("done");
        store.log_time(NOW).await.expect("done");
        assert!(store.item(&zoe, new.id, NOW).await.expect("read").is_some(), "what came later is there");
        assert_eq!(store.seal().epoch, epoch);
    }

    /// Mutant: all rows are looked at before the start.
    #[tokio::test]
    async fn of_a_long_table_no_row_is_looked_at_before_the_start_and_each_after_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let ana: UserId = "ana".parse().expect("valid");
        let due = Timestamp::from_second(1000).expect("in range");
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        for _ in 0..30 {
            let schedule = Command::Schedule { notification: notification(&ana), due };
            store.one(NOW, schedule).await.expect("kept");
        }
        drop(store);
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        checksum::add_to(&connection).expect("added");
        let damage = "UPDATE scheduled SET due = 1 WHERE id = (SELECT max(id) FROM scheduled)";
        assert_eq!(connection.execute(damage, []).expect("damaged"), 1);
        for (rows_max, before) in [(30, 1), (10, 0)] {
            let count = prometheus_client::metrics::counter::Counter::default();
            let damages = Damages::of(std::path::PathBuf::new(), count.clone());
            let looked = run(&connection, &damages, rows_max).expect("looked");
            assert_eq!((count.get(), looked.tables.len()), (before, usize::from(before == 0)));
        }
        drop(connection);
        let store = SqliteStore::open(folder.path(), Options { audited_max: 10, ..Options::default() }).expect("opens");
        let named = async {
            while store.options.metrics.damaged.get() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), named).await.expect("it is named");
    }
}
