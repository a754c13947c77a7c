-- name: sweeps
-- Whether no scheduler leads, and which sweeps are late.
-- Rows: `Sweeps`, one.
-- Locks: none.
-- No row: never.
SELECT coalesce((SELECT seen_at < clock_timestamp() - interval '10 seconds' FROM leader WHERE name = 'scheduler'), true) AS absent,
       ARRAY(SELECT name FROM sweep WHERE ended_at < clock_timestamp() - make_interval(secs => 3 * every + deadline) ORDER BY 1) AS late

-- name: schema
-- The schema's revision, the oldest code that works with it, and whether the server takes no writes.
-- Rows: `Schema`.
-- Locks: none.
-- No row: nothing is migrated. Raises UndefinedTable where not even the tables for it are there.
SELECT version_num AS revision, (SELECT oldest FROM schema_compatibility) AS oldest,
       current_setting('transaction_read_only')::boolean AS read_only
FROM alembic_version
