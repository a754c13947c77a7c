-- name: medians
-- The median time of requests by platform, by the database's clock.
-- Parameters: ids (bigint[]) of the requests.
-- Rows: `Median`.
-- Locks: none.
-- No row: none is complete.
SELECT platform, 1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM scraped_at - created_at)) AS ms
FROM scrape_request_log WHERE id = ANY(%(ids)s) AND status = 'COMPLETE' GROUP BY platform
