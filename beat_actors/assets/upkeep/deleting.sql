-- fragment: unneeded
-- Whether nothing needs the object `o`: no asset, and no other object whose smaller picture has the same bytes. A picture that cannot be made smaller
-- is its own variant, and does not need itself.
NOT EXISTS (SELECT FROM asset_log a WHERE a.content = o.content)
    AND NOT EXISTS (SELECT FROM asset_variant v WHERE v.variant = o.content AND v.content <> o.content)

-- name: held
-- Locks objects that have been unused for some time, by one index. What others hold is left out: they may be about to use it.
-- Parameters: seconds (double precision), most (integer), epoch (bigint or null: of the leader).
-- Rows: their contents.
-- Locks: the objects, until the transaction ends.
-- No row: none is due, or the leader was replaced.
SELECT content FROM asset_object WHERE unused_since < (SELECT clock_timestamp() - make_interval(secs => %(seconds)s)) AND deleting_since IS NULL
    AND beat_leads(%(epoch)s) ORDER BY unused_since LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED

-- name: smaller
-- Locks the smaller pictures of objects that the transaction has locked. What others hold is left out.
-- Parameters: contents (bytea[]).
-- Rows: their contents.
-- Locks: the objects of the smaller pictures, until the transaction ends. It waits for none, because their order would not be that of the contents.
-- No row: the objects have no smaller pictures, or others hold them.
SELECT content FROM asset_object WHERE content = ANY(ARRAY(SELECT variant FROM asset_variant WHERE content = ANY(%(contents)s::bytea[])))
    AND content <> ALL(%(contents)s::bytea[]) AND deleting_since IS NULL ORDER BY content FOR NO KEY UPDATE SKIP LOCKED

-- name: named
-- Locks these objects, and their smaller pictures.
-- Parameters: contents (bytea[]).
-- Rows: the contents that it has locked.
-- Locks: the objects, in the order of their contents, until the transaction ends.
-- No row: none of them has a row, or all are being deleted already.
SELECT content FROM asset_object WHERE content = ANY(%(contents)s::bytea[] || ARRAY(SELECT variant FROM asset_variant WHERE content = ANY(%(contents)s::bytea[])))
    AND deleting_since IS NULL ORDER BY content FOR NO KEY UPDATE

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
--
-- A smaller picture has a row of `asset_object` too. It goes with the last object that it was made of, unless an asset has the same bytes. An
-- object with a smaller picture that the transaction has not locked is marked as unused, and the sweep looks at it again.
-- Parameters: contents, locked (bytea[]): objects, and all that the transaction has locked: these, and smaller pictures of them.
-- Rows: the contents whose deletion has begun.
-- Locks: the rows of `asset_variant`.
-- No row: all are in use again.
WITH gone AS MATERIALIZED (
    SELECT content FROM asset_object o WHERE content = ANY(%(contents)s::bytea[]) AND deleting_since IS NULL AND {{unneeded}}
        AND NOT EXISTS (SELECT FROM asset_variant v JOIN asset_object s ON s.content = v.variant
                        WHERE v.content = o.content AND s.deleting_since IS NULL AND s.content <> ALL(%(locked)s::bytea[]))
), smaller AS (
    DELETE FROM asset_variant WHERE content IN (SELECT content FROM gone) RETURNING variant
), theirs AS MATERIALIZED (
    SELECT DISTINCT s.variant AS content FROM smaller s
    WHERE s.variant = ANY(%(locked)s::bytea[]) AND s.variant NOT IN (SELECT content FROM gone)
      AND NOT EXISTS (SELECT FROM asset_log a WHERE a.content = s.variant)
      AND NOT EXISTS (SELECT FROM asset_variant v WHERE v.variant = s.variant AND v.content <> s.variant AND v.content NOT IN (SELECT content FROM gone))
), begun AS MATERIALIZED (
    SELECT content FROM gone UNION ALL SELECT content FROM theirs
), marked AS (
    UPDATE asset_object o SET deleting_since = CASE WHEN content IN (SELECT content FROM begun) THEN clock_timestamp() END,
        unused_since = CASE WHEN content IN (SELECT content FROM begun) OR {{unneeded}} THEN coalesce(unused_since, clock_timestamp()) END
    WHERE content = ANY(ARRAY(SELECT unnest(%(contents)s::bytea[]) UNION SELECT content FROM theirs)) AND deleting_since IS NULL
        AND (content IN (SELECT content FROM begun) OR unused_since IS NOT NULL OR {{unneeded}})
)
SELECT content FROM begun

