//! Looks at the older part of a long log, and at long tables, while the server serves.
//!
//! What is found is named as at the start. From then on clients with a cursor from before it are told `reset`. A client that
//! has gone on from such a cursor earlier is not: it may have missed what is gone.
//!
//! Not looked at: pages of which no entry is read, and memberships.

use std::path::Path;
use std::time::Instant;

use rusqlite::types::Value;
use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};

use super::super::background::{Background, Slices};
use super::super::damage::{Damaged, Damages};
use super::super::readers::{Reader, Readers};
use super::super::rows::whole;
use super::super::tasks::Task;
use super::{FINDING, Kept, Unfound, finding, leads_astray, note_all, unfound};
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
    fn look(&self, through: Position, tables: &[&Kept]) -> rusqlite::Result<bool> {
        for kept in tables {
            let mut after: Option<Vec<Value>> = None;
            loop {
                let slice = self.slice(|connection| {
                    let after = after.as_deref();
                    let (found, last) = kept.table.damaged_after(connection, kept.keys, after, ROWS_PER_SLICE)?;
                    note_all(&self.damages, &found);
                    let is_gone = kept.is_owed && !found.is_empty();
                    Ok((if is_gone { Some(super::super::head(connection)?) } else { None }, last))
                })?;
                match slice {
                    Slice::Through(last) => after = Some(last),
                    Slice::Last => break,
                    Slice::Closed => return Ok(false),
                }
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
