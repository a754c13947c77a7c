-- name: stored
-- The answer that an idempotency key brought first. What is deferred is not counted, and its first fetch is as old as the time to which it was.
-- Parameters: owner, key (text), digest (bytea: of all that was said).
-- No row: the key was not used.
SELECT r.id, r.accepted_as, r.idempotency_digest = %(digest)s AS same,
    CASE WHEN NOT r.on_demand THEN (SELECT f.created_at FROM scrape_fetch f WHERE f.request_id = r.id ORDER BY f.id LIMIT 1) END AS deferred_to
FROM scrape_request_log r WHERE r.idempotency_owner = %(owner)s AND r.idempotency_key = %(key)s

-- name: now
-- The database's clock.
SELECT clock_timestamp() AS now
