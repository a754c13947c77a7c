-- name: filled
-- Whether the installation has fetches.
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT EXISTS (SELECT FROM scrape_fetch) AS filled

-- name: answer
-- Writes an answer as if it had been fetched: a complete request, its fetch, and the payload.
-- Parameters: platform, source, operation (text), params (jsonb), page, version, items (integer), lane (integer), at (timestamptz), body (bytea).
-- Rows: `Written`, one.
-- Locks: the new rows alone.
-- No row: never.
WITH request AS (
    INSERT INTO scrape_request_log (platform, flow, params, status, scraped_at, open_fetches, items, observed_at, live)
    VALUES (%(platform)s, 'snapshot', %(params)s::jsonb, 'COMPLETE', %(at)s, 0, %(items)s, %(at)s, false) RETURNING id
), made AS (
    INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, page, priority, stage, source, payload_at, parser_version)
    SELECT id, %(lane)s, %(platform)s, %(operation)s, %(params)s::jsonb, %(page)s, 3, 'DONE', %(source)s, %(at)s, %(version)s FROM request
    RETURNING id, request_id
), payload AS (
    INSERT INTO raw_payload (fetch_id, created_at, attempt, source, body) SELECT id, %(at)s, 1, %(source)s, %(body)s FROM made
)
SELECT id AS fetch_id, request_id FROM made
