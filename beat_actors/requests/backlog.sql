-- name: lanes
-- The lanes in which fetches wait for a lease. Each is counted up to its share of a limit, and at least up to 20; it reads entries of an index, and one row
-- for each lane.
-- Parameters: most (integer): fetches that are counted in all, lanes (integer): lanes that are read, the more urgent ones first, and one more.
-- Rows: `Lane`. `full`: the count stopped at the limit. `cut`: there are more lanes than that. `oldest`: when the fetch that has waited longest was made.
-- Locks: none.
-- No row: nothing waits.
WITH waiting AS MATERIALIZED (
    SELECT l.id, l.platform, l.flow, l.operation, l.priority, l.owner, l.sources, l.blocked_until, l.reasons, first.created_at
    FROM lane l {{watch/requests.first_waiting}} ORDER BY l.priority, l.id LIMIT %(lanes)s + 1
), share AS MATERIALIZED (
    SELECT least(100000, greatest(20, %(most)s / greatest(1, count(*)))) AS most FROM waiting
)
SELECT l.id, l.platform, l.flow, l.operation, l.priority, l.owner, l.sources, l.blocked_until, l.reasons, n.fetches, n.fetches >= (SELECT most FROM share) AS full,
       l.created_at AS oldest, (SELECT count(*) > %(lanes)s FROM waiting) AS cut
FROM waiting l CROSS JOIN LATERAL (
    SELECT count(*) AS fetches FROM (SELECT FROM scrape_fetch f WHERE f.lane_id BETWEEN l.id AND l.id AND f.stage = 'WAITING' AND f.not_before IS NULL
        ORDER BY f.lane_id, f.id LIMIT (SELECT most FROM share)) counted) n
WHERE n.fetches > 0 ORDER BY l.priority, l.id
