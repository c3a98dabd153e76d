-- The log. `audiences` is written as in the API, separated by spaces: 'user:1 topic:orders'.
-- `at` is milliseconds since 1970, UTC. `content` is JSON for a notification, the topic for joined and left.
CREATE TABLE log (
    position  INTEGER PRIMARY KEY,
    kind      TEXT NOT NULL CHECK (kind IN ('notified', 'joined', 'left')),
    at        INTEGER NOT NULL,
    audiences TEXT NOT NULL,
    id        TEXT,
    content   TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX log_id ON log (id) WHERE id IS NOT NULL;

-- Where the notifications of an audience stand.
CREATE TABLE addressed (
    audience TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (audience, position)
) STRICT, WITHOUT ROWID;

-- From where to where in the log a user is a member of a topic.
CREATE TABLE member (
    user  TEXT NOT NULL,
    topic TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER,
    PRIMARY KEY (user, topic, since)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX member_now ON member (topic, user) WHERE until IS NULL;

-- One row: the identity of the positions, and up to where retention has removed entries.
CREATE TABLE log_identity (
    epoch   INTEGER NOT NULL,
    key     BLOB NOT NULL,
    trimmed INTEGER NOT NULL
) STRICT;
