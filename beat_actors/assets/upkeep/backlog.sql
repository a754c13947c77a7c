-- name: waiting
-- The first assets of each class that wait for their turn, by the time that their URLs have left, in steps of five minutes up to a week. It reads, in the
-- order of their deadlines, at most so many rows of each class.
-- Parameters: classes (smallint[]), most (integer): rows of a class.
-- Rows: `Step`; at most 2,018 of a class.
-- Locks: none.
-- No row: none waits.
SELECT c.class AS asset_class, avg(extract(epoch FROM p.deadline - clock_timestamp()))::float8 AS "left", count(*) AS assets,
       extract(epoch FROM clock_timestamp() - min(p.since))::float8 AS oldest
FROM unnest(%(classes)s::smallint[]) c(class) CROSS JOIN LATERAL (
    SELECT deadline, coalesce(observed_at, created_at) AS since FROM asset_log a
    WHERE a.status = 'PENDING' AND a.class = c.class ORDER BY a.class, a.deadline, a.id LIMIT %(most)s) p
GROUP BY c.class, greatest(-1, least(2016, floor(extract(epoch FROM p.deadline - clock_timestamp()) / 300)))
ORDER BY 1, 2

-- name: counts
-- How many assets of each class wait for their turn, counted up to a limit by one index.
-- Parameters: classes (smallint[]), most (integer).
-- Rows: `Waiting`, one for each class.
-- Locks: none.
-- No row: no class is asked for.
SELECT c.class AS asset_class, (SELECT count(*) FROM (
    SELECT FROM asset_log a WHERE a.status = 'PENDING' AND a.class = c.class ORDER BY a.class, a.deadline, a.id LIMIT %(most)s) counted) AS assets
FROM unnest(%(classes)s::smallint[]) c(class)

-- name: states
-- How many assets are in each state, counted up to a limit by one index.
-- Parameters: states (text[]), most (integer).
-- Rows: `Counted`, one for each state that is asked for.
-- Locks: none.
-- No row: no state is asked for.
SELECT s.status, (SELECT count(*) FROM (SELECT FROM asset_log a WHERE a.status = s.status ORDER BY a.id LIMIT %(most)s) counted) AS assets
FROM unnest(%(states)s::text[]) s(status)

-- name: wanted
-- How many readers' assets wait, up to a limit, by one index.
-- Parameters: most (integer).
-- Rows: the number, one.
-- Locks: none.
-- No row: never.
SELECT count(*) AS wanted FROM (SELECT FROM asset_log WHERE wanted_at IS NOT NULL LIMIT %(most)s) counted

-- name: pace
-- What was taken of origins since the first sample of the last minutes, by class. It reads the samples of these minutes, and of `asset_usage` the rows of
-- one day, or of two after midnight: one for each account and class that had uploads then.
-- Parameters: seconds (double precision): how far back.
-- Rows: `Taken`, one for each class.
-- Locks: none.
-- No row: no sample was taken in these minutes.
WITH base AS MATERIALIZED (
    SELECT class, at, day, requests, failed FROM asset_sample
    WHERE at = (SELECT min(at) FROM asset_sample WHERE at > clock_timestamp() - make_interval(secs => %(seconds)s))
), now AS MATERIALIZED (
    SELECT class, sum(requests)::bigint AS requests, sum(failed)::bigint AS failed FROM asset_usage WHERE day >= (SELECT min(day) FROM base) GROUP BY class
)
SELECT b.class AS asset_class, extract(epoch FROM clock_timestamp() - b.at)::float8 AS seconds,
       greatest(0, coalesce(n.requests, 0) - b.requests) AS requests, greatest(0, coalesce(n.failed, 0) - b.failed) AS failed
FROM base b LEFT JOIN now n USING (class) ORDER BY 1

-- name: sizes
-- The mean size of what was fetched yesterday and today, by class.
-- Rows: `Size`.
-- Locks: none.
-- No row: nothing was fetched.
SELECT class AS asset_class, (sum(fetched) / nullif(sum(requests) - sum(failed), 0))::bigint AS bytes
FROM asset_usage WHERE day >= (clock_timestamp() AT TIME ZONE 'UTC')::date - 1 GROUP BY class

-- name: sample
-- Notes what the uploads of today have taken so far, and deletes samples that are older than an hour. It reads the rows of one day of `asset_usage`.
-- Parameters: classes (smallint[]), epoch (bigint or null: of the leader).
-- Rows: how many were written, one.
-- Locks: its own rows alone.
-- No row: never.
WITH today AS (
    SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS day
), used AS MATERIALIZED (
    SELECT class, sum(requests)::bigint AS requests, sum(failed)::bigint AS failed, sum(fetched)::bigint AS fetched
    FROM asset_usage WHERE day = (SELECT day FROM today) GROUP BY class
), old AS (
    DELETE FROM asset_sample WHERE at < clock_timestamp() - interval '1 hour' AND beat_leads(%(epoch)s)
), written AS (
    INSERT INTO asset_sample (at, class, day, requests, failed, fetched)
    SELECT statement_timestamp(), c.class, t.day, coalesce(u.requests, 0), coalesce(u.failed, 0), coalesce(u.fetched, 0)
    FROM today t CROSS JOIN unnest(%(classes)s::smallint[]) c(class) LEFT JOIN used u ON u.class = c.class
    WHERE beat_leads(%(epoch)s) ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*)::integer AS written FROM written

-- name: forget_usage
-- Deletes what uploads took on days that are too long ago to be asked for, the oldest first. It reads the first rows of the primary key.
-- Parameters: days (integer): how many days before today are kept, most (integer): rows, epoch (bigint or null: of the leader).
-- Locks: the rows; it skips those that others hold.
-- No row: it gives none.
DELETE FROM asset_usage WHERE (day, account_id, class) IN (
    SELECT day, account_id, class FROM asset_usage WHERE day < (clock_timestamp() AT TIME ZONE 'UTC')::date - %(days)s::integer AND beat_leads(%(epoch)s)
    ORDER BY day, account_id, class LIMIT %(most)s FOR UPDATE SKIP LOCKED)

-- name: now
-- The database's clock.
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT clock_timestamp() AS now
