//! Server keys and the server's own secrets, as they are kept, and when what users had been given was revoked.
//!
//! A damaged key or secret lets nobody in. A damaged revocation counts as one of the moment at which it is read, so that nothing passes
//! which it may have refused.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::checksum::{REVOCATION, SERVER_KEY, TOKEN_SECRET};
use super::rows::{Millisecond, parsed, time, whole};
use crate::auth::keys::{KEYS_MAX, KeptKey, KeyId, Scope};
use crate::auth::tokens::own::{SECRETS_MAX, TokenSecret};
use crate::notification::UserId;
use crate::store::Outcome;

/// All keys, as they were made: their ids rise with time.
pub(super) fn keys(connection: &Connection) -> rusqlite::Result<Vec<KeptKey>> {
    connection
        .prepare_cached(&format!(
            "SELECT id, digest, name, scopes, hint, created, expires FROM server_key WHERE {} ORDER BY id",
            SERVER_KEY.sound
        ))?
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
    connection.prepare_cached(&SERVER_KEY.insert)?.execute(params![
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

/// Keeps a key no longer; unless, if a time is given, it may do everything then and no other one may that lasts as long.
pub(super) fn forget_key(
    connection: &Connection,
    id: KeyId,
    leaves_admin: Option<Timestamp>,
) -> rusqlite::Result<Outcome> {
    if let Some(at) = leaves_admin {
        let (these, others): (Vec<_>, Vec<_>) = keys(connection)?.into_iter().partition(|key| key.id == id);
        let replaces = |other: &KeptKey, key: &KeptKey| other.is_admin(at) && other.lasts_as_long_as(key);
        if these.iter().any(|key| key.is_admin(at) && !others.iter().any(|other| replaces(other, key))) {
            return Ok(Outcome::LastAdmin);
        }
    }
    let forgotten = connection.prepare_cached("DELETE FROM server_key WHERE id = ?1")?.execute([id.to_string()])?;
    Ok(if forgotten == 0 { Outcome::Missing } else { Outcome::Kept })
}

/// The server's own secrets, as they were made.
pub(super) fn secrets(connection: &Connection) -> rusqlite::Result<Vec<TokenSecret>> {
    let sql = format!("SELECT id, secret, created, until FROM token_secret WHERE {} ORDER BY id", TOKEN_SECRET.sound);
    let secret = |row: &Row<'_>| {
        Ok(TokenSecret {
            id: parsed(row.get_ref(0)?.as_str()?)?,
            secret: row.get(1)?,
            created_at: row.get::<_, Millisecond>(2)?.0,
            until: time(row, 3)?,
        })
    };
    connection.prepare_cached(&sql)?.query_map([], secret)?.collect()
}

/// Has another secret sign, and deletes those that are damaged or at their end; unless too many are left.
pub(super) fn rotate_secret(
    connection: &Connection,
    new: &TokenSecret,
    until: Timestamp,
    at: Timestamp,
) -> rusqlite::Result<Outcome> {
    let over = format!("DELETE FROM token_secret WHERE NOT ({}) OR until <= ?1 OR ?2 <= ?1", TOKEN_SECRET.sound);
    connection.prepare_cached(&over)?.execute([Millisecond(at), Millisecond(until)])?;
    let kept = connection.query_row("SELECT count(*) FROM token_secret", [], |row| row.get::<_, i64>(0))?;
    if kept >= whole(SECRETS_MAX) {
        return Ok(Outcome::TooMany);
    }
    let signed_before = format!("{} WHERE until IS NULL", TOKEN_SECRET.update(&[("until", "?1")]));
    connection.prepare_cached(&signed_before)?.execute([Millisecond(until)])?;
    connection.prepare_cached(&TOKEN_SECRET.insert)?.execute(params![
        new.id.to_string(),
        new.secret,
        Millisecond(new.created_at),
        new.until.map(Millisecond),
    ])?;
    Ok(Outcome::Kept)
}

/// Notes that all that a user had been given by then is over.
pub(super) fn revoke(connection: &Connection, user: &UserId, at: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(&format!(
            "{} ON CONFLICT DO UPDATE SET at = max(at, excluded.at),
                                          checksum = checksum_of('revocation', user, max(at, excluded.at))",
            REVOCATION.insert
        ))?
        .execute(params![user.as_str(), Millisecond(at)])
        .map(|_| ())
}

/// When a revocation was, as an SQL expression.
fn revoked() -> String {
    format!("iif({}, at, CAST(unixepoch('subsec') * 1000 AS INTEGER))", REVOCATION.sound)
}

/// When that was for a user, if ever.
pub(super) fn revoked_at(connection: &Connection, user: &UserId) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached(&format!("SELECT {} FROM revocation WHERE user = ?1", revoked()))?
        .query_row([user.as_str()], |row| Ok(row.get::<_, Millisecond>(0)?.0))
        .optional()
}

/// When that was, for every user for whom it ever was.
pub(super) fn revocations(connection: &Connection) -> rusqlite::Result<Vec<(UserId, Timestamp)>> {
    connection
        .prepare_cached(&format!("SELECT user, {} FROM revocation", revoked()))?
        .query_map([], |row| Ok((parsed(row.get_ref(0)?.as_str()?)?, row.get::<_, Millisecond>(1)?.0)))?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Options, SqliteStore, checksum};
    use super::*;
    use crate::auth::keys::KeyId;
    use crate::store::{Command, Store as _};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// Mutant: a damaged row given out.
    #[tokio::test]
    async fn a_damaged_key_lets_nobody_in_and_a_damaged_revocation_refuses_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SqliteStore::open(folder.path(), Options::default()).expect("opens");
        let user: UserId = "1".parse().expect("valid");
        let store = open();
        for name in ["one", "two"] {
            let key = KeptKey {
                id: KeyId(uuid::Uuid::now_v7()),
                digest: [name.as_bytes()[0]; 32],
                name: name.to_owned(),
                scopes: vec!["publish:user:1".parse().expect("valid")],
                hint: "…".to_owned(),
                created_at: NOW,
                expires_at: None,
            };
            assert_eq!(store.one(NOW, Command::KeepKey(key)).await.expect("kept"), Outcome::Kept);
        }
        store.one(NOW, Command::Revoke { user: user.clone(), through: NOW }).await.expect("revoked");
        assert_eq!(store.revocations().await.expect("read"), [(user.clone(), NOW)]);
        drop(store);
        let connection = Connection::open(folder.path().join("pregon.db")).expect("opens");
        checksum::add_to(&connection).expect("added");
        for change in
            ["UPDATE server_key SET scopes = 'publish:user:3' WHERE name = 'two'", "UPDATE revocation SET at = -1"]
        {
            assert_eq!(connection.execute(change, []).expect("changed"), 1);
        }
        drop(connection);
        let store = open();
        let kept = store.keys().await.expect("read");
        assert_eq!(kept.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["one"]);
        let since_1970 = store.revocations().await.expect("read")[0].1;
        assert!(since_1970 > "2020-01-01T00:00:00Z".parse().expect("a time"), "{since_1970}");
        assert_eq!(store.options.metrics.damaged.get(), 2, "both are named");
    }
}
