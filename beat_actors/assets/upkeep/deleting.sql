-- fragment: unneeded
-- Whether nothing needs the object `o`: no asset, and no object whose smaller picture has the same bytes.
NOT EXISTS (SELECT FROM asset_log a WHERE a.content = o.content) AND NOT EXISTS (SELECT FROM asset_variant v WHERE v.variant = o.content)

-- name: held
-- Locks objects that have been unused for some time, by one index. What others hold is left out: they may be about to use it.
-- Parameters: seconds (double precision), most (integer), epoch (bigint or null: of the leader).
-- Rows: their contents.
-- Locks: the objects, until the transaction ends.
-- No row: none is due, or the leader was replaced.
SELECT content FROM asset_object WHERE unused_since < clock_timestamp() - make_interval(secs => %(seconds)s) AND deleting_since IS NULL
    AND beat_leads(%(epoch)s) ORDER BY unused_since LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED

-- name: named
-- Locks these objects.
-- Parameters: contents (bytea[]).
-- Rows: their contents.
-- Locks: the objects, in the order of their contents, until the transaction ends.
-- No row: none of them has a row, or all are being deleted already.
SELECT content FROM asset_object WHERE content = ANY(%(contents)s::bytea[]) AND deleting_since IS NULL ORDER BY content FOR NO KEY UPDATE

-- name: condemn
-- Begins the deletion of those of the locked objects that nothing needs, and of the smaller pictures that were made of them; the others are in use again.
-- It has to be a statement of its own, behind the one that took the locks, so that it sees what was committed before.
--
-- Why no asset keeps a deleted picture. An upload begins to use an object in one way: its commit locks the object's row, finds `deleting_since` empty,
-- and clears `unused_since` in the same transaction (`commits.commit`). So it either comes before the lock that this statement runs under, and is
-- seen; or it comes after, finds `deleting_since` set, and has to try again later. An upload that found the object in the bucket before it was deleted
-- has no other way: the row stays for `STAYS` seconds behind the deletion, longer than an upload takes from its PUT to its commit. An upload that made
-- the object anew in the meantime is refused by the same row, and makes it once more when the row is gone. What deletes repeats itself only while the row
-- is there, and only within `FRESH` seconds of having read it.
-- Parameters: contents (bytea[]): objects that the transaction has locked.
-- Rows: the contents whose deletion has begun.
-- Locks: the smaller pictures, and the new rows.
-- No row: all are in use again.
WITH gone AS (
    UPDATE asset_object o SET deleting_since = clock_timestamp() WHERE content = ANY(%(contents)s::bytea[]) AND deleting_since IS NULL AND {{unneeded}}
    RETURNING o.content
), used AS (
    UPDATE asset_object o SET unused_since = NULL WHERE content = ANY(%(contents)s::bytea[]) AND unused_since IS NOT NULL AND NOT ({{unneeded}})
), smaller AS (
    DELETE FROM asset_variant WHERE content IN (SELECT content FROM gone) RETURNING variant, bytes, media_type
), theirs AS (
    INSERT INTO asset_object (content, bytes, media_type, deleting_since)
    SELECT DISTINCT ON (s.variant) s.variant, s.bytes, s.media_type, clock_timestamp() FROM smaller s
    WHERE NOT EXISTS (SELECT FROM asset_variant v WHERE v.variant = s.variant AND v.content NOT IN (SELECT content FROM gone))
    ORDER BY s.variant ON CONFLICT (content) DO NOTHING RETURNING content
)
SELECT content FROM gone UNION ALL SELECT content FROM theirs

-- name: due
-- The objects that are to be deleted from the bucket, those first whose deletion began first.
-- Parameters: most (integer), epoch (bigint or null: of the leader).
-- Rows: their contents.
-- Locks: none.
-- No row: none is to be deleted, or the leader was replaced.
SELECT content FROM asset_object WHERE deleting_since IS NOT NULL AND deleted_at IS NULL AND beat_leads(%(epoch)s) ORDER BY deleting_since LIMIT %(most)s

-- name: deleted
-- Notes that the bucket and the CDN have deleted objects.
-- Parameters: contents (bytea[]).
-- Locks: the objects.
-- No row: it gives none.
UPDATE asset_object SET deleted_at = clock_timestamp() WHERE content = ANY(%(contents)s::bytea[]) AND deleting_since IS NOT NULL AND deleted_at IS NULL

-- name: forget
-- Deletes the rows of objects that were deleted some time ago. Smaller pictures that somebody made meanwhile are deleted too, before.
-- Parameters: seconds (double precision), most (integer), epoch (bigint or null: of the leader).
-- Rows: how many, one.
-- Locks: the objects, and the smaller pictures.
-- No row: never.
WITH old AS MATERIALIZED (
    SELECT content FROM asset_object WHERE deleting_since < clock_timestamp() - make_interval(secs => %(seconds)s)
        AND deleted_at < clock_timestamp() - make_interval(secs => %(seconds)s) AND beat_leads(%(epoch)s) ORDER BY deleting_since LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED
), smaller AS (
    DELETE FROM asset_variant WHERE content IN (SELECT content FROM old) RETURNING content, variant, bytes, media_type
), theirs AS (
    INSERT INTO asset_object (content, bytes, media_type, deleting_since)
    SELECT DISTINCT ON (variant) variant, bytes, media_type, clock_timestamp() FROM smaller ORDER BY variant ON CONFLICT (content) DO NOTHING
), gone AS (
    DELETE FROM asset_object WHERE content IN (SELECT content FROM old) RETURNING 1
)
SELECT count(*)::integer AS gone FROM gone
