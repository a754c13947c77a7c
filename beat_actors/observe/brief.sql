-- name: now
-- The moment, when the scheduler was seen last, when it looked for problems last, how many alerts are open, how many requests have not ended
-- (counted up to a limit), the living processes by their kind, and the data breakers that are open, the oldest first.
-- Parameters: most (integer): requests that are counted, seconds (integer): since its last report for which a process is said to live, breakers
-- (integer): data breakers at most.
-- Rows: `Now`, one.
-- Locks: none.
-- No row: never.
SELECT clock_timestamp() AS at, (SELECT seen_at FROM leader WHERE name = 'scheduler') AS led_at,
       (SELECT max(ended_at) FROM sweep WHERE name LIKE 'watch_%%') AS looked_at,
       (SELECT count(*) FROM alert WHERE resolved_at IS NULL) AS alerts,
       (SELECT count(*) FROM (SELECT FROM scrape_request_log WHERE status IN ('PENDING', 'PROCESSING') LIMIT %(most)s) open) AS requests,
       (SELECT coalesce(jsonb_object_agg(name, living), '{}') FROM (
            SELECT name, count(*) AS living FROM process WHERE seen_at > clock_timestamp() - make_interval(secs => %(seconds)s) GROUP BY name
        ) p) AS processes,
       (SELECT coalesce(jsonb_agg(d), '[]') FROM (
            SELECT platform, source, operation, parser_version, open_since AS since, by_hand, why, encode(cohort, 'base64') AS cohort FROM trust_cohort
            WHERE open_since IS NOT NULL ORDER BY open_since, source, operation, parser_version LIMIT %(breakers)s
        ) d) AS data_breakers

-- name: standing
-- The open alerts, the most severe first. Those about single credentials and limits, of which there may be many, come after the others.
-- Parameters: most (integer) rows.
-- Rows: `Standing`.
-- Locks: none.
-- No row: none is open.
SELECT key, severity, cause, impact, automatic, action, source, covers, opened_at, silenced, explained FROM alert WHERE resolved_at IS NULL
ORDER BY split_part(key, ':', 1) IN ('credential', 'quota'), array_position('{critical,warning,info}', severity), opened_at, id LIMIT %(most)s

-- name: affected
-- Who waits, for each scope, and when the next thing happens there. Of each lane one row of an index is read, and of each scope fetches up to a
-- limit. Failed requests are those of the last so many that failed for another reason than that what they asked for does not exist.
-- Parameters: scopes (jsonb): an array of {n, platform (null: all), sources (null: all; fetches that only these can serve), flow (null: all),
-- since}, most (integer): fetches of a scope, and failed requests, that are read.
-- Rows: `Waits`, by n. `flows`: platform and flow. `until`: when the first blocked lane may go on; `probe_at`: when a breaker lets a probe
-- through; `credential_at`: when a credential can be used again.
-- Locks: none.
-- No row: no scope is asked for.
WITH scope AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(scopes)s::jsonb) AS s(n integer, platform text, sources text[], flow text, since timestamptz)
), busy AS MATERIALIZED (
    SELECT l.id, l.platform, l.flow, l.sources, l.blocked_until, first.created_at FROM lane l {{watch/requests.first_waiting}}
), failed AS MATERIALIZED (
    SELECT platform, flow, scraped_at FROM scrape_request_log
    WHERE status = 'FAILED' AND coalesce(data->'error'->>'code', '') NOT IN ('missing', 'private', 'bad_request') ORDER BY id DESC LIMIT %(most)s
)
SELECT scope.n, lanes.flows, lanes.oldest, counted.fetches, counted.requests, counted.accounts, failures.failed, lanes.until,
       probe.probe_at, later.credential_at
FROM scope CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(DISTINCT concat_ws(' ', b.platform, nullif(b.flow, ''))), '{}') AS flows, min(b.created_at) AS oldest,
           min(b.blocked_until) FILTER (WHERE b.blocked_until > clock_timestamp()) AS until, array_agg(b.id) AS ids
    FROM busy b WHERE (scope.platform IS NULL OR b.platform = scope.platform) AND (scope.flow IS NULL OR b.flow = scope.flow)
      AND (scope.sources IS NULL OR b.sources <@ scope.sources AND cardinality(b.sources) > 0)) lanes
CROSS JOIN LATERAL (
    SELECT count(*) AS fetches, count(DISTINCT request_id) AS requests, count(DISTINCT tenant) AS accounts FROM (
        SELECT f.request_id, f.tenant FROM unnest(lanes.ids) AS i(id) CROSS JOIN LATERAL (
            SELECT f.request_id, f.tenant FROM scrape_fetch f WHERE f.lane_id BETWEEN i.id AND i.id AND f.stage = 'WAITING' AND f.not_before IS NULL
            ORDER BY f.lane_id, f.id LIMIT %(most)s) f LIMIT %(most)s) found) counted
CROSS JOIN LATERAL (
    SELECT count(*) AS failed FROM failed WHERE scraped_at >= scope.since AND (scope.platform IS NULL OR platform = scope.platform)
      AND (scope.flow IS NULL OR flow = scope.flow)) failures
CROSS JOIN LATERAL (
    SELECT min(open_until) AS probe_at FROM breaker WHERE source = ANY(scope.sources) AND open_until IS NOT NULL) probe
CROSS JOIN LATERAL (
    SELECT min(first.at) AS credential_at FROM unnest(scope.sources) AS s(source) CROSS JOIN LATERAL (
        SELECT greatest(c.disabled_till, c.full_until) AS at FROM credential c
        WHERE c.platform = scope.platform AND c.source = s.source AND c.shared AND c.enabled AND c.dead_at IS NULL
          AND greatest(c.disabled_till, c.full_until) > clock_timestamp()
        ORDER BY greatest(c.disabled_till, c.full_until) LIMIT 1) first) later
ORDER BY scope.n

-- name: assets
-- Assets that wait to be stored, and their accounts, counted up to a limit by an index.
-- Parameters: most (integer).
-- Rows: `Assets`, one. `oldest`: since when the first of them waits.
-- Locks: none.
-- No row: never.
SELECT count(*) AS assets, count(DISTINCT coalesce(account_id, '')) AS accounts, min(created_at) AS oldest
FROM (SELECT account_id, created_at FROM asset_log WHERE status = 'PENDING' ORDER BY id LIMIT %(most)s) first
