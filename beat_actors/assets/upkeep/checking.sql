-- name: known
-- The next contents that rows say are in the bucket, in the order of their keys: of objects, and of smaller pictures. It reads so many entries of two indexes.
-- Parameters: after, until (bytea): contents between these, most (integer).
-- Rows: `Known`, one for each content.
-- Locks: none.
-- No row: there is none.
SELECT content, bool_or(is_object) AS is_object, bool_or(is_variant) AS is_variant, bool_or(young) AS young, max(bytes) AS bytes FROM (
    (SELECT content, deleting_since IS NULL AS is_object, false AS is_variant,
            deleting_since IS NOT NULL OR coalesce(checked_at, created_at) > clock_timestamp() - make_interval(secs => 60) AS young, bytes
     FROM asset_object WHERE content > %(after)s AND content < %(until)s ORDER BY content LIMIT %(most)s)
    UNION ALL
    (SELECT variant, false, true, created_at > clock_timestamp() - make_interval(secs => 60), bytes
     FROM asset_variant WHERE variant > %(after)s AND variant < %(until)s ORDER BY variant LIMIT %(most)s)) known
GROUP BY content ORDER BY content LIMIT %(most)s

-- name: seen
-- Notes that objects are in the bucket, and marks those that nothing needs, so that none is missed that was left while others held its row.
-- Those that delete objects look again under the object's lock.
-- Parameters: contents (bytea[]).
-- Locks: the objects, in the order of their contents; it skips those that others hold.
-- No row: it gives none.
UPDATE asset_object o SET checked_at = clock_timestamp(), unused_since = CASE WHEN o.unused_since IS NOT NULL
        OR EXISTS (SELECT FROM asset_log a WHERE a.content = o.content) OR EXISTS (SELECT FROM asset_variant v WHERE v.variant = o.content AND v.content <> o.content)
    THEN o.unused_since ELSE clock_timestamp() END
WHERE content = ANY(ARRAY(
    SELECT content FROM asset_object WHERE content = ANY(%(contents)s::bytea[]) ORDER BY content FOR NO KEY UPDATE SKIP LOCKED))

-- name: missing
-- Takes away what rows say of an object that is not in the bucket. Its assets are PENDING again, and nothing else of them is lost; those that wait for another
-- picture lose the old one. An asset that is being uploaded stays so. The rows of smaller pictures that are missing, or were made of it, go too: they are
-- made again when they are asked for.
-- Parameters: contents (bytea[]): objects and smaller pictures that are missing.
-- Rows: how many assets are PENDING again, one.
-- Locks: the assets in the order of their ids, then the objects.
-- No row: never.
WITH theirs AS MATERIALIZED (
    SELECT public_id, id, status FROM asset_log WHERE content = ANY(%(contents)s::bytea[]) ORDER BY public_id, id FOR NO KEY UPDATE
), again AS (
    UPDATE asset_log a SET status = CASE WHEN a.status = 'COMPLETE' THEN 'PENDING' ELSE a.status END, content = NULL, content_identity = NULL,
        stored_at = NULL, attempts = CASE WHEN a.status = 'COMPLETE' THEN 0 ELSE a.attempts END, changed_at = clock_timestamp()
    FROM theirs t WHERE a.content = ANY(%(contents)s::bytea[]) AND a.id = t.id RETURNING t.status
), objects AS (
    DELETE FROM asset_object WHERE content = ANY(%(contents)s::bytea[]) AND deleting_since IS NULL
), variants AS (
    DELETE FROM asset_variant WHERE variant = ANY(%(contents)s::bytea[]) OR content = ANY(%(contents)s::bytea[])
)
SELECT count(*) FILTER (WHERE status = 'COMPLETE')::integer AS again FROM again

-- name: orphans
-- Begins the deletion of objects that no row names. An upload that finds one of them in the bucket is refused by its row, as `deleting.condemn` says.
-- Parameters: contents (bytea[]), sizes (bigint[]), pairwise.
-- Rows: how many, one.
-- Locks: the new rows.
-- No row: never.
WITH begun AS (
    INSERT INTO asset_object (content, bytes, media_type, deleting_since)
    SELECT o.content, o.bytes, '', clock_timestamp() FROM unnest(%(contents)s::bytea[], %(sizes)s::bigint[]) AS o(content, bytes)
    WHERE NOT EXISTS (SELECT FROM asset_variant v WHERE v.variant = o.content) ORDER BY o.content ON CONFLICT (content) DO NOTHING RETURNING 1
)
SELECT count(*)::integer AS begun FROM begun

-- name: reached
-- The last first byte of contents that was compared, by a check that did not get to its end.
-- Rows: one.
-- Locks: none.
-- No row: no check is under way.
SELECT position FROM asset_check WHERE direction = 'rows'

-- name: reach
-- Notes how far the check has got.
-- Parameters: position (bytea), looked, found (bigint): rows that were compared, and those that differed.
-- Locks: the row.
-- No row: it gives none.
INSERT INTO asset_check AS c (direction, position, looked, found) VALUES ('rows', %(position)s, %(looked)s, %(found)s)
ON CONFLICT (direction) DO UPDATE SET position = excluded.position, looked = c.looked + excluded.looked, found = c.found + excluded.found

-- name: end
-- Notes that the check has got to its end, or begins anew.
-- Locks: the row.
-- No row: it gives none.
DELETE FROM asset_check
