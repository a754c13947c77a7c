-- name: weeks
-- The sums of the last weeks, by operation.
-- Parameters: weeks (integer), platform (text or null: all).
-- Rows: `Sums`.
-- Locks: none.
-- No row: nothing was called.
SELECT week, platform, source, operation, calls, good, down, refused, absent, read, malformed, records, filled, fillable, held, impossible, refuted, ms, times
FROM source_score
WHERE week > (date_trunc('week', clock_timestamp() AT TIME ZONE 'UTC')::date - 7 * %(weeks)s::integer) AND (%(platform)s::text IS NULL OR platform = %(platform)s)
ORDER BY platform, operation, week DESC, source
