-- name: look
-- The assets of these public ids, each with the object that holds its last good picture. One probe of the index `asset_log_public` for each.
-- Parameters: ids (uuid[]): 500 at most.
-- Rows: `Asset`, in no order.
-- Locks: none.
-- No row: none of them exists.
SELECT a.public_id, a.platform, a.owner, a.status, a.content, o.media_type, o.bytes, o.width,
       a.content IS NOT NULL AND (a.status = 'COMPLETE' OR a.content_identity IS NOT DISTINCT FROM a.identity) AS is_current,
       a.wanted_at IS NOT NULL AS wanted, extract(epoch FROM a.not_before - clock_timestamp())::float8 AS later,
       a.parent_key IS NOT NULL AND coalesce(a.refetched_at < clock_timestamp() - interval '1 day', true) AS may_refetch
FROM asset_log a LEFT JOIN asset_object o ON o.content = a.content
WHERE a.public_id = ANY(%(ids)s::uuid[])

-- name: want
-- Marks assets as wanted: the uploader claims them before all others. Those that are fetched already, or may not be fetched yet, are left out.
-- Parameters: ids (uuid[]): public ids.
-- Locks: the rows, in the order of their ids; it waits for none, and leaves locked ones out.
-- No row: nothing was left to mark.
UPDATE asset_log SET wanted_at = clock_timestamp() WHERE public_id = ANY(ARRAY(
    SELECT public_id FROM asset_log
    WHERE public_id = ANY(%(ids)s::uuid[]) AND wanted_at IS NULL
      AND (status = 'PENDING' OR status = 'WAITING' AND coalesce(not_before <= clock_timestamp(), true))
    ORDER BY public_id FOR NO KEY UPDATE SKIP LOCKED))

-- name: ask
-- Lets the parents of expired assets be asked for again: `refetch` does it, once for all assets of a parent. Assets whose parent was asked for within a
-- day are left out, and so are those that have none.
-- Parameters: ids (uuid[]): public ids.
-- Locks: the rows, in the order of their ids; it waits for none, and leaves locked ones out.
-- No row: nothing was left to ask for.
UPDATE asset_log SET status = 'REFETCH' WHERE public_id = ANY(ARRAY(
    SELECT public_id FROM asset_log
    WHERE public_id = ANY(%(ids)s::uuid[]) AND status = 'EXPIRED' AND parent_key IS NOT NULL
      AND coalesce(refetched_at < clock_timestamp() - interval '1 day', true)
    ORDER BY public_id FOR NO KEY UPDATE SKIP LOCKED)) AND status = 'EXPIRED'

-- name: ended
-- Those of these assets that no reader has to wait for any longer: they are stored, they cannot be stored for now, or they are gone. One probe of the
-- index `asset_log_public` for each.
-- Parameters: ids (uuid[]): public ids, as many as are waited for in one process.
-- Rows: their public ids.
-- Locks: none.
-- No row: all of them are still to be fetched, or are being fetched.
SELECT i.id FROM unnest(%(ids)s::uuid[]) AS i(id) LEFT JOIN asset_log a ON a.public_id = i.id
WHERE a.public_id IS NULL OR a.status <> 'PROCESSING' AND a.wanted_at IS NULL

-- name: may
-- Whether an account holds the grant for an owner.
-- Parameters: account_id, platform, owner (text).
-- Rows: one boolean.
-- Locks: none.
-- No row: never.
SELECT EXISTS (SELECT FROM owner_grant WHERE account_id = %(account_id)s AND platform = %(platform)s AND owner = %(owner)s)

-- name: variants
-- Those of these variants that exist. One probe of two primary keys for each.
-- Parameters: arrays of equal length, 500 at most: contents (bytea[]), widths (integer[]), media_types (text[]).
-- Rows: `Variant`, in no order.
-- Locks: none.
-- No row: none of them was made.
SELECT v.content, v.width, v.media_type, v.variant, v.bytes, o.media_type AS shown_as
FROM unnest(%(contents)s::bytea[], %(widths)s::integer[], %(media_types)s::text[]) AS w(content, width, media_type)
JOIN asset_variant v ON v.content = w.content AND v.width = w.width AND v.media_type = w.media_type
JOIN asset_object o ON o.content = v.variant
