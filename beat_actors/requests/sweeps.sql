-- name: due
-- The platforms with something to do now, and one row with the time. Cheap enough to ask twice a second: it reads the table of lanes, and for each
-- platform the first row of two indexes.
-- Parameters: platforms (text[]).
-- Rows: one with `now` (epoch seconds) alone, and one for each platform.
-- No row: of a platform, that it has nothing to do.
SELECT NULL AS platform, extract(epoch FROM clock_timestamp())::double precision AS now UNION ALL
SELECT p.platform, NULL FROM unnest(%(platforms)s::text[]) AS p(platform)
WHERE EXISTS (SELECT FROM lane l WHERE l.platform = p.platform AND l.reasons IS NOT NULL AND l.blocked_until <= clock_timestamp())
   OR (SELECT f.not_before FROM scrape_fetch f WHERE f.platform = p.platform AND f.stage = 'WAITING' AND f.not_before IS NOT NULL
       ORDER BY f.platform, f.not_before LIMIT 1) <= clock_timestamp()
   OR (SELECT s.id FROM settlement s WHERE s.platform = p.platform ORDER BY s.platform, s.id LIMIT 1) IS NOT NULL

-- name: waiting
-- The safety net under every wake-up: the platforms that have a lane with a waiting fetch, whichever wake-ups were sent.
-- No row: nothing waits that could run.
SELECT DISTINCT l.platform FROM lane l CROSS JOIN LATERAL (
    SELECT FROM scrape_fetch f WHERE f.lane_id BETWEEN l.id AND l.id AND f.stage = 'WAITING' AND f.not_before IS NULL
    ORDER BY f.lane_id, f.id LIMIT 1) first

-- name: late
-- Requests past their deadline, the latest first.
-- Parameters: epoch (bigint or null: of the leader), limit (integer).
-- No row: none is late, or the leader was replaced.
SELECT id FROM scrape_request_log
WHERE status IN ('PENDING', 'PROCESSING') AND expires_at <= (SELECT clock_timestamp()) AND beat_leads(%(epoch)s) ORDER BY expires_at, id LIMIT %(limit)s

-- name: forgotten
-- Requests with a waiting fetch past a deadline that nobody who waits has: it was set anew, and missed this fetch, which was just being moved each
-- time. One look into the index (lane_id, expires_at) for each lane, whatever waits in them.
-- Parameters: seconds (past the deadline), limit (integer).
-- No row: there is none.
SELECT DISTINCT found.id FROM lane l CROSS JOIN LATERAL (
    SELECT f.request_id AS id FROM scrape_fetch f JOIN scrape_request_log r ON r.id = f.request_id
    WHERE f.lane_id BETWEEN l.id AND l.id AND f.stage = 'WAITING' AND r.live
      AND f.expires_at < (SELECT clock_timestamp() - make_interval(secs => %(seconds)s))
    ORDER BY f.lane_id, f.expires_at LIMIT %(limit)s
) found LIMIT %(limit)s

-- name: free_credentials
-- Lets the next probe of a credential go where its probe's fetch ended some other way, cancelled at that very moment for example.
-- Parameters: epoch (bigint or null: of the leader).
-- Rows: the platform of each.
-- Locks: the credentials, in no order.
-- No row: no probe is stuck, or the leader was replaced.
UPDATE credential c SET probing = false WHERE c.probing AND NOT EXISTS (
    SELECT FROM scrape_fetch f WHERE f.credential_id = c.id AND f.probe AND f.stage IN ('LEASED', 'SETTLING'))
  AND NOT EXISTS (SELECT FROM credential_call k WHERE k.credential_id = c.id AND k.probe)
  AND NOT EXISTS (SELECT FROM settlement s WHERE s.credential_id = c.id AND s.probe)
  AND c.updated_at < clock_timestamp() - interval '10 seconds' AND beat_leads(%(epoch)s)
RETURNING c.platform

-- name: free_breakers
-- Lets the next probe of a breaker go where its probe's fetch ended some other way.
-- Parameters: epoch (bigint or null: of the leader).
-- Rows: the platform of each.
-- Locks: the breakers, in no order.
-- No row: no probe is stuck, or the leader was replaced.
UPDATE breaker b SET probing = false WHERE b.probing AND NOT EXISTS (
    SELECT FROM scrape_fetch f WHERE f.source = b.source AND f.operation = b.operation AND f.probe
      AND f.stage IN ('LEASED', 'SETTLING', 'RETRIEVED'))
  AND NOT EXISTS (SELECT FROM credential_call k WHERE k.source = b.source AND k.operation = b.operation AND k.probe)
  AND NOT EXISTS (SELECT FROM settlement s WHERE s.source = b.source AND s.operation = b.operation AND s.probe)
  AND beat_leads(%(epoch)s)
RETURNING b.platform

-- name: free_owners_breakers
-- The same of one owner's breakers: its fetches and its credential's own calls.
-- Parameters: epoch (bigint or null: of the leader).
-- Rows: the platform of each.
-- Locks: the breakers, in no order.
-- No row: no probe is stuck, or the leader was replaced.
UPDATE owner_breaker b SET probing = false WHERE b.probing AND NOT EXISTS (
    SELECT FROM scrape_fetch f WHERE f.source = b.source AND f.operation = b.operation AND f.probe AND f.owner = b.owner
      AND f.stage IN ('LEASED', 'SETTLING', 'RETRIEVED'))
  AND NOT EXISTS (SELECT FROM credential_call k JOIN credential c ON c.id = k.credential_id
                  WHERE k.source = b.source AND k.operation = b.operation AND k.probe AND c.owner = b.owner)
  AND NOT EXISTS (SELECT FROM settlement s WHERE s.source = b.source AND s.operation = b.operation AND s.probe AND s.owner IN ('', b.owner))
  AND beat_leads(%(epoch)s)
RETURNING b.platform

-- name: unmade
-- The days that lack a partition: of the days ahead, and of days that came into a default partition.
-- Parameters: ahead (integer: days).
-- No row: none is missing.
WITH today AS (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS day), wanted AS (
    SELECT parent, today.day + ahead AS day FROM today, beat_partitioned() parent, generate_series(0, %(ahead)s) ahead
    UNION SELECT parent, d.day FROM beat_in_default() d, today WHERE d.day < today.day
)
SELECT parent, day FROM wanted WHERE to_regclass(format('%%I', parent || to_char(day, '_YYYYMMDD'))) IS NULL ORDER BY day, parent

-- name: make
-- Makes a day's partition of a table, by a function of the schema's owner.
-- Parameters: parent (text: the table), day (date), epoch (bigint or null: of the leader).
-- Rows: 1 where it was made.
-- Locks: the table and its default partition.
-- No row: the leader was replaced.
SELECT beat_make_partition(%(parent)s, %(day)s)::integer WHERE beat_leads(%(epoch)s)

-- name: read
-- For how many days a log of observations is kept: as long as is set, and longer where older days were not read for the last good states of their entities.
-- Parameters: log (text), days (integer).
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT greatest(%(days)s::integer, current_date - coalesce((SELECT day FROM log_retention WHERE log = %(log)s), date '1970-01-01')) AS days

-- name: drop
-- Drops the partitions of a table that are past their age, by a function of the schema's owner.
-- Parameters: parent (text: the table), days (integer), epoch (bigint or null: of the leader).
-- Rows: how many were dropped.
-- Locks: the table and each partition that goes.
-- No row: the leader was replaced.
SELECT beat_drop_partitions(%(parent)s, %(days)s) WHERE beat_leads(%(epoch)s)
