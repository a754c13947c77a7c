-- name: raw
-- Deletes the payloads of fetches that PostgreSQL has.
-- Parameters: fetches (bigint[]).
-- Rows: how many of those were not archived, one.
-- Locks: the rows; `reading.lock` was run before.
-- No row: never.
WITH gone AS (DELETE FROM raw_payload WHERE fetch_id = ANY(%(fetches)s) RETURNING fetch_id, created_at),
    restored AS (DELETE FROM restored_payload WHERE fetch_id = ANY(%(fetches)s))
SELECT count(*)::integer AS gone FROM gone g
WHERE NOT EXISTS (SELECT FROM archived_payload a WHERE a.fetch_id = g.fetch_id AND a.created_at = g.created_at)

-- name: objects
-- The objects that hold payloads of fetches.
-- Parameters: fetches (bigint[]).
-- Rows: `Holder`.
-- Locks: none.
-- No row: none does.
SELECT o.id, o.key, o.day, o.sha256 FROM payload_object o
WHERE o.id = ANY(ARRAY(SELECT DISTINCT object_id FROM archived_payload WHERE fetch_id = ANY(%(fetches)s))) ORDER BY o.id

-- name: held
-- All that an object holds. Reads the index of one day.
-- Parameters: object (bigint), since, until (timestamptz): its day.
-- Rows: `Part`, in the order of the object.
-- Locks: none.
-- No row: the object was replaced meanwhile.
SELECT fetch_id, created_at, position, length FROM archived_payload
WHERE created_at >= %(since)s AND created_at < %(until)s AND object_id = %(object)s ORDER BY position

-- name: replace
-- Writes what is left of an object, and lies in another now, into the index, and takes the rest out of it. The old object is to be deleted.
-- Parameters: old, new (bigint: objects; new NULL: nothing is left), size (bigint), sha256 (bytea), since, until (timestamptz: the day);
-- fetches (bigint[]), times (timestamptz[]), positions (integer[]), pairwise: what is left.
-- Rows: `Replaced`, one.
-- Locks: the objects' rows, and those of the index; `reading.lock` was run before.
-- No row: never.
WITH n AS (
    SELECT * FROM unnest(%(fetches)s::bigint[], %(times)s::timestamptz[], %(positions)s::integer[]) AS n(fetch_id, created_at, position)
), stored AS (
    UPDATE payload_object SET stored_at = clock_timestamp(), payloads = (SELECT count(*) FROM n), bytes = %(size)s, sha256 = %(sha256)s
    WHERE id = %(new)s AND stored_at IS NULL AND gone_at IS NULL RETURNING id
), moved AS (
    UPDATE archived_payload a SET object_id = stored.id, position = n.position FROM n, stored
    WHERE a.created_at >= %(since)s AND a.created_at < %(until)s AND a.object_id = %(old)s
      AND a.fetch_id = n.fetch_id AND a.created_at = n.created_at RETURNING 1
), erased AS (
    DELETE FROM archived_payload a WHERE a.created_at >= %(since)s AND a.created_at < %(until)s AND a.object_id = %(old)s
      AND NOT EXISTS (SELECT FROM n WHERE n.fetch_id = a.fetch_id AND n.created_at = a.created_at) RETURNING 1
), old AS (
    UPDATE payload_object SET gone_at = clock_timestamp() WHERE id = %(old)s AND gone_at IS NULL RETURNING 1
)
SELECT (SELECT count(*) FROM moved)::integer AS moved, (SELECT count(*) FROM erased)::integer AS erased

-- name: of_requests
-- The fetches of requests.
-- Parameters: ids (bigint[]: requests).
-- Rows: their ids.
-- Locks: none.
-- No row: there is no such request, or it has none.
SELECT id FROM scrape_fetch WHERE request_id = ANY(%(ids)s) ORDER BY id
