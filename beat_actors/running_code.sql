-- name: revision
-- The schema's revision.
-- Rows: one.
-- Locks: none.
-- No row: nothing is migrated.
SELECT version_num FROM alembic_version

-- name: waiting
-- The platforms of which work waits. One row of an index for each lane.
-- Rows: a platform each.
-- Locks: none.
-- No row: no work waits.
SELECT DISTINCT l.platform FROM lane l
WHERE EXISTS (SELECT FROM scrape_fetch f WHERE f.lane_id BETWEEN l.id AND l.id AND f.stage = 'WAITING' AND f.not_before IS NULL)
ORDER BY 1
