-- name: complete
-- A complete request. Nobody asked for it, and nothing is published of it.
-- Parameters: platform (text), params (jsonb), items (integer), at (timestamptz).
-- Rows: its id, one.
-- Locks: the new row alone.
-- No row: never.
INSERT INTO scrape_request_log (platform, flow, params, status, scraped_at, open_fetches, items, observed_at, live)
VALUES (%(platform)s, 'snapshot', %(params)s::jsonb, 'COMPLETE', %(at)s, 0, %(items)s, %(at)s, false) RETURNING id
