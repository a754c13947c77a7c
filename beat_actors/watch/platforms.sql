-- name: still
-- Platforms on which every lane with waiting work stays blocked for a while. While its alert is open, a platform is at a standstill until a lane
-- is not blocked any more, so that the alert does not flutter when a block is about to end. It stops at the first lane that
-- has work and is not blocked; else it reads one row of an index for each lane. Waiting fetches are counted up to a limit.
-- Parameters: seconds (integer): how long each has to stay blocked, most (integer): fetches of a platform that are counted.
-- Rows: `Still`.
-- Locks: none.
-- No row: no platform is at a standstill.
WITH told AS MATERIALIZED (
    SELECT substr(key, 10) AS platform FROM alert WHERE resolved_at IS NULL AND key LIKE 'platform:%%'
), lanes AS MATERIALIZED (
    SELECT id, platform, blocked_until, reasons, reasons IS NOT NULL AND (
               blocked_until IS NULL OR blocked_until > clock_timestamp() + make_interval(secs => %(seconds)s)
               OR platform IN (SELECT platform FROM told)) AS blocked
    FROM lane
), candidate AS MATERIALIZED (
    SELECT platform FROM lanes GROUP BY 1 HAVING bool_or(blocked)
), wholly AS MATERIALIZED (
    SELECT platform FROM candidate WHERE NOT EXISTS (
        SELECT FROM lanes l WHERE l.platform = candidate.platform AND NOT l.blocked AND EXISTS (
            SELECT FROM scrape_fetch f WHERE f.lane_id = l.id AND f.stage = 'WAITING' AND f.not_before IS NULL))
), still AS (
    SELECT l.platform, array_agg(l.id) AS lanes, min(l.blocked_until) AS until,
           (array_agg(first.request_id ORDER BY first.created_at))[1] AS request_id, (array_agg(l.reasons ORDER BY first.created_at))[1] AS reasons
    FROM wholly JOIN lanes l USING (platform) {{requests.first_waiting}}
    WHERE l.blocked GROUP BY 1
)
SELECT still.platform, still.until, still.request_id, still.reasons, counted.fetches, counted.requests, counted.tenants
FROM still CROSS JOIN LATERAL (
    SELECT count(*) AS fetches, count(DISTINCT request_id) AS requests, count(DISTINCT tenant) AS tenants
    FROM (SELECT f.request_id, f.tenant FROM scrape_fetch f
          WHERE f.lane_id = ANY(still.lanes) AND f.stage = 'WAITING' AND f.not_before IS NULL LIMIT %(most)s) found) counted
ORDER BY 1
