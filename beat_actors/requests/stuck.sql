-- name: stuck
-- Requests that started long ago and have not ended, the oldest first, with what blocks each. Not only what a worker
-- holds: a request that waits for a credential has been picked as well, and says so.
-- Parameters: seconds (since it was picked), limit (integer).
-- Rows: as `Stuck`.
-- No row: none takes so long.
SELECT r.id, r.platform, r.flow, r.picked_at, extract(epoch FROM clock_timestamp() - r.picked_at)::float8 AS seconds,
       count(*) FILTER (WHERE f.stage IN ('LEASED', 'RETRIEVED', 'INGESTED') AND f.lease_until > clock_timestamp())::integer AS held,
       count(*) FILTER (WHERE f.stage IN ('LEASED', 'RETRIEVED', 'INGESTED', 'SETTLING')
                        AND (f.lease_until IS NULL OR f.lease_until <= clock_timestamp()))::integer AS unheld,
       count(*) FILTER (WHERE f.stage = 'WAITING')::integer AS waiting,
       extract(epoch FROM clock_timestamp() - min(f.claimed_at) FILTER (
           WHERE f.stage IN ('LEASED', 'RETRIEVED', 'INGESTED') AND f.lease_until > clock_timestamp()))::float8 AS held_for
FROM scrape_request_log r LEFT JOIN scrape_fetch f ON f.request_id = coalesce(r.joined_to, r.id) AND f.stage <> ALL ('{DONE,FAILED,CANCELLED}')
WHERE r.status = 'PROCESSING' AND r.picked_at < (SELECT clock_timestamp() - make_interval(secs => %(seconds)s))
GROUP BY r.id ORDER BY r.picked_at, r.id LIMIT %(limit)s