-- name: due
-- The objects that are to be deleted from the bucket and the CDN, those first whose time came first. It reads the first rows of an index; the
-- clock is that of the statement, so that the index ends where the time of none has come.
-- Parameters: most (integer), epoch (bigint or null: of the leader).
-- Rows: `Due`.
-- Locks: none.
-- No row: the time of none has come, or the leader was replaced.
SELECT content, removed_at IS NOT NULL AS removed FROM asset_object
WHERE deleting_since IS NOT NULL AND deleted_at IS NULL AND coalesce(retry_at, deleting_since) <= statement_timestamp() AND beat_leads(%(epoch)s)
ORDER BY coalesce(retry_at, deleting_since) LIMIT %(most)s

-- name: removed
-- Notes that the bucket has deleted objects.
-- Parameters: contents (bytea[]).
-- Rows: those of the contents that are being deleted.
-- Locks: the objects.
-- No row: none is being deleted any more.
UPDATE asset_object SET removed_at = coalesce(removed_at, clock_timestamp()) WHERE content = ANY(%(contents)s::bytea[]) AND deleting_since IS NOT NULL
RETURNING content

-- name: later
-- Notes that the bucket or the CDN has not deleted objects. They are tried again after 30 seconds, then twice as many each time, up to an hour.
-- Parameters: contents (bytea[]).
-- Locks: the objects.
-- No row: it gives none.
UPDATE asset_object SET delete_tries = least(delete_tries + 1, 10),
    retry_at = clock_timestamp() + least(interval '30 seconds' * power(2, delete_tries), interval '1 hour')
WHERE content = ANY(%(contents)s::bytea[]) AND deleting_since IS NOT NULL AND deleted_at IS NULL

-- name: deleted
-- Notes that the bucket and the CDN have deleted objects.
-- Parameters: contents (bytea[]).
-- Locks: the objects.
-- No row: it gives none.
UPDATE asset_object SET deleted_at = clock_timestamp()
WHERE content = ANY(%(contents)s::bytea[]) AND deleting_since IS NOT NULL AND removed_at IS NOT NULL AND deleted_at IS NULL

-- name: forget
-- Deletes the rows of objects that were deleted some time ago. Smaller pictures that were made of them are marked as unused before.
-- Parameters: seconds (double precision), most (integer), epoch (bigint or null: of the leader).
-- Rows: how many, one.
-- Locks: the objects, and the smaller pictures; it skips those that others hold, and the objects that these were made of.
-- No row: never.
WITH old AS MATERIALIZED (
    SELECT content FROM asset_object WHERE deleting_since < (SELECT clock_timestamp() - make_interval(secs => %(seconds)s))
        AND deleted_at < clock_timestamp() - make_interval(secs => %(seconds)s) AND beat_leads(%(epoch)s) ORDER BY deleting_since LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED
), smaller AS MATERIALIZED (
    SELECT v.content, v.variant FROM asset_variant v JOIN asset_object o ON o.content = v.variant
    WHERE v.content IN (SELECT content FROM old) AND o.deleting_since IS NULL
), held AS MATERIALIZED (
    SELECT content FROM asset_object WHERE content = ANY(ARRAY(SELECT variant FROM smaller)) ORDER BY content FOR NO KEY UPDATE SKIP LOCKED
), marked AS (
    UPDATE asset_object SET unused_since = coalesce(unused_since, clock_timestamp())
    WHERE content IN (SELECT content FROM held) AND deleting_since IS NULL
), free AS MATERIALIZED (
    SELECT content FROM old WHERE content NOT IN (SELECT content FROM smaller WHERE variant NOT IN (SELECT content FROM held))
), variants AS (
    DELETE FROM asset_variant WHERE content IN (SELECT content FROM free)
), gone AS (
    DELETE FROM asset_object WHERE content IN (SELECT content FROM free) RETURNING 1
)
SELECT count(*)::integer AS gone FROM gone
