//! Looks at the older part of a long log, and at long tables, while the server serves.
//!
//! What is found is named as at the start, and mended by the writing thread where that is possible. From then on clients with a cursor from before it are told `reset`. A client that
//! has gone on from such a cursor earlier is not: it may have missed what is gone.
//!
//! Not looked at: pages of which no entry is read, and memberships.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};

use super::super::background::{Background, Slices};
use super::super::checksum::{RowKey, SCHEDULED};
use super::super::damage::{Damaged, Damages};
use super::super::readers::{Reader, Readers};
use super::super::rows::whole;
use super::super::tasks::Task;
use super::{FINDING, Kept, Mend, Unfound, finding, leads_astray, note_all, scheduled_users, unfound};
use crate::notification::Position;

/// Rows looked at in one read.
const ROWS_PER_SLICE: usize = 1000;

struct Looking<'a> {
    reader: Reader,
    damages: Damages,
    tasks: mpsc::WeakSender<Task>,
    slices: &'a Slices,
}

/// Starts to look at the log up to a position, and at tables.
pub(in super::super) fn start(
    path: &Path,
    through: Position,
    tables: Vec<&'static Kept>,
    readers: &Readers,
    damages: &Damages,
    tasks: mpsc::WeakSender<Task>,
) -> rusqlite::Result<Background> {
    let (reader, damages) = (readers.another(path)?, damages.clone());
    Ok(Background::start("store-audit", move |slices| {
        let begun_at = Instant::now();
        match (Looking { reader, damages, tasks, slices }).look(through, &tables) {
            Ok(true) => {
                let seconds = begun_at.elapsed().as_secs();
                tracing::info!(seconds, "the look at the older part of the log has ended; what is damaged was named");
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the older part of the log could not be looked through"),
        }
    }))
}

/// How one slice went.
enum Slice<T> {
    /// It ended there, and there may be more.
    Through(T),
    /// It was the last one, or a page behind it is damaged.
    Last,
    /// The store is being closed.
    Closed,
}

/// The key of a row by which an entry is found.
type Key = (String, Position);

impl Looking<'_> {
    /// Looks at everything; false if the store was closed before.
    fn look(&self, through: Position, tables: &[&'static Kept]) -> rusqlite::Result<bool> {
        for kept in tables {
            if !self.look_at(kept)? {
                return Ok(false);
            }
        }
        let mut after = Position(0);
        while after < through {
            let slice = self.slice(|connection| {
                let Unfound { astray, damaged, through } = unfound(connection, &self.damages, after, ROWS_PER_SLICE)?;
                note_all(&self.damages, &astray);
                let gone = if astray.is_empty() { damaged } else { Some(super::super::head(connection)?) };
                Ok((gone, through))
            })?;
            match slice {
                Slice::Through(last) => after = last,
                Slice::Last => break,
                Slice::Closed => return Ok(false),
            }
        }
        for (is_notified, table) in FINDING {
            let mut after = (String::new(), Position(0));
            loop {
                let slice = self.slice(|connection| {
                    let (strays, last) = strays(connection, is_notified, table, &after)?;
                    note_all(&self.damages, &strays);
                    let gone = if strays.is_empty() { None } else { Some(super::super::head(connection)?) };
                    Ok((gone, last))
                })?;
                match slice {
                    Slice::Through(last) => after = last,
                    Slice::Last => break,
                    Slice::Closed => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    /// Looks at a table and has it mended; false if the store was closed before.
    fn look_at(&self, kept: &'static Kept) -> rusqlite::Result<bool> {
        let mut after: Option<RowKey> = None;
        loop {
            let mut mend = None;
            let slice = self.slice(|connection| {
                let (found, last) =
                    kept.table.damaged_after(connection, kept.keys, after.as_deref(), ROWS_PER_SLICE)?;
                kept.note(&self.damages, &found);
                if !kept.is_owed || found.is_empty() {
                    return Ok((None, last));
                }
                mend = Some(Mend::Rows(kept, found));
                Ok((Some(super::super::head(connection)?), last))
            })?;
            // Once all are told that something may be gone.
            if mend.is_some_and(|mend| !self.mend(mend)) {
                return Ok(false);
            }
            match slice {
                Slice::Through(last) => after = Some(last),
                Slice::Last => break,
                Slice::Closed => return Ok(false),
            }
        }
        if kept.is(&SCHEDULED) { self.look_at_scheduled_users() } else { Ok(true) }
    }

    /// Looks whether scheduled notifications are found by their users; false if the store was closed before.
    fn look_at_scheduled_users(&self) -> rusqlite::Result<bool> {
        let mut after = String::new();
        loop {
            let mut missing = Vec::new();
            let slice = self.slice(|connection| {
                let (found, last) = scheduled_users(connection, &self.damages, &after, ROWS_PER_SLICE)?;
                missing = found;
                Ok((None, last.filter(|last| *last > after)))
            })?;
            if !missing.is_empty() && !self.mend(Mend::ScheduledUsers(missing)) {
                return Ok(false);
            }
            match slice {
                Slice::Through(last) => after = last,
                Slice::Last => return Ok(true),
                Slice::Closed => return Ok(false),
            }
        }
    }

    /// Has something mended by the writing thread; false if the store was closed before.
    fn mend(&self, mend: Mend) -> bool {
        self.tasks.upgrade().is_some_and(|tasks| tasks.blocking_send(Task::Mend(mend)).is_ok())
    }

    /// Looks at one slice, which gives up to where something may be gone and where it ended; tells what is gone, and pauses.
    fn slice<T>(
        &self,
        look: impl FnOnce(&Connection) -> rusqlite::Result<(Option<Position>, Option<T>)>,
    ) -> rusqlite::Result<Slice<T>> {
        let begun_at = Instant::now();
        let (gone, last) = match self.reader.read(look) {
            Ok(looked) => looked,
            Err(error) => {
                self.damages.note(&Damaged::of(&error).ok_or(error)?);
                (Some(self.reader.read(super::super::head)?), None)
            }
        };
        self.damages.say(Instant::now());
        if let Some(through) = gone {
            // Nobody waits for the answer.
            let (answer, _) = oneshot::channel();
            let Some(tasks) = self.tasks.upgrade() else { return Ok(Slice::Closed) };
            if tasks.blocking_send(Task::Forgo { through, answer }).is_err() {
                return Ok(Slice::Closed);
            }
        }
        if !self.slices.pause(begun_at) {
            return Ok(Slice::Closed);
        }
        Ok(last.map_or(Slice::Last, Slice::Through))
    }
}

/// Rows after a key that lead astray, and the last key looked at.
fn strays(
    connection: &Connection,
    is_notified: bool,
    table: &str,
    (audience, position): &Key,
) -> rusqlite::Result<(Vec<Damaged>, Option<Key>)> {
    let sql = format!(
        "SELECT audience, position, {} FROM {table} AS found
         WHERE (audience, position) > (?1, ?2) ORDER BY audience, position LIMIT ?3",
        leads_astray(is_notified)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![audience, position, whole(ROWS_PER_SLICE)])?;
    let (mut strays, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let position: Position = row.get(1)?;
        if row.get(2)? {
            strays.push(finding(is_notified, position));
        }
        last = Some((row.get(0)?, position));
    }
    Ok((strays, last))
}

#[cfg(test)]
mod tests {
    use super::super::super::schema;
    use super::*;

    /// A closed file with what the SQL puts into it, in which some bytes are other ones then.
    fn damaged(sql: &str, damage: impl FnOnce(&mut Vec<u8>)) -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pregon.db");
        let mut connection = Connection::open(&path).expect("opens");
        schema::prepare(&mut connection).expect("prepared");
        connection.execute_batch(sql).expect("filled");
        drop(connection);
        let mut bytes = std::fs::read(&path).expect("read");
        damage(&mut bytes);
        std::fs::write(&path, bytes).expect("written");
        let mut connection = Connection::open(&path).expect("opens");
        schema::prepare(&mut connection).expect("prepared");
        (folder, connection)
    }

    fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
        bytes.windows(wanted.len()).position(|window| window == wanted)
    }

    /// The last row of the first slice has a key that stands before all others. SQLite compares it again, and leaves it out.
    #[test]
    fn a_damaged_key_at_the_end_of_a_slice_is_not_looked_at_for_ever() {
        let sql = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1500)
                   INSERT INTO addressed (audience, position) SELECT format('user:u%04d', n), n FROM n;";
        let (_folder, connection) = damaged(sql, |bytes| {
            while let Some(key) = find(bytes, b"user:u1000") {
                bytes[key] = b'a';
            }
        });
        let mut after = (String::new(), Position(0));
        let mut slices = 0;
        while let (_, Some(last)) = strays(&connection, true, "addressed", &after).expect("read") {
            after = last;
            slices += 1;
            assert!(slices < 5, "after {after:?}");
        }
    }

    /// The same in the log, where SQLite relies on the order. Mutant: go on after whatever position is the last.
    #[test]
    fn a_damaged_position_at_the_end_of_a_slice_is_not_looked_at_for_ever() {
        let sql = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1500)
                   INSERT INTO log (position, kind, at, audiences, content)
                       SELECT n, 'left', 0, 'user:1', format('c%04d', n) FROM n;";
        let (_folder, connection) = damaged(sql, |bytes| {
            let content = find(bytes, b"c1000").expect("there");
            // 1000 as SQLite writes a row's number; it becomes 0.
            let number = content - 40 + find(&bytes[content - 40..content], &[0x87, 0x68]).expect("there");
            bytes[number..number + 2].copy_from_slice(&[0x80, 0]);
        });
        let damages = Damages::of(std::path::PathBuf::new(), prometheus_client::metrics::counter::Counter::default());
        let (mut after, mut slices) = (Position(0), 0);
        while let Some(last) = unfound(&connection, &damages, after, ROWS_PER_SLICE).expect("read").through {
            after = last;
            slices += 1;
            assert!(slices < 5, "after {after:?}");
        }
    }
}
