-- name: waiting
-- Held records that wait for a person, by platform, source and operation; at most 1,000 are counted.
-- Rows: `Waiting`; `first`: the one that waits longest.
-- Locks: none.
-- No row: none waits for a person.
SELECT platform, source, operation, count(*) AS of, min(held_at) AS since, min(id) AS first
FROM (SELECT * FROM held_record WHERE decided_at IS NULL AND state = 'person' ORDER BY id LIMIT 1000) h GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
