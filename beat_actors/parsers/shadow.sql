-- name: ended
-- Fetches of an operation that a source answered within a span of time and that have ended since, the newest first: as in `diff.page`. One pass over the rows
-- of the day's payloads, without their bodies, and a look into an index for each of the newest of the source.
-- Parameters: platform, source, operation (text); since (exclusive) and until (double precision: epoch seconds) of the answers; looked (integer):
-- answers of the source, of any operation, that are looked at; limit (integer).
-- Rows: `Fetched`.
-- Locks: none.
-- No row: the source answered nothing of the operation that has ended.
WITH came AS MATERIALIZED (
    SELECT fetch_id, created_at FROM raw_payload
    WHERE source = %(source)s AND created_at > to_timestamp(%(since)s::double precision) AND created_at <= to_timestamp(%(until)s::double precision)
    ORDER BY created_at DESC LIMIT %(looked)s
)
SELECT f.id, f.payload_at, f.stage = 'DONE' AS is_done, f.parser_version, f.params, f.cursor, f.page, f.owner
FROM came c JOIN scrape_fetch f ON f.id = c.fetch_id AND f.payload_at = c.created_at
WHERE f.platform = %(platform)s AND f.source = %(source)s AND f.operation = %(operation)s AND f.stage IN ('DONE', 'FAILED')
  AND (f.cursor_source IS NULL OR f.cursor_source = f.source)
ORDER BY f.id DESC LIMIT %(limit)s
