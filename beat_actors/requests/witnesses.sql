-- name: overdue
-- Fetches that should have asked about a held record by now, and wait still: for a source that nobody can ask at the moment.
-- Parameters: limit (integer), epoch (bigint or null: of the leader).
-- Rows: their ids.
-- Locks: none.
-- No row: none waits for too long.
SELECT id FROM scrape_fetch WHERE witness_of IS NOT NULL AND stage = 'WAITING' AND expires_at < clock_timestamp() AND beat_leads(%(epoch)s)
ORDER BY id LIMIT %(limit)s

-- name: due
-- Held records whose time has come, and about which nobody is being asked.
-- Parameters: limit (integer), epoch (bigint or null: of the leader).
-- Rows: their ids.
-- Locks: none.
-- No row: none is due.
SELECT h.id FROM held_record h WHERE h.decided_at IS NULL AND h.next_at <= clock_timestamp() AND beat_leads(%(epoch)s)
  AND NOT EXISTS (SELECT FROM scrape_fetch f WHERE f.witness_of = h.id AND f.stage <> ALL ('{DONE,FAILED,CANCELLED}'))
ORDER BY h.next_at LIMIT %(limit)s

-- name: asks
-- Lets the first fetches of requests ask about held records.
-- Parameters: requests, records (bigint[], pairwise), within (double precision: seconds that a source has).
-- Locks: the fetches; the transaction has made them.
-- No row: never; the statement gives none.
UPDATE scrape_fetch f SET witness_of = n.record_id, expires_at = clock_timestamp() + make_interval(secs => %(within)s)
FROM unnest(%(requests)s::bigint[], %(records)s::bigint[]) AS n(request_id, record_id) WHERE f.request_id = n.request_id AND f.stage = 'WAITING'
