-- The log. `audiences` is written as in the API, separated by spaces: 'user:1 topic:orders'. `at` and `expires` are
-- milliseconds since 1970, UTC. `content` is for
--   notified       the JSON of the notification
--   edited         its id; what it says now stands where it was published
--   removed        why, and its id: 'recalled 01a2…'
--   marked         what the user's streams say, as JSON
--   muted          all that the user mutes from there on, as JSON
--   joined, left   the topic
-- and `origin` is where the notification stands that was edited or removed.
ALTER TABLE log RENAME TO log_1;
DROP INDEX log_id;
CREATE TABLE log (
    position  INTEGER PRIMARY KEY,
    kind      TEXT NOT NULL
              CHECK (kind IN ('notified', 'edited', 'removed', 'marked', 'muted', 'erased', 'joined', 'left')),
    at        INTEGER NOT NULL,
    audiences TEXT NOT NULL,
    id        TEXT,
    content   TEXT NOT NULL,
    expires   INTEGER,
    replaces  TEXT,
    origin    INTEGER
) STRICT;
INSERT INTO log (position, kind, at, audiences, id, content)
    SELECT position, kind, at, audiences, id, content FROM log_1;
DROP TABLE log_1;
CREATE UNIQUE INDEX log_id ON log (id) WHERE id IS NOT NULL;
CREATE INDEX log_replaces ON log (replaces, audiences) WHERE replaces IS NOT NULL;
CREATE INDEX log_expires ON log (expires) WHERE expires IS NOT NULL;

-- `given` is a position that has been given out, though its entry may be gone: positions go on after it.
ALTER TABLE log_identity ADD COLUMN given INTEGER NOT NULL DEFAULT 0;

-- What retention looks for.
CREATE INDEX member_ended ON member (until) WHERE until IS NOT NULL;

-- Where the notifications of an audience stand: what somebody has is looked up here.
ALTER TABLE addressed ADD COLUMN expires INTEGER;

-- Where everything else stands that concerns an audience. `origin` is where the notification stands that it is about:
-- whoever became a member of a topic later is not told of it.
CREATE TABLE changed (
    audience TEXT NOT NULL,
    position INTEGER NOT NULL,
    origin   INTEGER NOT NULL,
    PRIMARY KEY (audience, position)
) STRICT, WITHOUT ROWID;
INSERT INTO changed (audience, position, origin)
    SELECT audiences, position, position FROM log WHERE kind IN ('joined', 'left');

-- What a user has done with a notification, and when; of what has no row here, the watermarks tell.
CREATE TABLE mark (
    user     TEXT NOT NULL,
    position INTEGER NOT NULL,
    seen     INTEGER,
    read     INTEGER,
    archived INTEGER,
    PRIMARY KEY (user, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX mark_position ON mark (position);

-- All of a user's notifications through a position were seen, or read, at that time.
CREATE TABLE watermark (
    user    TEXT NOT NULL,
    kind    TEXT NOT NULL CHECK (kind IN ('seen', 'read')),
    through INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (user, kind, through)
) STRICT, WITHOUT ROWID;
CREATE INDEX watermark_through ON watermark (through);

-- From where to where in the log a user does not want what is about a category.
CREATE TABLE mute (
    user     TEXT NOT NULL,
    category TEXT NOT NULL,
    since    INTEGER NOT NULL,
    until    INTEGER,
    PRIMARY KEY (user, category, since)
) STRICT, WITHOUT ROWID;

-- Up to where a user's own entries have been removed, since she had too many.
CREATE TABLE user_trimmed (
    user    TEXT PRIMARY KEY,
    through INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX user_trimmed_through ON user_trimmed (through);

-- What is to be published later. It has no position yet.
CREATE TABLE scheduled (
    id        TEXT PRIMARY KEY,
    due       INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    audiences TEXT NOT NULL,
    content   TEXT NOT NULL,
    expires   INTEGER,
    replaces  TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX scheduled_due ON scheduled (due);

-- Requests that are done once however often they are sent, and what the first was answered.
CREATE TABLE once (
    key         TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    answer      TEXT NOT NULL,
    at          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX once_at ON once (at);
