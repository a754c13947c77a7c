-- name: lagging
-- The sinks whose alert about their lag is open.
-- Rows: their names.
-- Locks: none.
-- No row: there is no such alert.
SELECT substr(key, 8, length(key) - 11) AS sink FROM alert WHERE resolved_at IS NULL AND key LIKE 'events:%%:lag'

-- name: parked
-- What the first parked event of each sink was refused for, and since when it is parked. Of each sink one row is read.
-- Rows: `ParkedFirst`.
-- Locks: none.
-- No row: no sink has a parked event.
SELECT s.name AS sink, p.seq, p.trouble, p.reason, p.parked_at FROM event_sink s CROSS JOIN LATERAL (
    SELECT * FROM event_parked p WHERE p.sink = s.name ORDER BY p.seq LIMIT 1) p ORDER BY s.name
