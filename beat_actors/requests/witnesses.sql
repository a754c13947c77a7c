-- name: overdue
-- Fetches that should have asked about a held record by now, and wait still: for a source that nobody can ask at the moment.
-- Parameters: limit (integer), epoch (bigint or null: of the leader).
-- Rows: their ids.
-- Locks: none.
-- No row: none waits for too long.
SELECT f.id FROM held_record h JOIN scrape_fetch f ON f.witness_of = h.id AND f.stage = 'WAITING' AND f.expires_at < clock_timestamp()
WHERE h.decided_at IS NULL AND h.next_at <= (SELECT clock_timestamp()) AND beat_leads(%(epoch)s) ORDER BY h.next_at LIMIT %(limit)s

-- name: due
-- Held records whose time has come, and about which nobody is being asked.
-- Parameters: limit (integer), epoch (bigint or null: of the leader).
-- Rows: their ids.
-- Locks: none.
-- No row: none is due.
SELECT h.id FROM held_record h WHERE h.decided_at IS NULL AND h.next_at <= (SELECT clock_timestamp()) AND beat_leads(%(epoch)s)
  AND NOT EXISTS (SELECT FROM scrape_fetch f WHERE f.witness_of = h.id AND f.stage <> ALL ('{DONE,FAILED,CANCELLED}'))
ORDER BY h.next_at LIMIT %(limit)s
