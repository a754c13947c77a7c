-- name: stored
-- Which parser versions have read the answers of the last day whose records were written. Reads the payload rows of two days in PostgreSQL, without
-- their bodies, and the fetch of each.
-- Rows: `StoredVersion`.
-- Locks: none.
-- No row: no record was written within a day.
SELECT f.platform, f.source, f.operation, f.parser_version AS version, count(*) AS answers, max(f.payload_at) AS last_at
FROM raw_payload p JOIN scrape_fetch f ON f.id = p.fetch_id AND f.payload_at = p.created_at AND f.stage = 'DONE'
WHERE p.created_at >= clock_timestamp() - interval '1 day' GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4 DESC

-- name: patient
-- Lets the statements of this transaction take a minute.
-- Locks: none.
SET LOCAL statement_timeout = '60s'
