-- name: done
-- A fetch that has ended.
-- Parameters: request (bigint), lane, page, version (integer), platform, operation, source (text), params (jsonb), at (timestamptz): when its answer began.
-- Rows: its id, one.
-- Locks: the new row alone.
-- No row: never.
INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, page, priority, stage, source, payload_at, parser_version)
VALUES (%(request)s, %(lane)s, %(platform)s, %(operation)s, %(params)s::jsonb, %(page)s, 3, 'DONE', %(source)s, %(at)s, %(version)s) RETURNING id
