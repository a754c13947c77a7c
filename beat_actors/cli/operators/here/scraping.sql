-- name: statuses
-- The statuses of requests.
-- Parameters: ids (bigint[]).
-- Rows: a status for each.
-- Locks: none.
-- No row: none of them exists.
SELECT status FROM scrape_request_log WHERE id = ANY(%(ids)s)
