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
