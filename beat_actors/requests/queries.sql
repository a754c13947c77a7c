-- fragment: of_request
-- The columns of `Row`.
r.id, r.platform, r.flow, r.params, r.status, r.priority, r.account_id, r.idempotency_key, r.created_at, r.picked_at, r.scraped_at, r.expires_at,
r.retry_count, r.items, r.data, r.tags, r.accepted_as, r.joined_to, r.observed_at, r.collected_at, r.api_key_id, r.batch_id, r.trace

-- name: clears_in
-- Seconds until the first of what a request waits for may have cleared; null where it waits for nothing, or for nothing with a time.
-- Parameters: id (bigint: the request), person (seconds after which to look again at what needs manual action).
-- No row: never.
SELECT coalesce(
    extract(epoch FROM min(greatest(f.not_before, known.blocked_until)) - clock_timestamp())::double precision,
    CASE WHEN bool_and(known.reasons IS NOT NULL) THEN %(person)s::double precision END) AS seconds
FROM scrape_request_log r JOIN scrape_fetch f ON f.request_id = coalesce(r.joined_to, r.id) AND f.stage = 'WAITING'
JOIN lane l ON l.id = f.lane_id CROSS JOIN LATERAL (SELECT {{fetches/lanes.known}}) known WHERE r.id = %(id)s

-- name: collect
-- Notes when a finished request was first read by who asked for it.
-- Parameters: id (bigint).
-- Rows: when that was.
-- Locks: the request.
-- No row: it has not ended.
UPDATE scrape_request_log SET collected_at = coalesce(collected_at, clock_timestamp())
WHERE id = %(id)s AND scraped_at IS NOT NULL RETURNING collected_at

-- name: ended
-- Those of requests that have ended.
-- Parameters: ids (bigint[]).
-- No row: none has.
SELECT id FROM scrape_request_log WHERE id = ANY(%(ids)s) AND scraped_at IS NOT NULL

-- name: request
-- A request, by its primary key.
-- Parameters: id (bigint), account_id (text or null: of any account).
-- Rows: one at most.
-- Locks: none.
-- No row: there is none, or it is another account's.
SELECT {{of_request}} FROM scrape_request_log r WHERE id = %(id)s AND (%(account_id)s::text IS NULL OR account_id = %(account_id)s)
