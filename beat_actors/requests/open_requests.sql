-- name: count
-- How many open requests a tenant has. It reads at most `most` entries of the index scrape_request_log_open.
-- Parameters: account (text or null), key (bigint or null), most (integer).
-- Rows: one.
-- No row: never.
SELECT count(*) FROM (
    SELECT 1 FROM scrape_request_log
    WHERE beat_tenant(account_id, api_key_id) = beat_tenant(%(account)s::text, %(key)s::bigint)
      AND status IN ('PENDING', 'PROCESSING') LIMIT %(most)s) open
