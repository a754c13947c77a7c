-- name: types
-- The types of the columns of a table.
-- Parameters: table (text: a name as SQL writes it).
-- Rows: `Column`.
-- Locks: none.
-- No row: there is no such table.
SELECT attname::text AS name, format_type(atttypid, NULL) AS type FROM pg_attribute
WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped

-- name: found
-- Notes keys of things of the person.
-- Parameters: id (bigint), keys (text[]).
-- Locks: the new rows.
-- No row: it gives none.
INSERT INTO erasure_thing (erasure_id, key) SELECT %(id)s, unnest(%(keys)s::text[]) ON CONFLICT DO NOTHING

-- name: mine
-- Which of these keys are of things of the person. Asked of what a page of changes names.
-- Parameters: id (bigint), keys (text[]).
-- Rows: the keys.
-- Locks: none.
-- No row: none is.
SELECT key FROM erasure_thing WHERE erasure_id = %(id)s AND key = ANY(%(keys)s)

-- name: audited
-- Takes the identifiers of the person out of entries of the audit log.
-- Parameters: id (bigint), entries (bigint[]).
-- Rows: how many changes were made, one.
-- Locks: the entries.
-- No row: never.
SELECT beat_erase_from_audit(%(id)s, %(entries)s::bigint[])

-- name: resolve
-- Takes entries of the quarantine off the list, so that nobody reads them again.
-- Parameters: ids (bigint[]: entries).
-- Locks: the entries.
-- No row: it gives none.
UPDATE quarantine SET resolved_at = clock_timestamp(), outcome = 'resolved' WHERE id = ANY(%(ids)s) AND resolved_at IS NULL
