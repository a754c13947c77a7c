-- name: unprepared
-- Assets that a process wrote which knows no classes.
-- Parameters: most (integer): rows; epoch (bigint, NULL: anybody): of the scheduler that leads.
-- Rows: `Unprepared`, at most `most`, by one index that has no others.
-- Locks: none.
-- No row: there is none, or another scheduler leads.
SELECT platform, entity, entity_key, field, owner, url, created_at FROM asset_log
WHERE class IS NULL AND beat_leads(%(epoch)s) ORDER BY id LIMIT %(most)s

-- name: give_up
-- Ends assets that nothing can be fetched for, so that the sweep does not read them again.
-- Parameters: arrays of equal length: platforms, entities, keys, fields, owners (text[]); class (smallint), failure (text).
-- Locks: the assets, in the order of `public_id`.
-- No row: all of them were prepared or deleted meanwhile.
WITH ended AS MATERIALIZED (
    SELECT a.platform, a.entity, a.entity_key, a.field, a.owner
    FROM unnest(%(platforms)s::text[], %(entities)s::text[], %(keys)s::text[], %(fields)s::text[], %(owners)s::text[])
        AS u(platform, entity, entity_key, field, owner) JOIN asset_log a USING (platform, entity, entity_key, field, owner)
    WHERE a.class IS NULL ORDER BY a.public_id, a.id FOR NO KEY UPDATE OF a
)
UPDATE asset_log a SET class = %(class)s, status = 'FAILED', failure = %(failure)s, wanted_at = NULL, public_id = coalesce(a.public_id, gen_random_uuid())
FROM ended e WHERE (a.platform, a.entity, a.entity_key, a.field, a.owner) = (e.platform, e.entity, e.entity_key, e.field, e.owner)
