-- name: patient
-- Lets the statements of this transaction take ten minutes.
-- Locks: none.
SET LOCAL statement_timeout = '600s'

-- name: newest
-- The newest fetch.
-- Rows: its id, one.
-- Locks: none.
-- No row: never.
SELECT coalesce(max(id), 0) AS id FROM scrape_fetch

-- name: page
-- Payloads in PostgreSQL of fetches of an operation that a source answered and whose records were written, the newest first. Not those of owners. Reads as
-- many rows as ids lie between `low` and `before`.
-- Parameters: platform, source, operation (text); low (bigint): no older fetch; before (bigint): only older fetches; limit (integer).
-- Rows: `Answered`.
-- Locks: none.
-- No row: none lies between these ids.
SELECT f.id, f.payload_at, coalesce(f.parser_version, 0) AS parser_version, f.params, f.cursor, f.page, p.body
FROM scrape_fetch f JOIN raw_payload p ON p.fetch_id = f.id AND p.created_at = f.payload_at
WHERE f.id >= %(low)s AND f.id < %(before)s AND f.platform = %(platform)s AND f.source = %(source)s AND f.operation = %(operation)s
  AND f.stage = 'DONE' AND f.owner IS NULL AND f.payload_at IS NOT NULL AND (f.cursor_source IS NULL OR f.cursor_source = f.source)
ORDER BY f.id DESC LIMIT %(limit)s
