-- fragment: subject
-- The hash of a subject, as intake computes it of what it observes (`intake.observe`).
sha256(convert_to(s.platform, 'UTF8') || '\x00'::bytea || convert_to(s.entity, 'UTF8') || '\x00'::bytea || convert_to(s.key, 'UTF8'))

-- name: deny
-- Lets intake leave out what belongs to subjects from now on.
-- Parameters: arrays of equal length: platforms, entities, keys (text[]); actor, reason (text).
-- Rows: how many subjects were not denied before, one.
-- Locks: the new rows.
-- No row: never.
WITH denied AS (
    INSERT INTO asset_denied (subject, actor, reason)
    SELECT DISTINCT {{subject}}, %(actor)s, %(reason)s FROM unnest(%(platforms)s::text[], %(entities)s::text[], %(keys)s::text[]) AS s(platform, entity, key)
    ON CONFLICT (subject) DO NOTHING RETURNING 1
)
SELECT count(*)::integer AS denied FROM denied

-- name: running
-- The end of the transactions that may have looked for a denial before it was committed: their numbers are smaller.
-- Rows: a transaction's number, one.
-- Locks: none.
-- No row: never.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS until

-- name: ended
-- Whether all transactions with smaller numbers have ended.
-- Parameters: until (text): as `running` gives it.
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT pg_snapshot_xmin(pg_current_snapshot()) >= %(until)s::xid8 AS ended

-- name: allow
-- Lets intake take what belongs to subjects again.
-- Parameters: arrays of equal length: platforms, entities, keys (text[]).
-- Rows: how many were denied, one.
-- Locks: the rows.
-- No row: never.
WITH allowed AS (
    DELETE FROM asset_denied WHERE subject = ANY(ARRAY(
        SELECT {{subject}} FROM unnest(%(platforms)s::text[], %(entities)s::text[], %(keys)s::text[]) AS s(platform, entity, key))) RETURNING 1
)
SELECT count(*)::integer AS allowed FROM allowed

-- name: remove
-- Deletes the assets of entities.
-- Parameters: platform, entity (text), keys (text[]).
-- Rows: `Removed`, for each asset.
-- Locks: the assets, in the order of their ids.
-- No row: they have none.
DELETE FROM asset_log a USING (
    SELECT platform, entity, entity_key, field, owner FROM asset_log
    WHERE platform = %(platform)s AND entity = %(entity)s AND entity_key = ANY(%(keys)s::text[]) ORDER BY public_id, id FOR UPDATE) gone
WHERE (a.platform, a.entity, a.entity_key, a.field, a.owner) = (gone.platform, gone.entity, gone.entity_key, gone.field, gone.owner)
RETURNING a.public_id, a.content

-- name: would_remove
-- The assets that `remove` would delete.
-- Parameters: platform, entity (text), keys (text[]).
-- Rows: `Removed`, for each asset.
-- Locks: none.
-- No row: they have none.
SELECT public_id, content FROM asset_log WHERE platform = %(platform)s AND entity = %(entity)s AND entity_key = ANY(%(keys)s::text[])

-- name: references
-- How many assets have each of these contents, and how many smaller pictures were made of it.
-- Parameters: contents (bytea[]).
-- Rows: `References`, for each content that has an object.
-- Locks: none.
-- No row: none has an object.
SELECT o.content, (SELECT count(*) FROM asset_log a WHERE a.content = o.content) AS assets,
       (SELECT count(*) FROM asset_variant v WHERE v.content = o.content) AS variants
FROM asset_object o WHERE o.content = ANY(%(contents)s::bytea[]) AND o.deleting_since IS NULL

-- name: of_assets
-- Whether an entity has assets.
-- Parameters: platform, entity, key (text).
-- Rows: its key, one.
-- Locks: none.
-- No row: it has none.
SELECT entity_key FROM asset_log WHERE platform = %(platform)s AND entity = %(entity)s AND entity_key = %(key)s LIMIT 1

-- name: is_denied
-- Whether subjects are denied.
-- Parameters: arrays of equal length: platforms, entities, keys (text[]).
-- Rows: one for each.
-- Locks: none.
-- No row: no subject is named.
SELECT EXISTS (SELECT FROM asset_denied d WHERE d.subject = {{subject}}) AS denied
FROM unnest(%(platforms)s::text[], %(entities)s::text[], %(keys)s::text[]) AS s(platform, entity, key)
