-- name: find_or_create
-- Finds lanes, and makes those that are missing.
-- Parameters: lanes (jsonb: a list of objects with the columns of `w`).
-- Locks: the lanes that are made; whoever makes the same one waits.
-- No row: of a lane, that another transaction made it while this statement ran; ask again.
WITH wanted AS (
    SELECT * FROM jsonb_to_recordset(%(lanes)s::jsonb) AS w(
        platform text, flow text, operation text, priority smallint, sources text[], owner text)
), found AS (
    SELECT l.id, l.platform, l.flow, l.operation, l.priority, l.sources, l.owner
    FROM lane l JOIN wanted USING (platform, flow, operation, priority, sources, owner)
), made AS (
    INSERT INTO lane (platform, flow, operation, priority, sources, owner)
    SELECT platform, flow, operation, priority, sources, owner FROM wanted
    EXCEPT SELECT platform, flow, operation, priority, sources, owner FROM found
    ON CONFLICT DO NOTHING
    RETURNING id, platform, flow, operation, priority, sources, owner
)
SELECT * FROM found UNION ALL SELECT * FROM made
