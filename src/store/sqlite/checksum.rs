//! The checksum of a row: so that a damaged row is noticed when it is read.
//!
//! Each checked table has a column `checksum`: the CRC-32 of the table's name and of all other columns, computed by the
//! SQL function `checksum_of`, which each connection of ours has. A row whose checksum differs is damaged: nothing that it
//! says is used. A missing checksum differs too, since a flipped bit in a row's header can take its last column away.
//!
//! **Invariant:** statements that write a checked table are made by [`Table::insert`] and [`Table::update`].
//!
//! Deliberately absent: protection against somebody who may write the file.

use std::sync::LazyLock;

use rusqlite::functions::FunctionFlags;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};

use super::damage::Damaged;
use super::rows::whole;

/// The values of a row's key columns.
pub(super) type RowKey = Vec<Value>;

/// A table whose rows have checksums.
pub(super) struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    /// Inserts a row; its parameters are the columns, in order.
    pub(super) insert: String,
    /// Whether a row is as it was written, as an SQL expression.
    pub(super) sound: String,
}

pub(super) static LOG: LazyLock<Table> = LazyLock::new(|| {
    Table::of("log", &["position", "kind", "at", "audiences", "id", "content", "expires", "replaces", "origin"])
});
pub(super) static SCHEDULED: LazyLock<Table> =
    LazyLock::new(|| Table::of("scheduled", &["id", "due", "at", "audiences", "content", "expires", "replaces"]));
pub(super) static SERVER_KEY: LazyLock<Table> =
    LazyLock::new(|| Table::of("server_key", &["id", "digest", "name", "scopes", "hint", "created", "expires"]));
pub(super) static TOKEN_SECRET: LazyLock<Table> =
    LazyLock::new(|| Table::of("token_secret", &["id", "secret", "created", "until"]));
pub(super) static REVOCATION: LazyLock<Table> = LazyLock::new(|| Table::of("revocation", &["user", "at"]));
pub(super) static LOG_IDENTITY: LazyLock<Table> = LazyLock::new(|| {
    Table::of("log_identity", &["epoch", "key", "trimmed", "given", "uptime", "age", "quiet", "has_head_file"])
});
pub(super) static USER_TRIMMED: LazyLock<Table> = LazyLock::new(|| Table::of("user_trimmed", &["user", "through"]));
pub(super) static MUTE: LazyLock<Table> = LazyLock::new(|| Table::of("mute", &["user", "category", "since", "until"]));
pub(super) static MEMBER: LazyLock<Table> = LazyLock::new(|| Table::of("member", &["user", "topic", "since", "until"]));
pub(super) static ERASING: LazyLock<Table> = LazyLock::new(|| Table::of("erasing", &["user", "through"]));

/// The start of a statement that sets columns of the one row of `log_identity`; nothing if that is damaged, so that it stays so.
pub(super) fn update_identity(set: &[(&str, &str)]) -> String {
    format!("{} WHERE {}", LOG_IDENTITY.update(set), LOG_IDENTITY.sound)
}

