-- name: still
-- Platforms on which every lane with waiting work stays blocked for a while. While its alert is open, a platform is at a standstill until a lane
-- is not blocked any more, so that the alert does not flutter when a block is about to end. One row of an index for each lane; waiting
-- fetches are counted up to a limit.
-- Parameters: seconds (integer): how long each has to stay blocked, most (integer): fetches of a platform that are counted.
-- Rows: `Still`.
-- Locks: none.
-- No row: no platform is at a standstill.
WITH ready AS (
    SELECT l.platform, l.id, l.blocked_until, l.reasons, first.created_at, first.request_id, l.reasons IS NOT NULL AND (
               l.blocked_until IS NULL OR l.blocked_until > clock_timestamp() + make_interval(secs => %(seconds)s)
               OR EXISTS (SELECT FROM alert a WHERE a.key = 'platform:' || l.platform AND a.resolved_at IS NULL)) AS blocked
    FROM lane l CROSS JOIN LATERAL (
        SELECT f.created_at, f.request_id FROM scrape_fetch f
        WHERE f.lane_id BETWEEN l.id AND l.id AND f.stage = 'WAITING' AND f.not_before IS NULL ORDER BY f.lane_id, f.id LIMIT 1) first
), still AS (
    SELECT platform, array_agg(id) AS lanes, min(blocked_until) AS until, (array_agg(request_id ORDER BY created_at))[1] AS request_id,
           (array_agg(reasons ORDER BY created_at))[1] AS reasons
    FROM ready GROUP BY 1 HAVING bool_and(blocked)
)
SELECT still.platform, still.until, still.request_id, still.reasons, counted.fetches, counted.requests, counted.tenants
FROM still CROSS JOIN LATERAL (
    SELECT count(*) AS fetches, count(DISTINCT request_id) AS requests, count(DISTINCT tenant) AS tenants
    FROM (SELECT f.request_id, f.tenant FROM scrape_fetch f
          WHERE f.lane_id = ANY(still.lanes) AND f.stage = 'WAITING' AND f.not_before IS NULL LIMIT %(most)s) found) counted
ORDER BY 1
