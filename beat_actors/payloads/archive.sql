-- name: folder
-- What tells this database from others that use the same bucket: a copy of it in another cluster has another folder, and deletes nothing of ours.
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT to_hex(system_identifier) || '-' || to_hex(oid::bigint) AS folder FROM pg_control_system(), pg_database WHERE datname = current_database()

-- name: days
-- The days that are over for an hour and have a partition of raw payloads, the oldest first. One row of the catalogue for each.
-- Parameters: days (integer): whole days before today that PostgreSQL keeps.
-- Rows: `Day`.
-- Locks: none.
-- No row: there is none.
SELECT day, day < (clock_timestamp() AT TIME ZONE 'UTC')::date - %(days)s::integer AS due
FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid, to_date(right(c.relname, 8), 'YYYYMMDD') day
WHERE inhparent = 'raw_payload'::regclass AND c.relname ~ '^raw_payload_[0-9]{8}$'
  AND day < (clock_timestamp() AT TIME ZONE 'UTC' - interval '1 hour')::date
ORDER BY day

-- name: page
-- The next payloads of a day in the order of their fetches, and which of them are archived. Reads so many entries of two indexes, and the
-- sizes, which stand in the rows.
-- Parameters: since, until (timestamptz): the day; fetch (bigint), at (timestamptz): the last that was looked at; most (integer).
-- Rows: `Seen`.
-- Locks: none.
-- No row: the day ends here.
WITH page AS MATERIALIZED (
    SELECT fetch_id, created_at, octet_length(body) AS bytes FROM raw_payload
    WHERE created_at >= %(since)s AND created_at < %(until)s AND (fetch_id, created_at) > (%(fetch)s, %(at)s)
    ORDER BY fetch_id, created_at LIMIT %(most)s
)
SELECT p.fetch_id, p.created_at, p.bytes, a.fetch_id IS NOT NULL AS archived
FROM page p LEFT JOIN archived_payload a ON a.fetch_id = p.fetch_id AND a.created_at = p.created_at
    AND a.created_at >= %(since)s AND a.created_at < %(until)s
ORDER BY 1, 2

-- name: begin
-- Notes that an object is about to be stored.
-- Parameters: key (text), day (date), epoch (bigint or null: of the leader).
-- Rows: the object's id.
-- Locks: the new row alone.
-- No row: the leader was replaced.
INSERT INTO payload_object (key, day) SELECT %(key)s, %(day)s WHERE beat_leads(%(epoch)s) RETURNING id

-- name: bodies
-- Payloads as they are to lie in an object.
-- Parameters: fetches (bigint[]) and times (timestamptz[]), pairwise; since, until (timestamptz): their day.
-- Rows: `Payload`, in the order of their fetches.
-- Locks: none.
-- No row: of a payload, that it was erased meanwhile.
SELECT p.fetch_id, p.created_at, p.body FROM unnest(%(fetches)s::bigint[], %(times)s::timestamptz[]) AS n(fetch_id, created_at)
JOIN raw_payload p ON p.fetch_id = n.fetch_id AND p.created_at = n.created_at AND p.created_at >= %(since)s AND p.created_at < %(until)s
ORDER BY 1, 2

-- name: register
-- Writes an object that is stored into the index. The caller rolls back where fewer are added than the object has: the index names all of an object,
-- and nothing that was erased meanwhile.
-- Parameters: object (bigint), sha256 (bytea), size (bigint), since, until (timestamptz: the day), epoch (bigint or null: of the leader); fetches
-- (bigint[]), times (timestamptz[]), positions, lengths (integer[]) and sums (bigint[]), pairwise.
-- Rows: how many were added, one.
-- Locks: the object's row; `reading.lock` was run before.
-- No row: never.
WITH stored AS (
    UPDATE payload_object SET stored_at = clock_timestamp(), payloads = cardinality(%(fetches)s::bigint[]), bytes = %(size)s, sha256 = %(sha256)s
    WHERE id = %(object)s AND stored_at IS NULL AND gone_at IS NULL AND beat_leads(%(epoch)s) RETURNING id
), added AS (
    INSERT INTO archived_payload (fetch_id, created_at, object_id, sum, position, length, next_cursor)
    SELECT n.fetch_id, n.created_at, stored.id, n.sum, n.position, n.length, p.next_cursor
    FROM stored, unnest(%(fetches)s::bigint[], %(times)s::timestamptz[], %(positions)s::integer[], %(lengths)s::integer[], %(sums)s::bigint[])
        AS n(fetch_id, created_at, position, length, sum)
    JOIN raw_payload p ON p.fetch_id = n.fetch_id AND p.created_at = n.created_at AND p.created_at >= %(since)s AND p.created_at < %(until)s
    ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*)::integer AS added FROM added

