-- fragment: looked
f.not_before IS NULL AND l.checked_at >= f.created_at

-- fragment: known
-- Why the lane `l` waits and until when, as far as the broker has found it out for the fetch `f`: another account may have waited in this lane
-- before, and that it did is nobody else's business. Until when: by the reasons themselves, because a lane's own time also changes when somebody
-- does something to a credential of another account.
CASE WHEN {{looked}} THEN l.reasons END AS reasons, CASE WHEN {{looked}} THEN CASE WHEN jsonb_array_length(l.reasons) > 0
THEN (SELECT to_timestamp(min((r->>'until')::double precision)) FROM jsonb_array_elements(l.reasons) r) ELSE l.blocked_until END END AS blocked_until

-- name: find_or_create
-- Finds lanes, and makes those that are missing.
-- Parameters: lanes (jsonb: a list of objects with the columns of `w`).
-- Locks: the lanes that are made; a transaction that makes the same one waits.
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
