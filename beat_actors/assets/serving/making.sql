-- name: source
-- A stored picture, and whether a variant of it exists.
-- Parameters: content (bytea), width (integer), media_type (text).
-- Rows: `Source`.
-- Locks: none.
-- No row: no object has this content any more.
SELECT o.bytes, EXISTS (SELECT FROM asset_variant v WHERE v.content = o.content AND v.width = %(width)s AND v.media_type = %(media_type)s) AS made
FROM asset_object o WHERE o.content = %(content)s

-- name: add
-- Adds a variant, and the object that holds it. A variant that is the picture itself has no object of its own. An object that was in the bucket before
-- must have a row, which is locked against deletion; where it has none, it gets one that nobody uses, and the variant is made again when it is wanted
-- again.
-- Parameters: content, variant (bytea), width (integer), media_type (text): what was wanted; bytes (bigint), shown_as (text), shown_width, shown_height
-- (integer): the variant's; made (boolean): this process stored the object.
-- Rows: whether the variant exists now.
-- Locks: the object of the picture, then that of the variant.
-- No row: never.
WITH source AS MATERIALIZED (
    SELECT content FROM asset_object WHERE content = %(content)s FOR KEY SHARE
), held AS MATERIALIZED (
    SELECT o.content FROM source JOIN asset_object o ON o.content = %(variant)s FOR KEY SHARE OF o
), object AS (
    INSERT INTO asset_object AS t (content, bytes, media_type, width, height, checked_at, unused_since)
    SELECT %(variant)s::bytea, %(bytes)s::bigint, %(shown_as)s::text, %(shown_width)s::integer, %(shown_height)s::integer, clock_timestamp(),
           CASE WHEN NOT %(made)s AND NOT EXISTS (SELECT FROM held) THEN clock_timestamp() END
    FROM source WHERE content <> %(variant)s::bytea
    ON CONFLICT (content) DO UPDATE SET unused_since = CASE WHEN excluded.unused_since IS NOT NULL THEN t.unused_since END
), added AS (
    INSERT INTO asset_variant (content, width, media_type, variant, bytes)
    SELECT content, %(width)s::integer, %(media_type)s::text, %(variant)s::bytea, %(bytes)s::bigint
    FROM source WHERE %(made)s OR EXISTS (SELECT FROM held)
    ON CONFLICT DO NOTHING
)
SELECT EXISTS (SELECT FROM source) AND (%(made)s OR EXISTS (SELECT FROM held))
