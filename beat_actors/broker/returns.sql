-- name: take
-- Takes settlements, the first that came: they are charged and judged in the same transaction.
-- Parameters: platform (text), most (bigint).
-- Locks: the settlements, which nobody else takes while the platform's lock is held.
-- No row: nothing came back.
DELETE FROM settlement WHERE id IN (SELECT id FROM settlement WHERE platform = %(platform)s ORDER BY id LIMIT %(most)s)
RETURNING id, fetch_id, fence, credential_id, source, operation, outcome, calls, probe, code, detail, retry_after, reported_remaining,
    reported_reset, generation, facts, owner, process, extract(epoch FROM at)::double precision AS sent_by,
    extract(epoch FROM began)::double precision AS began_at

-- name: settling
-- The fetches that wait for their settlement. The fence is compared by the caller: a settlement of an earlier try of the fetch changes
-- credentials, never the fetch.
-- Parameters: ids (bigint[]).
-- No row: all of them have been settled, or cancelled.
SELECT f.id, f.fence, f.operation, f.priority, f.source, f.cursor_source, f.excluded, f.unreadable, f.rotations, f.retries, f.owner,
    coalesce((f.listing->>'restarts')::integer, 0) AS restarts, l.flow, f.witness_of IS NOT NULL AS is_witness
FROM scrape_fetch f JOIN lane l ON l.id = f.lane_id WHERE f.id = ANY(%(ids)s) AND f.stage = 'SETTLING'
