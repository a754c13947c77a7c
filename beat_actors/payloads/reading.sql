-- fragment: located
-- Where a payload lies in the bucket.
o.key, a.position, a.length, a.sum

-- name: kept
-- Payloads of a fetch, wherever they are.
-- Parameters: fetch (bigint).
-- Rows: `Kept`, the newest first.
-- Locks: none.
-- No row: none is kept.
SELECT p.created_at, p.body, NULL AS key, 0 AS position, 0 AS length, 0::bigint AS sum FROM raw_payload p WHERE p.fetch_id = %(fetch)s
UNION ALL
SELECT a.created_at, r.body, {{located}} FROM archived_payload a JOIN payload_object o ON o.id = a.object_id
LEFT JOIN restored_payload r ON r.fetch_id = a.fetch_id AND r.created_at = a.created_at
WHERE a.fetch_id = %(fetch)s AND NOT EXISTS (SELECT FROM raw_payload p WHERE p.fetch_id = a.fetch_id AND p.created_at = a.created_at)
ORDER BY 1 DESC

-- name: locate
-- Where payloads lie in the bucket.
-- Parameters: fetches (bigint[]) and times (timestamptz[]), pairwise.
-- Rows: `Located`.
-- Locks: none.
-- No row: of a payload, that it is not archived.
SELECT a.fetch_id, a.created_at, {{located}}
FROM unnest(%(fetches)s::bigint[], %(times)s::timestamptz[]) AS n(fetch_id, created_at)
JOIN archived_payload a ON a.fetch_id = n.fetch_id AND a.created_at = n.created_at JOIN payload_object o ON o.id = a.object_id

-- name: bring_back
-- Keeps payloads that were read from the bucket where workers find them. One that was erased meanwhile is not kept.
-- Parameters: fetches (bigint[]), times (timestamptz[]) and bodies (bytea[]), pairwise.
-- Locks: the new rows; `lock` was run before.
-- No row: they were erased.
INSERT INTO restored_payload (fetch_id, created_at, body, next_cursor)
SELECT n.fetch_id, n.created_at, n.body, a.next_cursor
FROM unnest(%(fetches)s::bigint[], %(times)s::timestamptz[], %(bodies)b::bytea[]) AS n(fetch_id, created_at, body)
JOIN archived_payload a ON a.fetch_id = n.fetch_id AND a.created_at = n.created_at
ON CONFLICT (fetch_id, created_at) DO UPDATE SET restored_at = clock_timestamp()

-- name: lock
-- Orders all that writes the index: what is archived, erased and brought back. Held until the transaction ends.
-- Locks: an advisory lock of the transaction; taken before anything else.
-- Rows: one, which says nothing.
-- No row: never.
SELECT pg_advisory_xact_lock(hashtext('beat.payloads'))::text AS locked

-- name: overview
-- The days that raw payloads are kept of, and where they are. One row of the catalogue for each day, and the rows of the objects.
-- Rows: `Where`, the newest first.
-- Locks: none.
-- No row: none is kept.
WITH here AS (
    SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day, pg_total_relation_size(c.oid) AS bytes
    FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
    WHERE inhparent = 'raw_payload'::regclass AND c.relname ~ '^raw_payload_[0-9]{8}$'
), there AS (
    SELECT day, count(*) AS objects, sum(payloads)::bigint AS payloads, sum(bytes)::bigint AS bytes
    FROM payload_object WHERE stored_at IS NOT NULL AND gone_at IS NULL GROUP BY 1
)
SELECT day, coalesce(h.bytes, 0) AS database_bytes, coalesce(t.objects, 0) AS objects, coalesce(t.payloads, 0) AS payloads,
       coalesce(t.bytes, 0) AS object_bytes
FROM here h FULL JOIN there t USING (day) WHERE day <= (clock_timestamp() AT TIME ZONE 'UTC')::date ORDER BY day DESC
