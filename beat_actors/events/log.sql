-- name: sequence
-- Gives the next pending events their places in the log, in the order of their ids. An id is drawn under the lock of its subject. A statement that sees
-- a later event of a subject therefore sees the earlier ones: the order within a subject is kept, and no event waits for other transactions.
-- Any process may run this statement at any time. If another process is running it, it does nothing.
--
-- `floor` bounds what is looked at: a look at pending events begins behind those that were there once and whose dead rows an old snapshot keeps. It is
-- the highest id that had been drawn (`mark`) once every transaction that may have drawn one up to it has ended. A transaction has a number
-- before it draws an id, so these have lower numbers than a sequencing that began after `mark` was read (`mark_until`). So this is a transaction of
-- its own. Where the database was restored into another cluster its numbers mean nothing, and a mark that is ahead of the cluster is taken anew.
-- Parameters: limit (bigint): events.
-- Rows: `Sequenced`, one.
-- Locks: the row of `event_sequence`, for which it does not wait; the new row of a minute.
-- No row: never.
WITH s AS MATERIALIZED (
    SELECT seq, floor, mark, marked_in, mark_until, minute AS before FROM event_sequence FOR NO KEY UPDATE SKIP LOCKED
), chosen AS MATERIALIZED (
    SELECT p.id FROM event_pending p WHERE p.id > (SELECT floor FROM s) ORDER BY p.id LIMIT %(limit)s
), moved AS (
    DELETE FROM event_pending WHERE id = ANY(ARRAY(SELECT id FROM chosen)) RETURNING id, at, account_id, changes
), n AS (SELECT count(*) AS moved FROM moved), logged AS (
    INSERT INTO event_log (seq, id, at, account_id, changes)
    SELECT s.seq + row_number() OVER (ORDER BY m.id), m.id, m.at, m.account_id, m.changes FROM moved m, s
), now AS (
    SELECT s.*, n.moved, pg_current_snapshot() AS snapshot,
           date_trunc('minute', clock_timestamp()) AS minute, (SELECT count(*) FROM chosen) < %(limit)s AND s.mark_until <= pg_snapshot_xmin(pg_current_snapshot()) AS reached
    FROM s, n WHERE n.moved > 0
), anew AS (
    -- The old mark was reached, or there is none, or it means nothing here.
    SELECT now.*, coalesce(reached OR mark IS NULL OR marked_in >= pg_snapshot_xmax(snapshot), false) AS marks FROM now
), minute AS (
    INSERT INTO event_minute (minute, seq) SELECT minute, seq + 1 FROM now WHERE minute <> before ON CONFLICT DO NOTHING
), counted AS (
    UPDATE event_sequence e SET seq = e.seq + n.moved, minute = n.minute,
        floor = CASE WHEN n.reached THEN n.mark ELSE e.floor END,
        mark = CASE WHEN n.marks THEN (SELECT last_value FROM event_id) ELSE e.mark END,
        marked_in = CASE WHEN n.marks THEN pg_current_xact_id() ELSE e.marked_in END,
        mark_until = CASE WHEN n.marks THEN NULL
                          WHEN n.mark_until IS NULL AND pg_visible_in_snapshot(n.marked_in, n.snapshot) THEN pg_current_xact_id()
                          ELSE e.mark_until END
    FROM anew n
)
SELECT n.moved, coalesce((SELECT seq FROM s), (SELECT seq FROM event_sequence)) + n.moved AS last FROM n

-- name: last
-- The last place in the log.
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT seq FROM event_sequence

-- name: behind
-- The place behind which every event lies that happened at a time or later. An event gets its place after it has happened.
-- Parameters: at (timestamptz).
-- Rows: one at most.
-- Locks: none.
-- No row: no place is known that was given so early.
SELECT seq - 1 AS seq FROM event_minute WHERE minute <= %(at)s::timestamptz ORDER BY minute DESC LIMIT 1
