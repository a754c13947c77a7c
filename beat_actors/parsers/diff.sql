-- name: read_only
-- Lets this transaction write nothing.
-- Locks: none.
SET LOCAL transaction_read_only = on

-- name: patient
-- Lets the statements of this transaction take ten minutes: one of them reads the logs of the days that payloads are of.
-- Locks: none.
SET LOCAL statement_timeout = '600s'

-- name: bounds
-- The oldest fetch of which a payload may be kept, and the newest fetch. Look-ups in indexes.
-- Rows: `Bounds`, one.
-- Locks: none.
-- No row: never.
SELECT least((SELECT min(fetch_id) FROM raw_payload), (SELECT min(fetch_id) FROM archived_payload)) AS oldest, (SELECT max(id) FROM scrape_fetch) AS newest

-- name: page
-- Fetches of an operation that a source answered and that ended, the newest first: those of which records were written, and those that failed.
-- A failed one counts where its next page was not another source's. Reads as many rows as ids lie between `low` and `before`.
-- Parameters: platform, source, operation (text); low (bigint): no older fetch; before (bigint): only older fetches; limit (integer).
-- Rows: `Fetched`.
-- Locks: none.
-- No row: none lies between these ids.
SELECT id, payload_at, stage = 'DONE' AS is_done, parser_version, params, cursor, page, owner
FROM scrape_fetch
WHERE id >= %(low)s AND id < %(before)s AND platform = %(platform)s AND source = %(source)s AND operation = %(operation)s
  AND stage IN ('DONE', 'FAILED') AND payload_at IS NOT NULL AND (cursor_source IS NULL OR cursor_source = source)
ORDER BY id DESC LIMIT %(limit)s

-- name: places
-- Where the payloads of fetches are: in PostgreSQL (`key` is NULL), or in an object of the bucket. What a failed fetch was answered is only read from
-- PostgreSQL, which knows the source of each payload.
-- Parameters: fetches (bigint[]) and times (timestamptz[]), pairwise; since and until (timestamptz): the first and the last of the times;
-- source (text).
-- Rows: `Located`, at most one for each fetch.
-- Locks: none.
-- No row: of a fetch, that no payload is kept.
SELECT n.fetch_id, n.created_at, NULL AS key, 0 AS position, octet_length(p.body) AS length, 0::bigint AS sum
FROM unnest(%(fetches)s::bigint[], %(times)s::timestamptz[]) AS n(fetch_id, created_at)
JOIN raw_payload p ON p.fetch_id = n.fetch_id AND p.created_at = n.created_at AND p.created_at BETWEEN %(since)s AND %(until)s
WHERE p.source = %(source)s
UNION ALL
SELECT n.fetch_id, n.created_at, o.key, a.position, a.length, a.sum
FROM unnest(%(fetches)s::bigint[], %(times)s::timestamptz[]) AS n(fetch_id, created_at)
JOIN archived_payload a ON a.fetch_id = n.fetch_id AND a.created_at = n.created_at AND a.created_at BETWEEN %(since)s AND %(until)s
JOIN payload_object o ON o.id = a.object_id JOIN scrape_fetch f ON f.id = n.fetch_id AND f.stage = 'DONE'
WHERE NOT EXISTS (SELECT FROM raw_payload p WHERE p.fetch_id = n.fetch_id AND p.created_at = n.created_at)

-- name: bodies
-- Payloads that are in PostgreSQL.
-- Parameters: fetches (bigint[]) and times (timestamptz[]), pairwise; since and until (timestamptz): the first and the last of the times.
-- Rows: `Body`.
-- Locks: none.
-- No row: of a fetch, that its payload was moved or erased meanwhile.
SELECT p.fetch_id, p.body FROM unnest(%(fetches)s::bigint[], %(times)s::timestamptz[]) AS n(fetch_id, created_at)
JOIN raw_payload p ON p.fetch_id = n.fetch_id AND p.created_at = n.created_at AND p.created_at BETWEEN %(since)s AND %(until)s
