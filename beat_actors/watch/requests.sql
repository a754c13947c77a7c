-- fragment: first_waiting
-- The fetch of the lane `l` that has waited longest and may be leased now: one row of an index for each lane, and none for a lane without such a
-- fetch.
CROSS JOIN LATERAL (
    SELECT f.created_at, f.request_id FROM scrape_fetch f
    WHERE f.lane_id BETWEEN l.id AND l.id AND f.stage = 'WAITING' AND f.not_before IS NULL ORDER BY f.lane_id, f.id LIMIT 1) first

-- name: late
-- Sweeps that have not succeeded for three of their intervals and a deadline. Without a leader no sweep ran; a new leader has the same time.
-- A sweep with an open alert stays late until it succeeds.
-- Rows: `Late`.
-- Locks: none.
-- No row: none is late.
SELECT name, extract(epoch FROM clock_timestamp() - ended_at)::integer AS ago, every, deadline, error,
       EXISTS (SELECT FROM alert WHERE key = 'sweep:' || s.name AND resolved_at IS NULL) AS stands
FROM sweep s
WHERE ended_at < clock_timestamp() - make_interval(secs => 3 * every + deadline)
  AND (NOT EXISTS (SELECT FROM leader WHERE name = 'scheduler'
                   AND elected_at >= clock_timestamp() - make_interval(secs => 3 * s.every + s.deadline))
       OR EXISTS (SELECT FROM alert WHERE key = 'sweep:' || s.name AND resolved_at IS NULL))

-- name: waiting
-- The fetches that have waited longest, by flow, but for those of platforms at a standstill, whose own alert says it. One row of an index for
-- each lane.
-- Parameters: batch (integer): the priority of batch work, which may wait, seconds (integer) of waiting.
-- Rows: `Waiting`, by platform and flow.
-- Locks: none.
-- No row: none has waited for so long.
SELECT l.platform, l.flow, min(first.created_at) AS since, extract(epoch FROM clock_timestamp() - min(first.created_at))::float8 AS seconds,
       (array_agg(first.request_id ORDER BY first.created_at))[1] AS request_id,
       (array_agg(l.reasons ORDER BY first.created_at))[1] AS reasons, min(l.blocked_until) AS until
FROM lane l {{first_waiting}}
WHERE l.priority < %(batch)s AND l.platform NOT IN (SELECT substr(key, 10) FROM alert WHERE resolved_at IS NULL AND key LIKE 'platform:%%')
  AND first.created_at < clock_timestamp() - make_interval(secs => %(seconds)s)
GROUP BY l.platform, l.flow ORDER BY 1, 2

-- name: standstill
-- Platforms with work that is ready and that no dispatch cycle took. One row of an index for each lane. Where no worker runs, an alert of its
-- own says so.
-- Parameters: idle (integer): seconds.
-- Rows: `Standstill`.
-- Locks: none.
-- No row: there is no such platform.
SELECT l.platform, count(*) AS lanes FROM lane l {{first_waiting}}
WHERE (l.blocked_until IS NULL AND l.reasons IS NULL OR l.blocked_until < clock_timestamp() - make_interval(secs => %(idle)s))
  AND first.created_at < clock_timestamp() - make_interval(secs => %(idle)s)
  AND NOT EXISTS (SELECT FROM broker_decision d WHERE d.platform = l.platform AND d.at > (SELECT clock_timestamp() - make_interval(secs => %(idle)s)))
  AND NOT EXISTS (SELECT FROM alert WHERE resolved_at IS NULL AND key = 'workers:none')
GROUP BY 1
