-- name: queue
-- What waits for a lease, by platform, flow and priority. Each lane is counted up to its share of a limit, and at least up to 20; it reads
-- entries of an index, and one row for each lane.
-- Parameters: most (integer): fetches that are counted in all.
-- Rows: `Queue`. `oldest`: seconds since the creation of the fetch that has waited longest.
-- Locks: none.
-- No row: nothing waits.
WITH lanes AS MATERIALIZED (SELECT id, platform, flow, priority FROM lane), share AS MATERIALIZED (
    SELECT least(100000, greatest(20, %(most)s / greatest(1, count(*)))) AS most FROM lanes
)
SELECT l.platform, l.flow, l.priority, sum(n.fetches)::bigint AS fetches,
       extract(epoch FROM clock_timestamp() - min(first.created_at))::float8 AS oldest
FROM lanes l {{watch/requests.first_waiting}} CROSS JOIN LATERAL (
    SELECT count(*) AS fetches FROM (SELECT FROM scrape_fetch f WHERE f.lane_id BETWEEN l.id AND l.id AND f.stage = 'WAITING' AND f.not_before IS NULL
        ORDER BY f.lane_id, f.id LIMIT (SELECT most FROM share)) counted) n
GROUP BY 1, 2, 3

-- name: delayed
-- Fetches that are made again later, counted up to a limit by an index.
-- Parameters: platforms (text[]), most (integer): of each that are counted.
-- Rows: `Delayed`, one for each platform.
-- Locks: none.
-- No row: no platform is asked for.
SELECT p.platform, (SELECT count(*) FROM (SELECT FROM scrape_fetch f WHERE f.platform = p.platform AND f.stage = 'WAITING' AND f.not_before IS NOT NULL
    ORDER BY f.platform, f.not_before LIMIT %(most)s) counted) AS fetches
FROM unnest(%(platforms)s::text[]) p(platform)

-- name: moving
-- Fetches that are leased or in a stage. There are at most as many as may be in flight.
-- Rows: `Moving`.
-- Locks: none.
-- No row: there are none.
SELECT platform, stage, count(*) AS fetches FROM scrape_fetch WHERE stage IN ('LEASED', 'SETTLING', 'RETRIEVED', 'INGESTED') GROUP BY 1, 2

-- name: blocked
-- Why lanes with work are blocked. One row of an index for each lane.
-- Parameters: most (integer): sentences that are read.
-- Rows: `BlockedFor`, one for each sentence.
-- Locks: none.
-- No row: no lane with work is blocked.
SELECT l.platform, coalesce(r->>'source', '') AS source, coalesce(r->>'why', '') AS why, count(DISTINCT l.id) AS lanes
FROM lane l CROSS JOIN LATERAL jsonb_array_elements(l.reasons) r
WHERE jsonb_typeof(l.reasons) = 'array' AND (l.blocked_until IS NULL OR l.blocked_until > clock_timestamp()) AND EXISTS (
    SELECT FROM scrape_fetch f WHERE f.lane_id BETWEEN l.id AND l.id AND f.stage = 'WAITING' AND f.not_before IS NULL)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT %(most)s

-- name: credentials
-- Credentials by state. Reads each credential once.
-- Rows: `CredentialsIn`.
-- Locks: none.
-- No row: there is no credential.
SELECT c.platform, c.source, {{credentials/info.state}} AS state, count(*) AS credentials FROM credential c GROUP BY 1, 2, 3

-- name: limits
-- How much of each limit is used, as `Window` counts it, but for steps of the clock. Reads each usage row once.
-- Parameters: sources, limits (text[]), calls (bigint[]), newest (bigint[]): the bucket of now, or the start of the day where a limit counts by
-- days (days boolean[]); by_source (boolean[]): it counts for the source and not for each credential. Parallel lists, one entry for each limit.
-- Rows: `LimitState`, one for each limit of a source that has credentials.
-- Locks: none.
-- No row: there are no credentials.
WITH told(source, limit_name, calls, newest, days, by_source) AS (
    SELECT * FROM unnest(%(sources)s::text[], %(limits)s::text[], %(calls)s::bigint[], %(newest)s::bigint[], %(days)s::boolean[], %(by_source)s::boolean[])
), enabled AS (
    SELECT source, count(*) FILTER (WHERE enabled AND dead_at IS NULL) AS credentials FROM credential GROUP BY 1
), used AS (
    SELECT t.source, t.limit_name, sum(n.calls) AS used,
           sum(least(n.calls, t.calls)) FILTER (WHERE t.by_source OR c.enabled AND c.dead_at IS NULL) AS taken
    FROM credential_usage u LEFT JOIN credential c ON c.id = CASE WHEN u.subject LIKE 'credential:%%' THEN substr(u.subject, 12)::bigint END
    JOIN told t ON t.limit_name = u.limit_name AND t.source = coalesce(c.source, substr(u.subject, 8)) AND t.by_source = (c.id IS NULL)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN t.days AND u.head < t.newest THEN 0
                    WHEN t.days THEN (SELECT coalesce(sum(x), 0) FROM unnest(u.counts) x)
                    ELSE (SELECT coalesce(sum(x), 0) FROM unnest(u.counts[1:greatest(0, least(21, u.head - t.newest + 21))::integer]) x) END AS calls) n
    GROUP BY 1, 2
)
SELECT t.source, t.limit_name, coalesce(u.used, 0)::bigint AS used, a.calls::bigint AS calls, greatest(0, a.calls - coalesce(u.taken, 0))::bigint AS remaining
FROM told t JOIN enabled e USING (source) LEFT JOIN used u USING (source, limit_name)
CROSS JOIN LATERAL (SELECT t.calls * CASE WHEN t.by_source THEN 1 ELSE e.credentials END AS calls) a

