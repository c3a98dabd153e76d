-- Version 4: limits on what one user, a damaged file or a clock can cost.

-- The log's own times, in milliseconds: for how long the store has been open, on which `once.at` stands from here on; and how
-- old the log is (NULL: as its newest entry).
ALTER TABLE log_identity ADD COLUMN uptime INTEGER NOT NULL DEFAULT 0;
ALTER TABLE log_identity ADD COLUMN age INTEGER;

-- For pregon.head, which says how far the log had come: how many commits put no entry into the log, and whether the log has had
-- that file.
ALTER TABLE log_identity ADD COLUMN quiet INTEGER NOT NULL DEFAULT 0;
ALTER TABLE log_identity ADD COLUMN has_head_file INTEGER NOT NULL DEFAULT 0;

-- Positions at which `at` goes back by more than a second from an entry before: the clock was set back.
CREATE TABLE clock_step (
    position INTEGER PRIMARY KEY
) STRICT;
INSERT INTO clock_step (position)
    SELECT position FROM (SELECT position, at, lag(at) OVER (ORDER BY position) AS before FROM log) WHERE at < before - 1000;

-- Requests that are done once, by the name of the server key that they were sent with ('' for the key that the server was
-- started with) and by what the client calls them.
ALTER TABLE once RENAME TO once_3;
DROP INDEX once_at;
CREATE TABLE once (
    owner       TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    answer      TEXT NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
INSERT INTO once (owner, key, fingerprint, answer, at) SELECT '', key, fingerprint, answer, at FROM once_3;
DROP TABLE once_3;
CREATE INDEX once_at ON once (at);

-- Users who are being erased: nothing of theirs up to a position is shown any more, and it is removed in pieces.
CREATE TABLE erasing (
    user     TEXT PRIMARY KEY,
    through  INTEGER NOT NULL,
    checksum INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Where notifications stood that are gone and of which marks are left: these are removed in pieces.
CREATE TABLE marks_left (
    position INTEGER PRIMARY KEY
) STRICT;

-- Positions of notifications that are damaged: they are in nobody's inbox.
CREATE TABLE damaged (
    position INTEGER PRIMARY KEY
) STRICT;

-- Which notifications are to be published to a user later, so that an erasure reads no others.
CREATE TABLE scheduled_user (
    user TEXT NOT NULL,
    id   TEXT NOT NULL REFERENCES scheduled (id) ON DELETE CASCADE,
    PRIMARY KEY (user, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX scheduled_user_id ON scheduled_user (id);
INSERT INTO scheduled_user (user, id)
    SELECT DISTINCT substr(value, 6), scheduled.id
    FROM scheduled, json_each('[' || replace(json_quote(audiences), ' ', '","') || ']')
    WHERE substr(value, 1, 5) = 'user:';

-- `category` is that of the notification, as it is now, so that what a user mutes is passed over without reading the log.
ALTER TABLE addressed ADD COLUMN category TEXT;
UPDATE addressed SET category =
    (SELECT content ->> '$.category' FROM log
     WHERE log.position = addressed.position AND kind = 'notified' AND json_valid(content));

-- What a mark of all still has to change.
CREATE INDEX mark_unseen ON mark (user, position) WHERE seen IS NULL;
CREATE INDEX mark_unread ON mark (user, position) WHERE read IS NULL;

-- What of them is older than the log.
CREATE INDEX mute_ended ON mute (until) WHERE until IS NOT NULL;

-- Of the ended mutes of a user the newest 300 are kept.
DELETE FROM mute WHERE (user, category, since) IN (
    SELECT user, category, since FROM (
        SELECT user, category, since,
               row_number() OVER (PARTITION BY user ORDER BY until DESC, since DESC, category) AS number
        FROM mute WHERE until IS NOT NULL
    ) WHERE number > 300
);

-- What of a user's memberships has not ended, or last. Of those that have ended the newest 1000 are kept.
CREATE INDEX member_user ON member (user, until);
DELETE FROM member WHERE (user, topic, since) IN (
    SELECT user, topic, since FROM (
        SELECT user, topic, since, row_number() OVER (PARTITION BY user ORDER BY until DESC) AS number
        FROM member WHERE until IS NOT NULL
    ) WHERE number > 1000
);

-- The CRC-32 of the table's name and of a row's other columns, made by a function of the program's: who changes a row with
-- the shell makes it a damaged one.
ALTER TABLE log ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE scheduled ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE server_key ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE revocation ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE log_identity ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE user_trimmed ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mute ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE member ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE log_identity
    SET checksum = checksum_of('log_identity', epoch, key, trimmed, given, uptime, age, quiet, has_head_file);
UPDATE user_trimmed SET checksum = checksum_of('user_trimmed', user, through);
UPDATE mute SET checksum = checksum_of('mute', user, category, since, until);
UPDATE member SET checksum = checksum_of('member', user, topic, since, until);
UPDATE server_key SET checksum = checksum_of('server_key', id, digest, name, scopes, hint, created, expires);
UPDATE revocation SET checksum = checksum_of('revocation', user, at);
UPDATE log SET checksum =
    checksum_of('log', position, kind, at, audiences, id, content, expires, replaces, origin);
UPDATE scheduled SET checksum = checksum_of('scheduled', id, due, at, audiences, content, expires, replaces);
