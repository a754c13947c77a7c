-- name: backlog
-- How many assets wait to be stored, counted up to a limit by an index.
-- Parameters: most (integer): the limit.
-- Rows: `Backlog`, one.
-- Locks: none.
-- No row: never.
SELECT (SELECT count(*) FROM (SELECT FROM asset_log WHERE status = 'PENDING' ORDER BY id LIMIT %(most)s) pending) AS pending,
       EXISTS (SELECT FROM alert WHERE key = 'backlog:assets' AND resolved_at IS NULL) AS stands

-- name: standing
-- The open alerts about uploads.
-- Rows: their keys.
-- Locks: none.
-- No row: there is none.
SELECT key FROM alert WHERE resolved_at IS NULL AND key LIKE 'assets:%%'

-- name: refused
-- Why the assets that are tried again first wait, if the bucket is the reason. It reads the first rows of an index.
-- Parameters: most (integer): rows that are read.
-- Rows: `Refused`, one: how many were read, how many of them wait for the bucket, and what the bucket said of one of them.
-- Locks: none.
-- No row: never.
SELECT count(*) AS looked, count(*) FILTER (WHERE failure LIKE 'bucket%%') AS assets, max(failure) FILTER (WHERE failure LIKE 'bucket%%') AS said
FROM (SELECT failure FROM asset_log WHERE status = 'WAITING' ORDER BY not_before LIMIT %(most)s) first

-- name: undeleted
-- Objects whose deletion has begun and does not end, counted up to a limit by an index.
-- Parameters: seconds (double precision): since when, most (integer): the limit.
-- Rows: `Undeleted`, one.
-- Locks: none.
-- No row: never.
SELECT count(*) AS objects, extract(epoch FROM clock_timestamp() - min(deleting_since))::float8 AS seconds FROM (
    SELECT deleting_since FROM asset_object WHERE deleting_since < (SELECT clock_timestamp() - make_interval(secs => %(seconds)s)) AND deleted_at IS NULL
    ORDER BY deleting_since LIMIT %(most)s) late
