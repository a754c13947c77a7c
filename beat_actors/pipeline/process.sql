-- name: quarantine
-- Puts a fetch that cannot be written into quarantine. The caller ends it in the same transaction.
-- Parameters: error (text, for operators), id (bigint: the fetch).
-- Locks: none.
-- No row: the fetch is gone.
INSERT INTO quarantine (kind, platform, source, operation, parser_version, fetch_id, request_id, payload_at, error)
SELECT 'poison', platform, source, operation, parser_version, id, request_id, payload_at, %(error)s FROM scrape_fetch WHERE id = %(id)s
