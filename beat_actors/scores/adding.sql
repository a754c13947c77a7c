-- name: add
-- Adds what a process has counted to the sums of this week.
-- Parameters: rows (jsonb: a list of objects with the columns of `c`).
-- Locks: the rows, in the order of their key.
-- No row: it gives none.
INSERT INTO source_score AS s (week, platform, source, operation, calls, good, down, refused, absent, read, malformed, records, filled, fillable,
    held, impossible, refuted, ms, times)
SELECT date_trunc('week', clock_timestamp() AT TIME ZONE 'UTC')::date, platform, source, operation, calls, good, down, refused, absent, read, malformed,
    records, filled, fillable, coalesce(held, 0), coalesce(impossible, 0), coalesce(refuted, 0), ms, times
FROM jsonb_to_recordset(%(rows)s::jsonb) AS c(platform text, source text, operation text, calls bigint, good bigint, down bigint, refused bigint,
    absent bigint, read bigint, malformed bigint, records bigint, filled bigint, fillable bigint, held bigint,
    impossible bigint, refuted bigint, ms double precision, times bigint[])
ORDER BY platform, source, operation
ON CONFLICT (week, platform, source, operation) DO UPDATE SET calls = s.calls + excluded.calls, good = s.good + excluded.good,
    down = s.down + excluded.down, refused = s.refused + excluded.refused, absent = s.absent + excluded.absent, read = s.read + excluded.read,
    malformed = s.malformed + excluded.malformed, records = s.records + excluded.records, filled = s.filled + excluded.filled,
    fillable = s.fillable + excluded.fillable, held = s.held + excluded.held, impossible = s.impossible + excluded.impossible,
    refuted = s.refuted + excluded.refuted, ms = s.ms + excluded.ms,
    times = ARRAY(SELECT coalesce(a.n, 0) + coalesce(b.n, 0) FROM unnest(s.times) WITH ORDINALITY AS a(n, i)
                  FULL JOIN unnest(excluded.times) WITH ORDINALITY AS b(n, i) USING (i) ORDER BY i)

-- name: forget
-- Forgets weeks that began long ago.
-- Parameters: days (integer), epoch (bigint or null: of the leader).
-- Locks: the rows, in no order; nobody else writes them any more.
-- No row: there are none.
DELETE FROM source_score WHERE week < (clock_timestamp() AT TIME ZONE 'UTC')::date - %(days)s::integer AND beat_leads(%(epoch)s)
