-- name: clock
-- The time now, and when the answer of a fetch began.
-- Parameters: fetch (bigint or null).
-- Rows: `Clock`, one.
-- Locks: none.
-- No row: never.
SELECT clock_timestamp() AS now, (SELECT payload_at FROM scrape_fetch WHERE id = %(fetch)s::bigint) AS payload_at