impl Table {
    fn of(name: &'static str, columns: &'static [&'static str]) -> Table {
        let parameters: Vec<String> = (1..=columns.len()).map(|number| format!("?{number}")).collect();
        let parameters = parameters.join(", ");
        let joined = columns.join(", ");
        Table {
            name,
            columns,
            insert: format!(
                "INSERT INTO {name} ({joined}, checksum) VALUES ({parameters}, checksum_of('{name}', {parameters}))"
            ),
            sound: format!("checksum IS checksum_of('{name}', {joined})"),
        }
    }

    /// Whether it has more rows than that.
    pub(super) fn has_more_than(&self, connection: &Connection, rows: usize) -> rusqlite::Result<bool> {
        connection.prepare(&format!("SELECT 1 FROM {} LIMIT 1 OFFSET ?1", self.name))?.exists([whole(rows)])
    }

    /// The keys of rows after a key that are damaged, of so many at most, and the last key that was looked at. The key is the
    /// first `keys` columns.
    pub(super) fn damaged_after(
        &self,
        connection: &Connection,
        keys: usize,
        after: Option<&[Value]>,
        limit: usize,
    ) -> rusqlite::Result<(Vec<RowKey>, Option<RowKey>)> {
        let key = self.columns[..keys].join(", ");
        let marks = vec!["?"; keys].join(", ");
        let (behind, is_behind) = match after {
            Some(_) => (format!("WHERE ({key}) > ({marks})"), format!("({key}) > ({marks})")),
            None => (String::new(), "1".to_owned()),
        };
        let sql = format!(
            "SELECT {is_behind}, {}, {key} FROM {} {behind} ORDER BY {key} LIMIT {limit}",
            self.sound, self.name
        );
        let after = after.unwrap_or_default();
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query(params_from_iter(after.iter().chain(after)))?;
        let (mut damaged, mut looked, mut last) = (Vec::new(), 0, None);
        let key = |row: &Row<'_>| (0..keys).map(|index| row.get(2 + index)).collect::<rusqlite::Result<Vec<Value>>>();
        while let Some(row) = rows.next()? {
            looked += 1;
            // Damaged keys are in no order, and are not to be looked at for ever.
            if !row.get::<_, bool>(0)? {
                return Ok((damaged, None));
            }
            if !row.get::<_, bool>(1)? {
                damaged.push(key(row)?);
            }
            if looked == limit {
                last = Some(key(row)?);
            }
        }
        Ok((damaged, last))
    }

    /// Deletes a row if it is damaged. The key is the first columns.
    pub(super) fn delete_if_damaged(&self, connection: &Connection, key: &[Value]) -> rusqlite::Result<()> {
        let columns = self.columns[..key.len()].join(", ");
        let marks = vec!["?"; key.len()].join(", ");
        let sql = format!("DELETE FROM {} WHERE ({columns}) = ({marks}) AND NOT ({})", self.name, self.sound);
        connection.prepare_cached(&sql)?.execute(params_from_iter(key)).map(|_| ())
    }

    /// Deletes what is damaged.
    pub(super) fn delete_damaged(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute(&format!("DELETE FROM {} WHERE NOT ({})", self.name, self.sound), []).map(|_| ())
    }

    /// That a row is damaged. What it has as its key may be a piece of a message, so only positions and ids are named.
    pub(super) fn damaged(&self, key: &impl ToString) -> Damaged {
        let (key, name) = (key.to_string(), self.name);
        let is_position = || name == "log" && key.parse::<u64>().is_ok();
        if is_position() || uuid::Uuid::try_parse(&key).is_ok() {
            Damaged(format!("row {key} of table {name}"))
        } else {
            Damaged(format!("a row of table {name}"))
        }
    }

    /// The start of a statement that sets columns to SQL expressions; `WHERE` follows.
    pub(super) fn update(&self, set: &[(&str, &str)]) -> String {
        let assigned: Vec<String> = set.iter().map(|(column, value)| format!("{column} = {value}")).collect();
        let after =
            self.columns.iter().map(|column| set.iter().find(|(set, _)| set == column).map_or(*column, |(_, to)| to));
        let after: Vec<&str> = after.collect();
        format!(
            "UPDATE {name} SET {}, checksum = checksum_of('{name}', {})",
            assigned.join(", "),
            after.join(", "),
            name = self.name
        )
    }
}

/// Gives a connection the function `checksum_of`.
pub(super) fn add_to(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("checksum_of", -1, flags, |context| {
        let mut sum = crc32fast::Hasher::new();
        for index in 0..context.len() {
            // The kind and the length of each value keep two rows apart whose bytes are the same in a row.
            match context.get_raw(index) {
                ValueRef::Null => sum.update(&[0]),
                ValueRef::Integer(number) => {
                    sum.update(&[1]);
                    sum.update(&number.to_le_bytes());
                }
                ValueRef::Real(number) => {
                    sum.update(&[2]);
                    sum.update(&number.to_le_bytes());
                }
                ValueRef::Text(bytes) => bytes_of(&mut sum, 3, bytes),
                ValueRef::Blob(bytes) => bytes_of(&mut sum, 4, bytes),
            }
        }
        Ok(i64::from(sum.finalize()))
    })
}

fn bytes_of(sum: &mut crc32fast::Hasher, kind: u8, bytes: &[u8]) {
    sum.update(&[kind]);
    sum.update(&bytes.len().to_le_bytes());
    sum.update(bytes);
}