-- name: discard
-- Marks an object as one to be deleted.
-- Parameters: object (bigint).
-- Locks: its row.
-- No row: it is gone already.
UPDATE payload_object SET gone_at = clock_timestamp() WHERE id = %(object)s AND gone_at IS NULL

-- name: patient
-- Lets the statements of this transaction take a minute: one of them reads two indexes of a whole day.
-- Locks: none.
SET LOCAL statement_timeout = '60s'

-- name: drop
-- Drops a day of raw payloads all of which is archived, by a function of the schema's owner. Once a day it reads two indexes of that day.
-- Parameters: day (date), epoch (bigint or null: of the leader).
-- Rows: what the function says.
-- Locks: the day against writers; for the moment in which it goes, the table and the day against everybody.
-- No row: the leader was replaced.
SELECT beat_drop_archived_payloads(%(day)s) WHERE beat_leads(%(epoch)s)

-- name: abandon
-- Marks objects that were begun and never written into the index as ones to be deleted: their archiver died, or gave up.
-- Parameters: seconds (double precision) since they were begun, epoch (bigint or null: of the leader), limit (integer).
-- Locks: the rows; what another holds is skipped.
-- No row: there are none, or the leader was replaced.
UPDATE payload_object SET gone_at = clock_timestamp() WHERE id = ANY(ARRAY(
    SELECT id FROM payload_object WHERE stored_at IS NULL AND gone_at IS NULL AND begun_at < (SELECT clock_timestamp() - make_interval(secs => %(seconds)s))
    ORDER BY begun_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED)) AND beat_leads(%(epoch)s)

-- name: gone
-- Objects that are to be deleted. Read by an index of what is open.
-- Parameters: epoch (bigint or null: of the leader), limit (integer).
-- Rows: `Object`.
-- Locks: none.
-- No row: there are none, or the leader was replaced.
SELECT id, key FROM payload_object WHERE gone_at IS NOT NULL AND beat_leads(%(epoch)s) ORDER BY begun_at LIMIT %(limit)s

-- name: forget
-- Forgets objects that are deleted.
-- Parameters: ids (bigint[]).
-- Locks: the rows.
-- No row: they are forgotten.
DELETE FROM payload_object WHERE id = ANY(%(ids)s) AND gone_at IS NOT NULL

-- name: retired
-- The oldest day of objects that is past its age, and of which the index has nothing any more. The index goes first, by the day, with the sweep
-- `partitions`; then nobody finds anything in these objects.
-- Parameters: days (integer): that raw payloads are kept, epoch (bigint or null: of the leader).
-- Rows: the day.
-- Locks: none.
-- No row: there is none, or the leader was replaced.
SELECT o.day FROM (SELECT min(day) AS day FROM payload_object) o
WHERE o.day < (clock_timestamp() AT TIME ZONE 'UTC')::date - %(days)s::integer AND beat_leads(%(epoch)s) AND NOT EXISTS (
    SELECT FROM archived_payload WHERE created_at >= o.day::timestamp AT TIME ZONE 'UTC' AND created_at < (o.day + 1)::timestamp AT TIME ZONE 'UTC')

-- name: forget_day
-- Forgets the objects of a day, once the bucket has none of them any more.
-- Parameters: day (date).
-- Locks: the rows.
-- No row: they are forgotten.
DELETE FROM payload_object WHERE day = %(day)s

-- name: forget_restored
-- Deletes payloads that were brought back more than a day ago, unless they are still to be read.
-- Parameters: epoch (bigint or null: of the leader), limit (integer).
-- Locks: the rows; what another holds is skipped.
-- No row: there are none, or the leader was replaced.
DELETE FROM restored_payload WHERE (fetch_id, created_at) IN (
    SELECT r.fetch_id, r.created_at FROM restored_payload r
    WHERE r.restored_at < clock_timestamp() - interval '1 day' AND NOT EXISTS (
        SELECT FROM scrape_fetch f WHERE f.id = r.fetch_id AND f.stage = 'RETRIEVED' AND f.payload_at = r.created_at)
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AND beat_leads(%(epoch)s)
