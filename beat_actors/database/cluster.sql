-- name: known
-- Whether the database is migrated so far that it knows its cluster and has the log of events, and its schema and tables are granted.
-- Rows: one.
-- Locks: none.
SELECT CASE WHEN has_schema_privilege(to_regnamespace('public'), 'USAGE')
       THEN coalesce(has_table_privilege(to_regclass('public.database_cluster'), 'UPDATE')
                     AND has_table_privilege(to_regclass('public.event_sequence'), 'SELECT'), false) ELSE false END AS known

-- name: same
-- Whether the database lives in the cluster that it knows.
-- Rows: one at most.
-- Locks: none.
-- No row: it knows no cluster yet.
SELECT identifier = (pg_control_system()).system_identifier AS same FROM database_cluster

-- name: lock
-- Waits until transactions that write events or changes have ended. What is written afterwards has numbers of the new era.
-- Locks: the three tables, in this order, against all that write to them.
LOCK TABLE database_cluster, outbox_event, change_log IN SHARE ROW EXCLUSIVE MODE

-- name: newest
-- The highest numbers that rows have, and the next one of this cluster. Two look-ups by an index. `marked_ahead`: the sequencer's mark is from a
-- transaction that this cluster has not begun yet.
-- Rows: `Newest`, one.
-- Locks: none; run behind `lock`.
-- No row: never.
SELECT p.xid::text::bigint AS position, p.id AS position_id, o.xid::text::bigint AS event, o.id AS event_id, c.xid::text::bigint AS change, c.id AS change_id,
       beat_xid_in_era(pg_snapshot_xmax(pg_current_snapshot()))::text::bigint AS here,
       coalesce(s.marked_in >= pg_snapshot_xmax(pg_current_snapshot()), false) AS marked_ahead
FROM (SELECT) one LEFT JOIN webhook_position p ON true LEFT JOIN event_sequence s ON true
LEFT JOIN LATERAL (SELECT xid, id FROM outbox_event WHERE xid IS NOT NULL ORDER BY xid DESC, id DESC LIMIT 1) o ON true
LEFT JOIN LATERAL (SELECT xid, id FROM change_log ORDER BY xid DESC, id DESC LIMIT 1) c ON true

-- name: join
-- Notes that the database lives in this cluster.
-- Locks: the row of `database_cluster`.
INSERT INTO database_cluster (identifier) VALUES ((SELECT system_identifier FROM pg_control_system()))
ON CONFLICT (only_one) DO UPDATE SET identifier = excluded.identifier

-- name: restored
-- Notes that the database was restored into this cluster.
-- Locks: the row of `database_cluster`.
UPDATE database_cluster SET restored_at = clock_timestamp()

-- name: begin_era
-- Begins an era behind all that was restored.
-- Parameters: era (bigint): its first number, last (bigint): the highest number that was restored.
-- Rows: by how much numbers of this cluster grow.
-- Locks: the row of `database_cluster`.
-- No row: never, since `join` has run.
UPDATE database_cluster SET era = %(era)s, last_xid = (%(last)s::bigint)::text::xid8, restored_at = clock_timestamp()
RETURNING %(era)s - (SELECT era FROM database_cluster) AS by

-- name: without_limit
-- Lets the statements of this transaction take as long as they take.
-- Locks: none.
SET LOCAL statement_timeout = 0

-- name: move_events
-- Moves events into the new era that were written before anybody noticed: those with numbers that this cluster has given, of rows that are
-- newer than the newest restored.
-- Parameters: by (bigint), since, here (bigint): the numbers of this cluster, from and to, id (bigint): the newest restored.
-- Locks: the events; run behind `lock`.
-- No row: nothing was written.
UPDATE outbox_event SET xid = (xid::text::bigint + %(by)s)::text::xid8
WHERE xid >= (%(since)s::bigint)::text::xid8 AND xid < (%(here)s::bigint)::text::xid8 AND id > %(id)s

-- name: move_changes
-- The same of changes.
-- Parameters: by (bigint), since, here (bigint): the numbers of this cluster, from and to, id (bigint): the newest restored.
-- Locks: the changes; run behind `lock`.
-- No row: nothing was written.
UPDATE change_log SET xid = (xid::text::bigint + %(by)s)::text::xid8
WHERE xid >= (%(since)s::bigint)::text::xid8 AND xid < (%(here)s::bigint)::text::xid8 AND id > %(id)s
