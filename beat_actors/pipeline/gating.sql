-- name: set_aside
-- Puts records that cannot be true into quarantine. Their payload is kept as any other.
-- Parameters: entries (jsonb: a list of objects with the columns of `n`; `id`: a fetch that this transaction has moved on).
-- Locks: none; the fetches are this transaction's already.
INSERT INTO quarantine (kind, platform, source, operation, parser_version, fetch_id, request_id, payload_at, error, path)
SELECT 'implausible', f.platform, f.source, f.operation, n.version, f.id, f.request_id, f.payload_at, n.error, n.path
FROM jsonb_to_recordset(%(entries)s::jsonb) AS n(id bigint, version integer, error text, path text) JOIN scrape_fetch f ON f.id = n.id
