-- name: set_aside
-- Puts records that cannot be read, of pages that can, into quarantine.
-- Parameters: holes (jsonb: a list of objects with the columns of `n`, `id` being a fetch that this transaction has moved on).
-- Locks: none; the fetches are this transaction's already.
INSERT INTO quarantine (kind, platform, source, operation, parser_version, fetch_id, request_id, payload_at, error, path, shape)
SELECT 'malformed', f.platform, f.source, f.operation, f.parser_version, f.id, f.request_id, f.payload_at, n.error, n.path, n.shape
FROM jsonb_to_recordset(%(holes)s::jsonb) AS n(id bigint, error text, path text, shape text) JOIN scrape_fetch f ON f.id = n.id
