-- name: fail
-- Ends fetches that cannot be answered. What was read of them goes with it: a replay reads the payload again. The caller counts them off their
-- requests (`lifecycle.close`), in the same transaction.
-- Stages: WAITING, SETTLING, INGESTED -> FAILED.
-- Parameters: errors (jsonb: a list of objects with the columns of `i`), stages (text[]: those in which a fetch may be).
-- Locks: the fetches, in no order; the caller holds them, by a claim or the platform's lock.
-- No row: of a fetch, that it is in another stage.
UPDATE scrape_fetch f SET stage = 'FAILED', lease_until = NULL, waiting_for = NULL, records = NULL, error = i.error
FROM jsonb_to_recordset(%(errors)s::jsonb) AS i(id bigint, error jsonb), lane l
WHERE f.id = i.id AND f.stage = ANY(%(stages)s) AND l.id = f.lane_id
RETURNING f.id, f.request_id, f.run, f.is_first, f.error, f.platform, l.flow, f.priority, f.witness_of

-- name: date
-- Gives the open fetches of requests, or of their leaders, the last deadline of the requests that still wait. A follower may not have
-- lifted it, because the fetch was just being moved (`beat_urge` waits for nobody, and nor does this): past the deadline of one that left, it would
-- never be claimed. One that asks about a held record keeps its own, which is shorter.
-- Parameters: ids (bigint[]: requests).
-- Rows: the platform of each fetch that was changed.
-- Locks: the fetches by their ids; what another holds is skipped, and found by the sweep `unsettled`.
-- No row: all of them have the right deadline, are held, or have ended.
WITH wanted AS (
    SELECT w.id, CASE WHEN bool_and(r.expires_at IS NOT NULL) THEN max(r.expires_at) END AS deadline
    FROM scrape_request_log w JOIN scrape_request_log r ON (r.id = w.id OR r.joined_to = w.id) AND r.status IN ('PENDING', 'PROCESSING')
    WHERE w.id = ANY(ARRAY(SELECT coalesce(joined_to, id) FROM scrape_request_log WHERE id = ANY(%(ids)s))) AND w.live GROUP BY w.id
), dated AS (
    SELECT f.id, w.deadline FROM scrape_fetch f JOIN wanted w ON f.request_id = w.id
    WHERE f.stage <> ALL ('{DONE,FAILED,CANCELLED}') AND f.witness_of IS NULL AND f.expires_at IS DISTINCT FROM w.deadline ORDER BY f.id FOR NO KEY UPDATE OF f SKIP LOCKED
)
UPDATE scrape_fetch f SET expires_at = dated.deadline FROM dated WHERE f.id = dated.id RETURNING f.platform
