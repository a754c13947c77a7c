-- name: record
-- Writes down how sweeps ended. One that failed keeps the time at which it last ended well.
-- Parameters: sweeps (jsonb): objects with name, every, deadline (seconds), ms and error (null: it went well), epoch (bigint): the leader's.
-- Locks: the sweeps' rows; only the leader writes them.
-- No row: another leads by now.
INSERT INTO sweep (name, every, deadline, ended_at, ms, error)
SELECT name, every, deadline, clock_timestamp(), ms, error
FROM jsonb_to_recordset(%(sweeps)s::jsonb) AS s(name text, every double precision, deadline double precision, ms double precision, error text)
WHERE beat_leads(%(epoch)s)
ON CONFLICT (name) DO UPDATE SET every = excluded.every, deadline = excluded.deadline, ms = excluded.ms, error = excluded.error,
    ended_at = CASE WHEN excluded.error IS NULL THEN excluded.ended_at ELSE sweep.ended_at END

-- name: forget
-- Deletes sweeps that this version of the scheduler does not have.
-- Parameters: names (text[]): those that it has, epoch (bigint): the leader's.
-- Locks: the rows.
-- No row: there are no others, or another leads by now.
DELETE FROM sweep WHERE NOT (name = ANY(%(names)s)) AND beat_leads(%(epoch)s)
