-- Version 4: limits on what one user, a damaged file or a clock can cost.

-- The log's own times, in milliseconds: for how long the store has been open, on which `once.at` stands from here on; and how
-- old the log is (NULL: as its newest entry).
ALTER TABLE log_identity ADD COLUMN uptime INTEGER NOT NULL DEFAULT 0;
ALTER TABLE log_identity ADD COLUMN age INTEGER;

-- Positions at which `at` goes back by more than a second from an entry before: the clock was set back.
CREATE TABLE clock_step (
    position INTEGER PRIMARY KEY
) STRICT;
INSERT INTO clock_step (position)
    SELECT position FROM (SELECT position, at, lag(at) OVER (ORDER BY position) AS before FROM log) WHERE at < before - 1000;
