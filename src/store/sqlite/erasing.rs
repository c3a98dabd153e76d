//! A user is erased at once for whoever looks, and from the file in pieces, so that others are not kept waiting.
//!
//! **Invariant:** from the commit in which a user's erasure begins, nothing of hers up to there is shown, also after a crash. A
//! later command that concerns her waits until nothing is left of it; a change of a notification that was hers first takes it
//! from her.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::checksum::{ERASING, LOG, SCHEDULED};
use super::forgetting::{forget_for, remove_marks_left};
use super::rows::whole;
use crate::notification::{Audience, Position, UserId};

/// Rows removed in one commit.
const ROWS_PER_PIECE: usize = 500;

/// Up to where a user is being erased, if she is.
pub(super) fn through(connection: &Connection, user: &UserId) -> rusqlite::Result<Option<Position>> {
    connection
        .prepare_cached(&format!("SELECT through, {} FROM erasing WHERE user = ?1", ERASING.sound))?
        .query_row([user.as_str()], through_of)
        .optional()
}

/// Fails if the row is damaged: it is made again at the next start.
fn through_of(row: &Row<'_>) -> rusqlite::Result<Position> {
    if row.get(1)? { row.get(0) } else { Err(ERASING.damaged(&"").into()) }
}

/// Makes rows again for all users who may be being erased, as the log has them.
pub(super) fn make_again(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM erasing", [])?;
    let insert = ERASING.insert.as_str();
    let sql = format!(
        "SELECT substr(audiences, 6), max(position) - 1 FROM log WHERE kind = 'erased' AND {} GROUP BY audiences",
        LOG.sound
    );
    let mut erased = connection.prepare(&sql)?;
    let mut erased = erased.query([])?;
    while let Some(row) = erased.next()? {
        connection.prepare_cached(insert)?.execute(params![row.get::<_, String>(0)?, row.get::<_, Position>(1)?])?;
    }
    Ok(())
}

/// Takes a user from all that is to be published later; says whether there was something.
pub(super) fn take_from_scheduled(connection: &Connection, user: &UserId) -> rusqlite::Result<bool> {
    let mut taken = 0;
    for sql in &*TAKE_FROM_SCHEDULED {
        taken += connection.prepare_cached(sql)?.execute([user.as_str()])?;
    }
    Ok(taken > 0)
}

/// What was for the user alone, or is damaged, goes; what is for others too stays theirs.
static TAKE_FROM_SCHEDULED: LazyLock<[String; 3]> = LazyLock::new(|| {
    let hers = "id IN (SELECT id FROM scheduled_user WHERE user = ?1)";
    let others = "trim(replace(' ' || audiences || ' ', ' user:' || ?1 || ' ', ' '))";
    [
        format!("DELETE FROM scheduled WHERE {hers} AND (audiences = 'user:' || ?1 OR NOT ({}))", SCHEDULED.sound),
        format!("{} WHERE {hers}", SCHEDULED.update(&[("audiences", others)])),
        "DELETE FROM scheduled_user WHERE user = ?1".into(),
    ]
});

/// Erases a user up to a position: all of it at once if it is little.
pub(super) fn begin(connection: &Connection, user: &UserId, through: Position) -> rusqlite::Result<()> {
    connection.prepare_cached(&ERASING.insert)?.execute(params![user.as_str(), through])?;
    remove(connection, user.as_str(), through)
}

/// Removes what is left of a user who is being erased, before the next command of the same append. Other appends of the user
/// wait, see [`super::deferred`].
pub(super) fn finish(connection: &Connection, user: &UserId) -> rusqlite::Result<()> {
    while let Some(through) = through(connection, user)? {
        remove(connection, user.as_str(), through)?;
    }
    Ok(())
}

/// Removes one piece of a user who is being erased, of that one first, or of the marks of what is gone; says whether there was
/// one.
pub(super) fn go_on(connection: &Connection, first: Option<&UserId>) -> rusqlite::Result<bool> {
    let mut next = None;
    if let Some(user) = first {
        next = through(connection, user)?.map(|through| (user.to_string(), through));
    }
    if next.is_none() {
        next = connection
            .prepare_cached(&format!("SELECT user, through FROM erasing WHERE {} LIMIT 1", ERASING.sound))?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
    }
    let Some((user, through)) = next else { return Ok(remove_marks_left(connection, ROWS_PER_PIECE)? > 0) };
    remove(connection, &user, through)?;
    Ok(true)
}

