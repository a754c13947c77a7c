-- fragment: has_ready
-- Whether the lane has a fetch that can be leased.
CROSS JOIN LATERAL (SELECT FROM scrape_fetch WHERE lane_id BETWEEN l.id AND l.id AND stage = 'WAITING' AND not_before IS NULL LIMIT 1) ready

-- fragment: of_class
WHERE l.platform = %(platform)s AND l.priority BETWEEN p.priority AND p.priority

-- fragment: blocked
(l.reasons IS NOT NULL AND coalesce(l.blocked_until > to_timestamp(%(now)s), true))

-- fragment: place
-- Where the turn begins to look.
(SELECT (%(share)s * max(id))::integer FROM lane)

-- name: ready
-- The lanes that have something ready, at most `most` of each class: those that are not blocked first, from a place on that each turn draws
-- anew, and round. It stops where it has found enough; lanes without anything ready cost one look into the index of what is ready each.
-- Parameters: platform (text), priorities (smallint[]), now (epoch seconds), share (0 to 1: the place), most (lanes of each part).
-- No row: nothing is ready.
SELECT lanes.* FROM unnest(%(priorities)s::smallint[]) AS p(priority) CROSS JOIN LATERAL (
    (SELECT l.id, l.operation, l.priority, l.sources, l.owner, l.flow, false AS blocked FROM lane l {{has_ready}} {{of_class}}
        AND l.id >= {{place}} AND {{blocked}} IS false ORDER BY l.platform, l.priority, l.id LIMIT %(most)s)
    UNION ALL
    (SELECT l.id, l.operation, l.priority, l.sources, l.owner, l.flow, false FROM lane l {{has_ready}} {{of_class}}
        AND l.id < {{place}} AND {{blocked}} IS false ORDER BY l.platform, l.priority, l.id LIMIT %(most)s)
    UNION ALL
    (SELECT l.id, l.operation, l.priority, l.sources, l.owner, l.flow, true FROM lane l {{has_ready}} {{of_class}}
        AND l.id >= {{place}} AND {{blocked}} IS true ORDER BY l.platform, l.priority, l.id LIMIT %(most)s)
    UNION ALL
    (SELECT l.id, l.operation, l.priority, l.sources, l.owner, l.flow, true FROM lane l {{has_ready}} {{of_class}}
        AND l.id < {{place}} AND {{blocked}} IS true ORDER BY l.platform, l.priority, l.id LIMIT %(most)s)
    LIMIT %(most)s
) lanes
ORDER BY id

-- name: block
-- Notes why lanes wait, and until when.
-- Parameters: now (epoch seconds: when it was found out), lanes (json array of {id, until, reasons}).
-- Locks: the lanes. Nobody else writes them but `look_again`, which waits for this transaction.
-- No row: never; the statement gives none.
UPDATE lane l SET blocked_until = to_timestamp(n.until), reasons = n.reasons, checked_at = to_timestamp(%(now)s)
FROM jsonb_to_recordset(%(lanes)s::jsonb) AS n(id integer, until double precision, reasons jsonb) WHERE l.id = n.id

-- name: unblock
-- Forgets why lanes wait: of those that were looked at and have room; and of some others, from a place on that each turn draws anew, those
-- in which nothing is ready any more.
-- Parameters: platform (text), share (0 to 1: the place), most (others that are looked at), blocked (integer[]: lanes that wait now),
-- looked_at (integer[]).
-- Locks: these lanes, as `block`.
-- No row: never; the statement gives none.
WITH part AS (
    (SELECT id FROM lane WHERE platform = %(platform)s AND reasons IS NOT NULL AND id >= {{place}} ORDER BY id LIMIT %(most)s)
    UNION ALL
    (SELECT id FROM lane WHERE platform = %(platform)s AND reasons IS NOT NULL AND id < {{place}} ORDER BY id LIMIT %(most)s)
    LIMIT %(most)s
)
UPDATE lane l SET blocked_until = NULL, reasons = NULL WHERE reasons IS NOT NULL AND NOT (id = ANY(%(blocked)s)) AND (
    id = ANY(%(looked_at)s) OR id IN (SELECT id FROM part WHERE NOT EXISTS (
        SELECT FROM scrape_fetch WHERE lane_id BETWEEN part.id AND part.id AND stage = 'WAITING' AND not_before IS NULL)))

-- name: out_of_time
-- Fetches that would still wait at their deadline: their lane is blocked for longer. At most 1,000; the next turn finds others.
-- Parameters: lanes (json array of {id, until, reasons}).
-- No row: each can still be done in time.
SELECT f.id, n.until, n.reasons
FROM jsonb_to_recordset(%(lanes)s::jsonb) AS n(id integer, until double precision, reasons jsonb)
JOIN scrape_fetch f ON f.lane_id = n.id AND f.stage = 'WAITING' AND f.expires_at IS NOT NULL AND f.expires_at < to_timestamp(n.until)
ORDER BY f.id LIMIT 1000
