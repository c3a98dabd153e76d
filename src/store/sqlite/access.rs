//! Server keys, as they are kept, and when what users had been given was revoked.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::rows::{Millisecond, parsed, time, whole};
use crate::auth::keys::{KEYS_MAX, KeptKey, KeyId, Scope};
use crate::notification::UserId;
use crate::store::Outcome;

/// All keys, as they were made: their ids rise with time.
pub(super) fn keys(connection: &Connection) -> rusqlite::Result<Vec<KeptKey>> {
    connection
        .prepare_cached("SELECT id, digest, name, scopes, hint, created, expires FROM server_key ORDER BY id")?
        .query_map([], key)?
        .collect()
}

fn key(row: &Row<'_>) -> rusqlite::Result<KeptKey> {
    Ok(KeptKey {
        id: parsed(row.get_ref(0)?.as_str()?)?,
        digest: row.get(1)?,
        name: row.get(2)?,
        scopes: row.get_ref(3)?.as_str()?.split_whitespace().map(parsed).collect::<Result<_, _>>()?,
        hint: row.get(4)?,
        created_at: row.get::<_, Millisecond>(5)?.0,
        expires_at: time(row, 6)?,
    })
}

/// Keeps a key, unless there are as many as may be.
pub(super) fn keep_key(connection: &Connection, key: &KeptKey) -> rusqlite::Result<Outcome> {
    let kept: i64 = connection.prepare_cached("SELECT count(*) FROM server_key")?.query_row([], |row| row.get(0))?;
    if kept >= whole(KEYS_MAX) {
        return Ok(Outcome::TooMany);
    }
    let scopes: Vec<String> = key.scopes.iter().map(Scope::to_string).collect();
    connection
        .prepare_cached(
            "INSERT INTO server_key (id, digest, name, scopes, hint, created, expires)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            key.id.to_string(),
            key.digest,
            key.name,
            scopes.join(" "),
            key.hint,
            Millisecond(key.created_at),
            key.expires_at.map(Millisecond),
        ])?;
    Ok(Outcome::Kept)
}

/// Keeps a key no longer.
pub(super) fn forget_key(connection: &Connection, id: KeyId) -> rusqlite::Result<Outcome> {
    let forgotten = connection.prepare_cached("DELETE FROM server_key WHERE id = ?1")?.execute([id.to_string()])?;
    Ok(if forgotten == 0 { Outcome::Missing } else { Outcome::Kept })
}

/// Notes that all that a user had been given by then is over.
pub(super) fn revoke(connection: &Connection, user: &UserId, at: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO revocation (user, at) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)",
        )?
        .execute(params![user.as_str(), Millisecond(at)])
        .map(|_| ())
}

/// When that was for a user, if ever.
pub(super) fn revoked_at(connection: &Connection, user: &UserId) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached("SELECT at FROM revocation WHERE user = ?1")?
        .query_row([user.as_str()], |row| Ok(row.get::<_, Millisecond>(0)?.0))
        .optional()
}

/// When that was, for every user for whom it ever was.
pub(super) fn revocations(connection: &Connection) -> rusqlite::Result<Vec<(UserId, Timestamp)>> {
    connection
        .prepare_cached("SELECT user, at FROM revocation")?
        .query_map([], |row| Ok((parsed(row.get_ref(0)?.as_str()?)?, row.get::<_, Millisecond>(1)?.0)))?
        .collect()
}