-- name: webhooks
-- How far the deliveries of webhooks are behind, counted by an index.
-- Parameters: most (integer): deliveries that are counted.
-- Rows: `Webhooks`, one.
-- Locks: none.
-- No row: never.
SELECT CASE WHEN EXISTS (SELECT FROM webhook_endpoint WHERE state = 'active')
            THEN coalesce((SELECT greatest(0, s.seq - p.seq) FROM webhook_position p, event_sequence s), 0) ELSE 0 END AS lag,
       (SELECT count(*) FROM (SELECT FROM webhook_delivery WHERE state = 'pending' ORDER BY expires_at LIMIT %(most)s) counted) AS due

-- name: quarantine
-- What stands in quarantine, by kind and platform. It steps from one set of kind, platform, source and operation to the next in the index
-- `quarantine_told`, and counts each up to a limit.
-- Parameters: sets (integer) that are looked at, most (integer) entries of each that are counted.
-- Rows: `Quarantined`.
-- Locks: none.
-- No row: it is empty.
WITH RECURSIVE sets AS (
    (SELECT kind, coalesce(platform, '-') AS platform, coalesce(source, '-') AS source, coalesce(operation, '-') AS operation
     FROM quarantine WHERE resolved_at IS NULL ORDER BY 1, 2, 3, 4 LIMIT 1)
    UNION ALL
    SELECT next.* FROM sets s CROSS JOIN LATERAL (
        SELECT kind, coalesce(platform, '-'), coalesce(source, '-'), coalesce(operation, '-') FROM quarantine
        WHERE resolved_at IS NULL AND (kind, coalesce(platform, '-'), coalesce(source, '-'), coalesce(operation, '-'))
              > (s.kind, s.platform, s.source, s.operation)
        ORDER BY 1, 2, 3, 4 LIMIT 1
    ) next
)
SELECT s.kind, s.platform, sum(n.items)::bigint AS items FROM (SELECT * FROM sets LIMIT %(sets)s) s CROSS JOIN LATERAL (
    SELECT count(*) AS items FROM (
        SELECT FROM quarantine q WHERE q.resolved_at IS NULL AND q.kind = s.kind AND coalesce(q.platform, '-') = s.platform
          AND coalesce(q.source, '-') = s.source AND coalesce(q.operation, '-') = s.operation LIMIT %(most)s) counted) n
GROUP BY 1, 2

-- name: held
-- Held records that wait for a decision. Counts at most `most` of them, in the order of an index.
-- Parameters: most (integer).
-- Rows: `HeldIn`.
-- Locks: none.
-- No row: there are none.
SELECT platform, source, state, count(*) AS records FROM (
    SELECT platform, source, state FROM held_record WHERE decided_at IS NULL
    ORDER BY platform, source, operation, parser_version, id LIMIT %(most)s) counted
GROUP BY 1, 2, 3

-- name: data_breakers
-- Data breakers that are open. One row for each parser that has read anything.
-- Rows: `OpenFor`.
-- Locks: none.
-- No row: none is open.
SELECT platform, source, operation, count(*) AS parsers FROM trust_cohort WHERE open_since IS NOT NULL GROUP BY 1, 2, 3

-- name: tables
-- The tables with most dead rows. The partitions of a table are added up.
-- Parameters: most (integer).
-- Rows: `TableRows`.
-- Locks: none.
-- No row: the database is not migrated.
SELECT coalesce(p.relname, s.relname)::text AS name, sum(s.n_live_tup)::bigint AS live, sum(s.n_dead_tup)::bigint AS dead
FROM pg_stat_user_tables s LEFT JOIN pg_inherits i ON i.inhrelid = s.relid LEFT JOIN pg_class p ON p.oid = i.inhparent
WHERE s.schemaname = 'public' GROUP BY 1 ORDER BY 3 DESC, 2 DESC, 1 LIMIT %(most)s

-- name: connections
-- How many connections the server has, of how many.
-- Rows: `ConnectionsOf`, one.
-- Locks: none.
-- No row: never.
SELECT (SELECT count(*) FROM pg_stat_activity WHERE usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend') AS used,
       current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint AS most
