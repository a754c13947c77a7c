-- name: source
-- A stored picture, and whether a variant of it exists.
-- Parameters: content (bytea), width (integer), media_type (text).
-- Rows: `Source`.
-- Locks: none.
-- No row: no object has this content any more, or it is being deleted.
SELECT o.bytes, EXISTS (SELECT FROM asset_variant v WHERE v.content = o.content AND v.width = %(width)s AND v.media_type = %(media_type)s) AS made
FROM asset_object o WHERE o.content = %(content)s AND o.deleting_since IS NULL

-- name: add
-- Adds a variant, and the object that holds it. A variant that is the picture itself has no object of its own. An object that was in the bucket before
-- must have a row, which is locked against deletion; where it has none, it gets one that nobody uses, and the variant is made again when it is wanted
-- again. If one of both is being deleted, the variant is not added. What the process has stored nevertheless is deleted: it gets a row that nobody
-- uses, or its deletion is repeated.
-- Parameters: content, variant (bytea), width (integer), media_type (text): what was wanted; bytes (bigint), shown_as (text), shown_width, shown_height
-- (integer): the variant's; made (boolean): this process stored the object.
-- Rows: whether the variant exists now.
-- Locks: the objects of the picture and of the variant, in the order of their contents, as commits and deletions do.
-- No row: never.
WITH locked AS MATERIALIZED (
    SELECT content, deleting_since IS NULL AS stays FROM asset_object WHERE content = ANY(ARRAY[%(content)s::bytea, %(variant)s::bytea])
    ORDER BY content FOR NO KEY UPDATE
), fit AS MATERIALIZED (
    SELECT coalesce((SELECT stays FROM locked WHERE content = %(content)s), false)
       AND coalesce((SELECT stays FROM locked WHERE content = %(variant)s), %(made)s) AS fits
), object AS (
    INSERT INTO asset_object AS t (content, bytes, media_type, width, height, checked_at, unused_since)
    SELECT %(variant)s::bytea, %(bytes)s::bigint, %(shown_as)s::text, %(shown_width)s::integer, %(shown_height)s::integer, clock_timestamp(),
           CASE WHEN NOT fits THEN clock_timestamp() END
    FROM fit WHERE %(content)s::bytea <> %(variant)s::bytea
    ON CONFLICT (content) DO UPDATE SET unused_since = CASE WHEN excluded.unused_since IS NOT NULL THEN t.unused_since END,
        deleted_at = CASE WHEN NOT %(made)s THEN t.deleted_at END, removed_at = CASE WHEN NOT %(made)s THEN t.removed_at END
    RETURNING t.deleting_since IS NULL AS stays
), added AS MATERIALIZED (
    SELECT fits AND NOT EXISTS (SELECT FROM object WHERE NOT stays) AS added FROM fit
), variant AS (
    INSERT INTO asset_variant (content, width, media_type, variant, bytes)
    SELECT %(content)s::bytea, %(width)s::integer, %(media_type)s::text, %(variant)s::bytea, %(bytes)s::bigint FROM added WHERE added
    ON CONFLICT DO NOTHING
)
SELECT added FROM added
