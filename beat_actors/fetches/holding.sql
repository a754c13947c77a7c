-- name: renew
-- Renews the leases of claims. One statement for all that a process holds.
-- Parameters: ids (bigint[]) and fences (integer[]), pairwise; lease (seconds, double precision).
-- Rows: the claims that stand, also those whose fetch is locked just now and was not renewed.
-- Locks: the fetches by their ids. It waits for none of them: one that is locked is being committed, and a renewal that waited for the commit
-- could deadlock with it.
-- No row: of a claim, that it was taken over or let go of. Its holder breaks off.
WITH n AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(fences)s::integer[]) AS n(id, fence)
), free AS (
    SELECT f.id FROM n JOIN scrape_fetch f ON f.id = n.id AND f.fence = n.fence AND f.lease_until IS NOT NULL
    ORDER BY f.id FOR NO KEY UPDATE OF f SKIP LOCKED
), renewed AS (
    UPDATE scrape_fetch f SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s) FROM free WHERE f.id = free.id
)
SELECT f.id, f.fence FROM n JOIN scrape_fetch f ON f.id = n.id AND f.fence = n.fence AND f.lease_until IS NOT NULL

-- name: give_back
-- Lets go of claims of a stage, for the sweep `unsent` to send again. A claim is its holder's as long as its fence stands.
-- Parameters: untried (integer: tries to take back, 0 or 1), ids (bigint[]) and fences (integer[]), pairwise, stage (text).
-- Locks: the fetches, in no order; nobody waits for them, since a claim skips what is locked.
-- No row: of a claim, that it was taken over, committed or let go of before.
UPDATE scrape_fetch f SET lease_until = NULL, stage_attempts = greatest(f.stage_attempts - %(untried)s, 0), sent_at = clock_timestamp()
FROM unnest(%(ids)s::bigint[], %(fences)s::integer[]) AS n(id, fence)
WHERE f.id = n.id AND f.fence = n.fence AND f.stage = %(stage)s AND f.lease_until IS NOT NULL
