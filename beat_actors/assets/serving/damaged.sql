-- name: again
-- Has an object stored again whose bytes are not those that its name says. The database does not take it for known any more, and one of its assets is
-- PENDING: its upload compares the object, and replaces it. The asset keeps the content.
-- Parameters: content (bytea).
-- Rows: whether an asset is uploaded again, one.
-- Locks: the asset, which it skips if another holds it; then the object.
-- No row: never.
WITH one AS MATERIALIZED (
    SELECT id, public_id FROM asset_log WHERE content = %(content)s AND status = 'COMPLETE' LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
), doubted AS (
    UPDATE asset_object SET checked_at = NULL
    WHERE content = %(content)s AND checked_at IS NOT NULL AND deleting_since IS NULL AND EXISTS (SELECT FROM one) RETURNING content
), again AS (
    UPDATE asset_log a SET status = 'PENDING', attempts = 0 FROM one
    WHERE a.id = one.id AND a.public_id = one.public_id AND EXISTS (SELECT FROM doubted) RETURNING a.id
)
SELECT EXISTS (SELECT FROM again) AS again