/// Takes a notification from those of its users who are being erased; says whether there was one.
pub(super) fn take_from<'a>(
    connection: &Connection,
    position: Position,
    audiences: impl Iterator<Item = &'a Audience>,
) -> rusqlite::Result<bool> {
    let mut taken = false;
    if !connection.prepare_cached("SELECT 1 FROM erasing")?.exists([])? {
        return Ok(taken);
    }
    for audience in audiences {
        let Audience::User(user) = audience else { continue };
        if through(connection, user)?.is_some_and(|through| position <= through) {
            forget_for(connection, position, &audience.to_string())?;
            taken = true;
        }
    }
    Ok(taken)
}

fn remove(connection: &Connection, user: &str, through: Position) -> rusqlite::Result<()> {
    let audience = format!("user:{user}");
    let mut left = ROWS_PER_PIECE;
    for sql in [
        "SELECT position FROM addressed WHERE audience = ?1 AND position <= ?2 ORDER BY position LIMIT ?3",
        "SELECT position FROM changed WHERE audience = ?1 AND position <= ?2 ORDER BY position LIMIT ?3",
    ] {
        let positions: Vec<Position> = connection
            .prepare_cached(sql)?
            .query_map(params![audience, through, whole(left)], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for position in &positions {
            forget_for(connection, *position, &audience)?;
        }
        left -= positions.len();
    }
    for sql in [
        "DELETE FROM mark WHERE user = ?1
         AND position IN (SELECT position FROM mark WHERE user = ?1 ORDER BY position LIMIT ?2)",
        "DELETE FROM watermark WHERE user = ?1
         AND (kind, through) IN (SELECT kind, through FROM watermark WHERE user = ?1 LIMIT ?2)",
    ] {
        left -= connection.prepare_cached(sql)?.execute(params![user, whole(left)])?;
    }
    left -= connection
        .prepare_cached(
            "DELETE FROM member WHERE user = ?1 AND (topic, since) IN
             (SELECT topic, since FROM member WHERE user = ?1 AND since <= ?2 LIMIT ?3)",
        )?
        .execute(params![user, through, whole(left)])?;
    if left > 0 {
        connection.prepare_cached("DELETE FROM erasing WHERE user = ?1")?.execute([user])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use rusqlite::StatementStatus;

    use super::super::changes::Changes;
    use super::super::{Options, SqliteStore, schema};
    use super::*;
    use crate::content::{Content, Patch};
    use crate::notification::Topic;
    use crate::state::Set;
    use crate::store::suite::notification;
    use crate::store::{Append, Command, Outcome, Selection, Status, Store, Wanted};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const HERS: usize = 3 * ROWS_PER_PIECE;

    fn user(name: &str) -> UserId {
        name.parse().expect("valid")
    }

    async fn listed(store: &SqliteStore, name: &str) -> usize {
        let wanted = Wanted {
            user: user(name),
            status: Status::All,
            category: None,
            topic: None,
            before: None,
            limit: 2 * HERS,
            at: NOW,
        };
        store.page(wanted).await.expect("read").items.len()
    }

    fn rows(folder: &std::path::Path) -> usize {
        let connection = Connection::open(folder.join("pregon.db")).expect("opens");
        let sql = "SELECT (SELECT count(*) FROM addressed WHERE audience = 'user:zoe')
                        + (SELECT count(*) FROM mark WHERE user = 'zoe') + (SELECT count(*) FROM erasing)";
        let rows: u32 = connection.query_row(sql, [], |row| row.get(0)).expect("read");
        rows as usize
    }

    /// The server ends after the first commit of an erasure. Mutants: what is left is shown; nobody goes on.
    #[tokio::test]
    async fn an_erasure_that_a_crash_cut_short_is_whole_for_everybody_and_ends_after_the_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = || Options { inbox_max: 2 * HERS, ..Options::default() };
        let store = SqliteStore::open(folder.path(), options()).expect("opens");
        let said = |audiences: &[&str]| Arc::new(notification(audiences, "x"));
        let all: Vec<_> = (0..HERS).map(|_| said(&["user:zoe", "user:ana"])).collect();
        let commands = all.iter().map(|said| Command::Publish(Arc::clone(said))).collect();
        store.append(Append { at: NOW, commands, once: None }).await.expect("stored");
        let set = Set { archived: Some(true), ..Set::default() };
        let mark = Command::Mark { user: user("zoe"), selection: Selection::These(vec![all[HERS - 1].id]), set };
        store.one(NOW, mark).await.expect("marked");
        store.one(NOW, Command::Publish(said(&["everyone"]))).await.expect("stored");
        drop(store);

        let mut connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        super::super::checksum::add_to(&connection).expect("added");
        let head = super::super::head(&connection).expect("read");
        let transaction = connection.transaction().expect("begun");
        let mut changes = Changes {
            connection: &transaction,
            head,
            entries: Vec::new(),
            latest: NOW,
            bounds: options().bounds(),
            topics_max: options().topics_max,
            takes_back: false,
            damaged: Vec::new(),
        };
        let erased = changes.apply(Command::Erase { user: user("zoe") }, NOW).expect("erased");
        assert_eq!(erased, Outcome::Logged(Position(head.0 + 1)));
        transaction.commit().expect("committed");
        drop(connection);
        assert_eq!(rows(folder.path()), HERS - ROWS_PER_PIECE + 2, "one commit removes no more");

        let store = SqliteStore::open(folder.path(), options()).expect("opens");
        // Whatever has been removed by now.
        assert_eq!((listed(&store, "zoe").await, listed(&store, "ana").await), (1, HERS + 1));
        let patch = Patch::new(&["message".into()], &Content::from_stored("{\"message\":\"y\"}"));
        store.one(NOW, Command::Edit { id: all[HERS - 1].id, patch }).await.expect("edited");
        let edited = store.find(all[HERS - 1].id).await.expect("read").expect("there");
        assert_eq!(edited.notification.audiences, ["user:ana".parse().expect("valid")], "she is told of nothing");
        while rows(folder.path()) > 0 {
            store.log_time(NOW).await.expect("done");
        }
        assert_eq!((listed(&store, "zoe").await, listed(&store, "ana").await), (1, HERS + 1));
    }

    /// A scan would keep all others waiting, whoever has scheduled what.
    #[test]
    fn of_what_is_to_be_published_later_an_erasure_reads_the_users_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        schema::prepare(&mut connection).expect("prepared");
        let zoe = user("zoe");
        let insert = SCHEDULED.insert.as_str();
        let keep = |id: &str, audiences: &str| {
            let row = params![id, 1, 1, audiences, "{}", None::<i64>, None::<&str>];
            connection.execute(insert, row).expect("kept");
            for user in audiences.split(' ').filter_map(|audience| audience.strip_prefix("user:")) {
                let sql = "INSERT INTO scheduled_user (user, id) VALUES (?1, ?2)";
                connection.execute(sql, [user, id]).expect("kept");
            }
        };
        for number in 0..100 {
            keep(&format!("another {number}"), "user:ana topic:t");
        }
        keep("hers", "user:zoe");
        keep("damaged", "user:zoe user:ana");
        connection.execute("UPDATE scheduled SET content = '[]' WHERE id = 'damaged'", []).expect("damaged");
        keep("of both", "user:ana user:zoe");
        assert!(take_from_scheduled(&connection, &zoe).expect("taken"));
        let left = "SELECT (SELECT count(*) FROM scheduled) + (SELECT count(*) FROM scheduled_user),
                           (SELECT group_concat(audiences) FROM scheduled WHERE id = 'of both')";
        let left: (u32, String) = connection.query_row(left, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("read");
        assert_eq!(left, (202, "user:ana".into()));
        assert!(!take_from_scheduled(&connection, &zoe).expect("taken"), "nothing is left");
        for sql in &*TAKE_FROM_SCHEDULED {
            let statement = connection.prepare_cached(sql).expect("prepared");
            assert_eq!(statement.get_status(StatementStatus::FullscanStep), 0, "{sql}");
        }
    }

    #[tokio::test]
    async fn what_she_does_next_is_not_erased() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options { topics_max: 3 * ROWS_PER_PIECE, ..Options::default() };
        let store = SqliteStore::open(folder.path(), options).expect("opens");
        let topics = (0..3 * ROWS_PER_PIECE).map(|number| format!("t{number}").parse().expect("valid")).collect();
        store.one(NOW, Command::Join { user: user("zoe"), topics }).await.expect("stored");
        let join = Command::Join { user: user("zoe"), topics: vec!["new".parse().expect("valid")] };
        let commands = vec![Command::Erase { user: user("zoe") }, join];
        store.append(Append { at: NOW, commands, once: None }).await.expect("done");
        while rows(folder.path()) > 0 {
            store.log_time(NOW).await.expect("done");
        }
        let memberships = store.interest(&user("zoe")).await.expect("read").memberships;
        assert_eq!(memberships.iter().map(|of| of.topic.as_str()).collect::<Vec<_>>(), ["new"]);
    }

    /// The server ends after the first commit of an erasure. Mutants: all memberships at once; what is left of them counts.
    #[tokio::test]
    async fn memberships_of_an_erased_user_are_gone_at_once_and_from_the_file_in_pieces() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || {
            SqliteStore::open(folder.path(), Options { topics_max: HERS, inbox_max: HERS, ..Options::default() })
                .expect("opens")
        };
        let topics: Vec<Topic> = (0..HERS).map(|number| format!("t{number}").parse().expect("valid")).collect();
        let last = topics[HERS - 1].clone();
        let store = open();
        store.one(NOW, Command::Join { user: user("zoe"), topics }).await.expect("joined");
        store.one(NOW, Command::Join { user: user("ana"), topics: vec![last.clone()] }).await.expect("joined");
        drop(store);
        let mut connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        super::super::checksum::add_to(&connection).expect("added");
        let head = super::super::head(&connection).expect("read");
        // So that the entries about them, which go first, leave some of them to the first commit.
        for table in ["log", "changed"] {
            let sql = format!("DELETE FROM {table} WHERE position > 100 AND position <= {HERS}");
            connection.execute(&sql, []).expect("deleted");
        }
        let transaction = connection.transaction().expect("begun");
        let mut changes = Changes {
            connection: &transaction,
            head,
            entries: Vec::new(),
            latest: NOW,
            bounds: Options::default().bounds(),
            topics_max: HERS,
            takes_back: false,
            damaged: Vec::new(),
        };
        changes.apply(Command::Erase { user: user("zoe") }, NOW).expect("erased");
        assert_eq!(changes.entries.len(), 1, "the entry that says so takes the memberships from streams");
        transaction.commit().expect("committed");
        let sql = "SELECT count(*) FROM member WHERE user = 'zoe'";
        let left =
            |connection: &Connection| connection.query_row(sql, [], |row| row.get::<_, u32>(0)).expect("counted");
        assert_eq!(left(&connection), 1100, "one commit removes no more");
        let interest = super::super::feed::interest(&connection, &user("zoe")).expect("read");
        assert_eq!(interest.memberships.len(), 0);
        drop(connection);
        let store = open();
        assert_eq!(store.options.metrics.damaged.get(), 0, "what is left of them is not wrong");
        assert_eq!(store.members(&last, None, 10).await.expect("read"), [user("ana")]);
        let join = Command::Join { user: user("zoe"), topics: vec![last.clone()] };
        assert!(matches!(store.one(NOW, join).await, Ok(Outcome::Logged(_))), "a member anew");
        assert_eq!(store.members(&last, None, 10).await.expect("read"), [user("ana"), user("zoe")]);
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        assert_eq!(left(&connection), 1);
    }

    /// Mutant: whoever is damaged comes first and fails each time.
    #[tokio::test]
    async fn a_damaged_erasure_keeps_no_other_from_going_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        schema::prepare(&mut connection).expect("prepared");
        for name in ["ana", "zoe"] {
            connection.execute(&ERASING.insert, params![name, 1]).expect("inserted");
        }
        connection.execute("UPDATE erasing SET through = 2 WHERE user = 'ana'", []).expect("damaged");
        assert!(go_on(&connection, None).expect("zoe"));
        assert!(!go_on(&connection, None).expect("nobody"));
        let left: String = connection.query_row("SELECT user FROM erasing", [], |row| row.get(0)).expect("one");
        assert_eq!(left, "ana", "made again at the next start");
    }

    /// The server ends in between. Mutant: all marks at once.
    #[tokio::test]
    async fn marks_of_what_is_recalled_or_too_old_go_in_pieces_and_all_of_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let said = Arc::new(notification(&["everyone"], "x"));
        store.one(NOW, Command::Publish(Arc::clone(&said))).await.expect("stored");
        drop(store);
        let mut connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        super::super::checksum::add_to(&connection).expect("added");
        connection
            .execute_batch(
                "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000)
                 INSERT INTO mark (user, position, seen) SELECT 'u' || n, 1, 1 FROM n;",
            )
            .expect("marked");
        let marks = |connection: &Connection| {
            connection.query_row("SELECT count(*) FROM mark", [], |row| row.get::<_, u32>(0)).expect("counted")
        };
        let transaction = connection.transaction().expect("begun");
        super::super::forgetting::forget(&transaction, Position(1), said.audiences.iter()).expect("forgotten");
        transaction.commit().expect("committed");
        assert_eq!(marks(&connection), 1980, "one commit removes no more");
        assert!(go_on(&connection, None).expect("removed"));
        assert_eq!(marks(&connection), 1480, "nor does the next");
        let store = SqliteStore::open(folder.path(), Options::default()).expect("opens");
        while marks(&connection) > 0 {
            store.log_time(NOW).await.expect("done");
        }
        let left: u32 = connection.query_row("SELECT count(*) FROM marks_left", [], |row| row.get(0)).expect("read");
        assert!(left <= 1 && go_on(&connection, None).expect("done") == (left == 1));
    }
}
