-- Server keys. Of a key itself only its SHA-256 is kept, and its last characters, so that people can tell keys apart.
-- `scopes` is written as in the API, separated by spaces: 'manage publish:user:*'.
CREATE TABLE server_key (
    id      TEXT PRIMARY KEY,
    digest  BLOB NOT NULL UNIQUE,
    name    TEXT NOT NULL,
    scopes  TEXT NOT NULL,
    hint    TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;

-- What a user had been given by then (tokens, sessions, tickets) is refused.
CREATE TABLE revocation (
    user TEXT PRIMARY KEY,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The same log, which may also say
--   revoked        nothing more: all that the user had been given is over, and with it her streams
ALTER TABLE log RENAME TO log_2;
CREATE TABLE log (
    position  INTEGER PRIMARY KEY,
    kind      TEXT NOT NULL
              CHECK (kind IN ('notified', 'edited', 'removed', 'marked', 'muted', 'erased', 'joined', 'left', 'revoked')),
    at        INTEGER NOT NULL,
    audiences TEXT NOT NULL,
    id        TEXT,
    content   TEXT NOT NULL,
    expires   INTEGER,
    replaces  TEXT,
    origin    INTEGER
) STRICT;
INSERT INTO log (position, kind, at, audiences, id, content, expires, replaces, origin)
    SELECT position, kind, at, audiences, id, content, expires, replaces, origin FROM log_2;
DROP TABLE log_2;
CREATE UNIQUE INDEX log_id ON log (id) WHERE id IS NOT NULL;
CREATE INDEX log_replaces ON log (replaces, audiences) WHERE replaces IS NOT NULL;
CREATE INDEX log_expires ON log (expires) WHERE expires IS NOT NULL;
