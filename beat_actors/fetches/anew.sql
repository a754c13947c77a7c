-- name: ask_again
-- Lets fetches be asked for again, with every source open to them, as after a retry.
-- Stages: FAILED -> WAITING.
-- Parameters: ids (bigint[]) and lanes (integer[]), pairwise.
-- Locks: the fetches, in no order; the caller has locked them.
-- No row: none of them exists.
UPDATE scrape_fetch f SET stage = 'WAITING', lane_id = n.lane_id, fence = f.fence + 1, excluded = '{}', unreadable = '{}', rotations = 0,
    retries = 0, stage_attempts = 0, lease_until = NULL, not_before = NULL, waiting_for = NULL, records = NULL, error = NULL
FROM unnest(%(ids)s::bigint[], %(lanes)s::integer[]) AS n(id, lane_id) WHERE f.id = n.id

-- name: reread
-- Lets the payloads of entries of the quarantine be read again. What failed had asked every source, the last one too: that one is not to be asked
-- again if this cannot be read either.
-- Stages: FAILED, WAITING -> RETRIEVED.
-- Parameters: entries (bigint[]: of the quarantine).
-- Locks: the fetches, in no order; the caller has locked them, and has seen that nobody works on them.
-- No row: of an entry, that its fetch is gone.
UPDATE scrape_fetch f SET stage = 'RETRIEVED', source = q.source,
    unreadable = CASE WHEN f.stage = 'FAILED' AND f.source IS NOT NULL THEN f.unreadable || f.source ELSE f.unreadable END,
    payload_at = q.payload_at, probe = false, call_of = NULL, error = NULL,
    fence = f.fence + 1, stage_attempts = 0, lease_until = NULL, not_before = NULL, waiting_for = NULL, sent_at = clock_timestamp()
FROM quarantine q WHERE q.id = ANY(%(entries)s) AND f.id = q.fetch_id
RETURNING f.id
