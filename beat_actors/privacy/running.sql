-- name: settle
-- Notes up to which number transactions may have begun before the tombstones were there; only the first time.
-- Parameters: id (bigint).
-- Rows: whether all of those have ended, one.
-- Locks: the row.
-- No row: the erasure has ended.
UPDATE erasure SET settled = coalesce(settled, pg_snapshot_xmax(pg_current_snapshot())) WHERE id = %(id)s AND ended_at IS NULL
RETURNING pg_snapshot_xmin(pg_current_snapshot()) >= settled AS ended

-- name: running
-- An erasure that has not ended.
-- Parameters: id (bigint).
-- Rows: `Job`, one.
-- Locks: none.
-- No row: it has ended, or there is none.
SELECT id, platform, kind, dry_run, identifiers, position, counts, waits_for, created_at FROM erasure WHERE id = %(id)s AND ended_at IS NULL

-- name: open
-- The erasures that have not ended.
-- Parameters: epoch (bigint or null: of the leader).
-- Rows: their ids.
-- Locks: none.
-- No row: all have ended, or the leader was replaced.
SELECT id FROM erasure WHERE ended_at IS NULL AND beat_leads(%(epoch)s) ORDER BY id LIMIT 100

-- name: hold
-- Holds an erasure for one step, so that two processes do not pass over the rows that the other has locked.
-- Parameters: id (bigint), was (jsonb).
-- Rows: its id, one.
-- Locks: the row; waits for the step of another process.
-- No row: another process made this step, or the erasure has ended.
SELECT id FROM erasure WHERE id = %(id)s AND ended_at IS NULL AND position = %(was)s::jsonb FOR NO KEY UPDATE

-- name: advance
-- Writes how far an erasure is. A step of two processes at once is committed once: the second finds another position.
-- Parameters: id (bigint), was, position, counts (jsonb), waits_for (text or null).
-- Rows: its id, one.
-- Locks: the row.
-- No row: another process made this step, or the erasure has ended.
UPDATE erasure SET position = %(position)s::jsonb, counts = %(counts)s::jsonb, waits_for = %(waits_for)s
WHERE id = %(id)s AND ended_at IS NULL AND position = %(was)s::jsonb RETURNING id

-- name: end
-- Ends an erasure, and forgets whom it was about, but for his tombstones.
-- Parameters: id (bigint), was (jsonb), waits_for (text or null: what is left).
-- Rows: its id, one.
-- Locks: the row, and those of its things.
-- No row: another process ended it.
WITH done AS (
    UPDATE erasure SET ended_at = clock_timestamp(), identifiers = NULL, waits_for = %(waits_for)s
    WHERE id = %(id)s AND ended_at IS NULL AND position = %(was)s::jsonb RETURNING id
), things AS (
    DELETE FROM erasure_thing t USING done WHERE t.erasure_id = done.id
)
SELECT id FROM done

-- name: leaves
-- The tables that hold the rows of a table: itself, or its partitions; `blocks`: the size of each.
-- Parameters: table (text: a name as SQL writes it).
-- Rows: `Leaf`, in one order.
-- Locks: none.
-- No row: there is no such table.
SELECT c.oid::regclass::text AS name, (pg_relation_size(c.oid) / current_setting('block_size')::integer)::bigint AS blocks
FROM pg_class c WHERE c.relkind = 'r' AND (c.oid = to_regclass(%(table)s) OR EXISTS (
    SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid AND i.inhparent = to_regclass(%(table)s))) ORDER BY 1

-- name: object
-- The next object of the bucket of raw payloads.
-- Parameters: after (bigint: an object).
-- Rows: `payloads.erasure.Holder`.
-- Locks: none.
-- No row: there is none after it.
SELECT id, key, day, sha256 FROM payload_object WHERE id > %(after)s AND stored_at IS NOT NULL AND gone_at IS NULL ORDER BY id LIMIT 1

-- name: elsewhere
-- Which of these fetches were made for another platform.
-- Parameters: ids (bigint[]), platform (text).
-- Rows: their ids.
-- Locks: none.
-- No row: none was, as far as it is known.
SELECT id FROM scrape_fetch WHERE id = ANY(%(ids)s) AND platform <> %(platform)s
