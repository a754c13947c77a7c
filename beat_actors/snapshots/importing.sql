-- name: filled
-- Whether the installation has fetches.
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT EXISTS (SELECT FROM scrape_fetch) AS filled

-- name: payload
-- The payload of a fetch.
-- Parameters: fetch (bigint), at (timestamptz), source (text), body (bytea): packed.
-- Locks: the new row alone.
-- No row: never.
INSERT INTO raw_payload (fetch_id, created_at, attempt, source, body) VALUES (%(fetch)s, %(at)s, 1, %(source)s, %(body)s)
