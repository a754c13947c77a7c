-- name: progress
-- The rehearsal's requests by status.
-- Parameters: after (bigint): the last request before it.
-- Rows: `Counted`; `what` is the status.
-- Locks: none.
-- No row: there is none yet.
SELECT status AS what, count(*) AS n FROM scrape_request_log WHERE id > %(after)s GROUP BY status

-- name: by_source
-- The rehearsal's calls by source, the one with the most first.
-- Parameters: since (timestamptz).
-- Rows: `Calls`.
-- Locks: none.
-- No row: none was made.
SELECT source, count(*) AS calls, count(*) FILTER (WHERE outcome = 'ok') AS ok,
       count(*) FILTER (WHERE outcome IN ('rate_limited', 'quota_exhausted')) AS refused,
       count(*) FILTER (WHERE outcome = 'upstream_down') AS down,
       count(*) FILTER (WHERE outcome NOT IN ('ok', 'rate_limited', 'quota_exhausted', 'upstream_down')) AS other,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE outcome = 'ok') AS ms
FROM trace_log WHERE at >= %(since)s GROUP BY source ORDER BY calls DESC

-- name: state
-- What is out, and how much work waits or moves.
-- Rows: `State`, one.
-- Locks: none.
-- No row: never.
SELECT (SELECT count(*) FROM credential WHERE disabled_till > clock_timestamp()) AS cooling,
       (SELECT count(*) FROM credential WHERE platform = 'instagram' AND enabled AND dead_at IS NULL
        AND (disabled_till IS NULL OR disabled_till <= clock_timestamp())) AS awake,
       (SELECT coalesce(string_agg(source || ' ' || operation, ', ' ORDER BY source, operation), '')
        FROM breaker WHERE open_until > clock_timestamp()) AS open,
       (SELECT count(*) FROM lane WHERE reasons IS NOT NULL AND blocked_until > clock_timestamp()) AS blocked,
       (SELECT count(*) FROM scrape_fetch WHERE stage IN ('LEASED', 'RETRIEVED', 'INGESTED', 'SETTLING')) AS moving,
       (SELECT count(*) FROM scrape_fetch WHERE stage = 'WAITING') AS waiting

-- name: unfinished
-- Fetches that have not ended and can go on now, and outcomes that no dispatch cycle has applied. A fetch of a blocked lane cannot: it waits for a
-- cooldown or for manual action, such as the first credential of its source.
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT (SELECT count(*) FROM scrape_fetch WHERE stage IN ('LEASED', 'RETRIEVED', 'INGESTED', 'SETTLING'))
     + (SELECT count(*) FROM scrape_fetch f LEFT JOIN lane l ON l.id = f.lane_id AND l.reasons IS NOT NULL
        AND coalesce(l.blocked_until > clock_timestamp(), true) WHERE f.stage = 'WAITING' AND l.id IS NULL)
     + (SELECT count(*) FROM settlement) AS unfinished

-- name: fallbacks
-- Fetches that were tried with more than one source.
-- Parameters: since (timestamptz).
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT count(*) AS fallbacks FROM (SELECT FROM trace_log WHERE at >= %(since)s AND fetch_id IS NOT NULL GROUP BY fetch_id HAVING count(DISTINCT source) > 1) f

-- name: events
-- What happened to credentials.
-- Parameters: since (timestamptz).
-- Rows: `Counted`; `what` is the kind of event.
-- Locks: none.
-- No row: nothing did.
SELECT kind AS what, count(*) AS n FROM credential_event WHERE at >= %(since)s AND kind <> 'added' GROUP BY kind

-- name: still_out
-- What comes back by itself after the report, the first in front.
-- Rows: `StillOut`.
-- Locks: none.
-- No row: nothing is out.
SELECT 'breaker' AS kind, source || ' ' || operation AS what, open_until AS until, 1 AS n FROM breaker WHERE open_until > clock_timestamp()
UNION ALL
SELECT 'credential', source || coalesce(' (' || disabled_reason || ')', ''), max(disabled_till), count(*) FROM credential
WHERE disabled_till > clock_timestamp() GROUP BY source, disabled_reason ORDER BY until

-- name: pictures
-- Pictures and other media of what was read, that are stored in the bucket and that wait for it.
-- Rows: `Pictures`, one.
-- Locks: none.
-- No row: never.
SELECT count(*) FILTER (WHERE status = 'COMPLETE') AS stored, count(*) FILTER (WHERE status IN ('PENDING', 'WAITING', 'PROCESSING', 'REFETCH')) AS waiting FROM asset_log

-- name: counts
-- The counts of Beat at a moment.
-- Rows: `Counts`, one.
-- Locks: none.
-- No row: never.
SELECT (SELECT count(*) FROM trace_log) AS traced,
       (SELECT coalesce(sum(calls), 0)::bigint FROM credential_usage WHERE limit_name = 'total') AS charged,
       (SELECT count(*) FROM trace_log WHERE outcome = 'unknown') AS unknown,
       (SELECT count(*) FROM settlement) + (SELECT count(*) FROM credential_call) AS unsettled,
       (SELECT coalesce(max(id), 0) FROM scrape_request_log) AS last_request, clock_timestamp() AS now
