-- fragment: not_to_be_isolated
-- A fetch that was tried often may be what kills the workers. The message of its batch comes back whenever a worker dies, and each loss would
-- bring its neighbours nearer to quarantine too. From then on it is isolated: claimed only in a process that holds nothing else.
(stage_attempts < %(isolate_after)s OR %(isolated)s)

-- name: leases
-- Claims leases of calls, each once: the fence rises, and `lease_until` says that somebody is at it. A lease that is too old, whose credential
-- has been put out of use since, that nobody wants any more or whose deadline has passed, is handed back. Fetches that one call answers
-- come with the one to which it was leased, and only with it: where that one is handed back no call is made, and all of them are. A lease whose
-- secret this process has no key for is left to processes that have; where there is none, it is handed back when it is too old. A lease that a
-- step back of the clock made last longer lasts no longer than one that is given now. The first claim for a request marks it, and
-- its followers, as PROCESSING: here and not with the lease, which is given under the platform's lock.
-- Stages: LEASED -> SETTLING.
-- Status: PENDING -> PROCESSING.
-- Parameters: ids (bigint[]), keys (text[]: the ids of the vault's keys that this process has), lease, within, most, ahead (seconds, double
-- precision: for which a claim holds; from `use_from` on within which the call is to be made; that a lease may last at most; by which one may
-- begin later at most).
-- Rows: those that were claimed (LEASED) and those that were handed back (SETTLING); of the latter the caller settles that they are unused.
-- Locks: the fetches by their ids; what another holds is skipped, not waited for. Then their requests by their ids, then their followers.
-- No row: of a fetch, that it is not leased, is claimed, belongs to another's call, or waits for a process with its key.
WITH head AS (
    SELECT id FROM scrape_fetch WHERE id = ANY(%(ids)s) AND stage = 'LEASED' AND lease_until IS NULL AND call_of IS NULL
      AND (coalesce(use_from + make_interval(secs => %(within)s), use_until) <= clock_timestamp() OR NOT EXISTS (
          SELECT FROM credential c WHERE c.id = credential_id AND c.key_id <> ALL(%(keys)s)))
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
), mine AS (
    SELECT id FROM head UNION ALL
    SELECT f.id FROM head JOIN scrape_fetch f ON f.call_of = head.id AND f.stage = 'LEASED' AND f.lease_until IS NULL
), judged AS (
    SELECT f.id, f.call_of, c.key_id, c.secret, c.generation, c.id IS NOT NULL AND coalesce(f.use_from + make_interval(secs => %(within)s), f.use_until) > clock_timestamp() AND c.enabled AND c.dead_at IS NULL
           AND (c.disabled_till IS NULL OR c.disabled_till <= clock_timestamp())
           AND (NOT c.refreshes OR c.expires_at > clock_timestamp()) AND r.live AND r.retry_count = f.run
           AND (f.expires_at IS NULL OR f.expires_at > clock_timestamp()) AS good,
           md5(coalesce(f.owner, r.params::text)) AS subject, f.source, f.operation
    FROM mine JOIN scrape_fetch f ON f.id = mine.id LEFT JOIN credential c ON c.id = f.credential_id
    JOIN scrape_request_log r ON r.id = f.request_id
), useful AS (
    SELECT j.id, j.key_id, j.secret, j.generation, j.subject, (
        SELECT s.halvings FROM smaller_page s WHERE s.source = j.source AND s.operation = j.operation AND s.subject = j.subject
          AND s.until > now()) AS halvings, j.good AND coalesce(h.good, true) AS good
    FROM judged j LEFT JOIN judged h ON h.id = j.call_of
), claimed AS (
    UPDATE scrape_fetch f SET fence = f.fence + 1,
        attempt = f.attempt + j.good::integer, claimed_at = clock_timestamp(),
        stage = CASE WHEN j.good THEN 'LEASED' ELSE 'SETTLING' END,
        lease_until = CASE WHEN j.good THEN clock_timestamp() + make_interval(secs => %(lease)s) END
    FROM useful j WHERE f.id = j.id
    RETURNING f.id, f.request_id, f.fence, f.attempt, f.stage, f.platform, f.operation, f.params, f.cursor, f.page, f.owner, f.source,
        f.priority, f.call_of, f.credential_id, f.probe, extract(epoch FROM least(
            coalesce(f.use_from + make_interval(secs => %(within)s), f.use_until), clock_timestamp() + make_interval(secs => %(most)s)))::double precision AS use_until,
        extract(epoch FROM CASE WHEN f.use_from IS NOT NULL THEN least(f.use_from, clock_timestamp() + make_interval(secs => %(ahead)s)) END)::double precision AS use_from,
        extract(epoch FROM clock_timestamp())::double precision AS claimed_at, j.key_id, j.secret, j.generation,
        j.subject, coalesce(j.halvings, 0) AS halvings, extract(epoch FROM clock_timestamp() - f.sent_at)::double precision AS waited
), begun AS (
    -- An array and not a join, so that the rows are found by their ids whatever the table's statistics say.
    SELECT id FROM scrape_request_log WHERE id = ANY(ARRAY(SELECT request_id FROM claimed WHERE stage = 'LEASED')) AND picked_at IS NULL
    ORDER BY id FOR NO KEY UPDATE
), request AS (
    UPDATE scrape_request_log SET status = CASE WHEN status = 'PENDING' THEN 'PROCESSING' ELSE status END, picked_at = clock_timestamp(),
        event_version = event_version + (status = 'PENDING')::integer
    WHERE id = ANY(ARRAY(SELECT id FROM begun)) RETURNING {{requests/lifecycle.event_columns}}, 'processing' AS happened, waiters
), followers AS (
    UPDATE scrape_request_log SET status = 'PROCESSING', picked_at = clock_timestamp(), event_version = event_version + 1
    WHERE joined_to = ANY(ARRAY(SELECT id FROM request WHERE waiters > 0)) AND status = 'PENDING'
    RETURNING {{requests/lifecycle.event_columns}}, 'processing' AS happened, waiters
), published AS (
    {{requests/lifecycle.publish}} (SELECT * FROM request WHERE status = 'PROCESSING' UNION ALL SELECT * FROM followers) begins
)
SELECT * FROM claimed

