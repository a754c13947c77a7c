-- name: open_breakers
-- Sources with open breakers that nobody opened by hand, and how many fetches no other source can serve, counted up to a limit by an
-- index.
-- Parameters: kind (text) of breaker, most (integer): fetches of a source that are counted.
-- Rows: `OpenBreakers`.
-- Locks: none.
-- No row: there are none.
SELECT platform, source, operations, opened_by, waiting.fetches AS waiting
FROM (
    SELECT platform, source, array_agg(operation ORDER BY operation) AS operations,
           coalesce(jsonb_agg(opened_by) FILTER (WHERE jsonb_typeof(opened_by) = 'object'), '[]') AS opened_by
    FROM breaker WHERE kind = %(kind)s AND open_until IS NOT NULL AND NOT by_hand GROUP BY 1, 2
) b CROSS JOIN LATERAL (
    SELECT count(*) AS fetches FROM (
        SELECT FROM lane l CROSS JOIN LATERAL (
            SELECT FROM scrape_fetch f WHERE f.lane_id BETWEEN l.id AND l.id AND f.stage = 'WAITING' AND f.not_before IS NULL
            ORDER BY f.lane_id, f.id LIMIT %(most)s) of_lane
        WHERE l.platform = b.platform AND l.sources = ARRAY[b.source] AND l.operation = ANY(b.operations) LIMIT %(most)s) found) waiting

-- name: owners
-- Sources with open breakers of single owners.
-- Rows: `OwnersOut`; five of the owners.
-- Locks: none.
-- No row: there are none.
SELECT platform, source, count(DISTINCT owner) AS owners, (array_agg(DISTINCT owner))[1:5] AS some FROM owner_breaker
WHERE open_until IS NOT NULL GROUP BY 1, 2
