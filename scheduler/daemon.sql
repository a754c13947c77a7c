-- name: record
-- Writes down how sweeps ended, and reads what makes a rule due before its time. A sweep that failed keeps the time at which it last ended well. Of
-- the evidence it reads the end of an index and small tables.
-- Parameters: sweeps (jsonb): objects with name, every, deadline (seconds), ms and error (null: it went well), epoch (bigint): the leader's,
-- living (integer): seconds since its last report within which a process is living, slow (double precision): seconds of the p99 of statements from
-- which on the database is slow, forgotten (integer): seconds for which a person may stop something without being told.
-- Rows: one, `Evidence`, also where another leads by now; then nothing is written.
-- Locks: the sweeps' rows; only the leader writes them.
-- No row: never.
WITH recorded AS (
    INSERT INTO sweep (name, every, deadline, ended_at, ms, error)
    SELECT name, every, deadline, clock_timestamp(), ms, error
    FROM jsonb_to_recordset(%(sweeps)s::jsonb) AS s(name text, every double precision, deadline double precision, ms double precision, error text)
    WHERE beat_leads(%(epoch)s)
    ON CONFLICT (name) DO UPDATE SET every = excluded.every, deadline = excluded.deadline, ms = excluded.ms, error = excluded.error,
        ended_at = CASE WHEN excluded.error IS NULL THEN excluded.ended_at ELSE sweep.ended_at END
)
SELECT (SELECT max(id) FROM quarantine) AS quarantined,
       (SELECT md5(string_agg(concat_ws(' ', id, troubles, outages), ' ' ORDER BY id)) FROM process
        WHERE (troubles <> '{}' OR outages <> '[]') AND seen_at > clock_timestamp() - make_interval(secs => %(living)s)) AS in_trouble,
       EXISTS (SELECT FROM process WHERE statement_p99 >= %(slow)s AND seen_at > clock_timestamp() - make_interval(secs => %(living)s)) AS slow,
       (SELECT count(*) FROM flow_setting WHERE paused AND changed_at < clock_timestamp() - make_interval(secs => %(forgotten)s))
       + (SELECT count(*) FROM breaker
          WHERE by_hand AND open_until IS NOT NULL AND since < clock_timestamp() - make_interval(secs => %(forgotten)s))
       + (SELECT count(*) FROM trust_cohort WHERE by_hand AND open_since < clock_timestamp() - make_interval(secs => %(forgotten)s)) AS forgotten

-- name: forget
-- Deletes sweeps that this version of the scheduler does not have.
-- Parameters: names (text[]): those that it has, epoch (bigint): the leader's.
-- Locks: the rows.
-- No row: there are no others, or another leads by now.
DELETE FROM sweep WHERE NOT (name = ANY(%(names)s)) AND beat_leads(%(epoch)s)