-- name: sealed
-- The keys that leases which were left alone want, and this process does not hold.
-- Parameters: ids (bigint[]), keys (text[]: the ids of the vault's keys that this process has).
-- No row: none was left alone for want of a key.
SELECT DISTINCT c.key_id FROM scrape_fetch f JOIN credential c ON c.id = f.credential_id
WHERE f.id = ANY(%(ids)s) AND f.stage = 'LEASED' AND f.lease_until IS NULL AND c.key_id <> ALL(%(keys)s) ORDER BY 1

-- name: retrieved
-- Claims fetches whose answer is stored, for the stage ingest. Tries are counted before the work, so that a payload that kills its worker
-- counts too; at the limit the row comes back with `poison` set and without its body, and its payload is never touched again.
-- Parameters: ids (bigint[]), lease (seconds), attempts (integer: tries at most), isolate_after (integer: tries), isolated (boolean).
-- Rows: as `Retrieved`.
-- Locks: the fetches by their ids; what another holds is skipped.
-- No row: of a fetch, that it is elsewhere, is held, or is to be isolated and this process holds others.
WITH mine AS (
    SELECT id FROM scrape_fetch
    WHERE id = ANY(%(ids)s) AND stage = 'RETRIEVED' AND (lease_until IS NULL OR lease_until < clock_timestamp())
      AND {{not_to_be_isolated}}
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE scrape_fetch f SET fence = fence + 1, stage_attempts = stage_attempts + 1, claimed_at = clock_timestamp(),
        lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM mine WHERE f.id = mine.id
    RETURNING f.id, f.request_id, f.fence, f.platform, f.operation, f.params, f.cursor, f.page, f.owner, f.listing, f.source, f.credential_id,
        f.probe, f.run, f.priority, f.is_first, f.parser_version, f.stage_attempts, f.witness_of, f.payload_at, f.stage_attempts > %(attempts)s AS poison,
        extract(epoch FROM clock_timestamp() - f.sent_at)::double precision AS waited
)
SELECT c.*, CASE WHEN NOT c.poison THEN coalesce(p.body, b.body) END AS body, coalesce(p.next_cursor, b.next_cursor) AS next_cursor, r.flow, r.account_id, r.params AS request_params, r.items
FROM claimed c JOIN scrape_request_log r ON r.id = c.request_id
LEFT JOIN raw_payload p ON p.fetch_id = c.id AND p.created_at = c.payload_at
LEFT JOIN restored_payload b ON b.fetch_id = c.id AND b.created_at = c.payload_at

-- name: ingested
-- Claims fetches whose records are kept, for the stage process. Tries are counted before the work, as by `retrieved`.
-- Parameters: ids (bigint[]), lease (seconds), attempts (integer: tries at most), isolate_after (integer: tries), isolated (boolean).
-- Rows: as `Ingested`.
-- Locks: the fetches by their ids; what another holds is skipped.
-- No row: of a fetch, that it is elsewhere, is held, or is to be isolated and this process holds others.
WITH mine AS (
    SELECT id FROM scrape_fetch
    WHERE id = ANY(%(ids)s) AND stage = 'INGESTED' AND (lease_until IS NULL OR lease_until < clock_timestamp())
      AND {{not_to_be_isolated}}
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE scrape_fetch f SET fence = fence + 1, stage_attempts = stage_attempts + 1, claimed_at = clock_timestamp(),
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
FROM mine, lane l WHERE f.id = mine.id AND l.id = f.lane_id
RETURNING f.id, f.request_id, f.run, f.fence, f.platform, l.flow, f.operation, f.params, f.source, f.parser_version, f.priority, f.page,
    f.records, f.is_first, f.payload_at, f.owner,
    (SELECT r.account_id FROM scrape_request_log r WHERE r.id = f.request_id) AS account_id,
    f.witness_of, f.stage_attempts > %(attempts)s AS poison, extract(epoch FROM clock_timestamp() - f.sent_at)::double precision AS waited
