-- Version 5: the server's own secrets, so that it can sign user tokens without being given a key.

-- Whoever reads one can sign a token for any user. `until` is when tokens signed with it are refused (NULL: it signs).
CREATE TABLE token_secret (
    id       TEXT PRIMARY KEY,
    secret   BLOB NOT NULL,
    created  INTEGER NOT NULL,
    until    INTEGER,
    checksum INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
