-- name: holder
-- The transaction before which the feed of changes and webhooks stop, where something has waited behind it for long. Only locks tell a plain
-- role which session of another role, in any database, has written something.
-- Parameters: seconds (double precision) of waiting.
-- Rows: `Holder`, one.
-- Locks: none.
-- No row: nothing has waited for so long.
SELECT extract(epoch FROM clock_timestamp() - since)::integer AS waits, a.pid, p.gid, coalesce(a.datname, p.database) AS database,
       coalesce(a.usename, p.owner) AS role, nullif(a.application_name, '') AS application, a.state,
       extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared))::integer AS age, quote_literal(p.gid) AS quoted
FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::xid AS xid, least(
        (SELECT occurred_at FROM outbox_event WHERE xid >= beat_xid_in_era(pg_snapshot_xmin(pg_current_snapshot())) ORDER BY xid, id LIMIT 1),
        (SELECT at FROM change_log WHERE xid >= beat_xid_in_era(pg_snapshot_xmin(pg_current_snapshot())) ORDER BY xid, id LIMIT 1)) AS since) oldest
LEFT JOIN pg_prepared_xacts p ON p.transaction = oldest.xid
LEFT JOIN pg_locks l ON l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.transactionid = oldest.xid
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE since < clock_timestamp() - make_interval(secs => %(seconds)s) AND (a.pid IS NOT NULL OR p.gid IS NOT NULL) LIMIT 1

-- name: restored
-- When the database was found to be restored into another cluster, within a day.
-- Rows: the time.
-- Locks: none.
-- No row: it was not.
SELECT restored_at FROM database_cluster WHERE restored_at > clock_timestamp() - interval '1 day'

-- name: in_default
-- Partitioned tables with rows in their default partition.
-- Rows: `InDefault`, by table.
-- Locks: none.
-- No row: there are none.
SELECT parent, sum(held)::bigint AS held, min(day) AS since, max(day) AS until FROM beat_in_default() GROUP BY 1 ORDER BY 1
